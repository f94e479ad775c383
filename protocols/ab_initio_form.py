"""The form of the ab initio protocol, and what its fields mean to the engine."""
from __future__ import annotations

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..engines.abinitio.config import (
    MARCHES,
    OPTIMISERS,
    QUADRATURES,
    SAGD_DRAWINGS,
    START_KINDS,
    AbInitioConfig,
)
from ..engines.abinitio.noise import NOISES
from ..engines.abinitio.priors import PRIORS
from .form_fields import FilledForm, add, add_choice, add_pair, one_of

START_WORDS = {"spheres": "random spheres", "noise": "smoothed noise", "map": "a map"}
OPTIMISER_WORDS = {
    "sgd": "stochastic gradient descent", "sgd-momentum": "stochastic gradient descent with momentum",
    "nesterov": "Nesterov's accelerated gradient", "adagrad": "AdaGrad", "tonga": "TONGA", "olbfgs": "online L-BFGS",
    "hessian-free": "Hessian-free optimisation", "sagd": "stochastic average gradient descent",
    "batch-em": "batch expectation-maximisation (for comparison)",
    "projection-matching": "projection matching (for comparison)"}
# what is cited beside the papers of the method as a whole
CITED_WITH = {"nesterov": ["Sutskever2013"], "adagrad": ["Duchi2011"], "tonga": ["LeRoux2007"],
              "olbfgs": ["Schraudolph2007"], "hessian-free": ["Martens2010"], "sagd": ["LeRoux2012"],
              "batch-em": ["Scheres2012"], "saff-kuijlaars": ["Saff1997"], "healpix": ["Gorski2005"]}
QUADRATURE_WORDS = {"healpix": "HEALPix and a square grid", "saff-kuijlaars": "Saff-Kuijlaars and Gauss-Hermite"}
MARCH_WORDS = {"iterations": "evenly", "need": "by need", "paper": "in the paper's steps"}
SAGD_DRAWING_WORDS = {"epochs": "each once an epoch", "replacement": "with replacement, as in the paper"}
NOISE_WORDS = {"coloured": "coloured: a variance for each frequency", "white": "white: one variance for all"}
PRIOR_WORDS = {"uniform": "none", "car": "smoothness (conditionally autoregressive)", "exponential": "exponential"}
MAP_START = START_KINDS.index("map")
DEFAULT = AbInitioConfig


class AbInitioForm(FilledForm):
    """Mixed into the protocol: ten fields for everyone, the rest advanced and grouped as on the command line."""

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._defineGpuParams(form)
        _define_basics(form)
        _define_start(form)
        self._defineGpuWand(form)
        form.addSection(label="Method")
        _define_schedule(form)
        _define_steps(form)
        _define_poses(form)
        self._defineResourceParams(form)
        form.addParallelSection(threads=4, mpi=0)

    def config(self) -> AbInitioConfig:
        """The engine's settings of this form. Raises InputError with a sentence for the user."""
        particles = self.inputParticles.get()
        self._refuseEmptyFields()
        return AbInitioConfig(
            pixel_size=particles.getSamplingRate(), box_size=particles.getXDim(),
            diameter_a=self.particleDiameter.get(), classes=self.numberOfClasses.get(),
            symmetry=(self.symmetry.get() or "").strip().upper(), initial_resolution_a=self.initialResolution.get(),
            final_resolution_a=self.finalResolution.get(), max_particles=self.maxParticles.get(),
            seed=self.seed.get(), start=START_KINDS[self.start.get()],
            iterations=self.iterations.get(), minibatch=self._pair("minibatch"), march=MARCHES[self.march.get()],
            held_out=self.heldOut.get(), early_stop=self.earlyStop.get(),
            significant_poses=self.significantPoses.get(), class_similarity=self.classSimilarity.get(),
            symmetry_start=self.symmetryStart.get(),
            optimiser=OPTIMISERS[self.optimiser.get()], step_size=self._pair("stepSize"),
            momentum=self.momentum.get(), sagd_minibatch=self.sagdMinibatch.get(),
            sagd_drawing=SAGD_DRAWINGS[self.sagdDrawing.get()],
            preconditioner=self.preconditioner.get(), noise=NOISES[self.noise.get()],
            prior=tuple(PRIORS)[self.prior.get()], prior_strength=self.priorStrength.get(),
            positivity=self.positivity.get(), centring=self.centring.get(), shift_range_a=self.shiftRange.get(),
            importance_sampling=self.importanceSampling.get(), oversampling=self.oversampling.get(),
            quadrature=QUADRATURES[self.quadrature.get()])

    def startsFromMap(self) -> bool:
        """Whether the form asks for the user's own map as a start."""
        return self.start.get() == MAP_START


def _define_basics(form):
    form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles", important=True,
                  label="Particles",
                  help="Single particles with a CTF, protein white, not phase-flipped. Poses and classes that they may "
                       "have are not read. Large images cost nothing: they are downsampled to the resolution in use.")
    form.addParam("particleDiameter", params.FloatParam, default=None, important=True,
                  label="Particle diameter (Å)",
                  help="The longest extent of the particle, measured on a class average, and about a tenth more. "
                       "Outside this sphere the map is solvent, and images are masked to its circle with a soft edge: "
                       "in crowded micrographs more room lets neighbours in. Typical 80 to 400; the wand measures it.")
    form.addParam("numberOfClasses", params.IntParam, default=DEFAULT.classes, label="Number of classes",
                  help="Structures to reconstruct at the same time; each particle goes to the one that explains it "
                       "best. 1 for particles that are alike, 2 to 4 to sort out other conformations, complexes or "
                       "junk; give one more than you expect. Time grows with the number of classes, and each of them "
                       "needs its particles: 1,000 or more.")
    form.addParam("symmetry", params.StringParam, default=DEFAULT.symmetry, label="Symmetry",
                  help="Point group, in RELION's orientation: C1, C4, D2, T, O, I1 … It is imposed after the first "
                       "part of the run, on all classes. When in doubt C1: the map will show the symmetry.")
    line = form.addLine("Resolution (Å)",
                        help="The run starts with the coarse features and ends with the fine ones. 40 to 12 Å suits "
                             "most particles; finer costs more time and needs good images.")
    line.addParam("initialResolution", params.FloatParam, default=DEFAULT.initial_resolution_a, label="from")
    line.addParam("finalResolution", params.FloatParam, default=DEFAULT.final_resolution_a, label="to")
    form.addParam("maxParticles", params.IntParam, default=None, allowsNull=True, label="Use at most (particles)",
                  help="That many, drawn at random. Empty: all. 20,000 are enough for most first maps. Particles that "
                       "are not used are left out of the output.")
    form.addParam("restarts", params.IntParam, default=1, label="Restarts",
                  help="Runs from as many random seeds, one after the other, whose maps are then aligned and compared. "
                       "Maps that agree are the best evidence there is at this stage. 1: a single run. 3 to 5 before "
                       "you trust a map; the time grows accordingly.")
    form.addParam("seed", params.IntParam, default=DEFAULT.seed, label="Random seed",
                  help="A whole number, 0 or more; any will do. The same seed gives the same result; another one "
                       "starts from another random map: change it to see whether the map comes again. Restarts use "
                       "this seed and those after it.")


def _define_start(form):
    group = form.addGroup("Start", expertLevel=LEVEL_ADVANCED)
    add_choice(group, "start", "Start from", START_KINDS, START_WORDS, DEFAULT.start,
               help="*random spheres*: blobs at random, right for most particles.\n*smoothed noise*: another kind of "
                    "random map, to see whether the result depends on it.\n*a map*: your own, low-passed to the first "
                    "resolution. The result then leans towards it: a random start that leads to the same map is the "
                    "better evidence.")
    group.addParam("startVolume", params.PointerParam, pointerClass="Volume", allowsNull=True,
                   expertLevel=LEVEL_ADVANCED, condition=f"start=={MAP_START}", label="Map to start from",
                   help="A map with bright protein, centred in its box, of any box and pixel size. With several "
                        "classes each starts from it with other random changes.")


def _define_schedule(form):
    group = form.addGroup("Schedule")
    group.addParam("iterations", params.IntParam, default=DEFAULT.iterations, label="Iterations",
                   help=f"Batches of particles in all. {DEFAULT.iterations} suit most particles; 400 or more where "
                        "maps of several seeds differ, or for several classes.")
    add_pair(group, "minibatch", params.IntParam, "Particles per batch",
             help="At the start and at the end, typically 60 to 300 for each class. Empty: from the resolution in use "
                  "and the number of classes. More for very noisy images.")
    add_choice(group, "march", "Raise the resolution", MARCHES, MARCH_WORDS, DEFAULT.march,
               help="*evenly*: over the iterations.\n*by need*: as soon as particles that no step has seen are "
                    "explained no better at the present one. It then takes fewer or more iterations than asked for, "
                    "and needs a few thousand particles.\n*in the paper's steps*: by 0.005 1/Å each time that 3 % of "
                    "the iterations have passed, as Punjani, Brubaker and Fleet (2017) did, and a long rest after "
                    "that.")
    add(group, "heldOut", params.IntParam, DEFAULT.held_out, "Particles held out",
        help="Particles that no step sees, to watch how well the map explains them; a tenth of all at most, and none "
             "where that makes fewer than 50, unless the resolution is raised by need. Typical 200; 500 or more where "
             "the run ends too early or too late, 0 for none. They get a pose and enter the final map all the same.")
    add(group, "earlyStop", params.BooleanParam, DEFAULT.early_stop, "End when nothing improves?",
        help="At the final resolution the iterations end when held-out particles are explained no better. No: all "
             "iterations, for example to compare runs.")
    add(group, "significantPoses", params.FloatParam, DEFAULT.significant_poses, "Share of poses that matter at first",
        help="The noise is taken for larger than it is until so many poses of an image remain plausible, which keeps "
             "the run from settling too early; this fades away. Typical 0.01; 0.05 where restarts differ.")
    add(group, "classSimilarity", params.FloatParam, DEFAULT.class_similarity, "Class similarity at first",
        help="Share of each image, 0 to below 1, that is given to all classes alike in the beginning; it fades away. "
             "Typical 0.8. Less where the classes remain alike, more where one takes everything. Without meaning "
             "for one class.")
    add(group, "symmetryStart", params.FloatParam, DEFAULT.symmetry_start, "Impose the symmetry after",
        help="Share of the iterations, 0 to 1. Typical 0.3: the map has found its shape, the axes are searched in it. "
             "1: before the last iteration. Where the iterations end before its time, it is imposed on the map that "
             "they gave, before all particles get their poses. Without meaning for C1.")


def _define_steps(form):
    group = form.addGroup("Optimisation", expertLevel=LEVEL_ADVANCED)
    add_choice(group, "optimiser", "Step rule", OPTIMISERS, OPTIMISER_WORDS, DEFAULT.optimiser,
               help="Stochastic gradient descent with momentum suits most particles; the others are there to try on "
                    "stubborn ones. Batch expectation-maximisation and projection matching see all particles in each "
                    "iteration and serve for comparison only.")
    add_pair(group, "stepSize", params.FloatParam, "Step size",
             help="At the start and at the end, as a share of the whole preconditioned step. Empty: as the step rule "
                  "needs it, 0.5 to 0.3 for most, 2 for AdaGrad, which shortens its steps itself. Smaller where the "
                  "map flickers from iteration to iteration.")
    add(group, "momentum", params.FloatParam, DEFAULT.momentum, "Momentum",
        condition=one_of("optimiser", OPTIMISERS, ("sgd-momentum", "nesterov")),
        help="Share of the former step that is taken again, from 0 to below 1. Typical 0.5, for Nesterov's method "
             "too; 0.9 smooths the way over many batches. With Nesterov's method the step in the long run is the step "
             "size / (1 - momentum): for the 0.9 that it is often given take a fifth of the step sizes.")
    add(group, "sagdMinibatch", params.IntParam, DEFAULT.sagd_minibatch, "Particles per fixed batch",
        condition=one_of("optimiser", OPTIMISERS, ("sagd",)),
        help="Stochastic average gradient descent divides the particles once into batches of so many, at least, and "
             "remembers the gradient of each. Typical 200; more where that makes more batches than a fifth of the "
             "iterations, since steps along the mean of many remembered gradients have to be short.")
    add_choice(group, "sagdDrawing", "Fixed batches come", SAGD_DRAWINGS, SAGD_DRAWING_WORDS, DEFAULT.sagd_drawing,
               condition=one_of("optimiser", OPTIMISERS, ("sagd",)),
               help="*each once an epoch*, in random order: none waits long, and steps are kept short enough for the "
                    "age of the remembered gradients.\n*with replacement*: drawn anew in each iteration, with the "
                    "steps of Algorithm 1 of Punjani, Brubaker and Fleet (2017), to compare.")
    add(group, "preconditioner", params.BooleanParam, DEFAULT.preconditioner, "Precondition the steps?",
        help="Divide gradients by the CTF² weight of each Fourier voxel, so that all resolutions converge alike. No: "
             "plain gradients, to compare.")
    add_choice(group, "noise", "Noise", NOISES, NOISE_WORDS, DEFAULT.noise,
               help="*coloured*: as measured around the particles, and then in what the map leaves unexplained; real "
                    "images have more noise at low resolution.\n*white*: the model of Punjani, Brubaker and Fleet "
                    "(2017), to compare.")
    add_choice(group, "prior", "Prior on the density", tuple(PRIORS), PRIOR_WORDS, DEFAULT.prior,
               help="*none*: for enough particles.\n*smoothness*: each voxel resembles its neighbours; for few or "
                    "noisy particles.\n*exponential*: favours little density; together with a positive density.\nIt "
                    "acts on the maps of the iterations, by which particles are posed; the final map is made of the "
                    "data alone.")
    add(group, "priorStrength", params.FloatParam, DEFAULT.prior_strength, "Strength of the prior",
        condition=f"prior!={list(PRIORS).index('uniform')}",
        help="A pure number above 0, typically 1; 10 times as much where the map is still noisy, a tenth where it "
             "loses detail.")
    add(group, "positivity", params.BooleanParam, DEFAULT.positivity, "Keep the density positive?",
        help="Yes suits most particles. No for molecules with much density below that of the solvent, such as "
             "detergent belts.")
    add(group, "centring", params.BooleanParam, DEFAULT.centring, "Centre the map?",
        help="Hold its centre of mass where the particles' shifts spread evenly about zero: in the middle of the box "
             "at first, further off where the picks were centred on another part. No: the map may wander.")


def _define_poses(form):
    group = form.addGroup("Poses", expertLevel=LEVEL_ADVANCED)
    group.addParam("shiftRange", params.FloatParam, default=None, allowsNull=True, expertLevel=LEVEL_ADVANCED,
                   label="Largest shift (Å)",
                   help="Distance of the particle from the box centre that is searched. Empty: 6 % of the diameter, at "
                        "least 10 Å. More for badly centred picks; time grows with its square.")
    add(group, "importanceSampling", params.BooleanParam, DEFAULT.importance_sampling, "Importance sampling?",
        help="Evaluate few poses of a particle that was seen before, chosen by what its last visit said. From the "
             "third visit on, and only where the two before agreed: it saves time in long runs over few particles, and "
             "does nothing where iterations times batch come to less than about three times the particles, as they do "
             "by default for more than a few thousand. No: all poses of each particle, to compare.")
    add(group, "oversampling", params.FloatParam, DEFAULT.oversampling, "Oversampling", condition="importanceSampling",
        help="Samples per effective point, above 0, of each of directions, in-plane angles and shifts: the number of "
             "poses grows with its cube. Typical 3 to 10: more is more exact and slower.")
    add_choice(group, "quadrature", "Directions and shifts", QUADRATURES, QUADRATURE_WORDS, DEFAULT.quadrature,
               help="Two ways to spread the points over which poses are summed; they give the same map. The first is "
                    "faster, the second is that of Brubaker, Punjani and Fleet (2015).")
