"""An ab initio run of two classes from two random starts in Scipion's real GUI, and every button of its viewer.

Screenshots go where those of test_gui.py go.
"""
import os

import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.protocols import ProtCryosgdSimulate
from cryosgd_plugin.tests.test_gui import session  # noqa: F401  (a fixture)


def test_classes_from_several_starts_and_all_that_their_viewer_shows(session):  # noqa: F811
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS
    from pyworkflow.object import Pointer

    project = session.window.project
    simulated = project.newProtocol(ProtCryosgdSimulate, nParticles=80, boxSize=32, pixelSize=8.0, snr=0.5)
    project.launchProtocol(simulated, wait=True)

    form = session.open_from_tree("ProtCryosgdAbInitio")
    form.widgetDict["inputParticles"].set(Pointer(simulated, extended="outputParticles"))
    session.fill(form, particleDiameter=140.0, initialResolution=60.0, finalResolution=24.0, iterations=10,
                 minibatchStart=20, minibatchEnd=40, numberOfClasses=2, restarts=2, numberOfThreads=2)
    session.place(form, "900x760+200+60")
    session.shot("form_ab_initio_classes")
    session.answers["There are some warnings"] = "Yes"      # few particles
    run = session.wait_status(session.execute(form), ("finished",), 400)
    assert run.outputClasses.getSize() == 2
    session.dialogs.clear()

    session.press(ACTION_RESULTS, run)
    viewer = session.newest(FormWindow)
    session.place(viewer, "700x700+40+40")
    session.shot("viewer_form")
    session.open_every_eye(viewer)
    assert session.dialogs == []
