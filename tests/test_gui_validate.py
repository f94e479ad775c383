"""A validation in Scipion's real GUI: the form with all inputs, the run, every button of its viewer.

Screenshots go where those of test_gui.py go.
"""
import os

import pytest

pytest.importorskip("pwem", reason="the GUI is Scipion's (scipion-em)")
pytest.importorskip("tkinter", reason="the GUI needs Tk")

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.tests.test_gui import session  # noqa: F401  (a fixture)
from cryosgd_plugin.tests.validation_samples import HALVES, PIXEL, write_samples


def test_a_validation_and_all_that_its_viewer_shows(session, tmp_path, monkeypatch):  # noqa: F811
    from pwem.protocols import ProtImportPdb, ProtImportVolumes
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_RESULTS
    from pyworkflow.object import Pointer

    from cryosgd_plugin.io.volumes import read_volume, write_volume
    from cryosgd_plugin.protocols import ProtCryosgdImportParticles

    write_samples(tmp_path)
    halves = [str(tmp_path / name) for name in HALVES]
    write_volume(tmp_path / "map.mrc", sum(read_volume(half)[0] for half in halves) / 2, PIXEL)
    project = session.window.project

    def imported(protocol_class, output, **values):
        protocol = project.newProtocol(protocol_class, **values)
        project.launchProtocol(protocol, wait=True)
        return Pointer(protocol, extended=output)
    inputs = {
        "inputVolume": imported(ProtImportVolumes, "outputVolume", filesPath=str(tmp_path / "map.mrc"),
                                samplingRate=PIXEL, setHalfMaps=True, half1map=halves[0], half2map=halves[1]),
        "inputParticles": imported(ProtCryosgdImportParticles, "outputParticles",
                                   starFile=str(tmp_path / "particles.star")),
        "inputModel": imported(ProtImportPdb, "outputPdb", inputPdbData=1, pdbFile=str(tmp_path / "model.pdb"))}

    form = session.open_from_tree("ProtCryosgdValidate")
    for name, pointer in inputs.items():
        form.widgetDict[name].set(pointer)
    session.place(form, "900x620+200+60")
    session.shot("form_validate")
    session.answers["There are some warnings"] = "Yes"      # the sample's particles have a smaller box
    run = session.wait_status(session.execute(form), ("finished",), 300)
    session.dialogs.clear()

    session.press(ACTION_RESULTS, run)
    viewer = session.newest(FormWindow)
    session.place(viewer, "700x620+40+40")
    session.shot("viewer_form")
    session.open_every_eye(viewer)
    curves = session.open_eye(viewer, "showFsc")
    export(curves, monkeypatch, tmp_path / "deposited.xml")
    curves.close()
    assert session.dialogs == []


def export(window, monkeypatch, path):
    """Save the corrected curve by the menu of the FSC's window, which asks for a file name."""
    from tkinter import filedialog
    monkeypatch.setattr(filedialog, "asksaveasfilename", lambda **options: str(path))
    bar = window.status.master
    button, = (child for child in bar.winfo_children() if child.winfo_class() == "TMenubutton")
    button.menu.tk.call(button.menu.cget("postcommand"))
    wanted = next(n for n in range(button.menu.index("end") + 1)
                  if button.menu.entrycget(n, "label") == "half-maps, corrected")
    button.menu.invoke(wanted)
    assert "<fsc title=\"FSC: half-maps, corrected\"" in path.read_text(encoding="utf-8")
