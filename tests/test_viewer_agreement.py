"""The viewers of restarts, of a comparison of maps and of a search for symmetry, drawn from what the commands write."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from matplotlib.figure import Figure
from pwem.objects import Volume
from pyworkflow.viewer import MessageView

from cryosgd_plugin.cli import main
from cryosgd_plugin.convert import volume_object
from cryosgd_plugin.core.symmetry import symmetrise
from cryosgd_plugin.io.result_folder import read_json
from cryosgd_plugin.io.runfolder import RunFolder, write_json
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import (
    ProtCryosgdAbInitio,
    ProtCryosgdConsensus,
    ProtCryosgdFindSymmetry,
    ProtCryosgdSimulate,
)
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density
from cryosgd_plugin.tests.test_consensus import OTHER, PIXEL, start
from cryosgd_plugin.tests.viewer_samples import open_project, stub_chimerax, views
from cryosgd_plugin.viewers.result_viewer import WITH_CHIMERAX
from cryosgd_plugin.viewers.viewer_abinitio import CryosgdAbInitioViewer
from cryosgd_plugin.viewers.viewer_consensus import CryosgdConsensusViewer
from cryosgd_plugin.viewers.viewer_symmetry import CryosgdSymmetryViewer


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A comparison of four maps, of which one differs, and a search for symmetry, as the commands wrote them."""
    folder = tmp_path_factory.mktemp("samples")
    maps = {"one": start(BLOBS, 1), "two": start(OTHER, 2), "three": start(BLOBS, 3, hand=True),
            "four": start(BLOBS, 4)}
    for name, voxels in maps.items():
        write_volume(folder / f"{name}.mrc", voxels, PIXEL)
    assert main(["consensus", *(str(folder / f"{name}.mrc") for name in maps), "-o", str(folder / "compared"),
                 "--resolution", "21"]) == 0
    symmetric = symmetrise(density(BLOBS * 0.9 + 12, box=32, pixel=PIXEL), "C3")
    write_volume(folder / "map.mrc", symmetric, PIXEL)
    (folder / "searched").mkdir()
    assert main(["symmetry", str(folder / "map.mrc"), "--max-fold", "3", "--radius", "9", "-o",
                 str(folder / "searched" / "on_axes.mrc"), "--json", str(folder / "searched" / "symmetry.json")]) == 0
    return folder


@pytest.fixture(scope="module")
def project():
    with open_project("viewer of maps") as opened:
        yield opened


def viewer_of(project, protocol_class, viewer_class, results=None, **inputs):
    """A viewer on a protocol whose run folder is a copy of results."""
    protocol = project.newProtocol(protocol_class)
    protocol.setObjLabel("my run")
    for name, volume in inputs.items():
        holder = project.newProtocol(ProtCryosgdSimulate)
        project.saveProtocol(holder)
        holder._defineOutputs(outputVolume=volume)
        getattr(protocol, name).set(holder)
        getattr(protocol, name).setExtended("outputVolume")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    if results:
        shutil.copytree(results, protocol._getExtraPath("run"))
    viewer = viewer_class(project=project)
    viewer.setProtocol(protocol)
    return viewer


def drawn(view):
    figure = Figure(layout="constrained")
    view.draw(figure)
    return figure


def message(viewer, name):
    view, = views(viewer, name)
    assert isinstance(view, MessageView)
    return view.getMessage()


def test_consensus(project, samples):
    viewer = viewer_of(project, ProtCryosgdConsensus, CryosgdConsensusViewer, samples / "compared")
    view, = views(viewer, "showPairs")
    assert view.title == "CryoSGD: agreement of my run"
    curves, matrix = drawn(view).axes[:2]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["one", "three", "four", "two"]
    assert {line.get_label() for line in curves.lines} >= {"pair of the largest group", "other pair", "mean of 6 pairs"}
    view, = views(viewer, "showAligned")
    assert [label for label, _ in view.offered] == ["consensus", "one", "three", "four", "two (differs)"]
    assert view.chosen == [0, 1, 2, 3]
    consensus = view.offered[0][1]()
    assert consensus.label == "consensus" and consensus.voxels.shape == (32, 32, 32)


def test_consensus_and_aligned_maps_in_chimerax(project, samples, monkeypatch, tmp_path):
    opened = stub_chimerax(monkeypatch, tmp_path)
    viewer = viewer_of(project, ProtCryosgdConsensus, CryosgdConsensusViewer, samples / "compared")
    assert viewer.evalParamCondition("display")
    viewer.display.set(WITH_CHIMERAX)
    view, = views(viewer, "showAligned")
    view.show()
    assert [Path(file).name for file in opened()] == ["consensus.mrc", *(
        entry["file"] for entry in sorted(read_json(samples / "compared" / "consensus.json")["maps"],
                                          key=lambda entry: not entry["agrees"]))]


def test_before_there_is_anything(project):
    for protocol, viewer, names in ((ProtCryosgdConsensus, CryosgdConsensusViewer, ("showPairs", "showAligned")),
                                    (ProtCryosgdFindSymmetry, CryosgdSymmetryViewer,
                                     ("showGroups", "showTable", "showTurned"))):
        opened = viewer_of(project, protocol, viewer)
        for name in names:
            assert opened.getParam(name) is not None
            assert "look again in a moment" in message(opened, name)


def of_restarts(project, samples, classes=1):
    """An ab initio run of restarts, over whose comparison is that of the samples, once for each class."""
    protocol = project.newProtocol(ProtCryosgdAbInitio)
    protocol.restarts.set(4)
    protocol.numberOfClasses.set(classes)
    protocol.setObjLabel("my run")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    viewer = CryosgdAbInitioViewer(project=project)
    viewer.setProtocol(protocol)
    folder = RunFolder(protocol._getExtraPath("run"), needed_bytes=0)
    folder.write_job({"parameters": {"classes": classes}})
    return viewer, folder


def finish(folder, samples, classes):
    report = read_json(samples / "compared" / "consensus.json")
    for file in [report["consensus"], *(entry["file"] for entry in report["maps"])]:
        shutil.copyfile(samples / "compared" / file, folder.path(file))
    write_json(folder.path("restarts.json"), report if classes == 1 else {"classes": [report] * classes})
    folder.write_summary({"outcome": "all well"})


def test_restarts(project, samples):
    viewer, folder = of_restarts(project, samples)
    with folder:
        assert viewer.evalParamCondition("showRestarts") and viewer.evalParamCondition("showAligned")
        assert "compared when all have ended" in message(viewer, "showRestarts")
        assert "compared when all have ended" in message(viewer, "showAligned")
        finish(folder, samples, 1)
    figure = drawn(*views(viewer, "showRestarts"))
    assert figure.get_suptitle().startswith("3 of 4 maps show the same structure")
    view, = views(viewer, "showAligned")
    assert view.offered[0][0] == "consensus" and "aligned maps of my run" in view.title
    folder.path("restarts.json").write_text(json.dumps({"maps": [], "pairwise_mean_fsc": []}))
    assert "run the comparison again" in message(viewer, "showRestarts")


def test_restarts_of_classes(project, samples):
    viewer, folder = of_restarts(project, samples, classes=2)
    with folder:
        finish(folder, samples, 2)
    viewer.setProtocol(viewer.protocol)
    titles = [view.title for view in views(viewer, "showRestarts")]
    assert titles == [f"CryoSGD: agreement, class {k}, of my run" for k in (1, 2)]
    assert len(views(viewer, "showAligned")) == 2
    viewer.structure.set(2)
    view, = views(viewer, "showAligned")
    assert "aligned maps of class 2 of my run" in view.title


def test_a_single_run_offers_no_comparison(project):
    viewer = viewer_of(project, ProtCryosgdAbInitio, CryosgdAbInitioViewer)
    assert not viewer.evalParamCondition("showRestarts") and not viewer.evalParamCondition("showAligned")


def test_symmetry(project, samples, monkeypatch, tmp_path):
    given = Volume(location=str(samples / "map.mrc"))
    given.setSamplingRate(PIXEL)
    viewer = viewer_of(project, ProtCryosgdFindSymmetry, CryosgdSymmetryViewer, samples / "searched",
                       inputVolume=given)
    figures = read_json(samples / "searched" / "symmetry.json")
    figure = drawn(*views(viewer, "showGroups"))
    bars, curves = figure.axes
    assert "C3 fits" in figure.get_suptitle().replace("\n", " ")
    assert [label.get_text() for label in bars.get_xticklabels()] == [row["group"] for row in figures["groups"]]
    heights = [patch.get_height() for patch in bars.patches]
    np.testing.assert_allclose(heights, [row["weakest"] for row in figures["groups"]])
    drawn_groups = [line for line in curves.lines if not line.get_label().startswith("_")]
    assert drawn_groups[0].get_label() == "C3"
    np.testing.assert_allclose(drawn_groups[0].get_ydata(), next(
        row["curve"][1:] for row in figures["groups"] if row["group"] == "C3"))
    table, = views(viewer, "showTable")
    assert table.rows[0] == ("verdict", figures["verdict"]) and table.rows[1] == ("C3", None)
    assert "has no axes" in message(viewer, "showTurned"), "there is no output yet"
    protocol = viewer.protocol
    path = protocol._getExtraPath("run", "on_axes.mrc")
    protocol._defineOutputs(outputVolume=volume_object(path, PIXEL, (path, path)))
    view, = views(viewer, "showTurned")
    assert [label for label, _ in view.offered] == ["on the axes of C3", "as it came", "on the axes of C3, half 1",
                                                    "on the axes of C3, half 2"]
    assert view.chosen == [0, 1] and all(opened().voxels.shape == (32, 32, 32) for _, opened in view.offered)
    opened = stub_chimerax(monkeypatch, tmp_path)
    viewer.display.set(WITH_CHIMERAX)
    views(viewer, "showTurned")[0].show()
    assert [Path(file).name for file in opened()] == ["on_axes.mrc", "map.mrc"]
