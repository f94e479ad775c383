"""The viewer of a refinement: before, during and after it, of one class or several."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from matplotlib.figure import Figure
from pyworkflow import Config
from pyworkflow.viewer import DESKTOP_TKINTER, MessageView

from cryosgd_plugin.core.poses import euler_to_matrix
from cryosgd_plugin.io import refine_particles
from cryosgd_plugin.io.runfolder import RunFolder
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdRefine
from cryosgd_plugin.tests.refine_samples import BOX, PIXEL, finish, new_refinement, parameters, records
from cryosgd_plugin.tests.viewer_samples import open_project, saved_viewer, views
from cryosgd_plugin.viewers.figure_view import TableView
from cryosgd_plugin.viewers.run_viewer import ALL_CLASSES, SELECTION
from cryosgd_plugin.viewers.viewer_refine import CryosgdRefineViewer

BUTTONS = ("showVolume", "showHalves", "showCompare", "showFsc", "showDirections", "showClasses", "showProgress",
           "showMask", "showHistory", "showParticles", "showSpectra", "showCertificate", "showSummary")


@pytest.fixture(scope="module")
def project():
    with open_project("viewer of a refinement") as opened:
        yield opened


@pytest.fixture
def run_viewer(project):
    return saved_viewer(project, ProtCryosgdRefine, CryosgdRefineViewer)


def drawn(viewer, name):
    figure = Figure(figsize=(11, 6))
    view, = views(viewer, name)
    view.draw(figure)
    assert view.refreshable
    return figure


def curve_labels(figure):
    return [line.get_label().split("  ")[0] for line in figure.axes[0].lines if not line.get_label().startswith("_")]


def test_scipion_opens_it_and_every_button_has_its_view(run_viewer):
    viewer, _ = run_viewer
    assert Config.getDomain().findViewers(viewer.protocol, DESKTOP_TKINTER)[0] is CryosgdRefineViewer
    assert sorted(viewer._getVisualizeDict()) == sorted(BUTTONS)
    for name in BUTTONS:
        assert viewer.getParam(name) is not None


@pytest.mark.parametrize("name", BUTTONS)
def test_before_the_run_each_button_gives_a_message(run_viewer, name):
    message, = views(run_viewer[0], name)
    assert isinstance(message, MessageView) and "written nothing yet" in message.getMessage()


def test_before_the_first_iteration_each_says_what_is_missing(run_viewer):
    viewer, path = run_viewer
    with RunFolder(path, needed_bytes=0) as folder:
        folder.write_job(dict(program="refine", parameters=parameters()))
        for name, words in (("showVolume", "no volume yet"), ("showHalves", "no half-maps yet"),
                            ("showCompare", "no volume yet"),
                            ("showFsc", "no FSC yet"), ("showDirections", "has a pose yet"),
                            ("showMask", "no mask yet"), ("showHistory", "no history yet"),
                            ("showSpectra", "no history yet"), ("showCertificate", "no history yet"),
                            ("showParticles", "has a pose yet")):
            message, = views(viewer, name)
            assert isinstance(message, MessageView) and words in message.getMessage(), name
        settings, = views(viewer, "showSummary")
        assert ("state", "the run is going on, 0 iterations are done") in settings.rows
        assert "0a1b2c" not in str(settings.rows)


def test_while_the_run_goes_on(run_viewer):
    viewer, path = run_viewer
    with new_refinement(path, iterations=3) as folder:
        view, = views(viewer, "showVolume")
        assert [label for label, _ in view.list_volumes()] == ["iteration 1", "iteration 2", "iteration 3"]
        assert view.start == -1 and view.refreshable
        figure = drawn(viewer, "showFsc")
        assert curve_labels(figure) == ["iteration 3"]
        assert "below 1/25 Å: agreement there is no evidence" in figure.texts[0].get_text()
        at, = (line for line in figure.axes[0].lines if line.get_label().startswith("iteration 3"))
        np.testing.assert_allclose(at.get_ydata(), records(3)[-1]["fsc"][0])
        np.testing.assert_allclose(at.get_xdata()[1], 1 / (16 * 5.0))
        # the particles that the run leaves out have no pose
        assert "80 particles, in 4 symmetric copies each (D2)" in " ".join(
            text.get_text() for text in drawn(viewer, "showDirections").texts)
        assert "80 particles" in drawn(viewer, "showParticles")._suptitle.get_text()
        assert "iteration 3" == drawn(viewer, "showSpectra")._suptitle.get_text()
        assert "same best pose in 3 of 4" in drawn(viewer, "showCertificate").axes[0].get_title()
        history = drawn(viewer, "showHistory")
        assert "3 iterations in 30 s; the halves agree to 16.0 Å" in history._suptitle.get_text()
        assert [axes.get_title() for axes in drawn(viewer, "showProgress").axes] == [
            "iteration 1\n20 Å", "iteration 2\n18 Å", "iteration 3\n16 Å"]
        for name in ("showHalves", "showMask"):
            message, = views(viewer, name)
            assert "at the end of the run" in message.getMessage()
        beside, = views(viewer, "showCompare")
        assert [label for label, _ in beside.offered] == ["newest map", "iteration 2", "iteration 1"], "each map once"
        # the view looks at the disk anew
        write_volume(folder.progress_path(4), np.zeros((16,) * 3), 5.0)
        assert view.list_volumes()[-1][0] == "iteration 4"
        viewer.iteration.set(SELECTION)
        viewer.selection.set("2-3")
        view, = views(viewer, "showVolume")
        assert [label for label, _ in view.list_volumes()] == ["iteration 2", "iteration 3"]


def test_after_the_run(run_viewer):
    viewer, path = run_viewer
    with new_refinement(path, iterations=2) as folder:
        finish(folder)
    view, = views(viewer, "showVolume")
    assert view.list_volumes()[-1][0] == "final volume"
    halves, = views(viewer, "showHalves")
    assert [label for label, _ in halves.list_volumes()] == ["final volume", "half 1", "half 2"]
    beside, = views(viewer, "showCompare")
    assert [label for label, _ in beside.offered] == ["final map", "half 1", "half 2", "iteration 2", "iteration 1"]
    assert beside.chosen == [0, 1, 2] and beside.offered[1][1]().label == "half 1"
    assert curve_labels(drawn(viewer, "showFsc")) == [f"half-maps, {word}" for word in (
        "unmasked", "masked", "randomised", "corrected")]
    mask, = views(viewer, "showMask")
    (label, open_it), = mask.list_volumes()
    assert label == "mask" and open_it().voxels.max() == 1
    assert "120 particles" in " ".join(text.get_text() for text in drawn(viewer, "showDirections").texts)
    figure = drawn(viewer, "showParticles")
    assert [axes.get_title() for axes in figure.axes][:2] == ["entropy of the poses (nats), median 0.5",
                                                              "width of the best pose (°), median 1.5"]
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 120
    summary, = views(viewer, "showSummary")
    assert isinstance(summary, TableView) and ("outcome", "all well") in summary.rows
    assert ("shared resolution (Å)", "40") in summary.rows


def test_view_directions_are_read_alone(run_viewer, monkeypatch):
    viewer, path = run_viewer
    with new_refinement(path, iterations=2) as folder:
        finish(folder)
    columns, read = [], refine_particles.number_column
    monkeypatch.setattr(refine_particles, "number_column", lambda block, tag, path: columns.append(tag) or
                        read(block, tag, path))
    drawn(viewer, "showDirections")
    assert set(columns) == {"rlnAngleRot", "rlnAngleTilt"}


def test_a_sparse_map_is_shown_beside_wieners_of_the_same_poses(run_viewer):
    viewer, path = run_viewer
    with new_refinement(path, iterations=1) as folder:
        finish(folder)
        traditional = np.random.default_rng(7).normal(size=(BOX,) * 3).astype(np.float32)
        write_volume(folder.path("traditional.mrc"), traditional, PIXEL)
    beside, = views(viewer, "showCompare")
    assert [label for label, _ in beside.offered] == ["final map", "traditional (Wiener)", "half 1", "half 2",
                                                      "iteration 1"]
    assert beside.chosen == [0, 1]
    np.testing.assert_array_equal(beside.offered[1][1]().voxels, traditional)


def test_classes_during_and_after_the_run(run_viewer):
    viewer, path = run_viewer
    with new_refinement(path, iterations=2, classes=2) as folder:
        viewer.setProtocol(viewer.protocol)      # as when the results are asked for now
        assert viewer.evalParamCondition("structure") and viewer.evalParamCondition("showClasses")
        assert curve_labels(drawn(viewer, "showFsc")) == ["class 1, iteration 2", "class 2, iteration 2"]
        view, = views(viewer, "showVolume")
        assert [label for label, _ in view.list_volumes()] == ["class 1", "class 2"]
        beside, = views(viewer, "showCompare")
        assert [label for label, _ in beside.offered][:2] == ["class 1", "class 2"] and beside.chosen == [0, 1]
        viewer.structure.set(2)
        assert "40 particles" in drawn(viewer, "showParticles")._suptitle.get_text()
        finish(folder, classes=2)
    viewer.setProtocol(viewer.protocol)
    assert viewer.getParam("structure").choices[2] == "class 2 (40 particles, 33.3 %)"
    viewer.structure.set(ALL_CLASSES)
    assert curve_labels(drawn(viewer, "showFsc")) == ["class 1, corrected", "class 2, corrected"]
    assert drawn(viewer, "showProgress").axes[-1].get_title() == ""
    titles = [axes.get_title() for axes in drawn(viewer, "showProgress").axes]
    assert "final map\n9 to 11.5 Å" in titles
    viewer.structure.set(2)
    assert curve_labels(drawn(viewer, "showFsc")) == [f"class 2, {word}" for word in (
        "unmasked", "masked", "randomised", "corrected")]
    assert "40 particles" in " ".join(text.get_text() for text in drawn(viewer, "showDirections").texts)
    assert "class shares (%)" in [axes.get_title() for axes in drawn(viewer, "showHistory").axes]
    assert drawn(viewer, "showClasses").axes[0].get_title() == "class 1\n80 particles, 66.7 %"


def test_poses_of_the_checkpoint_are_the_ones_shown(run_viewer):
    viewer, path = run_viewer
    with new_refinement(path, iterations=1) as folder:
        state = folder.load_checkpoint()
        state["results/rotations"][:] = euler_to_matrix(20.0, 130.0, 77.0)
        folder.save_checkpoint(state)
        rot, tilt = viewer._angles(viewer._folder(), [0])
        np.testing.assert_allclose(rot, np.full(80, 20.0), atol=1e-4)
        np.testing.assert_allclose(tilt, np.full(80, 130.0), atol=1e-4)
        folder.path("checkpoint.npz").write_bytes(b"broken")
        message, = views(viewer, "showDirections")
        assert "can't be read" in message.getMessage() and "next iteration" in message.getMessage()


def test_damaged_history_gives_a_message(run_viewer):
    viewer, path = run_viewer
    with new_refinement(path, iterations=1) as folder:
        folder.path("history.json").write_text("[{", encoding="utf-8")
    message, = views(viewer, "showHistory")
    assert "damaged" in message.getMessage()
