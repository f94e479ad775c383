"""The viewer of a validation, drawn from a folder that the engine wrote, and from one with less in it."""
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from matplotlib.figure import Figure
from pwem.objects import AtomStruct, SetOfParticles, Volume
from pyworkflow import Config
from pyworkflow.viewer import DESKTOP_TKINTER, MessageView

from cryosgd_plugin.cli import main
from cryosgd_plugin.convert import set_from_table
from cryosgd_plugin.io.fsc_star import read_fsc
from cryosgd_plugin.io.result_folder import read_json
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.protocols import ProtCryosgdPostprocess, ProtCryosgdSimulate, ProtCryosgdValidate
from cryosgd_plugin.tests.validation_samples import HALVES, PIXEL, write_samples
from cryosgd_plugin.tests.viewer_samples import open_project, stub_chimerax, texts, views
from cryosgd_plugin.viewers.figure_view import TableView
from cryosgd_plugin.viewers.result_viewer import WITH_CHIMERAX
from cryosgd_plugin.viewers.viewer_validate import CryosgdValidateViewer
from cryosgd_plugin.viewers.viewer_volume import CryosgdVolumeViewer, VolumeView

ALWAYS = ("showVolume", "showFsc", "showGuinier", "showSummary")
OF_VALIDATION = ("showLocal", "showLocalHistogram", "showCones")
OF_PARTICLES, OF_MODEL = ("showViews", "showSampling"), ("showModelFsc", "showModel", "showPixelScan")
BUTTONS = (*ALWAYS, *OF_VALIDATION, *OF_PARTICLES, *OF_MODEL)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Files, and in `all` and `bare` the folders of a whole validation and of a post-processing."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    halves = [str(folder / half) for half in HALVES]
    assert main(["validate", *halves, "-o", str(folder / "all"), "--particles", str(folder / "particles.star"),
                 "--model", str(folder / "model.pdb"), "--scan", "1"]) == 0
    assert main(["postprocess", *halves, "-o", str(folder / "bare")]) == 0
    return folder


@pytest.fixture(scope="module")
def project():
    with open_project("viewer of a validation") as opened:
        yield opened


def viewer_of(project, samples, protocol_class, results=None, **outputs):
    """The viewer of a protocol with these inputs, whose run folder is a copy of results."""
    holder = project.newProtocol(ProtCryosgdSimulate)
    project.saveProtocol(holder)
    volume = Volume(location=str(samples / HALVES[0]))
    volume.setSamplingRate(PIXEL)
    volume.setHalfMaps([str(samples / half) for half in HALVES])
    holder._defineOutputs(outputVolume=volume, **outputs)
    protocol = project.newProtocol(protocol_class)
    for name in ("outputVolume", *outputs):
        pointer = getattr(protocol, name.replace("output", "input"))
        pointer.set(holder)
        pointer.setExtended(name)
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    if results:
        shutil.copytree(samples / results, protocol._getExtraPath("run"))
    viewer = CryosgdValidateViewer(project=project)
    viewer.setProtocol(protocol)
    return viewer


@pytest.fixture
def whole(project, samples, tmp_path):
    particles = SetOfParticles(filename=str(tmp_path / "particles.sqlite"))
    set_from_table(read_particles(samples / "particles.star"), particles)
    particles.write()
    return viewer_of(project, samples, ProtCryosgdValidate, "all", outputParticles=particles,
                     outputModel=AtomStruct(str(samples / "model.pdb")))


def drawn(viewer, name):
    figure = Figure(figsize=(11, 6))
    view, = views(viewer, name)
    view.draw(figure)
    return figure


def shown(viewer):
    return tuple(name for name in BUTTONS if viewer.getParam(name) is not None)


def labels(axes):
    return [line.get_label().split("  ")[0] for line in axes.lines if not line.get_label().startswith("_")]


def test_scipion_opens_it_for_both_protocols(project, samples, whole):
    alone = viewer_of(project, samples, ProtCryosgdPostprocess)
    for viewer in (whole, alone):
        assert Config.getDomain().findViewers(viewer.protocol, DESKTOP_TKINTER)[0] is CryosgdValidateViewer
        assert sorted(viewer._getVisualizeDict()) == sorted(BUTTONS)
    assert shown(whole) == BUTTONS
    assert shown(alone) == ALWAYS
    assert shown(viewer_of(project, samples, ProtCryosgdValidate)) == (*ALWAYS, *OF_VALIDATION)
    for name in ALWAYS:
        message, = views(alone, name)
        assert isinstance(message, MessageView) and "written nothing yet" in message.getMessage()


def test_curves_and_their_numbers(whole, samples):
    figure = drawn(whole, "showFsc")
    assert labels(figure.axes[0]) == [f"half-maps, {word}" for word in (
        "unmasked", "masked", "randomised", "corrected", "solvent-free")]
    corrected, = (line for line in figure.axes[0].lines if line.get_label().startswith("half-maps, corrected"))
    np.testing.assert_allclose(corrected.get_ydata(), read_fsc(samples / "all" / "fsc.star")[1]["corrected"])
    assert "radius rounds to s" in texts(figure)
    view, = views(whole, "showFsc")
    offered = [label for label, _, _ in view.options["curves"]()]
    assert offered == labels(figure.axes[0]), "the window saves each for the EMDB"
    guinier = drawn(whole, "showGuinier").axes[0]
    said = read_json(samples / "all" / "summary.json")
    assert f"B = {said['postprocess']['bfactor']:.0f} Å², fitted" in guinier.get_title()
    assert labels(guinier) == ["half-maps' mean", "weighted by FSC", "sharpened",
                               f"fit to {said['postprocess']['guinier_fit']['shells']} shells"]
    assert labels(drawn(whole, "showModelFsc").axes[0])[0] == "map and model"


def test_what_depends_on_place_and_direction(whole, samples):
    said = read_json(samples / "all" / "summary.json")
    assert "on the sharpened map" in texts(drawn(whole, "showLocal"))
    assert f"median, {said['local_resolution']['local_a']['median']:.1f} Å" in labels(
        drawn(whole, "showLocalHistogram").axes[0])
    cones = drawn(whole, "showCones")
    assert f"area ratio {said['directional']['area_ratio']:.2f}" in cones.axes[0].get_title()
    assert "cones of 20°" in texts(cones)
    assert f"SCF* {said['sampling']['scf_star']:.2f}" in drawn(whole, "showSampling").axes[0].get_title()
    assert "view directions of 300 particles" in texts(drawn(whole, "showViews"))
    assert f"best, {said['model']['pixel_scan']['best']:.4f}" in labels(drawn(whole, "showPixelScan").axes[0])[-1]


def test_the_local_resolution_opened_as_a_volume_colours_the_map(project, samples, tmp_path):
    def opened(path):
        volume = Volume(location=str(path))
        volume.setSamplingRate(PIXEL)
        view, = CryosgdVolumeViewer(project=project)._visualize(volume)
        return view
    figure = Figure(figsize=(11, 6))
    opened(samples / "all" / "local_resolution.mrc").draw(figure)
    assert "on the sharpened map" in texts(figure)
    # of another program, or alone, it is a map as others are
    shutil.copy(samples / "all" / "local_resolution.mrc", tmp_path)
    assert isinstance(opened(tmp_path / "local_resolution.mrc"), VolumeView)


def test_maps_and_summary(whole):
    for name, wanted in (("showVolume", ["sharpened map", "mask", "half 1", "half 2"]),
                         ("showModel", ["sharpened map", "model", "mask"])):
        view, = views(whole, name)
        assert [label for label, _ in view.list_volumes()] == wanted
        assert all(opener().shape == (40, 40, 40) for _, opener in view.list_volumes())
    table, = views(whole, "showSummary")
    assert isinstance(table, TableView)
    assert [name for name, _ in table.rows].count("outcome") == 5, "once for each part"


def test_maps_in_chimerax(whole, samples, monkeypatch, tmp_path):
    opened = stub_chimerax(monkeypatch, tmp_path)
    whole.display.set(WITH_CHIMERAX)
    view, = views(whole, "showVolume")
    view.show()
    assert [Path(file).name for file in opened()] == ["volume.mrc", "mask.mrc", *HALVES]


def test_parts_that_a_run_lacks_are_told(project, samples):
    viewer = viewer_of(project, samples, ProtCryosgdPostprocess, "bare")
    assert labels(drawn(viewer, "showFsc").axes[0])[-1] == "half-maps, solvent-free"
    assert "Guinier" in drawn(viewer, "showGuinier").axes[0].get_title()
    viewer = viewer_of(project, samples, ProtCryosgdValidate, "bare")
    for name in (*OF_VALIDATION, *OF_MODEL, "showSampling"):
        message, = views(viewer, name)
        assert isinstance(message, MessageView) and "no such part" in message.getMessage(), name
    message, = views(viewer, "showViews")
    assert "no particles were given" in message.getMessage().lower()
