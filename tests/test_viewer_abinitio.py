"""The viewer of an ab initio run: before, during and after it, of one class or several."""
import json
import os

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from matplotlib.figure import Figure
from pyworkflow.viewer import MessageView

from cryosgd_plugin.core.poses import healpix_directions
from cryosgd_plugin.io.fsc_star import write_fsc
from cryosgd_plugin.io.runfolder import RunFolder
from cryosgd_plugin.io.star_tables import write_table
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdAbInitio
from cryosgd_plugin.tests.viewer_samples import (
    FREQUENCY,
    open_project,
    saved_viewer,
    stub_chimerax,
    views,
    without_chimerax,
)
from cryosgd_plugin.viewers.figure_view import TableView, summary_rows
from cryosgd_plugin.viewers.result_viewer import WITH_CHIMERAX
from cryosgd_plugin.viewers.run_viewer import ALL_CLASSES, LAST, SELECTION
from cryosgd_plugin.viewers.viewer_abinitio import CryosgdAbInitioViewer
from cryosgd_plugin.viewers.viewer_volume import VolumeView


@pytest.fixture(scope="module")
def project():
    with open_project("viewer of a run") as opened:
        yield opened


@pytest.fixture
def run_viewer(project):
    return saved_viewer(project, ProtCryosgdAbInitio, CryosgdAbInitioViewer)


def history(n=60, classes=1):
    return [dict(iteration=i + 1, resolution_a=40 - 0.4 * i, n_images=100 + i, step_size=0.5 * 0.98 ** i,
                 significant_share=0.01 * 0.9 ** i, noise_inflation=max(1.0, 30 * 0.9 ** i),
                 log_likelihood=-8 + 0.05 * i, class_shares=[1 / classes] * classes,
                 seconds=0.5, symmetry="C1" if i < 20 else "O") for i in range(n)]


BUTTONS = ("showVolume", "showHalves", "showCompare", "showFsc", "showDirections", "showClasses", "showProgress",
           "showHistory", "showImportance", "showRestarts", "showAligned", "showSummary")


def test_every_button_has_its_view(run_viewer):
    viewer, _ = run_viewer
    assert sorted(viewer._getVisualizeDict()) == sorted(BUTTONS)
    for name in BUTTONS:
        assert viewer.getParam(name) is not None


@pytest.mark.parametrize("name", BUTTONS)
def test_before_the_run_each_button_gives_a_message(run_viewer, name):
    message, = views(run_viewer[0], name)
    assert isinstance(message, MessageView) and "written nothing yet" in message.getMessage()


def test_while_the_run_goes_on(run_viewer):
    viewer, path = run_viewer
    with RunFolder(path, needed_bytes=0) as folder:
        folder.write_job({"seed": 5, "symmetry": "D2"})
        for name, words in (("showVolume", "no volume yet"), ("showHalves", "no half-maps yet"),
                            ("showCompare", "no volume yet"),
                            ("showFsc", "no FSC yet"), ("showDirections", "final pose yet"),
                            ("showClasses", "no volume yet"), ("showProgress", "no volume yet"),
                            ("showHistory", "no history yet"), ("showImportance", "no importance distribution yet")):
            message, = views(viewer, name)
            assert isinstance(message, MessageView) and words in message.getMessage()
        for number, record in enumerate(history(30), start=1):
            folder.append_history(record)
            if number % 10 == 0:
                write_volume(folder.progress_path(number), np.full((8, 8, 8), number), 4.0)
        view, = views(viewer, "showVolume")
        assert [label for label, _ in view.list_volumes()] == ["iteration 10", "iteration 20", "iteration 30"]
        assert view.start == -1 and view.refreshable
        assert view.list_volumes()[-1][1]().voxels[0, 0, 0] == 30
        convergence, = views(viewer, "showHistory")
        drawn = Figure()
        convergence.draw(drawn)
        assert "30 iterations" in drawn._suptitle.get_text()
        progress, = views(viewer, "showProgress")
        progress.draw(drawn)
        assert progress.refreshable and [axes.get_title().split("\n")[0] for axes in drawn.axes] == [
            "iteration 10", "iteration 20", "iteration 30"]
        settings, = views(viewer, "showSummary")
        assert isinstance(settings, TableView)
        assert ("state", "the run is going on, 30 iterations are done") in settings.rows
        # the view looks at the disk anew
        write_volume(folder.progress_path(40), np.zeros((8, 8, 8)), 4.0)
        assert view.list_volumes()[-1][0] == "iteration 40"
        progress.draw(drawn)
        assert drawn.axes[-1].get_title() == "iteration 40"


def test_selected_iterations(run_viewer):
    viewer, path = run_viewer
    with RunFolder(path, needed_bytes=0) as folder:
        for number in (10, 20, 30):
            write_volume(folder.progress_path(number), np.zeros((8, 8, 8)), 4.0)
    viewer.iteration.set(SELECTION)
    viewer.selection.set("15-30")
    view, = views(viewer, "showVolume")
    assert [label for label, _ in view.list_volumes()] == ["iteration 20", "iteration 30"]
    viewer.selection.set("11")
    message, = views(viewer, "showVolume")
    assert "there are: 10, 20, 30" in message.getMessage()
    viewer.iteration.set(LAST)


def test_after_the_run(run_viewer):
    viewer, path = run_viewer
    values = np.clip(1.2 - FREQUENCY * 12, 0, 1)
    with RunFolder(path, needed_bytes=0) as folder:
        for name in ("volume.mrc", "half1.mrc", "half2.mrc"):
            write_volume(folder.path(name), np.zeros((8, 8, 8)), 4.0)
        write_fsc(folder.path("fsc.star"), {"unmasked": values, "masked": values}, box_size=64, pixel_size=4.0)
        write_table(folder.path("particles.star"), {
            "optics": {"rlnOpticsGroup": [1]},
            "particles": {"rlnAngleRot": np.full(200, 90.0), "rlnAngleTilt": np.full(200, 90.0)}})
        folder.write_summary({"outcome": "all well", "peak_memory_gb": 1.23456,
                              "seconds": {"march": 12.0}, "parameters": {"minibatch": [100, 300]}})
    view, = views(viewer, "showVolume")
    assert view.list_volumes()[-1][0] == "final volume"
    halves, = views(viewer, "showHalves")
    assert [label for label, _ in halves.list_volumes()] == ["final volume", "half 1", "half 2"]
    drawn = Figure()
    views(viewer, "showFsc")[0].draw(drawn)
    assert "no gold-standard" in drawn.texts[0].get_text()
    assert [line.get_label().split("  ")[0] for line in drawn.axes[0].lines if "half" in line.get_label()] \
        == ["half-maps, unmasked", "half-maps, masked"]
    views(viewer, "showDirections")[0].draw(drawn)
    assert "200 particles, in 4 symmetric copies each (D2)" in " ".join(t.get_text() for t in drawn.texts)
    summary, = views(viewer, "showSummary")
    assert ("outcome", "all well") in summary.rows and ("peak memory (GB)", "1.235") in summary.rows
    assert ("seconds", None) in summary.rows and ("minibatch", "100, 300") in summary.rows


def of_classes(viewer, path, classes=3):
    """Let the viewer's run be one of several classes, begun."""
    folder = RunFolder(path, needed_bytes=0)
    folder.write_job({"parameters": {"classes": classes}})
    for number, record in enumerate(history(20, classes), start=1):
        folder.append_history(record)
        for k in range(classes if number % 10 == 0 else 0):
            write_volume(folder.progress_path(number, k, classes), np.full((8, 8, 8), 100 * k + number), 4.0)
    folder.write_importance(healpix_directions(8), np.full((classes, 768), 1 / classes / 768))
    viewer.setProtocol(viewer.protocol)      # as when the results are asked for now
    return folder


def test_the_form_offers_classes_only_where_there_are_several(run_viewer):
    viewer, path = run_viewer
    assert not viewer.evalParamCondition("structure") and not viewer.evalParamCondition("showClasses")
    with of_classes(viewer, path):
        assert viewer.evalParamCondition("structure") and viewer.evalParamCondition("showClasses")
        assert viewer.getParam("structure").choices == ["all", *(f"class {k} (33.3 % so far)" for k in (1, 2, 3))]


def test_classes_while_the_run_goes_on(run_viewer):
    viewer, path = run_viewer
    with of_classes(viewer, path) as folder:
        view, = views(viewer, "showVolume")
        assert view.start == 0 and [label for label, _ in view.list_volumes()] == ["class 1", "class 2", "class 3"]
        data = view.list_volumes()[1][1]()
        assert data.label == "class 2, iteration 20" and data.voxels[0, 0, 0] == 120
        for k in range(3):
            write_volume(folder.progress_path(30, k, 3), np.full((8, 8, 8), 100 * k + 30), 4.0)
        assert [label for label, _ in view.list_volumes()] == ["class 1", "class 2", "class 3"], "so the window stays"
        assert view.list_volumes()[2][1]().voxels[0, 0, 0] == 230
        viewer.structure.set(3)
        view, = views(viewer, "showVolume")
        assert view.start == -1 and [label for label, _ in view.list_volumes()] == [
            "class 3, iteration 10", "class 3, iteration 20", "class 3, iteration 30"]
        viewer.iteration.set(SELECTION)
        viewer.structure.set(ALL_CLASSES)
        viewer.selection.set("20-25")
        view, = views(viewer, "showVolume")
        assert [label for label, _ in view.list_volumes()] == [f"class {k}, iteration 20" for k in (1, 2, 3)]
        drawn = Figure()
        for name, panels, words in (("showClasses", 9, "newest maps on the way of 3 classes"),
                                    ("showProgress", 9, "slices z = 0 of 3 classes"),
                                    ("showHistory", 7, "20 iterations"), ("showImportance", 3, "view directions")):
            view, = views(viewer, name)
            view.draw(drawn)
            titled = [axes for axes in drawn.axes if axes.get_title()]
            assert len(drawn.axes) >= panels and titled and words in drawn._suptitle.get_text()
            assert view.refreshable
        view, = views(viewer, "showClasses")
        view.draw(drawn)
        assert drawn.axes[0].get_title() == "class 1\n33.3 % so far"


def test_classes_after_the_run(run_viewer):
    viewer, path = run_viewer
    with of_classes(viewer, path) as folder:
        for k in (1, 2, 3):
            for name in ("", "_half1", "_half2"):
                write_volume(folder.path(f"class{k:03d}{name}.mrc"), np.full((8, 8, 8), k), 4.0)
            write_fsc(folder.path(f"class{k:03d}_fsc.star"), {"masked": np.clip(1.2 - FREQUENCY * 4 * k, 0, 1)},
                      box_size=64, pixel_size=4.0)
        write_table(folder.path("particles.star"), {
            "optics": {"rlnOpticsGroup": [1]},
            "particles": {"rlnAngleRot": np.full(60, 90.0), "rlnAngleTilt": np.full(60, 90.0),
                          "rlnClassNumber": np.repeat([1, 2, 3], (10, 20, 30))}})
        folder.write_summary({"outcome": "all well", "class_sizes": [10, 20, 30]})
    viewer.setProtocol(viewer.protocol)
    assert viewer.getParam("structure").choices[3] == "class 3 (30 particles, 50.0 %)"
    view, = views(viewer, "showVolume")
    assert [open_it().label for _, open_it in view.list_volumes()] == [f"class {k}, final volume" for k in (1, 2, 3)]
    halves, = views(viewer, "showHalves")
    assert [label for label, _ in halves.list_volumes()][2:5] == ["class 1, half 2", "class 2, final volume",
                                                                  "class 2, half 1"]
    drawn = Figure()

    def curves():
        views(viewer, "showFsc")[0].draw(drawn)
        return [line.get_label().split("  ")[0] for line in drawn.axes[0].lines if "masked" in line.get_label()]

    def particles():
        views(viewer, "showDirections")[0].draw(drawn)
        return next(text.get_text() for text in drawn.texts if "particles" in text.get_text()).split(",")[0]
    assert curves() == [f"class {k}, masked" for k in (1, 2, 3)]
    assert particles() == "view directions of 60 particles"
    viewer.structure.set(2)
    assert curves() == ["class 2, masked"] and particles() == "view directions of 20 particles"
    view, = views(viewer, "showVolume")
    assert view.list_volumes()[view.start][0] == "class 2, final volume"
    views(viewer, "showClasses")[0].draw(drawn)
    assert drawn.axes[6].get_title() == "class 3\n30 particles, 50.0 %"


def test_damaged_files_give_a_message(run_viewer):
    viewer, path = run_viewer
    with RunFolder(path, needed_bytes=0) as folder:
        folder.path("history.json").write_text("[{", encoding="utf-8")
    message, = views(viewer, "showHistory")
    assert "damaged" in message.getMessage()


def test_chimerax_is_offered_only_where_it_is(run_viewer, monkeypatch, tmp_path):
    viewer, path = run_viewer
    with RunFolder(path, needed_bytes=0) as folder:
        write_volume(folder.progress_path(10), np.zeros((8, 8, 8)), 4.0)
    without_chimerax(monkeypatch)
    viewer.setProtocol(viewer.protocol)
    assert not viewer.evalParamCondition("display")
    assert isinstance(views(viewer, "showVolume")[0], VolumeView)
    opened = stub_chimerax(monkeypatch, tmp_path)
    viewer.setProtocol(viewer.protocol)
    assert viewer.evalParamCondition("display")
    viewer.display.set(WITH_CHIMERAX)
    view, = views(viewer, "showVolume")
    view.show()
    assert opened() == [os.path.abspath(folder.progress_path(10))]


def test_summary_rows_are_readable():
    rows = summary_rows(json.loads('{"a": {"b": true, "c": null}, "d": 3, "e": [1.5, 2], "f": [%s]}'
                                   % ", ".join(["7"] * 20)))
    assert rows[:3] == [("d", "3"), ("e", "1.5, 2"), ("f", ", ".join(["7"] * 12) + ", … (20 in all)")]
    assert summary_rows({"warnings": [], "shift_range_a": None}) == [("warnings", "none"), ("shift range (Å)", "none")]
    assert summary_rows({"final_resolution_a": 12.0, "pixel_size": 4.0, "tilt_deg": 3.0}) \
        == [("final resolution (Å)", "12"), ("pixel size (Å/px)", "4"), ("tilt (°)", "3")]
    assert rows[3:] == [("a", None), ("b", "yes"), ("c", "none")]
