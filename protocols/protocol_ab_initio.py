"""Ab initio reconstruction: from particles without poses to first maps."""
from __future__ import annotations

import os
from dataclasses import replace

from pwem.protocols import ProtInitialVolume
from pyworkflow.constants import BETA

from ..convert import table_from_set, table_to_star, volume_to_mrc
from ..core.errors import InputError
from ..core.settings import need
from ..engines.abinitio.config import AbInitioConfig
from ..io.result_folder import SUMMARY, ResultFolder
from .ab_initio_advice import advice
from .ab_initio_form import CITED_WITH, OPTIMISER_WORDS, OPTIMISERS, QUADRATURES, AbInitioForm
from .ab_initio_results import AbInitioResults
from .agreement_results import consensus_words, pair_words
from .engine_run import sentence_of
from .resumable_run import ResumableRun, config_words, listed


class ProtCryosgdAbInitio(AbInitioForm, AbInitioResults, ResumableRun, ProtInitialVolume):
    """Reconstruct a first 3D map, or several, from particle images alone: no reference, no poses.

    Stochastic gradient descent from a random start: small batches of particles are compared with the present map in
    all poses at once, and the map follows, while the resolution in use marches from coarse to fine. At the end every
    particle gets its most probable pose and the map is reconstructed from all of them. With several classes as many
    maps compete for the particles, and each particle goes to the one that explains it best.

    *You give*: particles with a CTF and white protein, the particle's diameter, and the symmetry if you know it.
    *You get*: a map with its two half-maps, the particles with poses, and the FSC between the halves; of several
    classes, the classes with their particles and maps. A class, or its particles, can be taken on as a subset.

    The poses of both halves come from one map. The FSC therefore says how consistent the images are at these poses; it
    is no gold-standard resolution: refine the particles for that. To see whether the particles determine a map at all,
    use restarts: runs from other random maps, which are aligned and compared. The volume and particles are then those
    of the run that agrees best with the others; beside them are the aligned maps of all, their consensus (the mean of
    those that agree) and the FSC of the pairs. The consensus has no half-maps, since the runs share the noise of their
    images; it is for looking at, or to start from.

    The hand of the map can't be known from untilted images. If it turns out to be the wrong one, flip it.

    A stopped or killed run goes on from its last checkpoint with Continue.
    """
    _label = "ab initio"
    _devStatus = BETA

    # ---- steps
    def _insertAllSteps(self):
        # every step gets all that settles the result: Scipion repeats a finished step only where its arguments differ
        settings = self._settings()
        particles, start = self.inputParticles.getUniqueId(), settings["start_map"]
        self._insertFunctionStep(self.convertInputStep, particles, start, needsGPU=False)
        self._insertFunctionStep(self.abInitioStep, particles, settings)
        self._insertFunctionStep(self.createOutputStep, *self._outputArguments(), needsGPU=False)

    def convertInputStep(self, particles, start):
        """Write the particles, without poses and classes that they may have, and the map to start from."""
        table = table_from_set(self.inputParticles.get())
        table_to_star(replace(table, rotations=None, shifts_a=None, class_id=None), self._starPath())
        if start is not None:
            volume_to_mrc(self.startVolume.get(), self._startPath())

    def abInitioStep(self, particles, settings):
        """Run the engine in its own process; it starts, or goes on from its checkpoint."""
        self._forgetOtherSettings([particles, settings])
        words = _words(self.config(), os.path.abspath(self._startPath()))
        if self.restarts.get() > 1:
            words += ["--restarts", str(self.restarts.get())]
        self._runEngine("abinitio", [os.path.abspath(self._starPath()), "-o", os.path.abspath(self._runPath()),
                                     "--continue", *words, *self._resourceArguments()],
                        result=os.path.join(self._runPath(), SUMMARY))

    def createOutputStep(self, particles, settings):
        """Maps with half-maps, particles with poses, FSC; classes and restarts where there are several."""
        self._createOutputs(ResultFolder(self._runPath()))

    def _outputArguments(self):
        return [self.inputParticles.getUniqueId(), self._settings()]

    def _settings(self):
        """All that settles the result, besides the particles, in plain types."""
        start = self.startVolume.getUniqueId() if self.startsFromMap() else None
        return {**self.config().to_dict(), "restarts": self.restarts.get(), "start_map": start}

    def _startPath(self):
        return self._getExtraPath("start.mrc")

    # ---- information
    def _validate(self):
        particles = self.inputParticles.get()
        if particles is None or self.particleDiameter.get() is None:
            return []  # Scipion itself says that these are empty
        errors = self._complaintsOfParticles()
        if self.startsFromMap() and self.startVolume.get() is None:
            errors.append("A map to start from is asked for, but none is chosen; choose it, or a random start.")
        try:
            self.config()
            need(self.restarts.get() >= 1, f"{self.restarts} restarts were asked for; give 1 for a single run, or more")
        except InputError as error:
            errors.append(sentence_of(error))
        return errors + self._validateGpu()

    def _warnings(self):
        return advice(self.config(), self.inputParticles.get().getSize(), self.restarts.get())

    def _summary(self):
        summary = self._runSummary()
        if summary is None:
            return [self._progressWords()]
        agreements = self._agreements(ResultFolder(self._runPath()))
        if not agreements:
            return [summary["outcome"]]
        words = [summary["verdict"]]
        for number, found in enumerate(agreements, start=1):
            prefix = f"Class {number}: " if len(agreements) > 1 else ""
            words.append(f"{prefix}{pair_words(found)} {consensus_words(found)}")
        # the engine's outcome begins with the verdict
        return [*words, summary["outcome"][len(summary["verdict"]):].strip()]

    def _progressWords(self):
        folders = [ResultFolder(path) for path in self._restartPaths() or [self._runPath()] if os.path.isdir(path)]
        done = len(folders[-1].history()) if folders else 0
        if len(folders) < 2 and not done:
            return "No iteration is finished yet."
        words = f"{done} of {self.iterations} iterations are finished"
        if self.restarts.get() > 1:
            return f"{words} in run {len(folders)} of {self.restarts}; the maps are compared when all are."
        return f"{words}; 'Analyze results' shows the map so far."

    def _methods(self):
        summary = self._runSummary()
        if summary is None:
            return []
        config = AbInitioConfig.from_dict(summary["parameters"])
        several = config.classes > 1
        used = self.outputParticles.getSize() if hasattr(self, "outputParticles") else "the"
        symmetry = f"with {config.symmetry} symmetry" if config.symmetry != "C1" else "without imposing symmetry"
        # runs of former times did not say it
        if summary.get("symmetry_imposed_after") is not None:
            after = summary["symmetry_imposed_after"]
            symmetry += f" imposed after {'all' if after == summary['iterations_done'] else after} iterations"
        start = "from a low-passed map" if config.start == "map" else "from a random start without reference"
        method = OPTIMISER_WORDS.get(config.optimiser, config.optimiser).replace(" (for comparison)", "")
        # Scipion links one key a bracket
        cited = ", ".join(f"[{key}]" for key in ("Punjani2017a", "Punjani2017b", *CITED_WITH.get(config.optimiser, [])))
        words = (f"{f'{config.classes} initial maps were' if several else 'An initial map was'} reconstructed from "
                 f"{used} particles by {method} {cited} as implemented in CryoSGD "
                 f"{summary['version']}, {symmetry}, {start}. In {summary['iterations_done']} iterations the "
                 f"resolution in use went from {config.initial_resolution_a:g} to {config.final_resolution_a:g} Å, "
                 f"marginalising over the poses {'and classes ' if several else ''}of every image.")
        if several:
            words += (" Each particle was assigned to its most probable class, which gave classes of "
                      f"{listed(summary['class_sizes'])} particles.")
        if self.restarts.get() > 1:
            words += (f" The maps of {self.restarts} random seeds were aligned and compared by Fourier shell "
                      "correlation.")
        return [words]

    def _citations(self):
        chosen = (OPTIMISERS[self.optimiser.get()], QUADRATURES[self.quadrature.get()])
        return ["Punjani2017a", "Punjani2017b", "Punjani2015", *sum((CITED_WITH.get(name, []) for name in chosen), [])]


def _words(config, start_map=None):
    """The options of `cryosgd abinitio` for a config; start_map : path of the map where config.start is "map"."""
    return config_words(config, start=start_map if config.start == "map" else config.start)
