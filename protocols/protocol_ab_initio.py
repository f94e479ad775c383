"""Ab initio reconstruction: from particles without poses to a first map."""
from __future__ import annotations

import json
import os
from dataclasses import replace
from enum import Enum

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pwem.objects import SetOfFSCs, SetOfParticles, Volume
from pwem.protocols import ProtInitialVolume
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import copy_particles, fsc_object, table_from_set, table_from_star, table_to_star
from ..core.errors import InputError
from ..engines.abinitio.config import START_KINDS, AbInitioConfig
from ..io.files import atomic_write
from ..io.fsc_star import read_fsc
from ..io.result_folder import FSC, LOCK, PARTICLES, SUMMARY, ResultFolder
from ..io.runfolder import take_lock
from .engine_run import EngineRun, sentence_of

FEW_PARTICLES = 500
# what the engine says of each particle besides its pose, kept with the output particles
PARTICLE_SCORES = ("rlnMaxValueProbDistribution", "rlnLogLikeliContribution", "cryosgdEffectivePoses")
# fields of the config whose option of `cryosgd abinitio` has another name
OPTIONS = {name: name[:-2] for name in ("diameter_a", "initial_resolution_a", "final_resolution_a",
                                       "shift_range_a")}


class AbInitioOutputs(Enum):
    outputVolume = Volume
    outputParticles = SetOfParticles
    outputFSC = SetOfFSCs


class ProtCryosgdAbInitio(EngineRun, ProtInitialVolume):
    """Reconstruct a first 3D map from particle images alone: no reference, no poses.

    Stochastic gradient descent from a random start: small batches of particles are compared with the present map in
    all poses at once, and the map follows, while the resolution in use marches from coarse to fine. At the end every
    particle gets its most probable pose and the map is reconstructed from all of them.

    *You give*: particles with a CTF and white protein, the particle's diameter, and the symmetry if you know it.
    *You get*: a map with its two half-maps, the particles with poses, and the FSC between the halves.

    The poses of both halves come from one map. The FSC therefore says how consistent the images are at these poses; it
    is no gold-standard resolution: refine the particles for that.

    The hand of the map can't be known from untilted images. If it turns out to be the wrong one, flip it.

    A stopped or killed run goes on from its last checkpoint with Continue.
    """
    _label = "ab initio"
    _devStatus = BETA
    _possibleOutputs = AbInitioOutputs

    # ---- form
    def _defineParams(self, form):
        form.addSection(label="Input")
        self._defineGpuParams(form)
        form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles", important=True,
                      label="Particles",
                      help="Single particles with a CTF, protein white, not phase-flipped. Poses that they may have "
                           "are not read. Large images cost nothing: they are downsampled to the resolution in use.")
        form.addParam("particleDiameter", params.FloatParam, default=None, important=True,
                      label="Particle diameter (Å)",
                      help="The longest extent of the particle, measured on a class average, and about a tenth more. "
                           "Outside this sphere the map is solvent, and images are masked to its circle with a soft "
                           "edge: in crowded micrographs more room lets neighbours in.")
        form.addParam("symmetry", params.StringParam, default="C1", label="Symmetry",
                      help="Point group, in RELION's orientation: C1, C4, D2, T, O, I1 … It is imposed after the "
                           "first part of the run. When in doubt C1: the map will show the symmetry.")
        line = form.addLine("Resolution (Å)",
                            help="The run starts with the coarse features and ends with the fine ones. 40 to 12 Å "
                                 "suits most particles; finer costs more time and needs good images.")
        line.addParam("initialResolution", params.FloatParam, default=AbInitioConfig.initial_resolution_a, label="from")
        line.addParam("finalResolution", params.FloatParam, default=AbInitioConfig.final_resolution_a, label="to")
        form.addParam("maxParticles", params.IntParam, default=None, allowsNull=True, label="Use at most (particles)",
                      help="That many, drawn at random. Empty: all. 20,000 are enough for most first maps. Particles "
                           "that are not used are left out of the output.")
        form.addParam("seed", params.IntParam, default=AbInitioConfig.seed, label="Random seed",
                      help="The same seed gives the same result; another one starts from another random map. Maps of "
                           "several seeds that agree are the best evidence there is at this stage.")

        form.addSection(label="Optimisation")
        form.addParam("iterations", params.IntParam, default=AbInitioConfig.iterations, label="Iterations",
                      help="Batches of particles in all. More where maps of several seeds differ.")
        _add_pair(form, "minibatch", params.IntParam, "Particles per batch", AbInitioConfig.minibatch,
                  help="At the start and at the end. More for very noisy images.")
        _add_pair(form, "stepSize", params.FloatParam, "Step size", AbInitioConfig.step_size,
                  help="At the start and at the end, as a share of the whole preconditioned step.")
        form.addParam("momentum", params.FloatParam, default=AbInitioConfig.momentum, expertLevel=LEVEL_ADVANCED,
                      label="Momentum", help="Share of the former step that is taken again, from 0 to below 1.")
        form.addParam("significantPoses", params.FloatParam, default=AbInitioConfig.significant_poses,
                      expertLevel=LEVEL_ADVANCED, label="Share of poses that matter at first",
                      help="The noise is taken for larger than it is until so many poses of an image remain plausible, "
                           "which keeps the run from settling too early; this fades away.")
        form.addParam("shiftRange", params.FloatParam, default=None, allowsNull=True, expertLevel=LEVEL_ADVANCED,
                      label="Largest shift (Å)",
                      help="Distance of the particle from the box centre that is searched. Empty: 6 % of the "
                           "diameter, at least 10 Å.")
        form.addParam("start", params.EnumParam, choices=list(START_KINDS), default=0, expertLevel=LEVEL_ADVANCED,
                      label="Random start from")
        form.addParam("symmetryStart", params.FloatParam, default=AbInitioConfig.symmetry_start,
                      expertLevel=LEVEL_ADVANCED, label="Impose the symmetry after",
                      help="Share of the iterations, 0 to 1.")
        form.addParam("positivity", params.BooleanParam, default=AbInitioConfig.positivity,
                      expertLevel=LEVEL_ADVANCED, label="Keep the density positive?",
                      help="No for molecules with much density below that of the solvent, such as detergent belts.")
        form.addParam("centring", params.BooleanParam, default=AbInitioConfig.centring, expertLevel=LEVEL_ADVANCED,
                      label="Centre the map?")
        self._defineResourceParams(form)
        form.addParallelSection(threads=4, mpi=0)

    # ---- steps
    def _insertAllSteps(self):
        # every step gets all that settles the result: Scipion repeats a finished step only where its arguments differ
        settings = self.config().to_dict()
        particles = self.inputParticles.getUniqueId()
        self._insertFunctionStep(self.convertInputStep, particles, needsGPU=False)
        self._insertFunctionStep(self.abInitioStep, particles, settings)
        self._insertFunctionStep(self.createOutputStep, particles, settings, needsGPU=False)

    def convertInputStep(self, particles):
        """Write the particles, without the poses that they may have, for the engine."""
        table = table_from_set(self.inputParticles.get())
        table_to_star(replace(table, rotations=None, shifts_a=None), self._starPath())

    def abInitioStep(self, particles, settings):
        """Run the engine in its own process; it starts, or goes on from its checkpoint."""
        self._forgetOtherSettings([particles, settings])
        self._runEngine("abinitio", [os.path.abspath(self._starPath()), "-o", os.path.abspath(self._runPath()),
                                     "--continue", *_words(self.config()), *self._resourceArguments()],
                        result=os.path.join(self._runPath(), SUMMARY))

    def createOutputStep(self, particles, settings):
        """Volume with half-maps, particles with poses, FSC."""
        folder = ResultFolder(self._runPath())
        source = self.inputParticles.get()
        volume = Volume(location=os.path.relpath(folder.newest_volume()))
        volume.setSamplingRate(source.getSamplingRate())
        volume.setHalfMaps([os.path.relpath(path) for path in folder.half_maps()])
        aligned = self._createSetOfParticles()
        copy_particles(source, aligned, table_from_star(folder.path(PARTICLES)), carry=PARTICLE_SCORES)
        curves = self._createSetOfFSCs()
        frequencies, values = read_fsc(folder.path(FSC))
        for word, curve in values.items():
            curves.append(fsc_object(f"half-maps, {word}", frequencies[1:], curve[1:]))
        self._defineOutputs(**{AbInitioOutputs.outputVolume.name: volume,
                               AbInitioOutputs.outputParticles.name: aligned,
                               AbInitioOutputs.outputFSC.name: curves})
        self._defineTransformRelation(self.inputParticles, aligned)
        self._defineSourceRelation(self.inputParticles, volume)
        self._defineSourceRelation(self.inputParticles, curves)

    def _starPath(self):
        return self._getExtraPath("input_particles.star")

    def _runPath(self):
        return self._getExtraPath("run")

    # ---- what the form means
    def config(self) -> AbInitioConfig:
        """The engine's settings of this form. Raises InputError with a sentence for the user."""
        particles = self.inputParticles.get()
        return AbInitioConfig(
            pixel_size=particles.getSamplingRate(), box_size=particles.getXDim(),
            diameter_a=self.particleDiameter.get(),
            symmetry=self.symmetry.get().strip().upper(), initial_resolution_a=self.initialResolution.get(),
            final_resolution_a=self.finalResolution.get(), iterations=self.iterations.get(),
            minibatch=(self.minibatchStart.get(), self.minibatchEnd.get()), momentum=self.momentum.get(),
            step_size=(self.stepSizeStart.get(), self.stepSizeEnd.get()),
            significant_poses=self.significantPoses.get(), shift_range_a=self.shiftRange.get(),
            seed=self.seed.get(), start=START_KINDS[self.start.get()],
            symmetry_start=self.symmetryStart.get(), positivity=self.positivity.get(), centring=self.centring.get(),
            max_particles=self.maxParticles.get())

    def _forgetOtherSettings(self, settings):
        """Remove the unfinished run of other settings, with which this one can't go on."""
        note = self._getExtraPath("settings.json")
        run = self._runPath()
        text = json.dumps(settings)
        if os.path.exists(note):
            with open(note, encoding="utf-8") as file:
                same = file.read() == text
            if not same and os.path.isdir(run):
                # the lock is the engine's: an orphan of a killed protocol may still be writing there
                lock = take_lock(os.path.join(run, LOCK), f"run folder {run}", "wait for it, or stop it, then continue")
                self.info("The settings differ from those of the unfinished run, which is removed: starting anew.")
                pwutils.cleanPath(run)
                os.close(lock)
        with atomic_write(note) as partial:
            partial.write_text(text, encoding="utf-8")

    # ---- information
    def _validate(self):
        particles = self.inputParticles.get()
        if particles is None or self.particleDiameter.get() is None:
            return []  # Scipion itself says that these are empty
        errors = []
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
        try:
            self.config()
        except InputError as error:
            errors.append(sentence_of(error))
        return errors + self._validateGpu()

    def _warnings(self):
        particles = self.inputParticles.get()
        warnings = []
        used = min(self.maxParticles.get() or particles.getSize(), particles.getSize())
        if used < FEW_PARTICLES:
            warnings.append(f"Only {used} particles will be used; an ab initio map usually needs {FEW_PARTICLES} or "
                            "more.")
        if particles.getXDim() * particles.getSamplingRate() < 1.2 * self.particleDiameter.get():
            warnings.append("The box is hardly larger than the particle, so that its defocused signal is cut off; "
                            "boxes of 1.5 to 2 times the diameter serve better.")
        return warnings

    def _summary(self):
        summary = self._runSummary()
        if summary is None:
            history = ResultFolder(self._runPath()).history() if os.path.isdir(self._runPath()) else []
            if not history:
                return ["No iteration is finished yet."]
            return [f"{len(history)} of {self.iterations} iterations are finished; 'Analyze results' shows the map so "
                    "far."]
        return [summary["outcome"]]

    def _methods(self):
        summary = self._runSummary()
        if summary is None:
            return []
        config = AbInitioConfig.from_dict(summary["parameters"])
        used = self.outputParticles.getSize() if hasattr(self, AbInitioOutputs.outputParticles.name) else "the"
        symmetry = f"with {config.symmetry} symmetry" if config.symmetry != "C1" else "without imposing symmetry"
        return [f"An initial map was reconstructed from {used} particles by stochastic gradient descent with momentum "
                f"[Punjani2017a, Punjani2017b] as implemented in CryoSGD {summary['version']}, {symmetry}, from a "
                f"random start without reference. In {config.iterations} iterations the resolution in use went from "
                f"{config.initial_resolution_a:g} to {config.final_resolution_a:g} Å, marginalising over the poses of "
                "every image."]

    def _citations(self):
        return ["Punjani2017a", "Punjani2017b", "Punjani2015", "Gorski2005"]

    def _runSummary(self):
        return ResultFolder(self._runPath()).summary() if os.path.isdir(self._runPath()) else None


def _words(config):
    """The options of `cryosgd abinitio` for a config; pixel size and box are the particles' own."""
    words = []
    for name, value in config.to_dict().items():
        if name in ("pixel_size", "box_size", "classes", "optimiser") or value is None:
            continue
        option = "--" + OPTIONS.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            words += [option, *(str(v) for v in (value if isinstance(value, (tuple, list)) else (value,)))]
    return words


def _add_pair(form, name, paramClass, label, values, help):
    line = form.addLine(label, expertLevel=LEVEL_ADVANCED, help=help)
    for end, value in zip(("Start", "End"), values):
        line.addParam(f"{name}{end}", paramClass, default=value, expertLevel=LEVEL_ADVANCED,
                      validators=[params.Positive], label="from" if end == "Start" else "to")
