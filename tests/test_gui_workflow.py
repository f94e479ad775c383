"""Runs again and elsewhere, in Scipion's real GUI: duplicated, restarted, exported as JSON and imported.

Screenshots go where those of test_gui.py go.
"""
import json
import os

import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from pyworkflow.protocol.constants import MODE_RESTART

from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.tests.test_gui import session  # noqa: F401  (a fixture)


def seed_of(run):
    """The seed with which a simulation was made, None before its end."""
    folder = run._getExtraPath("run")
    summary = ResultFolder(folder).summary() if os.path.isdir(folder) else None
    return summary and summary["parameters"]["seed"]


def test_duplicated_restarted_exported_and_imported(session, tmp_path):  # noqa: F811
    from pyworkflow.gui.browser import FileBrowserWindow, FileInfo
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_DUPLICATE, ACTION_EDIT, ACTION_EXPORT

    form = session.open_from_tree("ProtCryosgdSimulate")
    session.fill(form, nParticles=20, boxSize=24, pixelSize=10.0)
    run = session.wait_status(session.execute(form), ("finished",), 240)

    session.press(ACTION_DUPLICATE, run)
    form = session.newest(FormWindow)
    assert form.protocol.nParticles.get() == 20 and form.protocol.getObjId() != run.getObjId()
    session.fill(form, nParticles=30)
    copy = session.wait_status(session.execute(form), ("finished",), 240)
    assert (run.outputParticles.getSize(), copy.outputParticles.getSize()) == (20, 30)

    session.press(ACTION_EDIT, copy)
    form = session.newest(FormWindow)
    session.fill(form, seed=7, runMode=MODE_RESTART)
    session.shot("form_restart")
    session.answers["Confirm RESTART"] = "Yes"
    session.execute(form)
    session.wait(lambda: seed_of(copy) == 7, 240, "the end of the restarted run")
    copy = session.wait_status(copy, ("finished",), 240)
    assert copy.outputParticles.getSize() == 30 and seed_of(run) == 0

    session.press(ACTION_EXPORT, copy)
    browser = session.newest(FileBrowserWindow).browser
    browser._goDir(str(tmp_path))
    browser.entryVar.set("workflow.json")
    session.shot("export")
    browser.onSelect(FileInfo(str(tmp_path), "workflow.json"))
    exported, = json.loads((tmp_path / "workflow.json").read_text(encoding="utf-8"))
    assert (exported["object.className"], exported["nParticles"], exported["seed"]) == ("ProtCryosgdSimulate", 30, 7)

    before = {protocol.getObjId() for protocol in session.window.project.getRuns()}
    session.window.onImportWorkflow()
    session.newest(FileBrowserWindow).browser.onSelect(FileInfo(str(tmp_path), "workflow.json"))
    session.pump(0.5)
    imported, = (one for one in session.window.project.getRuns(refresh=True) if one.getObjId() not in before)
    assert imported.isSaved() and (imported.nParticles.get(), imported.seed.get()) == (30, 7)
    assert imported.validate() == []
    session.root.lift()
    session.shot("imported")
    assert [title for title, _ in session.dialogs] == ["Confirm RESTART"]
