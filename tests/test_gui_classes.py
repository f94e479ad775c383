"""The class sheet in Scipion's real GUI: from classes to a set of particles in one click."""
import os

import numpy as np
import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

import pwem.objects as emobj
from pyworkflow import Config
from pyworkflow.viewer import DESKTOP_TKINTER

from cryosgd_plugin.convert import transforms_from_poses, volume_object
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.protocols import ProtCryosgdAbInitio
from cryosgd_plugin.tests.test_comparison import molecule, noise
from cryosgd_plugin.tests.test_gui import session  # noqa: F401  (a fixture)
from cryosgd_plugin.tests.test_gui_windows import mouse, pixel

SIZES = (40, 25, 15)
PIXEL = 4.0


def run_of_classes(project):
    """A protocol of a project with the outputs of an ab initio run of three classes, which never ran."""
    protocol = project.newProtocol(ProtCryosgdAbInitio, numberOfClasses=len(SIZES))
    protocol.setObjLabel("three classes")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    particles = protocol._createSetOfParticles()
    particles.setSamplingRate(PIXEL)
    particles.setAlignmentProj()
    numbers = np.repeat(np.arange(1, len(SIZES) + 1), SIZES)
    poses = random_rotations(len(numbers), np.random.default_rng(0))
    for number, matrix in zip(numbers, transforms_from_poses(poses, None, PIXEL)):
        particle = emobj.Particle(location=(1, "stack.mrcs"))
        particle.setClassId(int(number))
        particle.setTransform(emobj.Transform(matrix))
        particles.append(particle)
    protocol._defineOutputs(outputParticles=particles)
    maps = []
    for number in range(1, len(SIZES) + 1):
        path = protocol._getExtraPath(f"class{number:03d}.mrc")
        write_volume(path, molecule() / number + noise(0.05, seed=number), PIXEL)
        maps.append(volume_object(path, PIXEL, label=f"class {number}"))
    protocol._defineOutputs(**protocol._classOutputs(maps, PIXEL))
    return protocol


def open_with(session, viewer, run, output, window_class):  # noqa: F811
    """Open an output of a run with one of the viewers that Scipion finds for it; its window."""
    assert viewer in Config.getDomain().findViewers(output, DESKTOP_TKINTER)
    viewer(project=session.window.project, protocol=run, parent=session.window).visualize(output)
    session.pump(0.5)
    return session.newest(window_class)


def test_ticked_classes_become_particles_in_one_click(session):  # noqa: F811
    from cryosgd_plugin.viewers.class_sheet import ClassSheetWindow
    from cryosgd_plugin.viewers.viewer_classes import CryosgdClassSheetViewer

    project = session.window.project
    run = run_of_classes(project)
    sheet = open_with(session, CryosgdClassSheetViewer, run, run.outputClasses, ClassSheetWindow)
    assert str(sheet.make["state"]) == "disabled" and "0 of 3" in sheet.status.cget("text")
    titles = [panels[0].get_title() for panels in sheet.columns]
    assert titles == ["class 1\n40 particles, 50.0 %", "class 2\n25 particles, 31.2 %", "class 3\n15 particles, 18.8 %"]
    # a click on a map ticks its class, the box does too
    mouse(sheet, "<Button-1>", pixel(sheet, sheet.columns[1][0], 0.0, 0.0))
    assert sheet.ticked() == [2] and "1 of 3 classes ticked: 25 particles, 31.2 %" in sheet.status.cget("text")
    sheet.tick([1, 3])
    assert "2 of 3 classes ticked: 55 particles, 68.8 %" in sheet.status.cget("text")
    session.shot("class_sheet")
    before = {protocol.getObjId() for protocol in project.getRuns()}
    sheet.make.invoke()
    session.wait(lambda: len(project.getRuns()) > len(before), 30, "the launch")
    made = next(one for one in project.getRuns() if one.getObjId() not in before)
    made = session.wait_status(made, ("finished",), 120)
    assert sorted(made.outputParticles.getIdSet()) == [*range(1, 41), *range(66, 81)]
    assert made.classes.get() == "1, 3" and made.getObjLabel() == "classes 1, 3 of three classes"
    assert made.inputClasses.get().getObjId() == run.outputClasses.getObjId()
    session.root.lift()
    session.shot("class_sheet_particles")
    assert session.dialogs == []


def test_the_maps_of_classes_side_by_side(session):  # noqa: F811
    from cryosgd_plugin.viewers.compare_window import CompareWindow
    from cryosgd_plugin.viewers.viewer_compare import CryosgdCompareViewer

    run = run_of_classes(session.window.project)
    beside = open_with(session, CryosgdCompareViewer, run, run.outputVolumes, CompareWindow)
    assert [one.data.label for one in beside.maps] == ["class 1", "class 2", "class 3"]
    assert [one.factor for one in beside.maps] == pytest.approx([1, 2, 3], rel=0.1)
    session.shot("classes_side_by_side")
