"""A user's afternoon in Scipion's real GUI: simulate, reconstruct, look while it runs, stop, continue, look again.

Screenshots of every station go to $CRYOSGD_SCREENSHOTS, or to pytest's temporary folder.
"""
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.io.result_folder import CHECKPOINT, ResultFolder
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.protocol_names import PROTOCOLS

ITERATIONS = 400      # about 40 s of work, so that there is time to look and to stop


@pytest.fixture
def session(tmp_path, monkeypatch, request):
    from pyworkflow.project import Manager

    from cryosgd_plugin.tests.gui_session import GuiSession
    here = os.getcwd()
    project = Manager().createProject(f"gui_{tmp_path.name}")
    path = project.path
    project.closeMapper()
    screenshots = os.path.join(os.environ.get("CRYOSGD_SCREENSHOTS") or tmp_path / "screenshots", request.node.name)
    session = GuiSession(path, screenshots, monkeypatch)
    yield session
    for protocol in session.window.project.getRuns():
        if protocol.isActive():
            session.window.project.stopProtocol(protocol)
    session.close()
    os.chdir(here)


def run_undisturbed(run, folder):
    """The same run in one go by the command line; its ResultFolder."""
    from cryosgd_plugin.protocols.protocol_ab_initio import _words
    words = ["abinitio", run._getExtraPath("input_particles.star"), "-o", folder, *_words(run.config()),
             *run._resourceArguments()]
    done = subprocess.run([sys.executable, "-m", "cryosgd_plugin.cli", *map(str, words)], text=True, check=False,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return ResultFolder(folder)


def test_the_tree_and_the_forms(session):
    assert session.tree_labels() == PROTOCOLS
    session.shot("project")
    for name, label in PROTOCOLS.items():
        form = session.open_from_tree(name)
        session.shot(name)
        assert form.protocol.getClassLabel() == label
        assert not [text for text in session.texts(form) if "plugin" in text], "names of Python's, not of the program"
        form.close()
    form = session.open_from_tree("ProtCryosgdAbInitio")
    assert str(form.btnExecute["state"]) == "disabled", "without particles nothing can be executed"


@pytest.mark.slow
def test_from_particles_to_a_map(session):
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_CONTINUE, ACTION_RESULTS, ACTION_STOP

    from cryosgd_plugin.viewers.tk_figure import FigureWindow
    from cryosgd_plugin.viewers.tk_table import TableWindow
    from cryosgd_plugin.viewers.volume_window import VolumeWindow

    # simulate
    form = session.open_from_tree("ProtCryosgdSimulate")
    session.fill(form, nParticles=200, boxSize=32, pixelSize=8.0, snr=0.2)
    simulated = session.execute(form)
    simulated = session.wait_status(simulated, ("finished",), 240)
    assert simulated.outputParticles.getSize() == 200
    session.shot("simulated")

    # ab initio takes the selected run's particles by itself
    form = session.open_from_tree("ProtCryosgdAbInitio")
    assert form.protocol.inputParticles.get() is not None, "Scipion links the output of the selected run"
    form.btnExecute.invoke()
    title, text = session.dialogs.pop()
    assert "diameter" in text, "the diameter has no default: a form without it says so"
    session.fill(form, particleDiameter=140.0, initialResolution=60.0, finalResolution=20.0, iterations=ITERATIONS,
                 minibatchStart=50, minibatchEnd=50, numberOfThreads=1)
    session.place(form, "900x760+200+60")
    session.shot("form_ab_initio")
    session.answers["There are some warnings"] = "Yes"      # few particles
    run = session.execute(form)
    assert any("particles will be used" in text for _, text in session.dialogs)
    folder_path = os.path.join(session.window.project.path, run._getExtraPath("run"))

    # look while it runs
    session.wait(lambda: os.path.isdir(folder_path) and ResultFolder(folder_path).progress_volumes(), 240,
                 "the first volume of the run")
    session.press(ACTION_RESULTS, run)
    viewer = session.newest(FormWindow)
    session.place(viewer, "700x520+40+40")
    session.shot("viewer_form")
    window = session.open_eye(viewer, "showVolume")
    shown_before = len(window.volumes)
    assert session.refreshed(run).isActive(), "the run still goes on while the volume is shown"
    history = session.open_eye(viewer, "showHistory")
    history.close()
    session.told(viewer, "showFsc", "no FSC yet")

    # stop, once there is a checkpoint to go on from
    session.wait(lambda: ResultFolder(folder_path).path(CHECKPOINT), 240, "the first checkpoint")
    session.answers["Confirm STOP"] = "Yes"
    session.press(ACTION_STOP, run)
    session.wait(lambda: session.refreshed(run).isAborted(), 60, "the stop")
    session.wait(lambda: ResultFolder(folder_path).writer() is None, 30, "the end of the engine's process")
    stopped_at = len(ResultFolder(folder_path).history())
    seconds_before = [record["seconds"] for record in ResultFolder(folder_path).history()]
    assert 0 < stopped_at < ITERATIONS
    session.root.lift()
    session.shot("stopped")

    # continue to the end
    session.press(ACTION_CONTINUE, run)
    run = session.wait_status(run, ("finished",), 400)
    records = ResultFolder(folder_path).history()
    assert [record["iteration"] for record in records] == list(range(1, ITERATIONS + 1))
    assert records[0]["seconds"] == seconds_before[0], "it went on; it did not start over"
    session.root.lift()
    session.shot("finished")
    undisturbed = run_undisturbed(run, os.path.join(session.window.project.path, "undisturbed"))
    for record, expected in zip(records, undisturbed.history()):
        assert {**record, "seconds": 0, "cpu_seconds": 0} == {**expected, "seconds": 0, "cpu_seconds": 0}
    np.testing.assert_array_equal(read_volume(ResultFolder(folder_path).path("volume.mrc"))[0],
                                  read_volume(undisturbed.path("volume.mrc"))[0],
                                  err_msg="stopped and continued, the run must end with the same map")

    # the open window follows to the final volume
    window.refresh()
    session.place(window, "1120x880+60+20")
    session.shot("volume_final")
    assert len(window.volumes) > shown_before and window.volumes[-1][0] == "final volume"
    assert window.shown == len(window.volumes) - 1 and np.isfinite(window.picture.data.survey.sigma)
    for name, window_class in (("showFsc", FigureWindow), ("showDirections", FigureWindow),
                               ("showHistory", FigureWindow), ("showSummary", TableWindow)):
        opened = session.open_eye(viewer, name)
        assert isinstance(opened, window_class)
        opened.close()
    halves = session.open_eye(viewer, "showHalves")
    assert [label for label, _ in halves.volumes] == ["final volume", "half 1", "half 2"]

    # outputs, opened as an object is from the run's summary
    from pyworkflow import Config
    from pyworkflow.viewer import DESKTOP_TKINTER
    for output, window_class in ((run.outputVolume, VolumeWindow), (run.outputFSC, FigureWindow),
                                 (run.outputParticles, FigureWindow)):
        ours = next(v for v in Config.getDomain().findViewers(output, DESKTOP_TKINTER) if "Cryosgd" in v.__name__)
        before = len(session.windows)
        ours(project=session.window.project, protocol=run, parent=session.window).visualize(output)
        session.pump(0.5)
        assert len(session.windows) == before + 1 and isinstance(session.windows[-1], window_class)
        session.windows[-1].close()
    assert [title for title, _ in session.dialogs] == ["There are some warnings", "Confirm STOP"]
