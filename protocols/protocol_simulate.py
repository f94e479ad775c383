"""Simulate particle images with known truth: of the built-in phantom, of maps or of atomic models."""
from __future__ import annotations

import os
from enum import Enum

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pwem.objects import SetOfParticles, SetOfVolumes, Volume
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import set_from_table
from ..core.errors import InputError
from ..engines.simulate.config import CONTRASTS, NOISE_KINDS, POSE_DISTRIBUTIONS, SimulateConfig
from ..io.result_folder import SUMMARY, ResultFolder
from ..io.star import read_particles
from .engine_run import EngineRun, sentence_of
from .simulate_advice import advice

PHANTOM, MAPS, MODELS = range(3)


class SimulateOutputs(Enum):
    outputParticles = SetOfParticles
    outputVolume = Volume
    outputVolumes = SetOfVolumes


class ProtCryosgdSimulate(EngineRun, EMProtocol):
    """Simulate single-particle images whose truth is known, to try a workflow or to measure a program.

    The structure is the built-in protein-like phantom (nothing to download), one or several density maps, or one or
    several atomic models. Defocus, astigmatism and phase shift vary from micrograph to micrograph; particles are
    shifted off their centres, seen from uniform or preferred directions, and drowned in white or coloured noise.

    The outputs are the particles with their CTF, without poses unless you ask for them, and the true density. The true
    poses of all particles are in extra/run/truth.star.
    """
    _label = "simulate particles"
    _devStatus = BETA
    _possibleOutputs = SimulateOutputs

    # ---- form
    def _defineParams(self, form):
        defaults = SimulateConfig(n_particles=1000, box_size=64, pixel_size=4.0)
        form.addSection(label="Structure")
        form.addParam("source", params.EnumParam, choices=["Built-in phantom", "Density maps", "Atomic models"],
                      default=PHANTOM, display=params.EnumParam.DISPLAY_HLIST, label="Structure from",
                      help="The phantom is asymmetric, about 100 Å across, and made of ideal secondary structure.")
        form.addParam("inputVolumes", params.MultiPointerParam, pointerClass="Volume", condition=f"source=={MAPS}",
                      allowsNull=True, label="Density maps",
                      help="One map for each structure. They are resampled to the box and pixel size of the images.")
        form.addParam("inputStructs", params.MultiPointerParam, pointerClass="AtomStruct",
                      condition=f"source=={MODELS}", allowsNull=True, label="Atomic models",
                      help="One model for each structure; waters and hydrogens are left out.")
        form.addParam("assembly", params.StringParam, default="", condition=f"source=={MODELS}", allowsNull=True,
                      expertLevel=LEVEL_ADVANCED, label="Biological assembly",
                      help="Name of the assembly in the file, usually 1. Empty: the chains as they stand in the file.")
        form.addParam("fractions", params.StringParam, default="", allowsNull=True, condition=f"source!={PHANTOM}",
                      expertLevel=LEVEL_ADVANCED, label="Fractions",
                      help="Share of the particles that each structure gets, for example: 0.7 0.3. Empty: equal.")
        form.addParam("modelBfactor", params.FloatParam, default=defaults.model_bfactor_a2,
                      condition=f"source!={MAPS}", expertLevel=LEVEL_ADVANCED, label="Atomic B-factor (Å²)",
                      help="Displacement of the atoms, which blurs the true density: exp(-B/4d²) at resolution d. "
                           "Typical 30 to 100; more for a floppy structure, 0 for atoms at rest.")

        form.addSection(label="Images")
        form.addParam("nParticles", params.IntParam, default=1000, important=True, validators=[params.Positive],
                      label="Number of particles",
                      help="Of all structures together. Typical 1,000 to try a program; 10,000 or more where the "
                           "result matters.")
        form.addParam("boxSize", params.IntParam, default=64, label="Box size (px)",
                      help="About 1.5 to 2 times the particle's diameter. The phantom fits 64 px at 4 Å/px.")
        form.addParam("pixelSize", params.FloatParam, default=4.0, label="Pixel size (Å/px)",
                      help="Of the images. Nothing finer than twice this is in them. Typical 1 to 4.")
        form.addParam("addNoise", params.BooleanParam, default=True, label="Add noise?",
                      help="No: the clean projections with their CTF, to look at or to test a reconstruction.")
        form.addParam("snr", params.FloatParam, default=defaults.snr, condition="addNoise", label="SNR",
                      help="Variance of the clean images over the whole box, divided by the variance of the noise. "
                           "Typical of cryo-EM: 0.01 to 0.1.")
        form.addParam("noise", params.EnumParam, choices=list(NOISE_KINDS), default=0, condition="addNoise",
                      expertLevel=LEVEL_ADVANCED, label="Noise spectrum",
                      help="*white*: the same power at all frequencies.\n*coloured*: more at low frequencies, as ice "
                           "and the detector leave it.")
        form.addParam("contrast", params.EnumParam, choices=list(CONTRASTS), default=0, expertLevel=LEVEL_ADVANCED,
                      label="Protein is", help="White is what particle programs expect; black is as recorded.")
        form.addParam("seed", params.IntParam, default=0, expertLevel=LEVEL_ADVANCED, label="Random seed",
                      help="A whole number, 0 or more; any will do. The same seed and settings give the same images; "
                           "change it for other noise, poses and defocus values of the same kind.")

        form.addSection(label="Microscope")
        form.addParam("voltage", params.FloatParam, default=defaults.voltage_kv, expertLevel=LEVEL_ADVANCED,
                      label="Voltage (kV)", help="Of the microscope. Typical 300; 200 or 100 for the smaller ones.")
        form.addParam("sphericalAberration", params.FloatParam, default=defaults.cs_mm,
                      expertLevel=LEVEL_ADVANCED, label="Spherical aberration (mm)",
                      help="Of the objective lens. Typical 2.7; 0.01 with a corrector.")
        form.addParam("amplitudeContrast", params.FloatParam, default=defaults.amplitude_contrast,
                      expertLevel=LEVEL_ADVANCED, label="Amplitude contrast",
                      help="A fraction, 0 to 1. Typical 0.07 to 0.1 for protein in ice; more for stain.")
        _add_range(form, "defocus", "Defocus (Å)", defaults.defocus_range_a,
                   help="Uniform over the micrographs. Typical 5000 to 30000, positive for underfocus; a wide range "
                        "fills the zeros of the CTF.")
        form.addParam("astigmatism", params.FloatParam, default=defaults.astigmatism_a, expertLevel=LEVEL_ADVANCED,
                      label="Largest astigmatism (Å)",
                      help="Difference of the two defocus values, uniform over the micrographs from 0 to this, at any "
                           "angle. Typical 100 to 500; 1000 or more for a microscope badly aligned, 0 for none.")
        _add_range(form, "phaseShift", "Phase shift (degrees)", defaults.phase_shift_range_deg,
                   expertLevel=LEVEL_ADVANCED,
                   help="Uniform over the micrographs. Typical 0; about 90 with a phase plate.")
        form.addParam("ctfBfactor", params.FloatParam, default=defaults.ctf_bfactor_a2, expertLevel=LEVEL_ADVANCED,
                      label="Envelope B-factor (Å²)",
                      help="How fast the microscope and motion damp the fine details: exp(-B/4d²) at resolution d. "
                           "Typical 50 to 150; 0 for none.")
        form.addParam("particlesPerMicrograph", params.IntParam, default=defaults.particles_per_micrograph,
                      expertLevel=LEVEL_ADVANCED, label="Particles per micrograph",
                      help="They share one defocus, astigmatism and phase shift. Typical 50 to 300; fewer spread the "
                           "zeros of the CTF over more values, which matters for small sets.")
        form.addParam("opticsGroups", params.IntParam, default=defaults.optics_groups, expertLevel=LEVEL_ADVANCED,
                      label="Optics groups",
                      help="The micrographs are dealt to them in turn; their optics are equal. Typical 1; more only to "
                           "try how a program takes a set with several.")

        form.addSection(label="Poses")
        form.addParam("shiftSd", params.FloatParam, default=defaults.shift_sd_a, expertLevel=LEVEL_ADVANCED,
                      label="Shifts, sd (Å)",
                      help="Standard deviation of the particles' distance from the box centre, along x and along y. "
                           "Typical 3 to 10 after picking; 0 for particles in the centre.")
        form.addParam("poses", params.EnumParam, choices=list(POSE_DISTRIBUTIONS), default=0, label="View directions",
                      help="*uniform*: from all sides alike.\n*preferred*: most of them about one axis, as particles "
                           "that stick to the air-water interface.")
        form.addParam("concentration", params.FloatParam, default=defaults.concentration,
                      condition="poses==1", expertLevel=LEVEL_ADVANCED, label="Concentration",
                      help="Of the views about the preferred axis (von Mises-Fisher). Typical 5, broad; 50 is sharp, 0 "
                           "uniform.")
        line = form.addLine("Preferred axis", condition="poses==1", expertLevel=LEVEL_ADVANCED,
                            help="A direction in the volume, of any length. Typical 0, 0, 1: seen along z.")
        for axis, value in zip("XYZ", defaults.preferred_axis):
            line.addParam(f"axis{axis}", params.FloatParam, default=value, condition="poses==1",
                          expertLevel=LEVEL_ADVANCED, label=axis.lower())
        form.addParam("keepPoses", params.BooleanParam, default=False, label="Give the particles their true poses?",
                      help="Yes for a set that looks refined already; No for one that a program shall align.")
        form.addParallelSection(threads=0, mpi=0)

    # ---- steps
    def _insertAllSteps(self):
        words = self._words()
        self._insertFunctionStep(self.simulateStep, words, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, words, needsGPU=False)

    def simulateStep(self, words):
        """Run `cryosgd simulate` into extra/run."""
        # a simulation takes minutes at most and starts over; a half-written one would be in its way
        pwutils.cleanPath(self._getExtraPath("run"))
        self._runEngine("simulate", ["-o", os.path.abspath(self._getExtraPath("run")), *words],
                        result=self._getExtraPath("run", SUMMARY))

    def createOutputStep(self, words):
        """The particles and the true density as Scipion's objects."""
        particles = self._createSetOfParticles()
        set_from_table(read_particles(self._getExtraPath("run", "particles.star")), particles)
        volumes = []
        folder = self._getExtraPath("run")
        for name in sorted(name for name in os.listdir(folder) if name.startswith("truth_volume")):
            volume = Volume(location=os.path.join(folder, name))
            volume.setSamplingRate(particles.getSamplingRate())
            volumes.append(volume)
        outputs = {SimulateOutputs.outputParticles.name: particles}
        if len(volumes) == 1:
            outputs[SimulateOutputs.outputVolume.name] = volumes[0]
        else:
            truth = self._createSetOfVolumes()
            truth.setSamplingRate(particles.getSamplingRate())
            for volume in volumes:
                truth.append(volume)
            outputs[SimulateOutputs.outputVolumes.name] = truth
        self._defineOutputs(**outputs)
        for pointer in self._structures():
            for output in outputs.values():
                self._defineSourceRelation(pointer, output)

    # ---- what the form means
    def _structures(self):
        return {PHANTOM: [], MAPS: list(self.inputVolumes), MODELS: list(self.inputStructs)}[self.source.get()]

    def _fractions(self):
        texts = (self.fractions.get() or "").replace(",", " ").split() if self.source != PHANTOM else []
        count = max(1, len(self._structures()))
        if not texts:
            return (1.0 / count,) * count
        try:
            fractions = tuple(float(text) for text in texts)
        except ValueError:
            raise InputError(f"fractions '{self.fractions.get()}' are not numbers; give one for each structure, for "
                             "example: 0.7 0.3") from None
        if len(fractions) != count:
            raise InputError(f"{len(fractions)} fractions came with {count} structure(s); give one for each, or none")
        return fractions

    def config(self) -> SimulateConfig:
        """The engine's settings of this form. Raises InputError with a sentence for the user."""
        return SimulateConfig(
            n_particles=self.nParticles.get(), box_size=self.boxSize.get(), pixel_size=self.pixelSize.get(),
            snr=self.snr.get() if self.addNoise else None, noise=NOISE_KINDS[self.noise.get()],
            voltage_kv=self.voltage.get(), cs_mm=self.sphericalAberration.get(),
            amplitude_contrast=self.amplitudeContrast.get(), optics_groups=self.opticsGroups.get(),
            particles_per_micrograph=self.particlesPerMicrograph.get(),
            defocus_range_a=(self.defocusLow.get(), self.defocusHigh.get()), astigmatism_a=self.astigmatism.get(),
            phase_shift_range_deg=(self.phaseShiftLow.get(), self.phaseShiftHigh.get()),
            ctf_bfactor_a2=self.ctfBfactor.get(), model_bfactor_a2=self.modelBfactor.get(),
            shift_sd_a=self.shiftSd.get(), poses=POSE_DISTRIBUTIONS[self.poses.get()],
            concentration=self.concentration.get(),
            preferred_axis=(self.axisX.get(), self.axisY.get(), self.axisZ.get()), fractions=self._fractions(),
            contrast=CONTRASTS[self.contrast.get()], seed=self.seed.get())

    def _words(self):
        """The command line of `cryosgd simulate` for this form, but for the output folder."""
        config = self.config()
        words = ["--particles", config.n_particles, "--box", config.box_size, "--pixel-size", config.pixel_size,
                 *(["--no-noise"] if config.snr is None else ["--snr", config.snr]), "--noise", config.noise,
                 "--voltage", config.voltage_kv, "--cs", config.cs_mm,
                 "--amplitude-contrast", config.amplitude_contrast, "--optics-groups", config.optics_groups,
                 "--particles-per-micrograph", config.particles_per_micrograph,
                 "--defocus", *config.defocus_range_a, "--astigmatism", config.astigmatism_a,
                 "--phase-shift", *config.phase_shift_range_deg, "--ctf-bfactor", config.ctf_bfactor_a2,
                 "--model-bfactor", config.model_bfactor_a2, "--shift-sd", config.shift_sd_a,
                 "--poses", config.poses, "--concentration", config.concentration,
                 "--preferred-axis", *config.preferred_axis, "--contrast", config.contrast, "--seed", config.seed,
                 "--fractions", *config.fractions, "--star-poses" if self.keepPoses else "--without-poses"]
        objects = [pointer.get() for pointer in self._structures()]
        paths = [os.path.abspath(item.getFileName().replace(":mrc", "")) for item in objects]
        if self.source == MAPS:
            words += ["--map-pixel-size", objects[0].getSamplingRate(), "--map", *paths]
        elif self.source == MODELS:
            words += [*(["--assembly", self.assembly.get()] if self.assembly.get() else []), "--model", *paths]
        return [str(word) for word in words]

    # ---- information
    def _validate(self):
        try:
            self.config()
        except InputError as error:
            return [sentence_of(error)]
        if self.source != PHANTOM and not self._structures():
            return ["Choose at least one map or model, or take the built-in phantom."]
        if self.source == MAPS:
            sizes = {round(pointer.get().getSamplingRate(), 4) for pointer in self.inputVolumes}
            if len(sizes) > 1:
                listed = ", ".join(f"{size:g}" for size in sorted(sizes))
                return [f"The maps have pixel sizes of {listed} Å/px; resample them to one."]
        return []

    def _warnings(self):
        boxes = {PHANTOM: None, MODELS: [], MAPS: [
            (volume.getXDim() * volume.getSamplingRate(), volume.getSamplingRate())
            for volume in (pointer.get() for pointer in self.inputVolumes) if volume is not None]}
        return advice(self.config(), boxes[self.source.get()])

    def _summary(self):
        folder = self._getExtraPath("run")
        summary = ResultFolder(folder).summary() if os.path.isdir(folder) else None
        if summary is None:
            return ["No particles are simulated yet."]
        truth = "with" if self.keepPoses.get() else "without"
        return [sentence_of(summary["outcome"]),
                f"The structure is {summary['diameter_a']:.0f} Å across; the particles come {truth} their true poses, "
                "which are in extra/run/truth.star."]

    def _methods(self):
        if not hasattr(self, SimulateOutputs.outputParticles.name):
            return []
        summary = ResultFolder(self._getExtraPath("run")).summary()
        config = SimulateConfig.from_dict(summary["parameters"])
        noise = "without noise" if config.snr is None else (
            f"with {config.noise} noise at a signal-to-noise ratio of {config.snr:g}")
        views = "uniformly distributed" if config.poses == "uniform" else (
            f"von Mises-Fisher distributed (concentration {config.concentration:g})")
        density = ("density maps" if self.source == MAPS else
                   "atoms with electron scattering factors [Peng1999] and a B-factor of "
                   f"{config.model_bfactor_a2:g} Å²")
        return [f"{config.n_particles} images of {config.box_size} px at {config.pixel_size:g} Å/px were simulated in "
                f"CryoSGD {summary['version']} {noise}, as projections of {density} in {views} views, at "
                f"{config.voltage_kv:g} kV and defocus values between {config.defocus_range_a[0]:g} and "
                f"{config.defocus_range_a[1]:g} Å."]

    def _citations(self):
        return [] if self.source == MAPS else ["Peng1999"]


def _add_range(form, name, label, values, expertLevel=0, **kwargs):
    line = form.addLine(label, expertLevel=expertLevel, **kwargs)
    for end, value in zip(("Low", "High"), values):
        line.addParam(f"{name}{end}", params.FloatParam, default=value, expertLevel=expertLevel,
                      label="from" if end == "Low" else "to")
