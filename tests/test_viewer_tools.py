"""The viewers of the tools: aligned maps beside their reference, a map beside its mirror image, a simulation."""
import os
import shutil

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from matplotlib.figure import Figure
from pwem.objects import SetOfParticles, SetOfVolumes, Volume
from pyworkflow import Config
from pyworkflow.viewer import DESKTOP_TKINTER, MessageView

from cryosgd_plugin.cli import main
from cryosgd_plugin.convert import set_from_table
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdAlignVolumes, ProtCryosgdFlipHand, ProtCryosgdSimulate
from cryosgd_plugin.tests.viewer_samples import open_project, texts, views
from cryosgd_plugin.viewers.viewer_moved import CryosgdAlignedViewer, CryosgdHandViewer
from cryosgd_plugin.viewers.viewer_simulate import CryosgdSimulateViewer


@pytest.fixture(scope="module")
def project():
    with open_project("viewers of tools") as opened:
        yield opened


def volume_of(project, name, seed, halves=()):
    path = os.path.join(project.getTmpPath(), f"{name}.mrc")
    write_volume(path, np.random.default_rng(seed).normal(size=(12,) * 3).astype(np.float32), 4.0)
    volume = Volume(location=path, objLabel=name)
    volume.setSamplingRate(4.0)
    if halves:
        volume.setHalfMaps([half.getFileName() for half in halves])
    return volume


def started(project, protocol_class, pointer=None, volume=None):
    """A protocol "my run", saved, one of whose inputs is this volume."""
    protocol = project.newProtocol(protocol_class)
    protocol.setObjLabel("my run")
    if pointer:
        holder = project.newProtocol(ProtCryosgdSimulate)
        project.saveProtocol(holder)
        holder._defineOutputs(outputVolume=volume)
        getattr(protocol, pointer).set(holder)
        getattr(protocol, pointer).setExtended("outputVolume")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    return protocol


def opened(project, protocol, viewer_class):
    """What *Analyze results* opens."""
    found = Config.getDomain().findViewers(protocol, DESKTOP_TKINTER)[0]
    assert found is viewer_class
    view, = found(project=project, protocol=protocol)._visualize(protocol)
    return view


def test_aligned_maps_open_beside_their_reference(project):
    reference = volume_of(project, "target", 1)
    protocol = started(project, ProtCryosgdAlignVolumes, "reference", reference)
    message = opened(project, protocol, CryosgdAlignedViewer)
    assert isinstance(message, MessageView) and "look again in a moment" in message.getMessage()
    halves = [volume_of(project, f"h{n}", n) for n in (2, 3)]
    aligned = SetOfVolumes(filename=os.path.join(project.getTmpPath(), "aligned.sqlite"))
    aligned.setSamplingRate(4.0)
    for number in range(4):
        aligned.append(volume_of(project, f"map {number}", 10 + number, halves if number == 0 else ()))
    aligned.write()
    protocol._defineOutputs(outputVolumes=aligned)
    view = opened(project, protocol, CryosgdAlignedViewer)
    assert view.title == "CryoSGD: my run, side by side"
    assert [label for label, _ in view.offered] == ["reference", *(f"map {n}" for n in range(4)), "map 0, half 1",
                                                    "map 0, half 2"]
    assert view.chosen == [0, 1, 2]
    expected = np.random.default_rng(10).normal(size=(12,) * 3).astype(np.float32)
    np.testing.assert_array_equal(view.offered[1][1]().voxels, expected)


def test_a_map_opens_beside_its_mirror_image(project):
    given = volume_of(project, "given", 4)
    protocol = started(project, ProtCryosgdFlipHand, "inputVolume", given)
    assert "no map yet" in opened(project, protocol, CryosgdHandViewer).getMessage()
    halves = [volume_of(project, f"other h{n}", n) for n in (5, 6)]
    protocol._defineOutputs(outputVolume=volume_of(project, "other", 7, halves))
    view = opened(project, protocol, CryosgdHandViewer)
    assert [label for label, _ in view.offered] == ["as it came", "other", "other, half 1", "other, half 2"]
    assert view.chosen == [0, 1]
    np.testing.assert_array_equal(view.offered[0][1]().voxels,
                                  np.random.default_rng(4).normal(size=(12,) * 3).astype(np.float32))


def test_a_simulation_shows_images_truth_and_directions(project, tmp_path):
    protocol = started(project, ProtCryosgdSimulate)
    assert Config.getDomain().findViewers(protocol, DESKTOP_TKINTER)[0] is CryosgdSimulateViewer
    viewer = CryosgdSimulateViewer(project=project)
    viewer.setProtocol(protocol)
    buttons = ("showParticles", "showVolume", "showDirections")
    assert sorted(viewer._getVisualizeDict()) == sorted(buttons)
    for name in buttons:
        assert viewer.getParam(name) is not None
        message, = views(viewer, name)
        assert isinstance(message, MessageView) and "nothing is simulated yet" in message.getMessage().lower()
    assert main(["simulate", "--particles", "30", "--box", "32", "--pixel-size", "8", "-o", str(tmp_path / "run")]) == 0
    shutil.copytree(tmp_path / "run", protocol._getExtraPath("run"))
    particles = SetOfParticles(filename=str(tmp_path / "particles.sqlite"))
    set_from_table(read_particles(tmp_path / "run" / "particles.star"), particles)
    particles.write()
    protocol._defineOutputs(outputParticles=particles, outputVolume=volume_of(project, "truth", 8))
    view, = views(viewer, "showVolume")
    assert [label for label, _ in view.list_volumes()] == ["truth"]
    view, = views(viewer, "showDirections")
    figure = Figure(figsize=(10, 5.8))
    view.draw(figure)
    assert "view directions of 30 particles" in texts(figure), "although the particles have no poses"
    view, = views(viewer, "showParticles")
    assert type(view).__module__.startswith("pwem"), "Scipion's table"
