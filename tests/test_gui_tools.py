"""The protocols beside the reconstructions in Scipion's real GUI: each from the tree, its form filled, to its end, and
what the results of those that have a viewer show.

Screenshots go where those of test_gui.py go.
"""
import os

import numpy as np
import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from pyworkflow.object import Pointer

from cryosgd_plugin.convert import volume_object
from cryosgd_plugin.core.symmetry import symmetrise
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdSimulate
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density
from cryosgd_plugin.tests.protocol_project import run_with
from cryosgd_plugin.tests.test_gui import session  # noqa: F401  (a fixture)

BOX, PIXEL = 32, 6.0
# buttons that the results of a post-processing lack
OF_VALIDATION = ("showLocal", "showLocalHistogram", "showCones", "showViews", "showSampling", "showModelFsc",
                 "showModel", "showPixelScan")


def map_with_halves(project, folder):
    """A run that never ran, whose output is a map in C3 with half-maps."""
    truth = symmetrise(density(BLOBS * 0.9 + 12, box=BOX, pixel=PIXEL), "C3")
    rng = np.random.default_rng(0)
    halves = [truth + rng.normal(0, 0.05, truth.shape).astype(np.float32) for _ in range(2)]
    for name, voxels in (("map", np.mean(halves, axis=0)), ("half1", halves[0]), ("half2", halves[1])):
        write_volume(folder / f"{name}.mrc", voxels, PIXEL)
    paths = [str(folder / f"half{number}.mrc") for number in (1, 2)]
    return run_with(project, "map in C3", outputVolume=volume_object(str(folder / "map.mrc"), PIXEL, paths))


def simulation_of_two_classes(project, of):
    """A simulation of 60 particles of a run's map; 45 are of class 1, 15 of class 2."""
    simulation = project.newProtocol(ProtCryosgdSimulate, source=1, nParticles=60, boxSize=BOX, pixelSize=PIXEL,
                                     snr=0.5, fractions="0.75 0.25")
    simulation.inputVolumes.set([Pointer(of, extended="outputVolume") for _ in range(2)])
    project.launchProtocol(simulation, wait=True)
    return simulation


def executed(session, class_name, inputs, **values):  # noqa: F811
    """The run of a protocol that was opened from the tree, filled and executed.

    inputs : {field: Pointer, or a list of them where the field is a list}
    """
    form = session.open_from_tree(class_name)
    for name, pointer in inputs.items():
        form.widgetDict[name].set(pointer)      # as the button beside it does when an object is chosen
    session.fill(form, **values)
    session.place(form, "1000x760+200+60")
    session.shot(f"form_{class_name}")
    return session.execute(form)


def test_each_from_its_form_to_its_end_and_what_it_shows(session, tmp_path):  # noqa: F811
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS

    project = session.window.project
    given = map_with_halves(project, tmp_path)
    simulation = simulation_of_two_classes(project, given)
    star = os.path.abspath(simulation._getExtraPath("run", "truth.star"))

    def of(run, output="outputVolume"):
        return Pointer(run, extended=output)

    def finished(run):
        return session.wait_status(run, ("finished",), 180)

    # what needs nothing of another one runs beside it
    imported = executed(session, "ProtCryosgdImportParticles", {}, starFile=star)
    sharpened = executed(session, "ProtCryosgdPostprocess", {"inputVolume": of(given)}, bfactor=-50.0)
    searched = executed(session, "ProtCryosgdFindSymmetry", {"inputVolume": of(given)}, resolution=21.0, maxFold=3)
    imported = finished(imported)
    assert imported.outputParticles.getSize() == 60 and imported.outputParticles.hasAlignmentProj()
    particles = of(imported, "outputParticles")
    flipped = executed(session, "ProtCryosgdFlipHand", {"inputVolume": of(given), "inputParticles": particles})
    expanded = executed(session, "ProtCryosgdExpandSymmetry", {"inputParticles": particles}, symmetry="C3")
    split = executed(session, "ProtCryosgdSplitByClass", {"inputClasses": particles}, classes="1-2")
    flipped = finished(flipped)
    assert flipped.outputVolume.hasHalfMaps() and flipped.outputParticles.getSize() == 60
    compared = executed(session, "ProtCryosgdConsensus", {"inputVolumes": [of(given), of(flipped)]}, resolution=21.0)
    aligned = executed(session, "ProtCryosgdAlignVolumes", {"inputVolumes": [of(flipped)], "reference": of(given)},
                       resolution=21.0)
    expanded = finished(expanded)
    assert expanded.outputParticles.getSize() == 180
    session.answers["There are some warnings"] = "Yes"      # of an expanded set one mate stays
    thinned = executed(session, "ProtCryosgdRemoveDuplicates",
                       {"inputParticles": of(expanded, "outputParticles")}, distance=0.0)
    assert [title for title, _ in session.dialogs] == ["There are some warnings"]
    session.dialogs.clear()

    assert sum(output.getSize() for _, output in finished(split).iterOutputAttributes()) == 60
    assert finished(thinned).outputParticles.getSize() == 60
    sharpened = finished(sharpened)
    assert sharpened.outputVolume.hasHalfMaps() and sharpened.outputFSC.getSize() == 5
    searched = finished(searched)
    assert searched.figures()["turned_to"] == "C3" and searched.outputVolume.hasHalfMaps()
    compared = finished(compared)
    agreement = compared.agreement()
    assert agreement.groups == [agreement.names], "both hands of a map show the same structure"
    aligned = finished(aligned)
    assert aligned.outputVolumes.getSize() == 1 and aligned.summary()[0].endswith("mirrored."), aligned.summary()
    session.root.lift()
    session.shot("finished")

    for run, hidden in ((compared, ()), (searched, ()), (sharpened, OF_VALIDATION), (simulation, ())):
        session.press(ACTION_RESULTS, run)
        viewer = session.newest(FormWindow)
        session.place(viewer, "700x520+40+40")
        session.shot("viewer_form")
        session.open_every_eye(viewer, hidden)
        viewer.close()
    assert session.dialogs == []
