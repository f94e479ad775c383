"""A refinement in Scipion's real GUI: the form, the run, every button of its viewer.

Screenshots go where those of test_gui.py go.
"""
import os

import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.tests.test_gui import open_eye, session  # noqa: F401  (a fixture)


def test_a_refinement_and_all_that_its_viewer_shows(session):  # noqa: F811
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS
    from pyworkflow.object import Pointer

    from cryosgd_plugin.viewers.tk_figure import FigureWindow
    from cryosgd_plugin.viewers.tk_table import TableWindow
    from cryosgd_plugin.viewers.volume_window import VolumeWindow

    form = session.open_from_tree("ProtCryosgdSimulate")
    session.fill(form, nParticles=120, boxSize=32, pixelSize=8.0, snr=0.5)
    simulated = session.wait_status(session.execute(form), ("finished",), 240)

    form = session.open_from_tree("ProtCryosgdRefine")
    assert form.protocol.inputParticles.get() is not None, "Scipion links the output of the selected run"
    form.btnExecute.invoke()
    _, text = session.dialogs.pop()
    assert "Reference map" in text and "diameter" in text, "what has no default is asked for"
    # as the button beside the list does when a map is chosen
    reference = form.widgetDict["inputVolumes"]
    reference.set([Pointer(simulated, extended="outputVolume")])
    session.fill(form, particleDiameter=140.0, initialResolution=50.0, iterations=2, numberOfThreads=2)
    session.place(form, "900x760+200+60")
    session.shot("form_refine")
    assert form.protocol.inputMask.get() is None, "the selected run's map is no mask"
    run = session.wait_status(session.execute(form), ("finished",), 300)
    assert run.outputVolume.hasHalfMaps()

    session.press(ACTION_RESULTS, run)
    viewer = session.newest(FormWindow)
    session.place(viewer, "700x620+40+40")
    session.shot("viewer_form")
    for name, window_class in (("showVolume", VolumeWindow), ("showHalves", VolumeWindow), ("showMask", VolumeWindow),
                               ("showFsc", FigureWindow), ("showDirections", FigureWindow),
                               ("showProgress", FigureWindow), ("showHistory", FigureWindow),
                               ("showParticles", FigureWindow), ("showSummary", TableWindow)):
        opened = open_eye(session, viewer, name, window_class)
        session.place(opened, "1150x760+60+60")
        session.shot(name)
        opened.close()
    assert session.dialogs == []


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
    beside = open_eye(session, session.newest(FormWindow), "showCompare", CompareWindow)
    session.place(beside, "1340x860+60+40")
    session.shot("maps_side_by_side")
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
