"""A refinement in Scipion's real GUI: the form, the run, every button of its viewer, while it goes on and afterwards.

Screenshots go where those of test_gui.py go.
"""
import os
import signal

import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.convert import volume_object
from cryosgd_plugin.core.hand import flip_volume
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.protocols import ProtCryosgdRefine
from cryosgd_plugin.tests.protocol_project import run_with
from cryosgd_plugin.tests.refine_samples import finish, new_refinement
from cryosgd_plugin.tests.test_gui import session  # noqa: F401  (a fixture)


def other_hand(run, path):
    """A run that never ran with the mirror image of a run's map."""
    voxels, pixel_size = read_volume(run.outputVolume.getFileName())
    write_volume(path, flip_volume(voxels), pixel_size)
    return run_with(run.getProject(), "other hand", outputVolume=volume_object(str(path), pixel_size))


def test_a_refinement_of_two_classes_and_all_that_its_viewer_shows(session, tmp_path):  # noqa: F811
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS
    from pyworkflow.object import Pointer

    from cryosgd_plugin.tests.gui_session import words_of

    form = session.open_from_tree("ProtCryosgdSimulate")
    session.fill(form, nParticles=120, boxSize=32, pixelSize=8.0, snr=0.5)
    simulated = session.wait_status(session.execute(form), ("finished",), 240)
    mirrored = other_hand(simulated, tmp_path / "mirrored.mrc")

    form = session.open_from_tree("ProtCryosgdRefine")
    assert form.protocol.inputParticles.get() is not None, "Scipion links the output of the selected run"
    form.btnExecute.invoke()
    _, text = session.dialogs.pop()
    assert "Reference map" in text and "diameter" in text, "what has no default is asked for"
    # as the button beside the list does when maps are chosen
    form.widgetDict["inputVolumes"].set([Pointer(of, extended="outputVolume") for of in (simulated, mirrored)])
    session.fill(form, particleDiameter=140.0, initialResolution=50.0, iterations=2, numberOfThreads=2)
    session.place(form, "900x760+200+60")
    session.shot("form_refine")
    assert form.protocol.inputMask.get() is None, "the selected run's map is no mask"
    run = session.execute(form)
    folder_path = os.path.join(session.window.project.path, run._getExtraPath("run"))

    # look while it goes on
    session.wait(lambda: os.path.isdir(folder_path) and ResultFolder(folder_path).progress_volumes(1), 300,
                 "the second class's map of the first iteration")
    engine = ResultFolder(folder_path).writer()
    os.kill(engine, signal.SIGSTOP)     # or it could end while the windows open
    try:
        session.press(ACTION_RESULTS, run)
        viewer = session.newest(FormWindow)
        session.place(viewer, "700x620+40+40")
        window = session.open_eye(viewer, "showVolume")
        shown = window.volumes[0][1]().label
        assert shown.startswith("class 1, iteration "), shown
        for name, words in (("showFsc", "class 2, iteration"), ("showHistory", "the halves agree to"),
                            ("showProgress", "iteration 1"), ("showClasses", "so far"),
                            ("showDirections", "view directions of"), ("showParticles", "particles"),
                            ("showSummary", "the run is going on")):
            opened = session.open_eye(viewer, name)
            assert words in words_of(opened), (name, words_of(opened))
            opened.close()
        assert session.refreshed(run).isActive()
        session.told(viewer, "showMask", "no mask yet")
    finally:
        os.kill(engine, signal.SIGCONT)
    run = session.wait_status(run, ("finished",), 300)
    assert [volume.hasHalfMaps() for volume in run.outputVolumes] == [True, True]
    window.refresh()
    assert window.volumes[0][1]().label == "class 1, final volume", "the open window follows the run"
    viewer.close()

    session.press(ACTION_RESULTS, run)
    viewer = session.newest(FormWindow)
    session.place(viewer, "700x620+40+40")
    session.shot("viewer_form")
    # so coarse a grid is searched in one level
    session.open_every_eye(viewer, empty={"showCertificate": "holds no certificate"})
    assert session.dialogs == []


def test_the_certificate_of_a_search_in_levels(session):  # noqa: F811
    from pyworkflow.gui.form import FormWindow

    from cryosgd_plugin.tests.gui_session import words_of
    from cryosgd_plugin.tests.viewer_buttons import BUTTONS
    from cryosgd_plugin.viewers import CryosgdRefineViewer

    run = session.window.project.newProtocol(ProtCryosgdRefine)
    session.window.project.saveProtocol(run)
    run.makePathsAndClean()
    with new_refinement(run._getExtraPath("run"), iterations=4) as folder:
        finish(folder)
    CryosgdRefineViewer(project=session.window.project, protocol=run, parent=session.window).visualize(run)
    opened = session.open_eye(session.newest(FormWindow), "showCertificate")
    assert BUTTONS["CryosgdRefineViewer"]["showCertificate"][1] in words_of(opened)


def take_first(dialog):
    """Select the first of the list, as a click would."""
    dialog.tree.selection_set(dialog.tree.get_children()[0])
    dialog.apply()
    return True


def test_the_sparse_refinement_in_its_window(session, monkeypatch):  # noqa: F811
    """The other protocol: its penalties are among the expert's fields, it leaves unregularised half-maps, and its map
    is compared with Wiener's."""
    from pyworkflow.gui.dialog import ListDialog
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS
    from pyworkflow.object import Pointer

    from cryosgd_plugin.viewers.compare_window import CompareWindow

    form = session.open_from_tree("ProtCryosgdSimulate")
    session.fill(form, nParticles=120, boxSize=32, pixelSize=8.0, snr=0.5)
    simulated = session.wait_status(session.execute(form), ("finished",), 240)
    form = session.open_from_tree("ProtCryosgdRefineSparseTV")
    form.widgetDict["inputVolumes"].set([Pointer(simulated, extended="outputVolume")])
    session.fill(form, particleDiameter=140.0, initialResolution=50.0, iterations=1, numberOfThreads=2)
    session.place(form, "900x760+200+60")
    session.shot("form_refine_sparse_tv")
    run = session.wait_status(session.execute(form), ("finished",), 300)
    assert run.outputVolume.hasHalfMaps() and run.regularisation.get() == 1

    session.press(ACTION_RESULTS, run)
    beside = session.open_eye(session.newest(FormWindow), "showCompare")
    session.place(beside, "1340x860+60+40")
    session.shot("maps_side_by_side")
    assert isinstance(beside, CompareWindow)
    assert [one.data.label for one in beside.maps] == ["final map", "traditional (Wiener)"]
    assert 0.5 < beside.maps[1].factor < 1.5, "both are in the data's units"
    # another map of the project, by Scipion's list
    session.answers["Maps of this project"] = "Select"
    monkeypatch.setattr(ListDialog, "validate", take_first)
    beside.controls._add_of_project()
    session.pump(0.5)
    assert len(beside.maps) == 3 and beside.maps[2].data.label == f"{run.getRunName()}: volume.mrc"
    session.shot("maps_side_by_side_added")
    beside.close()
    assert [title for title, _ in session.dialogs] == ["Maps of this project"]
