"""The form of the refinement protocol, and what its fields mean to the engine."""
from __future__ import annotations

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import volumes_in
from ..engines.refine.config import (
    BOUNDS,
    KERNELS,
    MARGINALS,
    MASKS,
    REGULARISATIONS,
    SEARCHES,
    SHARED_A,
    RefineConfig,
    check_references,
)
from .form_fields import FilledForm, add, add_choice, one_of

SEARCH_WORDS = {"bounded": "branch and bound", "exhaustive": "every pose (to compare)",
                "local": "around the particles' poses"}
BOUND_WORDS = {"own": "its own view", "strongest": "the strongest view (paper)"}
KERNEL_WORDS = {"trilinear": "trilinear", "gaussian": "Gaussian"}
MARGINAL_WORDS = {"soft": "all that count", "best": "the best alone"}
REGULARISATION_WORDS = {"wiener": "Wiener's filter", "sparse-tv": "sparsity and total variation"}
MASK_WORDS = {"dynamic": "the density of each map", "sphere": "a sphere of the diameter"}
# what takes the place of a mask that isn't given
OWN_MASKS = tuple(sorted((kind for kind in MASKS if kind != "map"), key=lambda kind: kind != RefineConfig.mask))
DEFAULT = RefineConfig


class RefineForm(FilledForm):
    """Mixed into the protocol: nine fields for everyone, the rest advanced and grouped.

    A new field of RefineConfig takes a line in one of the `_define…` functions and one in `config`; the command line's
    option is its name without the unit (see resumable_run.config_words).
    """

    _severalGpus = False
    # what the choice of a new form is
    _regularisation = DEFAULT.regularisation

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._defineGpuParams(form)
        _define_basics(form)
        self._defineGpuWand(form)
        form.addSection(label="Method")
        _define_run(form)
        _define_search(form)
        _define_model(form)
        _define_regularisation(form, self._regularisation)
        self._defineResourceParams(form)
        form.addParallelSection(threads=4, mpi=0)

    def config(self) -> RefineConfig:
        """The engine's settings of this form. Raises InputError with a sentence for the user."""
        particles = self.inputParticles.get()
        self._refuseEmptyFields()
        config = RefineConfig(
            pixel_size=particles.getSamplingRate(), box_size=particles.getXDim(),
            diameter_a=self.particleDiameter.get(), symmetry=(self.symmetry.get() or "").strip().upper(),
            classes=self.classes(), initial_resolution_a=self.initialResolution.get(),
            shared_resolution_a=self.sharedResolution.get(), search=SEARCHES[self.search.get()],
            marginal=MARGINALS[self.marginal.get()], bound=BOUNDS[self.bound.get()], deviations=self.deviations.get(),
            shift_range_a=self.shiftRange.get(), local_angle_deg=self.localAngle.get(),
            local_shift_a=self.localShift.get(), certificate_share=self.certificateShare.get(),
            overfitting_test=self.overfittingTest.get(), kernel=KERNELS[self.kernel.get()],
            **self._regularisationSettings(),
            mask="map" if self.inputMask.get() is not None else OWN_MASKS[self.ownMask.get()],
            scale_correction=self.scaleCorrection.get(), iterations=self.iterations.get(), seed=self.seed.get(),
            max_particles=self.maxParticles.get())
        check_references(len(self.references()), config.classes)
        return config

    def _regularisationSettings(self):
        chosen = REGULARISATIONS[self.regularisation.get()]
        # what a field that is hidden now was once filled with counts for nothing
        penalties = (dict(alpha=self.alpha.get(), beta=self.beta.get(), epsilon=self.epsilon.get())
                     if chosen == "sparse-tv" else {})
        return dict(regularisation=chosen, gamma=self.gamma.get(), epsilon_ratio=self.epsilonRatio.get(), **penalties)

    def classes(self) -> int:
        """The number of maps that come out: as many as references, where no other is given for one."""
        given = self.numberOfClasses.get()
        return len(self.references()) if given is None else given

    def references(self) -> list:
        """[(label, Volume)] of all maps that the form names, in their order."""
        chosen = [pointer.get() for pointer in self.inputVolumes]
        return [found for obj in chosen if obj is not None for found in volumes_in(obj, disabled=False)]


def _define_basics(form):
    form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles", important=True,
                  label="Particles",
                  help="Single particles with a CTF, protein white, not phase-flipped. Their half-sets are kept; poses "
                       "that they may have are not read, unless the search is set to begin at them: every particle is "
                       "searched anew over all orientations.")
    form.addParam("inputVolumes", params.MultiPointerParam, minNumObjects=1, important=True,
                  pointerClass="Volume,SetOfVolumes,SetOfClasses3D", label="Reference map(s)",
                  help="The map to begin with, of any box and pixel size: an ab initio map, for example. Several maps, "
                       "a set of them or 3D classes are refined together, as many classes as maps; each particle "
                       "counts for each class by its probability. Only what is coarser than the initial resolution "
                       "is taken from them.")
    form.addParam("numberOfClasses", params.IntParam, default=None, allowsNull=True, label="Number of classes",
                  help="Of one map: so many classes begin with it, each with a random part of the particles, and part "
                       "by themselves. 2 to 4 to sort out conformations or junk; each needs 1,000 particles or more. "
                       "Empty: one class for each map.")
    form.addParam("particleDiameter", params.FloatParam, default=None, important=True,
                  label="Particle diameter (Å)",
                  help="The longest extent of the particle and about a tenth more. Images are masked to its circle "
                       "with a soft edge, and maps outside this sphere are solvent. Typical 80 to 400; the wand "
                       "measures it. Less where neighbours are in the images, more where the particle is cut.")
    form.addParam("symmetry", params.StringParam, default=DEFAULT.symmetry, label="Symmetry",
                  help="Point group, in RELION's orientation: C1, C4, D2, T, O, I1 … It is imposed throughout, so the "
                       "reference must lie on its axes. When in doubt C1.")
    form.addParam("initialResolution", params.FloatParam, default=DEFAULT.initial_resolution_a,
                  label="Initial resolution (Å)",
                  help="The references are low-passed to this. Typical 30, 40 to 60 for large particles or a doubtful "
                       "reference. Finer than 20 Å only where the reference surely is of these particles: its details "
                       "would come back as if they were found.")
    form.addParam("inputMask", params.PointerParam, pointerClass="VolumeMask", allowsNull=True,
                  label="Mask (optional)",
                  # not any Volume: Scipion would fill in the reference by itself when its run is selected
                  help="From 0 to 1 with a soft edge, in the particles' box and pixel size; the same for all classes. "
                       "Empty suits most: the mask then follows the density of each map, and is among the outputs. "
                       "Scipion itself fills in the mask of a run that is selected.")
    form.addParam("maxParticles", params.IntParam, default=None, allowsNull=True, label="Use at most (particles)",
                  help="That many, drawn at random, for a quick look: 5,000 to 20,000. Empty: all. Particles that are "
                       "not used are left out of the output.")


def _define_run(form):
    group = form.addGroup("Run")
    group.addParam("iterations", params.IntParam, default=DEFAULT.iterations, label="Iterations at most",
                   help="With all particles; up to 40 quick ones with samples come first. The run ends by itself when "
                        "neither resolution nor poses get better; one more iteration then "
                        "follows, to the limit of the pixel size. 20 are enough for most; more only where the summary "
                        "says that this number ended the run.")
    add(group, "seed", params.IntParam, DEFAULT.seed, "Random seed",
        help="A whole number, 0 or more; any will do. Of the half-sets, where the particles have none, and of all "
             "samples. The same seed gives the same result; change it to see how much the resolution depends on how "
             "the particles were dealt.")
    add(group, "overfittingTest", params.BooleanParam, DEFAULT.overfitting_test, "Test for overfitting?",
        help="Refine a second time, with the particles' phases randomised beyond the resolution at which the halves "
             "begin to differ: what their halves agree on there is noise (Chen et al. 2013). Takes as long again. Use "
             "it once for a map that is to be published.")


def _define_search(form):
    group = form.addGroup("Poses", expertLevel=LEVEL_ADVANCED)
    add_choice(group, "search", "Search by", SEARCHES, SEARCH_WORDS, DEFAULT.search,
               help="*branch and bound*: all orientations and shifts on a coarse grid, of which those are followed to "
                    "fine ones whose bound leaves them a chance.\n*every pose*: the same grids without bounds, to "
                    "compare; many times slower.\n*around the particles' poses*: near those that the particles come "
                    "with, and from then on near the last ones; for particles that are refined already.")
    add_choice(group, "bound", "Bound of a pose", BOUNDS, BOUND_WORDS, DEFAULT.bound,
               condition=one_of("search", SEARCHES, ("bounded",)),
               help="What a pose may still be worth at high resolution. *its own view*: what that view would add if it "
                    "were the right one; the right pose is kept as surely as with the other. *the strongest view*: "
                    "what the strongest of all views would add, as in the paper; prunes less and takes longer, the "
                    "more the longer the particle is. Typical: its own view. Change it to compare.")
    add(group, "deviations", params.FloatParam, DEFAULT.deviations, "Caution of the bound (sd)",
        condition=one_of("search", SEARCHES, ("bounded",)),
        help="Standard deviations of noise that the bound allows for, above 0. Typical 4; 5 or 6 prune less and take "
             "longer, 3 is quick and may lose the best pose of a few particles.")
    local = one_of("search", SEARCHES, ("local",))
    add(group, "localAngle", params.FloatParam, DEFAULT.local_angle_deg, "Within (degrees)", condition=local,
        help="Range of the search around a particle's orientation. Typical 10 after another refinement, 5 or less "
             "where only details change.")
    add(group, "localShift", params.FloatParam, DEFAULT.local_shift_a, "Within (Å)", condition=local,
        help="Range of the search around a particle's shift. Typical 5; 10 where the particles were centred anew, 2 "
             "where only details change.")
    add(group, "certificateShare", params.FloatParam, DEFAULT.certificate_share, "Share spent on the certificate",
        condition=one_of("search", SEARCHES, ("bounded",)),
        help="So much of the work more is spent on searching a sample of the particles exhaustively, which tells what "
             "the bound has lost. Typical 0.05; 0 for no certificate, more for more particles in it.")
    add_choice(group, "marginal", "Poses in the map", MARGINALS, MARGINAL_WORDS, DEFAULT.marginal,
               help="*all that count*: each pose of an image with its probability, right for most particles.\n*the "
                    "best alone*: sharper where images are strong, wrong where they leave several poses open.")
    add(group, "shiftRange", params.FloatParam, None, "Largest shift (Å)", allowsNull=True,
        help="Distance of the particle from the box centre that is searched. Empty: 6 % of the diameter, at least "
             "10 Å. More for badly centred picks; time grows with its square.")


def _define_model(form):
    group = form.addGroup("Model", expertLevel=LEVEL_ADVANCED)
    add(group, "sharedResolution", params.FloatParam, None, "Same reference, coarser than (Å)", allowsNull=True,
        help="Coarser than this both half-sets have the same reference, which keeps their maps in one orientation; "
             f"what agrees there is no evidence. Empty: {SHARED_A:g}, or the initial resolution "
             "where that is coarser. More for very large particles.")
    add_choice(group, "ownMask", "Where no mask is given", OWN_MASKS, MASK_WORDS, DEFAULT.mask,
               help="*the density of each map*: above a threshold, without specks, widened, with a soft edge.\n*a "
                    "sphere*: for particles with much weak density, such as micelles, that such a mask would cut.")
    add_choice(group, "kernel", "Back-projection kernel", KERNELS, KERNEL_WORDS, DEFAULT.kernel,
               help="What each Fourier coefficient of an image is spread with. *trilinear*: over 8 neighbours, twice "
                    "as fast.\n*Gaussian*: over 27, smoother where views are few. Both are corrected for what they "
                    "do to the map.")
    add(group, "scaleCorrection", params.BooleanParam, DEFAULT.scale_correction, "Correct the particles' scale?",
        help="Estimate how strong the signal of each particle is, which differs with ice and dose. No only to compare.")


def _define_regularisation(form, default):
    group = form.addGroup("Regularisation", expertLevel=LEVEL_ADVANCED)
    add_choice(group, "regularisation", "Regularise maps by", REGULARISATIONS, REGULARISATION_WORDS, default,
               help="Of the maps that particles are compared with, and of the final one; half-maps and their FSC are "
                    "not regularised.\n*Wiener's filter*: each shell by its signal-to-noise ratio, as in other "
                    "programs.\n*sparsity and total variation*: empty solvent and smooth density (Luo), where few "
                    "views or weak signal leave much noise in the map.")
    sparse = one_of("regularisation", REGULARISATIONS, ("sparse-tv",))
    add(group, "alpha", params.FloatParam, None, "Sparsity α", allowsNull=True, condition=sparse,
        help="In the rms of the data's pull on a voxel, times ε. Empty: each half chooses α and β by data "
             "that it holds back. Typical 0 to 0.5, less the stronger the signal.")
    add(group, "beta", params.FloatParam, None, "Total variation β", allowsNull=True, condition=sparse,
        help="As α, times ε'. Empty with α. Typical 0.05 to 1.6, less the stronger the signal.")
    add(group, "epsilon", params.FloatParam, None, "Density level ε", allowsNull=True, condition=sparse,
        help="The density at which the molecule begins, in the map's units: the contour at which one would draw a "
             "mask. Empty: proposed from each map, right for most. Give one where solvent stays in the map (more) or "
             "weak parts go (less). Typical the rms density within the mask.")
    add(group, "epsilonRatio", params.FloatParam, DEFAULT.epsilon_ratio, "ε' over ε", condition=sparse,
        help="Steps from voxel to voxel above this are spared; as a share of the density level ε. Typical 0.333 to 1: "
             "less keeps edges sharper, more makes the density smoother.")
    add(group, "gamma", params.FloatParam, DEFAULT.gamma, "Hold to the last map γ", condition=sparse,
        help="How much a map is held to that of the iteration before, in the mean weight of the data. Typical 0.05 to "
             "0.2; 0 for nothing.")
