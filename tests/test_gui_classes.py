"""The class sheet in Scipion's real GUI: from classes to a set of particles in one click."""
import os

import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.tests.test_gui import open_eye, session  # noqa: F401  (a fixture)
from cryosgd_plugin.tests.test_gui_windows import mouse, pixel


def test_ticked_classes_become_particles_in_one_click(session):  # noqa: F811
    from pyworkflow import Config
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS
    from pyworkflow.viewer import DESKTOP_TKINTER

    from cryosgd_plugin.viewers.class_sheet import ClassSheetWindow
    from cryosgd_plugin.viewers.compare_window import CompareWindow
    from cryosgd_plugin.viewers.viewer_classes import CryosgdClassSheetViewer
    from cryosgd_plugin.viewers.viewer_compare import CryosgdCompareViewer

    form = session.open_from_tree("ProtCryosgdSimulate")
    session.fill(form, nParticles=200, boxSize=32, pixelSize=8.0, snr=0.5)
    session.wait_status(session.execute(form), ("finished",), 240)
    form = session.open_from_tree("ProtCryosgdAbInitio")
    session.fill(form, particleDiameter=140.0, initialResolution=60.0, finalResolution=24.0, iterations=12,
                 minibatchStart=20, minibatchEnd=20, numberOfThreads=2, numberOfClasses=3)
    session.answers["There are some warnings"] = "Yes"
    run = session.wait_status(session.execute(form), ("finished",), 300)
    assert {CryosgdClassSheetViewer, CryosgdCompareViewer} <= set(
        Config.getDomain().findViewers(run.outputClasses, DESKTOP_TKINTER))

    session.press(ACTION_RESULTS, run)
    viewer = session.newest(FormWindow)
    sheet = open_eye(session, viewer, "showClasses", ClassSheetWindow)
    session.place(sheet, "760x840+60+40")
    assert str(sheet.make["state"]) == "disabled" and "0 of" in sheet.status.cget("text")
    # a click on a map ticks its class
    mouse(sheet, "<Button-1>", pixel(sheet, sheet.columns[1][0], 0.0, 0.0))
    entry = sheet.classes.entries[1]
    assert sheet.ticked() == [entry.number]
    assert f"1 of {len(sheet.columns)} classes ticked: {entry.size} particles" in sheet.status.cget("text")
    session.shot("class_sheet")
    before = {protocol.getObjId() for protocol in session.window.project.getRuns()}
    sheet.make.invoke()
    session.wait(lambda: len(session.window.project.getRuns()) > len(before), 30, "the launch")
    made = next(one for one in session.window.project.getRuns() if one.getObjId() not in before)
    made = session.wait_status(made, ("finished",), 120)
    assert made.outputParticles.getSize() == entry.size
    assert made.classes.get() == str(entry.number)
    assert made.inputClasses.get().getObjId() == run.outputClasses.getObjId()
    session.shot("class_sheet_particles")
    sheet.close()

    # the set of maps, opened as an object is from the run's summary
    ours = CryosgdCompareViewer(project=session.window.project, protocol=run, parent=session.window)
    ours.visualize(run.outputVolumes)
    session.pump(0.5)
    beside = session.newest(CompareWindow)
    assert [one.data.label for one in beside.maps] == ["class 1", "class 2", "class 3"]
    session.place(beside, "1340x860+60+40")
    session.shot("classes_side_by_side")
