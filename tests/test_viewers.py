"""The viewers as Scipion finds them, and as they open its volumes, classes, curves and particles."""
import os
import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

import pwem.objects as emobj
from pyworkflow import Config
from pyworkflow.viewer import DESKTOP_TKINTER, MessageView, ProtocolViewer

from cryosgd_plugin import viewers
from cryosgd_plugin.convert import transforms_from_poses
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import euler_to_matrix
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdAbInitio
from cryosgd_plugin.tests.viewer_buttons import BUTTONS
from cryosgd_plugin.tests.viewer_samples import FREQUENCY, new_figure, open_project, texts
from cryosgd_plugin.viewers.figure_view import FigureView
from cryosgd_plugin.viewers.result_viewer import ResultViewer
from cryosgd_plugin.viewers.viewer_abinitio import CryosgdAbInitioViewer
from cryosgd_plugin.viewers.viewer_classes import CryosgdClassSheetViewer
from cryosgd_plugin.viewers.viewer_compare import CompareView, CryosgdCompareViewer
from cryosgd_plugin.viewers.viewer_directions import CryosgdDirectionsViewer, directions_of
from cryosgd_plugin.viewers.viewer_fsc import CryosgdFscViewer, curves_of
from cryosgd_plugin.viewers.viewer_volume import CryosgdVolumeViewer, VolumeView, chimerax_is_installed, volumes_of


@pytest.fixture
def figure():
    return new_figure()


@pytest.fixture(scope="module")
def project():
    with open_project("viewers") as opened:
        yield opened


def volume_file(name, project, seed=0, pixel_size=4.0):
    path = os.path.join(project.getTmpPath(), name)
    write_volume(path, np.random.default_rng(seed).normal(size=(12, 12, 12)).astype(np.float32), pixel_size)
    return path


@pytest.mark.parametrize("make, viewer", [
    (emobj.Volume, CryosgdVolumeViewer),
    (lambda: emobj.SetOfVolumes(filename=":memory:"), CryosgdVolumeViewer),
    (lambda: emobj.SetOfClasses3D(filename=":memory:"), CryosgdVolumeViewer),
    (emobj.Volume, CryosgdCompareViewer),
    (lambda: emobj.SetOfVolumes(filename=":memory:"), CryosgdCompareViewer),
    (lambda: emobj.SetOfVolumes(filename=":memory:"), CryosgdClassSheetViewer),
    (lambda: emobj.SetOfClasses3D(filename=":memory:"), CryosgdClassSheetViewer),
    (emobj.FSC, CryosgdFscViewer),
    (lambda: emobj.SetOfFSCs(filename=":memory:"), CryosgdFscViewer),
    (ProtCryosgdAbInitio, CryosgdAbInitioViewer),
])
def test_scipion_finds_the_viewers(make, viewer):
    found = Config.getDomain().findViewers(make(), DESKTOP_TKINTER)
    assert viewer in found
    assert found.count(viewer) == 1, "offered once"
    if viewer in (CryosgdAbInitioViewer, CryosgdFscViewer):
        assert found[0] is viewer, "Analyze results, or a double click, opens the first"


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


def test_maps_side_by_side_begin_with_what_is_to_be_compared(project):
    viewer = CryosgdCompareViewer(project=project)
    volume = emobj.Volume(location=volume_file("one.mrc", project))
    volume.setSamplingRate(4.0)
    alone, = viewer._visualize(volume)
    assert isinstance(alone, CompareView) and alone.chosen == [0]
    halves = [volume_file("one_h1.mrc", project, 1), volume_file("one_h2.mrc", project, 2)]
    volume.setHalfMaps(halves)
    with_halves, = viewer._visualize(volume)
    assert with_halves.chosen == [0, 1, 2] and with_halves.offered[2][0] == "one.mrc, half 2"
    volumes = emobj.SetOfVolumes(filename=os.path.join(project.getTmpPath(), "four.sqlite"))
    volumes.setSamplingRate(4.0)
    for number in range(4):
        item = volume.clone()
        item.setObjId(None)
        item.setObjLabel(f"state {number}")
        volumes.append(item)
    volumes.write()
    several, = viewer._visualize(volumes)
    assert [several.offered[number][0] for number in several.chosen] == ["state 0", "state 1", "state 2"]
    message, = viewer._visualize(emobj.SetOfVolumes(filename=":memory:"))
    assert isinstance(message, MessageView) and "no volume yet" in message.getMessage()


def test_an_empty_class_sheet_says_so(project):
    message, = CryosgdClassSheetViewer(project=project)._visualize(emobj.SetOfClasses3D(filename=":memory:"))
    assert isinstance(message, MessageView) and "no class yet" in message.getMessage()


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


def test_directions_of_a_scipion_set(project, figure, monkeypatch):
    rot, tilt = np.array([20.0, -110.0, 175.0]), np.array([10.0, 90.0, 140.0])
    particles = aligned_set(project, rot, tilt)
    assert CryosgdDirectionsViewer in Config.getDomain().findViewers(particles, DESKTOP_TKINTER)
    np.testing.assert_allclose(directions_of(particles), [rot, tilt], atol=1e-4)
    monkeypatch.setattr("cryosgd_plugin.viewers.viewer_directions.BLOCK", 2)
    np.testing.assert_allclose(directions_of(particles), [rot, tilt], atol=1e-4, err_msg="read block by block")
    view, = CryosgdDirectionsViewer(project=project)._visualize(particles)
    view.draw(figure)
    assert "view directions of 3 particles" in texts(figure)


def test_disabled_and_unposed_particles_are_left_out_and_damaged_poses_named(project):
    rot, tilt = np.array([20.0, -110.0, 175.0, 60.0]), np.array([10.0, 90.0, 140.0, 30.0])
    particles = aligned_set(project, rot, tilt)
    with sqlite3.connect(particles.getFileName()) as database:
        column, = database.execute("SELECT column_name FROM Classes WHERE label_property = '_transform._matrix'"
                                   ).fetchone()
        database.execute("UPDATE Objects SET enabled = 0 WHERE id = 1")
        database.execute(f"UPDATE Objects SET {column} = NULL WHERE id = 3")
    np.testing.assert_allclose(directions_of(particles), [rot[[1, 3]], tilt[[1, 3]]], atol=1e-4)
    for damaged in ("[[1.0, 0.0, 0.", "[[1.0, 0.0, x, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0, 0, 0, 1]]"):
        with sqlite3.connect(particles.getFileName()) as database:
            database.execute(f"UPDATE Objects SET {column} = ? WHERE id = 2", (damaged,))
        message, = CryosgdDirectionsViewer(project=project)._visualize(particles)
        assert "can't be read" in message.getMessage() and "look again" in message.getMessage()


def test_the_gui_tests_know_every_viewer_with_buttons():
    found = {name for name, viewer in vars(viewers).items()
             if isinstance(viewer, type) and issubclass(viewer, ProtocolViewer)}
    assert found == set(BUTTONS), "GuiSession.open_every_eye opens all of them in a GUI test of each viewer"


def test_results_name_the_program_once(project):
    assert CryosgdAbInitioViewer(project=project).getClassLabel() == "CryoSGD ab initio results"


def test_what_a_run_shows_is_read_once_for_its_first_picture_and_anew_for_the_next(figure):
    read, drawn = iter([1, 2, 3]), []
    viewer = SimpleNamespace(protocol=SimpleNamespace(getRunName=lambda: "run 1"), formWindow=None)
    view = ResultViewer._figureView(viewer, "history", lambda: next(read), lambda figure, found: drawn.append(found))
    for _ in range(3):
        view.draw(figure)
    assert drawn == [1, 2, 3] and next(read, None) is None


def test_unaligned_particles_are_not_offered_a_direction_map(project):
    particles = emobj.SetOfParticles(filename=":memory:")
    assert CryosgdDirectionsViewer not in Config.getDomain().findViewers(particles, DESKTOP_TKINTER)
    absent = emobj.SetOfParticles(filename=os.path.join(project.getTmpPath(), "absent.sqlite"))
    absent.setAlignmentProj()
    os.remove(absent.getFileName())
    message, = CryosgdDirectionsViewer(project=project)._visualize(absent)
    assert "not written yet" in message.getMessage()
