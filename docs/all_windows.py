"""A picture of every form, wizard and viewer, to be looked at after a change of what people see.

    xvfb-run -s "-screen 0 1600x1000x24" .venv/bin/python docs/all_windows.py .demo pictures [forms wizards viewers]

Opens the newest project of a folder that `make demo` made, finished, and adds what it lacks to show everything: a run
of three classes, short restarts, their symmetry and a comparison of maps, and a validation against an atomic model.
Writes one PNG for each window into the second folder; forms twice, as they open and with the expert's fields, a picture
for each tab.
"""
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from screenshots import newest_project, runs_of

KINDS = ("forms", "wizards", "viewers")
CLASSES, VALIDATION = "three classes", "validation with a model"
RESTARTS, SYMMETRY, CONSENSUS = "three restarts", "symmetry of a map", "consensus of maps"
PATIENCE_S = 120
# long enough for a figure to be drawn, on a machine that does something else besides
DRAWING_S = 3.0


class Pictures:
    """Opens windows in a GuiSession and keeps what they show as PNGs in a folder."""

    def __init__(self, session, folder):
        self.session, self.folder = session, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def keep(self, root, name):
        """What a window shows as NAME.png."""
        self.session.pump(0.5)
        shot = Image.open(self.session.shot(name)).convert("RGB")
        left, top = root.winfo_rootx(), root.winfo_rooty()
        shot.crop((left, top, left + root.winfo_width(), top + root.winfo_height())).save(self.folder / f"{name}.png")
        print(name, f"{root.winfo_width()}x{root.winfo_height()}", flush=True)

    def window(self, name, opens):
        """The window that `opens` opens, as it opens by itself."""
        session = self.session
        before = len(session.windows)
        opens()
        session.wait(lambda: len(session.windows) > before or session.dialogs, PATIENCE_S, f"the window of {name}")
        if session.dialogs:
            print(f"{name}: {session.dialogs.pop()[1]}", flush=True)
            return
        window = session.windows[-1]
        session.pump(DRAWING_S)
        window.root.lift()
        self.keep(window.root, name)
        window.close()

    def dialog(self, name, title, opens):
        """The dialog of this title that `opens` waits for; it is cancelled."""
        session, taken = self.session, []

        def take():
            if not taken:
                taken.append(name)
                # not within the session's own look at the dialogs
                session.root.after(int(1000 * DRAWING_S), finish)
            return len(taken) > 1

        def finish():
            dialog = next(child for child in session.dialogs_shown() if child.title() == title)
            dialog.lift()
            self.keep(dialog, name)
            taken.append(name)
        session.until[title], session.answers[title] = take, "Cancel"
        opens()
        del session.until[title]
        if len(taken) < 2:
            print(f"{name}: {session.dialogs[-1][1]}", flush=True)
        session.dialogs.clear()

    # ---- forms
    def forms(self):
        """Each protocol's form from the tree, untouched."""
        for class_name in sorted(self.session.tree_labels()):
            form = self.session.open_from_tree(class_name)
            name = f"form_{class_name.removeprefix('ProtCryosgd').lower()}"
            self.session.pump(1.0)
            form.root.lift()
            self.keep(form.root, name)
            if form.protocol.hasExpert():
                self._expert(form, name)
            form.close()

    def _expert(self, form, name):
        from pyworkflow.protocol.constants import LEVEL_ADVANCED
        form.setVar("expertLevel", LEVEL_ADVANCED)
        form.protocol.expertLevel.set(LEVEL_ADVANCED)
        form._onExpertLevelChanged()
        notebook = form._sections[0].master
        for number, tab in enumerate(notebook.tabs()):
            notebook.select(tab)
            self.session.place(form, "1000x980+0+0")
            self.keep(form.root, f"{name}_expert{number + 1}")

    # ---- wizards
    def wizards(self, runs):
        """The dialog of each wand, on the forms of the demo's runs."""
        from cryosgd_plugin.wizards import gpus
        for name, run, field, title in (
                ("wizard_diameter", "ab initio", "particleDiameter", "Particle diameter"),
                ("wizard_resolution_particles", "ab initio", "finalResolution", "Resolution"),
                ("wizard_symmetry", "ab initio", "symmetry", "Symmetry"),
                ("wizard_resolution_reference", "refine", "initialResolution", "Resolution"),
                ("wizard_symmetry_map", "validate", "symmetry", "Symmetry"),
                ("wizard_diameter_map", "validate", "particleDiameter", "Particle diameter"),
                ("wizard_mask", "validate", "maskThreshold", "Mask")):
            form = self._form(runs[run])
            self.dialog(name, title, partial(_press_wand, form, field))
            form.close()
        form = self._form(runs["refine"])
        # the machine that takes the pictures may have none
        listed, gpus.list_gpus = gpus.list_gpus, lambda: [gpus.Gpu(0, "NVIDIA H100 80GB HBM3", 81559, 1024, 3),
                                                         gpus.Gpu(1, "Tesla T4", 15360, 9000, 0)]
        try:
            self.dialog("wizard_gpus", "GPUs", partial(_press_wand, form, "gpuWizard"))
        finally:
            gpus.list_gpus = listed
        form.close()

    def _form(self, run):
        from pyworkflow.gui.form import FormWindow
        from pyworkflow.gui.project.constants import ACTION_EDIT
        self.session.press(ACTION_EDIT, run)
        return self.session.newest(FormWindow)

    # ---- viewers
    def viewers(self, runs):
        """Every button of each run's results, and every viewer that Scipion finds for its outputs."""
        from pyworkflow.gui.form import FormWindow
        from pyworkflow.gui.project.constants import ACTION_RESULTS
        from pyworkflow.protocol.params import LabelParam
        for label, run in runs.items():
            name = label.replace(" ", "_").replace(",", "")
            if run.isFinished() and _viewers_of(run):
                self.session.press(ACTION_RESULTS, run)
                viewer = self.session.newest(FormWindow)
                self.session.pump(1.0)
                viewer.root.lift()
                self.keep(viewer.root, f"results_{name}")
                for eye, widget in viewer.widgetDict.items():
                    button = isinstance(getattr(widget, "param", None), LabelParam)
                    if button and viewer.protocol.evalParamCondition(eye):
                        self.window(f"results_{name}_{eye[4:].lower()}", widget._visualizeVar)
                viewer.close()
            for output_name, output in run.iterOutputAttributes():
                for viewer in _viewers_of(output):
                    shown = viewer(project=self.session.window.project, protocol=run, parent=self.session.window)
                    self.window(f"output_{name}_{output_name}_{viewer.__name__.lower().split('cryosgd')[-1]}",
                                partial(shown.visualize, output))


def main(folder, pictures, kinds):
    project, pictures = newest_project(folder), Path(pictures).resolve()
    from cryosgd_plugin.tests.gui_session import GuiSession
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as rough:
        session = GuiSession(project, rough, patch)
        session.root.geometry("1600x1000+0+0")
        try:
            take = Pictures(session, pictures)
            take.keep(session.root, "project")
            if "forms" in kinds:
                take.forms()
            runs = runs_of(session)
            if "wizards" in kinds:
                take.wizards(runs)
            if "viewers" in kinds:
                _add_what_lacks(session, runs)
                take.viewers(runs)
        finally:
            session.close()


def _viewers_of(obj):
    """The viewers of this plugin that Scipion finds for an object."""
    from pyworkflow import Config
    from pyworkflow.viewer import DESKTOP_TKINTER
    return [viewer for viewer in Config.getDomain().findViewers(obj, DESKTOP_TKINTER) if "Cryosgd" in viewer.__name__]


def _press_wand(form, field):
    form.wizParamName = field
    form.wizards[field]().show(form)


def _add_what_lacks(session, runs):
    """The runs that the demo does not have, added to the project and to `runs`."""
    from cryosgd_plugin.protocols import ProtCryosgdAbInitio, ProtCryosgdConsensus, ProtCryosgdFindSymmetry
    from cryosgd_plugin.tests.test_gui_classes import run_of_classes
    project = session.window.project
    if CLASSES not in runs:
        runs[CLASSES] = run_of_classes(project)
    if RESTARTS not in runs:
        runs[RESTARTS] = _launched(project, ProtCryosgdAbInitio, RESTARTS, {
            "inputParticles": (runs["ab initio"].inputParticles.getObjValue(),
                               runs["ab initio"].inputParticles.getExtended())},
            particleDiameter=runs["ab initio"].particleDiameter.get(), restarts=3, iterations=30, maxParticles=500)
    if SYMMETRY not in runs:
        runs[SYMMETRY] = _launched(project, ProtCryosgdFindSymmetry, SYMMETRY, {
            "inputVolume": (runs["refine"], "outputVolume")})
    if CONSENSUS not in runs:
        runs[CONSENSUS] = _launched(project, ProtCryosgdConsensus, CONSENSUS, {
            "inputVolumes": [(runs["ab initio"], "outputVolume"), (runs["refine"], "outputVolume"),
                             (runs[RESTARTS], "outputRestarts")]})
    if VALIDATION not in runs:
        runs[VALIDATION] = _validation(project)


def _launched(project, protocol_class, label, pointers, **values):
    """A finished run; pointers : {field: (run, its output), or a list of those}."""
    from pyworkflow.object import Pointer
    run = project.newProtocol(protocol_class, **values)
    run.setObjLabel(label)
    for field, value in pointers.items():
        if isinstance(value, list):
            for source, output in value:
                getattr(run, field).append(Pointer(source, extended=output))
        else:
            getattr(run, field).set(value[0])
            getattr(run, field).setExtended(value[1])
    project.launchProtocol(run, wait=True)
    if not run.isFinished():
        sys.exit(f"{label}: {run.getErrorMessage()}")
    return run


def _validation(project):
    """A finished validation of small half-maps, with particles and a model."""
    from pwem.protocols import ProtImportPdb, ProtImportVolumes

    from cryosgd_plugin.io.volumes import read_volume, write_volume
    from cryosgd_plugin.protocols import ProtCryosgdImportParticles, ProtCryosgdValidate
    from cryosgd_plugin.tests.validation_samples import HALVES, PIXEL, write_samples
    files = Path(project.path, "validation_samples")
    files.mkdir(exist_ok=True)
    write_samples(files)
    halves = [str(files / name) for name in HALVES]
    write_volume(files / "map.mrc", np.mean([read_volume(half)[0] for half in halves], axis=0), PIXEL)
    pointers = {}
    for field, output, protocol_class, values in (
            ("inputVolume", "outputVolume", ProtImportVolumes, dict(
                filesPath=str(files / "map.mrc"), samplingRate=PIXEL, setHalfMaps=True, half1map=halves[0],
                half2map=halves[1])),
            ("inputParticles", "outputParticles", ProtCryosgdImportParticles, dict(
                starFile=str(files / "particles.star"))),
            ("inputModel", "outputPdb", ProtImportPdb, dict(inputPdbData=1, pdbFile=str(files / "model.pdb")))):
        pointers[field] = _launched(project, protocol_class, f"input of {VALIDATION}", {}, **values), output
    return _launched(project, ProtCryosgdValidate, VALIDATION, pointers)


if __name__ == "__main__":
    if len(sys.argv) < 3 or not set(sys.argv[3:]) <= set(KINDS):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:] or KINDS)
