"""Import particles from a RELION STAR file, with poses and CTF, needing no other plugin."""
from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pwem.objects import SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import set_from_table
from ..io.stacks import check_stacks
from ..io.star import read_particles
from .form_fields import words_of
from .kept_methods import PROGRAM, KeptMethods

# field, unit, usual range, and what to think of beyond it
USUAL = (("pixelSize", " Å/px", (0.2, 15.0), "is it that of the particle images, in Å?"),
         ("voltage", " kV", (60.0, 400.0), "is it in kV?"),
         ("sphericalAberration", " mm", (0.0, 6.0), "is it in mm?"),
         ("amplitudeContrast", "", (0.0, 0.5), "it is a fraction, not in %."))


class ImportOutputs(Enum):
    outputParticles = SetOfParticles


class ProtCryosgdImportParticles(KeptMethods, EMProtocol):
    """Import particles from a STAR file of RELION (3.0, 3.1 or later) or of a program that writes the same.

    CTF, optics groups with their higher-order terms, poses, half-sets, classes, coordinates and micrograph names are
    taken over; columns that Scipion has no place for stay with the particles and come out again when they are
    written. No other plugin is needed.

    The stacks stay where they are and are linked, unless you choose to copy them.
    """
    _label = "import particles"
    _devStatus = BETA
    _possibleOutputs = ImportOutputs

    def _defineParams(self, form):
        form.addSection(label="Import")
        form.addParam("starFile", params.FileParam, important=True, label="STAR file",
                      help="Particles as RELION keeps them: particles.star, run_data.star, run_it025_data.star … \n"
                           "Stacks are looked for beside the file, in the folders above it (a RELION project is found "
                           "from any of its jobs) and in the Scipion project.")
        form.addParam("copyFiles", params.BooleanParam, default=False, label="Copy the stacks?",
                      help="No: the project links to the stacks, which must stay where they are. Yes: they are copied "
                           "into the project, which takes their size on disk.")
        form.addParam("readPoses", params.BooleanParam, default=True, label="Take over poses and shifts?",
                      help="No imports the particles as if they had never been aligned.")
        group = form.addGroup("Only where the STAR file does not state them", expertLevel=LEVEL_ADVANCED)
        for name, label, unit_help in (
                ("pixelSize", "Pixel size (Å/px)", "Of the particle images. Typical 0.8 to 4."),
                ("voltage", "Voltage (kV)", "Of the microscope. Typical 200 or 300."),
                ("sphericalAberration", "Spherical aberration (mm)",
                 "Of the objective lens. Typical 2.7; 0.01 with a corrector."),
                ("amplitudeContrast", "Amplitude contrast", "A fraction, 0 to 1. Typical 0.07 to 0.1.")):
            group.addParam(name, params.FloatParam, allowsNull=True, default=None, expertLevel=LEVEL_ADVANCED,
                           label=label, help=f"{unit_help} Empty where the file states it; what the file states wins.")

    def _insertAllSteps(self):
        self._insertFunctionStep(self.importStep, self.starFile.get(), self.copyFiles.get(), self.readPoses.get(),
                                 self.pixelSize.get(), self.voltage.get(), self.sphericalAberration.get(),
                                 self.amplitudeContrast.get(), needsGPU=False)

    def importStep(self, star_file, copy_files, read_poses, pixel_size, voltage_kv, cs_mm, amplitude_contrast):
        """Read the table, bring the stacks into the project, write the set."""
        table = read_particles(star_file, pixel_size=pixel_size, voltage_kv=voltage_kv, cs_mm=cs_mm,
                               amplitude_contrast=amplitude_contrast)
        warnings = check_stacks(table)
        if not read_poses:
            table = replace(table, rotations=None, shifts_a=None)
        table = replace(table, stack_paths=self._bringStacks(table.stack_paths, copy_files))
        particles = self._createSetOfParticles()
        particles.setObjComment(f"Imported from {star_file}")
        set_from_table(table, particles)
        # kept with the run: Scipion's own summary warnings are forgotten with this process
        self.summaryVar.set("\n".join([_in_words(table, star_file), *warnings]))
        self._defineOutputs(**{ImportOutputs.outputParticles.name: particles})
        self._keepMethods(_methods_words(table))

    def _bringStacks(self, stacks, copy_files):
        folder = self._getExtraPath("stacks")
        pwutils.makePath(folder)
        width = len(str(len(stacks)))
        brought = []
        for number, stack in enumerate(stacks, start=1):
            root, extension = os.path.splitext(os.path.basename(stack))
            # numbered, as stacks of several folders may share a name; .mrc would be taken for a volume by Scipion
            name = f"{number:0{width}d}_{root}{'.mrcs' if extension == '.mrc' else extension}"
            target = os.path.join(folder, name)
            pwutils.cleanPath(target)
            (pwutils.copyFile if copy_files else pwutils.createAbsLink)(os.path.abspath(stack), target)
            brought.append(os.path.abspath(target))
        return brought

    def _validate(self):
        path = self.starFile.get()
        if not path:
            return ["No STAR file is given; choose the one in which RELION, or a program like it, keeps the particles."]
        if not os.path.isfile(path):
            return [f"The STAR file {path} does not exist; choose another one."]
        return []

    def _warnings(self):
        found = []
        for name, unit, (low, high), mistaken in USUAL:
            value = getattr(self, name).get()
            if value is not None and not low <= value <= high:
                found.append(f"The {words_of(name)} of {value:g}{unit} is unusual, {low:g} to {high:g}{unit} is not: "
                             f"{mistaken}")
        return found

    def _summary(self):
        return self.summaryVar.get("No particles are imported yet.").split("\n")

    def _citations(self):
        return ["Scheres2012c"]


def _in_words(table, star_file):
    parts = [f"{len(table)} particles of {table.box_size} px at {table.pixel_size:.4g} Å/px",
             f"in {_count(table.stack_paths, 'stack')} and {_count(table.optics, 'optics group')}",
             "with CTF" if table.has_ctf else "without CTF",
             "with poses" if table.rotations is not None else "without poses"]
    return f"{', '.join(parts)}, from {star_file}"


def _methods_words(table):
    kept = [word for word, there in (("CTF", table.has_ctf), ("poses", table.rotations is not None)) if there]
    with_them = f" with their {' and '.join(kept)}" if kept else ""
    return (f"{len(table)} particle images of {table.box_size} px at {table.pixel_size:.4g} Å/px were imported"
            f"{with_them} from a STAR file in the form of RELION [Scheres2012c] by {PROGRAM}.")


def _count(items, name):
    return f"{len(items)} {name}{'s' if len(items) != 1 else ''}"
