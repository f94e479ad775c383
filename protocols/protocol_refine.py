"""Refinement to high resolution: from one or several maps and particles to maps whose halves are independent."""
from __future__ import annotations

import os
from dataclasses import replace

from pwem.protocols import ProtRefine3D
from pyworkflow.constants import BETA

from ..convert import half_sets_of, table_from_set, table_to_star, volume_to_mrc
from ..convert.maps import map_shape
from ..core.errors import InputError
from ..core.evidence import agreement
from ..core.masks import check_mask_frame
from ..engines.refine.config import MARGINALS, REGULARISATIONS, RefineConfig
from ..engines.reframe import check_frame
from ..io.result_folder import SUMMARY, ResultFolder
from .engine_run import sentence_of
from .refine_advice import advice
from .refine_form import RefineForm
from .refine_results import RefineResults
from .resumable_run import ResumableRun, config_words, listed

SOFT = "Scheres2012"


class ProtCryosgdRefine(RefineForm, RefineResults, ResumableRun, ProtRefine3D):
    """Refine one or several maps to high resolution, from references and particles with a CTF.

    Two half-sets are refined independently: each against its own map, sharing only the coarsest features of it. Every
    particle is compared with the map in all orientations and shifts (or, if you choose so, near those that it has): a
    lower bound on the error at full resolution, found at a low one, rules out most poses before they cost much (branch
    and bound), the others are followed to finer grids and then without any grid. Many quick iterations with samples of
    the particles come first, in which the mark of the reference fades. How far the halves agree settles which
    resolution the next iteration may use.

    *You give*: particles, one map to begin with, the particle's diameter, and the symmetry. An ab initio map will do:
    it is low-passed first. Several maps, or 3D classes, are refined together and compete for the particles; so do
    several classes that begin with one map.
    *You get*: the map with its unregularised half-maps, the particles with poses and half-sets, the FSC curves
    (unmasked, masked, of randomised phases, corrected), and the mask that was used; of several classes, these
    with their particles and maps.

    The run ends by itself when neither the resolution nor the poses get better. The hand is that of the reference.

    A stopped or killed run goes on after its last iteration with Continue.
    """
    _label = "refine (branch and bound)"
    _devStatus = BETA

    # ---- steps
    def _insertAllSteps(self):
        # every step gets all that settles the result: Scipion repeats a finished step only where its arguments differ
        settings = self._settings()
        particles = self.inputParticles.getUniqueId()
        self._insertFunctionStep(self.convertInputStep, particles, settings["references"], settings["mask_map"],
                                 settings["search"], needsGPU=False)
        self._insertFunctionStep(self.refineStep, particles, settings)
        self._insertFunctionStep(self.createOutputStep, particles, settings, needsGPU=False)

    def convertInputStep(self, particles, references, mask, search):
        """Write the particles with their half-sets, poses only for a local search, the references and the mask."""
        table = replace(table_from_set(self.inputParticles.get()), class_id=None)
        if search != "local":
            table = replace(table, rotations=None, shifts_a=None)
        table_to_star(table, self._starPath())
        for path, (_, volume) in zip(self._referencePaths(), self.references()):
            volume_to_mrc(volume, path)
        if mask is not None:
            volume_to_mrc(self.inputMask.get(), self._maskPath())

    def refineStep(self, particles, settings):
        """Run the engine in its own process; it starts, or goes on from its checkpoint."""
        self._forgetOtherSettings([particles, settings])
        references = [os.path.abspath(path) for path in self._referencePaths()]
        self._runEngine("refine", [os.path.abspath(self._starPath()), "--reference", *references,
                                   "-o", os.path.abspath(self._runPath()), "--continue",
                                   *_words(self.config(), os.path.abspath(self._maskPath())),
                                   *self._resourceArguments()],
                        result=os.path.join(self._runPath(), SUMMARY))

    def createOutputStep(self, particles, settings):
        """Maps with half-maps, particles with poses, FSC curves and mask; classes where there are several."""
        self._createOutputs(ResultFolder(self._runPath()))

    def _settings(self):
        """All that settles the result, besides the particles, in plain types."""
        mask = self.inputMask.getUniqueId() if self.inputMask.get() is not None else None
        return {**self.config().to_dict(), "references": [pointer.getUniqueId() for pointer in self.inputVolumes],
                "mask_map": mask}

    def _referencePaths(self):
        return [self._getExtraPath(f"reference{k + 1:03d}.mrc") for k in range(len(self.references()))]

    def _maskPath(self):
        return self._getExtraPath("input_mask.mrc")

    # ---- information
    def _validate(self):
        if self.inputParticles.get() is None or self.particleDiameter.get() is None or not self.inputVolumes:
            return []  # Scipion itself says that these are empty
        errors = self._complaintsOfParticles()
        try:
            config = self.config()
        except InputError as error:
            return [*errors, sentence_of(error)]
        if config.search == "local" and not self.inputParticles.get().hasAlignmentProj():
            errors.append("A search around the particles' poses was chosen, and these particles have none; refine them "
                          "globally first, or choose branch and bound.")
        return errors + self._complaintsOfMaps(config) + self._complaintsOfMemory(config) + self._validateGpu()

    def _complaintsOfMemory(self, config):
        # imported here: a form that is only opened need not wait for it
        from ..engines.refine.memory import check_memory
        try:
            check_memory(config, self.numberOfThreads.get(), self.memory.get())
        except InputError as error:
            return [sentence_of(error)]
        return []

    def _complaintsOfMaps(self, config):
        """Sentences on references and mask whose frames can't be used, from their headers alone."""
        errors = []
        for name, volume in self.references():
            try:
                check_frame(map_shape(volume), volume.getSamplingRate() or 0, config.diameter_a)
            except InputError as error:
                errors.append(f"Reference {name}: {error}.")
        mask = self.inputMask.get()
        if mask is not None:
            try:
                check_mask_frame(map_shape(mask), config.box_size, mask.getSamplingRate(), config.pixel_size)
            except InputError as error:
                errors.append(sentence_of(error))
        return errors

    def _warnings(self):
        files = [volume.getFileName() for _, volume in self.references()]
        return advice(self.config(), half_sets_of(self.inputParticles.get()), files)

    def _summary(self):
        summary = self._runSummary()
        if summary is not None:
            return [summary["outcome"], *summary["warnings"]]
        history = ResultFolder(self._runPath()).history() if os.path.isdir(self._runPath()) else []
        if not history:
            return ["No iteration is finished yet."]
        last = history[-1]
        # the history of a run of before does not say what of its resolution is evidence
        told = f"; the halves {agreement(*last['resolved_a'])}" if "resolved_a" in last else ""
        return [f"{len(history)} iterations are finished, the last of them with {last['n_images']} particles{told}. "
                "'Analyze results' shows the map so far."]

    def _methods(self):
        summary = self._runSummary()
        if summary is None:
            return []
        config, several = RefineConfig.from_dict(summary["parameters"]), summary["parameters"]["classes"] > 1
        symmetry = f"with {config.symmetry} symmetry" if config.symmetry != "C1" else "without imposing symmetry"
        search = {"bounded": "a branch-and-bound search over all orientations and shifts [Punjani2017a]",
                  "exhaustive": "an exhaustive search over all orientations and shifts",
                  "local": f"a search within {config.local_angle_deg:g}° and {config.local_shift_a:g} Å of their "
                           "former poses"}[config.search]
        poses = (f"Maps were averaged over all {'classes and ' if several else ''}poses that count [{SOFT}]"
                 if config.marginal == "soft" else "Each particle entered with its most probable pose")
        words = (f"{f'{config.classes} maps were' if several else 'A map was'} refined from {summary['n_particles']} "
                 f"particles by {search} as implemented in CryoSGD "
                 f"{summary['version']}, {symmetry}, from {'references' if several else 'a reference'} low-passed to "
                 f"{config.initial_resolution_a:g} Å, in {summary['iterations_done']} iterations. "
                 f"{_of_maps(config)}Two half-sets of {listed(summary['half_sets'])} particles were refined "
                 f"independently [Scheres2012b], with references in common only at frequencies below "
                 f"1/{config.shared_resolution_a:g} Å. {poses}. By the FSC = 0.143 criterion [Rosenthal2003] within "
                 f"a soft mask, corrected by phase randomisation [Chen2013], the half-maps ")
        if not several:
            return [words + agreement(summary["resolution_a"]) + "."]
        each = [f"{agreement(one)} (class {k}, {size} particles)" for k, (one, size) in
                enumerate(zip(summary["resolution_a"], summary["class_sizes"]), start=1)]
        return [words + listed(each) + "."]

    def _citations(self):
        soft = [SOFT] if MARGINALS[self.marginal.get()] == "soft" else []
        sparse = ["Luo2020", "Luo2021"] if REGULARISATIONS[self.regularisation.get()] == "sparse-tv" else []
        return ["Punjani2017a", *soft, *sparse, "Scheres2012b", "Rosenthal2003", "Chen2013", "Gorski2005"]


def _of_maps(config):
    if config.regularisation == "wiener":
        return ""
    return ("The maps that particles were compared with were regularised by log-norm sparsity and log total variation "
            "[Luo2020], [Luo2021], those of each half by themselves; half-maps and FSC were not. ")


def _words(config, mask=None):
    """The options of `cryosgd refine` for a config, but for the references; mask : path where config.mask is "map"."""
    return config_words(config, mask=mask if config.mask == "map" else config.mask)
