"""What protocols share whose engine works on particles in a run folder: going on, starting over, checks of input."""
from __future__ import annotations

import contextlib
import glob
import json
import os
import re

import pyworkflow.utils as pwutils

from ..io.files import atomic_write
from ..io.result_folder import LOCK, ResultFolder
from ..io.runfolder import take_lock
from .engine_run import EngineRun

# fields of the configs that the particles settle, which no option repeats
OF_PARTICLES = ("pixel_size", "box_size")


class ResumableRun(EngineRun):
    """Mixed into a protocol that has `inputParticles`; the engine writes into extra/run and goes on there."""

    def _starPath(self):
        return self._getExtraPath("input_particles.star")

    def _runPath(self):
        return self._getExtraPath("run")

    def _restartPaths(self):
        """The run folders of the restarts that have begun."""
        return sorted(glob.glob(os.path.join(glob.escape(self._runPath()), "restart_*", "")))

    def _runSummary(self):
        """The dict of summary.json, or None before the run's end."""
        return ResultFolder(self._runPath()).summary() if os.path.isdir(self._runPath()) else None

    def _forgetOtherSettings(self, settings):
        """Remove the unfinished run of other settings, with which this one can't go on."""
        note = self._getExtraPath("settings.json")
        run = self._runPath()
        text = json.dumps(settings)
        if os.path.exists(note):
            with open(note, encoding="utf-8") as file:
                same = file.read() == text
            if not same and os.path.isdir(run):
                with contextlib.ExitStack() as locks:
                    # the locks are the engine's: an orphan of a killed protocol may still be writing there
                    for folder in (run, *self._restartPaths()):
                        locks.callback(os.close, take_lock(os.path.join(folder, LOCK), f"run folder {folder}",
                                                           "wait for it, or stop it, then continue"))
                    self.info("The settings differ from those of the unfinished run, which is removed: starting anew.")
                    pwutils.cleanPath(run)
        with atomic_write(note) as partial:
            partial.write_text(text, encoding="utf-8")

    def _complaintsOfParticles(self) -> list:
        """Sentences on what keeps the input particles from being reconstructed, or []."""
        particles, errors = self.inputParticles.get(), []
        if particles.getSize() == 0:
            errors.append("The input set holds no particles; choose another one.")
        if not particles.hasCTF():
            errors.append("The particles have no CTF, which the reconstruction corrects for; estimate it and assign it "
                          "to the particles first.")
        elif not particles.getAcquisition().getVoltage():
            errors.append("The particles' acquisition has no voltage; import them again with the microscope's values.")
        if particles.isPhaseFlipped():
            errors.append("The particles are phase-flipped, but the reconstruction corrects the CTF itself; extract "
                          "them again without phase flipping.")
        return errors


def config_words(config, leave_out=(), **instead) -> list:
    """The options of `cryosgd <engine>` for its config, by the command line's rule: the field's name without its unit.

    leave_out : fields that other options settle; instead : field -> what the command line takes in its place.
    """
    words = []
    for name, value in {**config.to_dict(), **instead}.items():
        if name in (*OF_PARTICLES, *leave_out) or value is None:
            continue
        option = "--" + re.sub(r"_(a|deg)$", "", name).replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            words += [option, *(str(v) for v in (value if isinstance(value, (tuple, list)) else (value,)))]
    return words


def listed(numbers) -> str:
    """Two or more numbers in words: 3, 4 and 5."""
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
