"""The settings of an ab initio run: one frozen object, built alike by the form, the command line and the tests."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ...core.settings import Settings, need
from ...core.symmetry import point_group
from ..optimisers import OPTIMISERS as STEP_RULES
from .noise import NOISES
from .priors import PRIORS

# the two methods that see all particles each time, for comparison (paper 1 Fig. 11)
BASELINES = ("batch-em", "projection-matching")
OPTIMISERS = tuple(name for name in STEP_RULES if name != "whole-step") + BASELINES
START_KINDS = ("spheres", "noise", "map")
SAGD_DRAWINGS = ("epochs", "replacement")
QUADRATURES = ("healpix", "saff-kuijlaars")
MARCHES = ("iterations", "need", "paper")
# η at the start and at the end where none is given. SAGD measures L at a minibatch and steps along a mean of older
# gradients: half of what it then allows keeps the paper's first ε of 2 from throwing the map away. AdaGrad's steps fall
# with 1 / √τ on their own: from twice η they go as far in a few hundred as the others'
STEP_SIZES = {"sagd": (0.5, 0.5), "adagrad": (2.0, 2.0), "nesterov": (0.25, 0.15)}
# fewer held-out particles tell nothing and are missed in a small set; only a march by need watches so few
LEAST_HELD_OUT = 50


@dataclass(frozen=True)
class AbInitioConfig(Settings):
    """Settings of the ab initio engine (paper 0 eq. 1-7; paper 1 §3).

    pixel_size : Å/px of the particles; box_size : px. Both come from the data and have no default.
    diameter_a : particle diameter in Å, outside which the map is solvent; images are masked to it, softly.
    symmetry : point group in RELION's names (C1, C4, D2, T, O, I1 …), imposed after `symmetry_start` of the run.
    initial_resolution_a, final_resolution_a : Å; the resolution in use marches from the first to the second.
    iterations : minibatch steps in all. minibatch : images a step at the start and at the end; None takes them from
        the resolution and the number of structures. SAGD takes `sagd_minibatch` images, the baselines all.
    sagd_drawing : SAGD's minibatches come each once in "epochs", in random order, or are drawn with "replacement" and
        without a bound on ε, as in paper 1's Algorithm 1.
    march : by "iterations"; by "need", on as soon as the held-out error no longer falls; or in the steps of the "paper"
        (paper 1 §4.2).
    held_out : particles kept out of the steps (a tenth of all at most, none where that is under 50), whose error is
        watched; early_stop : end the rest at the final resolution when it stops falling.
    classes : number of structures K. class_similarity : share of each image given to all alike in the beginning. At
        0.1 a class that begins with fewer images has the noisier map, and so loses more of them.
    optimiser : a name of engines/optimisers, or a baseline. momentum : μ of paper 0 eq. 7 and of Nesterov's method,
        whose step sizes here suit 0.5, not the 0.9 that it is often given. step_size : η at the start and at the end,
        in units of the full preconditioned step; None takes the optimiser's own.
    preconditioner : divide gradients by the CTF² weight of each voxel, or (False) by its largest value.
    importance_sampling : sample the poses of particles from their third visit on; oversampling : s0 of paper 1 §3.4.
    quadrature : "healpix" with a square grid of shifts, as fine as the diameter asks for, or "saff-kuijlaars" with
        Gauss-Hermite shifts, in paper 1's counts (§3.2), as fine as the box asks for.
    noise : "coloured", a variance for each shell, or "white", one for all (paper 1 eq. 2).
    prior, prior_strength : a name of priors.py, and its pure number.
    significant_poses : share of poses (effective sample size / poses) that the noise inflation aims at in the
        beginning; the inflation is annealed to 1.
    shift_range_a : Å, largest shift searched from the box centre; None takes 6 % of the diameter, at least 10 Å.
    start : "spheres", "noise", or "map" (given to the engine). seed : of all randomness.
    positivity, centring : constraints on the maps after each step.
    max_particles : use this many, drawn by the seed; None uses all.
    """

    pixel_size: float
    box_size: int
    diameter_a: float
    symmetry: str = "C1"
    initial_resolution_a: float = 40.0
    final_resolution_a: float = 12.0
    iterations: int = 150
    minibatch: Optional[tuple] = None
    march: str = "iterations"
    held_out: int = 200
    early_stop: bool = True
    classes: int = 1
    class_similarity: float = 0.8
    optimiser: str = "sgd-momentum"
    momentum: float = 0.5
    step_size: Optional[tuple] = None
    preconditioner: bool = True
    sagd_minibatch: int = 200
    sagd_drawing: str = "epochs"
    importance_sampling: bool = True
    oversampling: float = 10.0
    quadrature: str = "healpix"
    noise: str = "coloured"
    prior: str = "uniform"
    prior_strength: float = 1.0
    significant_poses: float = 0.01
    shift_range_a: Optional[float] = None
    seed: int = 0
    start: str = "spheres"
    symmetry_start: float = 0.3
    positivity: bool = True
    centring: bool = True
    max_particles: Optional[int] = None

    def __post_init__(self):
        point_group(self.symmetry)
        need(self.pixel_size > 0, f"pixel size {self.pixel_size} Å/px is not positive; correct the particles' optics")
        need(self.box_size >= 16, f"box {self.box_size} px is too small; extract particles in boxes of at least 16 px")
        extent = self.box_size * self.pixel_size
        need(0 < self.diameter_a <= extent,
              f"particle diameter {self.diameter_a:g} Å must lie between 0 and the box of {extent:g} Å; "
              "measure it on a particle image")
        nyquist = 2 * self.pixel_size
        need(self.final_resolution_a >= nyquist,
              f"final resolution {self.final_resolution_a:g} Å is beyond Nyquist ({nyquist:.3g} Å at "
              f"{self.pixel_size:g} Å/px); give {nyquist:.3g} Å or more")
        need(self.initial_resolution_a >= self.final_resolution_a,
              f"initial resolution {self.initial_resolution_a:g} Å is finer than the final one "
              f"({self.final_resolution_a:g} Å); exchange them")
        need(self.initial_resolution_a <= extent / 3,
              f"initial resolution {self.initial_resolution_a:g} Å leaves under three Fourier shells in a box of "
              f"{extent:g} Å; give {extent / 3:.3g} Å or less")
        need(self.seed >= 0, f"seed {self.seed} is negative; give 0 or more")
        need(self.iterations >= 10, f"{self.iterations} iterations are too few; give at least 10")
        need(1 <= self.classes <= 50, f"{self.classes} classes were asked for; give 1 to 50")
        need(0 <= self.class_similarity < 1, f"class similarity {self.class_similarity} must lie in [0, 1)")
        need(0 <= self.momentum < 1, f"momentum {self.momentum} must lie in [0, 1)")
        if self.step_size is None:
            object.__setattr__(self, "step_size", STEP_SIZES.get(self.optimiser, (0.5, 0.3)))
        need(all(0 < s <= 10 for s in self.step_size), f"step sizes {self.step_size} must lie in (0, 10]")
        need(self.minibatch is None or all(m >= 1 for m in self.minibatch),
             f"minibatch {self.minibatch} must hold at least one image")
        need(self.sagd_minibatch >= 1, f"SAGD's minibatch {self.sagd_minibatch} must hold at least one image")
        need(self.held_out >= 0, f"{self.held_out} particles can't be held out; give 0 or more")
        need(self.oversampling > 0, f"oversampling {self.oversampling} must be positive; the paper's is 10")
        need(0 < self.significant_poses < 1, f"share of significant poses {self.significant_poses} must lie in (0, 1)")
        need(0 <= self.symmetry_start <= 1, f"symmetry start {self.symmetry_start} must lie in [0, 1]")
        for what, value, known in (("optimiser", self.optimiser, OPTIMISERS), ("start", self.start, START_KINDS),
                                   ("quadrature", self.quadrature, QUADRATURES), ("march", self.march, MARCHES),
                                   ("noise", self.noise, NOISES), ("prior", self.prior, tuple(PRIORS)),
                                   ("drawing of SAGD's minibatches", self.sagd_drawing, SAGD_DRAWINGS)):
            need(value in known, f"{what} '{value}' is unknown; choose of {', '.join(known)}")
        need(self.prior == "uniform" or self.prior_strength > 0,
             f"the strength {self.prior_strength} of the {self.prior} prior is not positive; give a number above 0")
        need(self.march != "need" or self.held_out > 0,
             "a march by need watches particles that are held out; give --held-out above 0")
        need(self.max_particles is None or self.max_particles > 0,
              f"max particles {self.max_particles} must be positive, or left out to use all")
        need(self.shift_range_a is None or self.shift_range_a >= 0, f"shift range {self.shift_range_a} Å is negative")

    @property
    def shift_range(self) -> float:
        """Largest shift searched, Å."""
        return max(10.0, 0.06 * self.diameter_a) if self.shift_range_a is None else self.shift_range_a

    def held_out_of(self, n: int) -> int:
        """Particles kept out of the steps, of n that are used."""
        count = min(self.held_out, n // 10)
        return count if count >= LEAST_HELD_OUT or self.march == "need" else 0

    @property
    def whole_set(self) -> bool:
        """Whether each step sees all particles."""
        return self.optimiser in BASELINES

    @property
    def inflates(self) -> bool:
        """Whether the noise is inflated in the beginning: not for the methods that are compared as they are known."""
        return not self.whole_set
