"""The settings of a refinement: one frozen object, built alike by the form, the command line and the tests."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ...core.evidence import resolved
from ...core.settings import Settings, need
from ...core.symmetry import point_group
from ...ops.slicing import KERNELS
from ..abinitio.grids import SHIFT_STEP, fourier_radius, usual_shift_step
from ..sparse_tv.config import SparseTVConfig
from .bounds import BOUNDS

SEARCHES = ("bounded", "exhaustive", "local")
MARGINALS = ("soft", "best")
MASKS = ("sphere", "dynamic", "map")
REGULARISATIONS = ("wiener", "sparse-tv")
SPARSE_TV = SparseTVConfig()
# Å; what the halves share usually
SHARED_A = 40.0


def check_references(count: int, classes: int) -> None:
    """InputError unless there is one reference for each class, or one for all of them."""
    need(count in (1, classes), f"{count} references were given for {classes} classes; give one for each class, or one "
         "for all")


@dataclass(frozen=True)
class RefineConfig(Settings):
    """Settings of the branch-and-bound refinement (paper 0 §0.3).

    pixel_size : Å/px of the particles; box_size : px. Both come from the data and have no default.
    diameter_a : particle diameter in Å; images are masked to it, softly.
    symmetry : point group in RELION's names, imposed throughout.
    classes : number of maps that compete for the particles; of one reference they begin with random parts of these.
    initial_resolution_a : Å, to which references are low-passed before anything is compared with them.
    shared_resolution_a : Å; coarser than that the references of both halves are made the same. None takes SHARED_A, or
        the initial resolution where that is coarser.
    search : "bounded", "exhaustive" (the same grid, every pose), or "local": around the poses that the particles have,
        and then around those of the last iteration.
    local_angle_deg, local_shift_a : how far a local search goes from there, degrees and Å.
    certificate_share : of the time that a bounded search takes, by the poses it scores, so much more certifies it; 0
        for none.
    overfitting_test : refine once more, from particles whose phases are random beyond a resolution (randomised.py).
    marginal : "soft" sums over the poses that count, "best" takes one.
    bound : what a pose's shells beyond a level of the search may be worth, "own" or "strongest" (bounds.py).
    deviations : standard deviations of the noise that the bound allows for.
    shift_range_a : Å, largest shift searched from the box centre; None takes 6 % of the diameter, at least 10 Å.
    mask : what references are masked with: "sphere" of the diameter, "dynamic" after each map, or "map" (given to the
        engine).
    kernel : what images are back-projected with, "trilinear" or "gaussian" (paper 3 §2.2).
    regularisation : of the maps that particles are compared with, "wiener" or "sparse-tv" (paper 3).
    alpha, beta, gamma, epsilon, epsilon_ratio : of sparse-tv, see SparseTVConfig; where alpha and beta are None each
        half chooses its own.
    scale_correction : estimate how strong the signal of each particle is.
    iterations : at most so many with all particles before the last one; those with samples (schedule.py) come first.
    seed : of the halves and of all samples.
    max_particles : use this many, drawn by the seed; None uses all.
    """

    pixel_size: float
    box_size: int
    diameter_a: float
    symmetry: str = "C1"
    classes: int = 1
    initial_resolution_a: float = 30.0
    shared_resolution_a: Optional[float] = None
    search: str = "bounded"
    local_angle_deg: float = 10.0
    local_shift_a: float = 5.0
    certificate_share: float = 0.05
    overfitting_test: bool = False
    marginal: str = "soft"
    bound: str = BOUNDS[0]
    deviations: float = 4.0
    shift_range_a: Optional[float] = None
    mask: str = "dynamic"
    kernel: str = "trilinear"
    regularisation: str = "wiener"
    alpha: Optional[float] = None
    beta: Optional[float] = None
    gamma: float = SPARSE_TV.gamma
    epsilon: Optional[float] = None
    epsilon_ratio: float = SPARSE_TV.epsilon_ratio
    scale_correction: bool = True
    iterations: int = 20
    seed: int = 0
    max_particles: Optional[int] = None

    def __post_init__(self):
        if self.shared_resolution_a is None:
            object.__setattr__(self, "shared_resolution_a", max(SHARED_A, self.initial_resolution_a))
        point_group(self.symmetry)
        need(self.pixel_size > 0, f"pixel size {self.pixel_size} Å/px is not positive; correct the particles' optics")
        need(self.box_size >= 16, f"box {self.box_size} px is too small; extract particles in boxes of at least 16 px")
        extent, nyquist = self.box_size * self.pixel_size, 2 * self.pixel_size
        need(0 < self.diameter_a <= extent,
              f"particle diameter {self.diameter_a:g} Å must lie between 0 and the box of {extent:g} Å; "
              "measure it on a particle image")
        need(nyquist <= self.initial_resolution_a <= extent / 3,
              f"initial resolution {self.initial_resolution_a:g} Å must lie between Nyquist ({nyquist:.3g} Å) and a "
              f"third of the box ({extent / 3:.3g} Å)")
        need(self.shared_resolution_a >= self.initial_resolution_a,
              f"the halves would share what is coarser than {self.shared_resolution_a:g} Å, beyond the initial "
              f"resolution of {self.initial_resolution_a:g} Å; give {self.initial_resolution_a:g} Å or more")
        need(1 <= self.classes <= 50, f"{self.classes} classes were asked for; give 1 to 50")
        need(self.deviations > 0, f"the bound's {self.deviations} standard deviations must be positive; paper 0 has 4")
        need(0 < self.local_angle_deg <= 180,
             f"a local search of {self.local_angle_deg:g}° makes no sense; give more than 0 and at most 180")
        need(self.local_shift_a > 0, f"a local search within {self.local_shift_a:g} Å finds nothing; give more than 0")
        need(0 <= self.certificate_share <= 10,
             f"a certificate of {self.certificate_share:g} of the search is out of bounds; give 0 for none, 0.05 "
             "for five per cent, at most 10")
        need(self.iterations >= 1, f"{self.iterations} iterations are too few; give at least 1")
        need(self.seed >= 0, f"seed {self.seed} is negative; give 0 or more")
        for what, value, known in (("search", self.search, SEARCHES), ("bound", self.bound, BOUNDS),
                                   ("marginal", self.marginal, MARGINALS),
                                   ("mask", self.mask, MASKS), ("kernel", self.kernel, KERNELS),
                                   ("regularisation", self.regularisation, REGULARISATIONS)):
            need(value in known, f"{what} '{value}' is unknown; choose of {', '.join(known)}")
        if self.regularisation == "sparse-tv":
            need((self.alpha is None) == (self.beta is None),
                 "the penalties α and β are chosen together; give both, or neither")
            # its own checks
            _ = self.sparse_tv
        else:
            given = [name for name in ("alpha", "beta", "epsilon") if getattr(self, name) is not None]
            need(not given, f"{' and '.join(given)} belong to the regularisation 'sparse-tv', and "
                            f"'{self.regularisation}' is set; leave them out, or set it")
        need(self.max_particles is None or self.max_particles > 1,
             f"max particles {self.max_particles} must be at least 2, or left out to use all")
        need(self.shift_range_a is None or self.shift_range_a >= 0, f"shift range {self.shift_range_a} Å is negative")

    @property
    def shift_range(self) -> float:
        """Largest shift searched, Å."""
        return max(10.0, 0.06 * self.diameter_a) if self.shift_range_a is None else self.shift_range_a

    @property
    def penalties_chosen(self) -> bool:
        """Whether each half chooses α and β of sparse-tv by itself."""
        return self.alpha is None

    @property
    def sparse_tv(self) -> SparseTVConfig:
        """The settings of sparse-tv, with its default penalties where they are to be chosen."""
        penalties = {} if self.penalties_chosen else dict(alpha=self.alpha, beta=self.beta)
        return SparseTVConfig(**penalties, gamma=self.gamma, epsilon=self.epsilon, epsilon_ratio=self.epsilon_ratio)

    @property
    def shift_steps(self) -> tuple:
        """Steps of the shifts at the resolution in use, over it: fine ones are cut out of coarse ones, most of which a
        bound leaves out."""
        usual = usual_shift_step(self.symmetry)
        return (SHIFT_STEP, usual) if usual < SHIFT_STEP / 1.5 and self.shift_range > 0 else (usual,)

    @property
    def search_shift_step(self) -> float:
        """Step of the coarse levels' shifts over their resolution: what cells of shifts give away is most of a cell's
        slack, and shifts are cheap."""
        return 0.25

    @property
    def look_ahead(self) -> float:
        """Resolution of a first level at the directions of the coarsest that is needed, over that one's: it costs a
        quarter, and most images say enough there to leave the other little to do."""
        return 1.6

    @property
    def first_radius(self) -> int:
        """The last Fourier shell that the low-passed references hold, and so both halves from the start; what they
        share later on is no finer. The Nyquist line can't be shifted: no map holds it."""
        return min(self.box_size // 2 - 1, fourier_radius(self.initial_resolution_a, self.box_size, self.pixel_size))

    def resolved(self, resolution_a: float) -> float:
        """Å to which halves agree whose FSC falls below 0.143 at resolution_a: infinity where all that agrees was in
        common from the start."""
        return resolved(resolution_a, self.first_radius, self.box_size, self.pixel_size)

    @property
    def extent_a(self) -> float:
        """Side of the box, Å."""
        return self.box_size * self.pixel_size
