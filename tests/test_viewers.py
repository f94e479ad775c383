"""Plots of a run, the viewers as Scipion finds and opens them, and what they say when there is nothing to show yet."""
import json
import os

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

import pwem.objects as emobj
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pyworkflow import Config
from pyworkflow.project import Manager
from pyworkflow.utils import makePath
from pyworkflow.viewer import DESKTOP_TKINTER, MessageView

from cryosgd_plugin.convert import transforms_from_poses
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import euler_to_matrix, healpix_directions, view_directions
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.io.fsc_star import write_fsc
from cryosgd_plugin.io.runfolder import RunFolder
from cryosgd_plugin.io.star_tables import write_table
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdAbInitio
from cryosgd_plugin.viewers.direction_map import count_directions, draw_view_directions
from cryosgd_plugin.viewers.figure_view import FigureView, TableView, summary_rows
from cryosgd_plugin.viewers.plots import crossing_frequency, describe_crossing, draw_fsc
from cryosgd_plugin.viewers.viewer_abinitio import ALL_CLASSES, LAST, SELECTION, WITH_CHIMERAX, CryosgdAbInitioViewer
from cryosgd_plugin.viewers.viewer_directions import CryosgdDirectionsViewer, directions_of
from cryosgd_plugin.viewers.viewer_fsc import CryosgdFscViewer, curves_of
from cryosgd_plugin.viewers.viewer_volume import CryosgdVolumeViewer, VolumeView, chimerax_is_installed, volumes_of

FREQUENCY = np.arange(33) / 256.0      # 64 px at 4 Å/px


@pytest.fixture
def figure():
    canvas = FigureCanvasAgg(Figure(figsize=(9, 6), dpi=50))
    return canvas.figure


@pytest.fixture(scope="module")
def project():
    here = os.getcwd()
    project = Manager().createProject("viewers")
    os.chdir(project.path)      # as Scipion's windows do: its paths are relative to the project
    makePath(project.getTmpPath())
    yield project
    os.chdir(here)


def history(n=60, classes=1):
    return [dict(iteration=i + 1, resolution_a=40 - 0.4 * i, n_images=100 + i, step_size=0.5 * 0.98 ** i,
                 significant_share=0.01 * 0.9 ** i, noise_inflation=max(1.0, 30 * 0.9 ** i),
                 log_likelihood=-8 + 0.05 * i, class_shares=[1 / classes] * classes,
                 seconds=0.5, symmetry="C1" if i < 20 else "O") for i in range(n)]


def texts(figure):
    figure.canvas.draw()
    found = [t.get_text() for t in figure.texts]
    if figure._suptitle is not None:
        found.append(figure._suptitle.get_text())
    return " | ".join(found)


# ---- FSC
def test_fsc_is_drawn_against_frequency_and_read_in_angstroms(figure):
    values = np.clip(1.2 - FREQUENCY * 12, 0, 1)      # 0.5 at 0.7 / 12, 0.143 at 1.057 / 12
    draw_fsc(figure, [("half-maps", FREQUENCY, values)])
    axes = figure.axes[0]
    curve = next(line for line in axes.lines if line.get_label().startswith("half-maps"))
    np.testing.assert_allclose(curve.get_xdata(), FREQUENCY)
    np.testing.assert_allclose(curve.get_ydata(), values)
    assert "17.1 Å (0.5)" in curve.get_label() and "11.4 Å (0.143)" in curve.get_label()
    assert axes.get_xlabel() == "resolution (Å)"
    figure.canvas.draw()
    for tick, label in zip(axes.get_xticks(), axes.get_xticklabels()):
        assert float(label.get_text()) == pytest.approx(1 / tick, rel=1e-3)
    dashed = sorted(line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--")
    assert dashed == [0.143, 0.5]


@pytest.mark.parametrize("values, words", [
    (np.ones(33), "≤ 8 Å"),                                   # pwem's own read-out divides by zero here
    (np.zeros(33), "none"),
    (np.r_[1.0, 1.0, 0.0, np.ones(30)], "171 Å"),             # it counts from the first crossing on, not the last
])
def test_fsc_readout_at_the_ends(values, words):
    assert describe_crossing(FREQUENCY, values, 0.5) == words


def test_fsc_readout_interpolates():
    assert crossing_frequency([0, 0.1, 0.2], [1, 0.8, 0.2], 0.5) == pytest.approx(0.15)
    assert crossing_frequency([0.1, 0.2], [0.8, 0.6], 0.5) is None


def test_no_fsc_yet(figure):
    with pytest.raises(InputError, match="no FSC curve yet"):
        draw_fsc(figure, [])


# ---- view directions
def test_directions_are_counted_on_equal_areas():
    directions = np.random.default_rng(7).normal(size=(40000, 3))
    x, y, z = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    nside, counts = count_directions(np.degrees(np.arctan2(y, x)), np.degrees(np.arccos(z)))
    assert nside == 16 and counts.sum() == 40000
    expected = 40000 / len(counts)
    assert counts.std() == pytest.approx(np.sqrt(expected), rel=0.1), "even directions scatter as Poisson's"


def test_symmetric_copies_are_counted():
    rotations = euler_to_matrix(20.0, 35.0, 10.0)
    nside, counts = count_directions([20.0], [35.0], point_group("D2"))
    mates = np.einsum("gij,j->gi", point_group("D2"), view_directions(rotations)[0])
    import healpix
    assert counts.sum() == 4
    assert all(counts[pixel] > 0 for pixel in healpix.vec2pix(nside, *mates.T))


def test_direction_map_puts_views_where_they_belong(figure):
    """All particles seen along rot 80°, tilt 85°: bright there, near the equator on the right, and dark elsewhere."""
    draw_view_directions(figure, np.full(500, 80.0), np.full(500, 85.0))
    picture = figure.axes[0].images[0].get_array()
    height, width = picture.shape
    assert np.ma.is_masked(picture[0, 0]) or np.isnan(picture[0, 0]), "outside the ellipse nothing is drawn"
    assert picture[height // 2 + 15, int(width * (0.5 + 80 / 360))] > 10
    assert picture[height // 2, width // 4] == 0 and picture[height // 2, width // 2] == 0
    assert "view directions of 500 particles" in texts(figure)
    with pytest.raises(InputError, match="no particles with poses"):
        draw_view_directions(figure, [], [])


def test_direction_map_is_equal_area(figure):
    """A uniform set has as much colour on the map's upper half as on its lower one, and every area alike."""
    import healpix
    vectors = np.array(healpix.pix2vec(8, np.arange(768)))
    draw_view_directions(figure, np.degrees(np.arctan2(vectors[1], vectors[0])), np.degrees(np.arccos(vectors[2])))
    picture = np.ma.filled(np.ma.masked_invalid(figure.axes[0].images[0].get_array()), np.nan)
    assert np.nanmin(picture) == np.nanmax(picture) == 1.0


# ---- Scipion's objects
def volume_file(name, project, seed=0, pixel_size=4.0):
    path = os.path.join(project.getTmpPath(), name)
    write_volume(path, np.random.default_rng(seed).normal(size=(12, 12, 12)).astype(np.float32), pixel_size)
    return path


@pytest.mark.parametrize("make, viewer", [
    (emobj.Volume, CryosgdVolumeViewer),
    (lambda: emobj.SetOfVolumes(filename=":memory:"), CryosgdVolumeViewer),
    (lambda: emobj.SetOfClasses3D(filename=":memory:"), CryosgdVolumeViewer),
    (emobj.FSC, CryosgdFscViewer),
    (lambda: emobj.SetOfFSCs(filename=":memory:"), CryosgdFscViewer),
    (ProtCryosgdAbInitio, CryosgdAbInitioViewer),
])
def test_scipion_finds_the_viewers(make, viewer):
    found = Config.getDomain().findViewers(make(), DESKTOP_TKINTER)
    assert viewer in found
    assert found.count(viewer) == 1, "offered once"
    if viewer is CryosgdAbInitioViewer:
        assert found[0] is viewer, "Analyze results opens the first"


def test_without_chimerax_our_volume_viewer_comes_first():
    if chimerax_is_installed():
        pytest.skip("ChimeraX is installed here and keeps its place")
    domain = Config.getDomain()
    assert domain.findViewers(emobj.Volume(), DESKTOP_TKINTER)[0] is CryosgdVolumeViewer
    first = domain.findViewers(emobj.SetOfVolumes(filename=":memory:"), DESKTOP_TKINTER)[0]
    assert first.__module__.startswith("pwem"), "sets still open as Scipion's table"


def test_volume_with_half_maps(project):
    volume = emobj.Volume(location=volume_file("whole.mrc", project))
    volume.setSamplingRate(3.0)
    volume.setHalfMaps([volume_file("h1.mrc", project, 1), volume_file("h2.mrc", project, 2)])
    listed = volumes_of(volume)
    assert [label for label, _ in listed] == ["whole.mrc", "whole.mrc, half 1", "whole.mrc, half 2"]
    first = listed[0][1]()
    assert first.voxel_size_a[0] == 3.0 and "header says 4 Å/px" in first.note
    expected = np.random.default_rng(1).normal(size=(12, 12, 12)).astype(np.float32)
    np.testing.assert_array_equal(listed[1][1]().voxels, expected)


def test_set_of_volumes_and_classes(project):
    volumes = emobj.SetOfVolumes(filename=os.path.join(project.getTmpPath(), "volumes.sqlite"))
    volumes.setSamplingRate(4.0)
    with pytest.raises(InputError, match="holds no volume yet"):
        volumes_of(volumes)
    for seed in (1, 2):
        volume = emobj.Volume(location=volume_file(f"v{seed}.mrc", project, seed))
        volume.setSamplingRate(4.0)
        volume.setObjLabel(f"state {seed}")
        volumes.append(volume)
    volumes.write()
    listed = volumes_of(volumes)
    assert [label for label, _ in listed] == ["state 1", "state 2"]
    assert not np.array_equal(listed[0][1]().voxels, listed[1][1]().voxels)


def test_classes_open_with_their_maps_and_sizes(project):
    particles = aligned_set(project, np.arange(5.0), np.full(5, 40.0))
    classes = emobj.SetOfClasses3D(filename=os.path.join(project.getTmpPath(), "classes.sqlite"))
    classes.setImages(particles)
    for number, members in ((1, (1, 2, 3)), (2, (4, 5))):
        item = emobj.Class3D()
        item.setObjId(number)
        representative = emobj.Volume(location=volume_file(f"class{number}.mrc", project, number))
        representative.setSamplingRate(4.0)
        item.setRepresentative(representative)
        classes.append(item)
        for member in members:
            item.append(particles[member])
        item.write()
        classes.update(item)
    classes.write()
    listed = volumes_of(classes)
    assert [label for label, _ in listed] == ["class 1 (3 particles)", "class 2 (2 particles)"]
    expected = np.random.default_rng(2).normal(size=(12, 12, 12)).astype(np.float32)
    np.testing.assert_array_equal(listed[1][1]().voxels, expected)
    view, = CryosgdVolumeViewer(project=project)._visualize(classes)
    assert isinstance(view, VolumeView)


def test_volume_viewer_opens_or_says_why_not(project):
    viewer = CryosgdVolumeViewer(project=project)
    view, = viewer._visualize(emobj.Volume(location=volume_file("seen.mrc", project)))
    assert isinstance(view, VolumeView)
    message, = viewer._visualize(emobj.Volume())
    assert isinstance(message, MessageView) and "no file yet" in message.getMessage()


def test_set_of_fscs(project, figure):
    curves = emobj.SetOfFSCs(filename=os.path.join(project.getTmpPath(), "fscs.sqlite"))
    item = emobj.FSC(objLabel="masked")
    item.setData(list(FREQUENCY[1:]), list(np.linspace(1, 0, 32)))
    curves.append(item)
    curves.write()
    (label, frequency, values), = curves_of(curves)
    assert label == "masked" and len(frequency) == len(values) == 32
    view, = CryosgdFscViewer(project=project)._visualize(curves)
    assert isinstance(view, FigureView)
    view.draw(figure)
    assert any("masked" in line.get_label() for line in figure.axes[0].lines)
    message, = CryosgdFscViewer(project=project)._visualize(emobj.SetOfFSCs(filename=":memory:"))
    assert "no FSC curve yet" in message.getMessage()


def aligned_set(project, rot_deg, tilt_deg):
    """A written SetOfParticles with the poses of these angles."""
    particles = emobj.SetOfParticles(filename=os.path.join(project.getTmpPath(), f"particles{len(rot_deg)}.sqlite"))
    particles.setSamplingRate(2.0)
    particles.setAlignmentProj()
    for matrix in transforms_from_poses(euler_to_matrix(rot_deg, tilt_deg, 30.0), None, 2.0):
        particle = emobj.Particle()
        particle.setLocation(1, "stack.mrcs")
        particle.setTransform(emobj.Transform(matrix))
        particles.append(particle)
    particles.write()
    return particles


def test_directions_of_a_scipion_set(project, figure):
    rot, tilt = np.array([20.0, -110.0, 175.0]), np.array([10.0, 90.0, 140.0])
    particles = aligned_set(project, rot, tilt)
    assert CryosgdDirectionsViewer in Config.getDomain().findViewers(particles, DESKTOP_TKINTER)
    np.testing.assert_allclose(directions_of(particles), [rot, tilt], atol=1e-4)
    view, = CryosgdDirectionsViewer(project=project)._visualize(particles)
    view.draw(figure)
    assert "view directions of 3 particles" in texts(figure)


def test_unaligned_particles_are_not_offered_a_direction_map(project):
    particles = emobj.SetOfParticles(filename=":memory:")
    assert CryosgdDirectionsViewer not in Config.getDomain().findViewers(particles, DESKTOP_TKINTER)
    absent = emobj.SetOfParticles(filename=os.path.join(project.getTmpPath(), "absent.sqlite"))
    absent.setAlignmentProj()
    os.remove(absent.getFileName())
    message, = CryosgdDirectionsViewer(project=project)._visualize(absent)
    assert "not written yet" in message.getMessage()


# ---- the viewer of a run
@pytest.fixture
def run_viewer(project):
    """A viewer on an ab initio protocol that has been saved and has an empty run folder, and that folder."""
    protocol = project.newProtocol(ProtCryosgdAbInitio)
    protocol.setObjLabel("my run")
    protocol.symmetry.set("D2")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    viewer = CryosgdAbInitioViewer(project=project)
    viewer.setProtocol(protocol)
    return viewer, protocol._getExtraPath("run")


def views(viewer, name):
    return viewer._getVisualizeDict()[name](name)


BUTTONS = ("showVolume", "showHalves", "showFsc", "showDirections", "showClasses", "showProgress", "showHistory",
           "showImportance", "showSummary")


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


def test_chimerax_is_refused_where_it_is_absent(run_viewer):
    if chimerax_is_installed():
        pytest.skip("ChimeraX is installed here")
    viewer, path = run_viewer
    with RunFolder(path, needed_bytes=0) as folder:
        write_volume(folder.progress_path(10), np.zeros((8, 8, 8)), 4.0)
    viewer.display.set(WITH_CHIMERAX)
    message, = views(viewer, "showVolume")
    assert "ChimeraX is not installed" in message.getMessage()


def test_summary_rows_are_readable():
    rows = summary_rows(json.loads('{"a": {"b": true, "c": null}, "d": 3, "e": [1.5, 2], "f": [%s]}'
                                   % ", ".join(["7"] * 20)))
    assert rows[:3] == [("d", "3"), ("e", "1.5, 2"), ("f", ", ".join(["7"] * 12) + ", … (20 in all)")]
    assert summary_rows({"warnings": [], "shift_range_a": None}) == [("warnings", "none"), ("shift range (Å)", "none")]
    assert summary_rows({"final_resolution_a": 12.0, "pixel_size": 4.0, "tilt_deg": 3.0}) \
        == [("final resolution (Å)", "12"), ("pixel size (Å/px)", "4"), ("tilt (°)", "3")]
    assert rows[3:] == [("a", None), ("b", "yes"), ("c", "none")]
