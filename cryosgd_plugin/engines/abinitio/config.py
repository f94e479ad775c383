"""The settings of an ab initio run: one frozen object, built alike by the form, the command line and the tests."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ...core.settings import Settings, need
from ...core.symmetry import point_group

OPTIMISERS = ("sgd-momentum",)
START_KINDS = ("spheres", "noise")


@dataclass(frozen=True)
class AbInitioConfig(Settings):
    """Settings of the ab initio engine (paper 0 eq. 1-7; paper 1 §3).

    pixel_size : Å/px of the particles; box_size : px. Both come from the data and have no default.
    diameter_a : particle diameter in Å, outside which the map is solvent; images are masked to it, softly.
    symmetry : point group in RELION's names (C1, C4, D2, T, O, I1 …), imposed after `symmetry_start` of the run.
    initial_resolution_a, final_resolution_a : Å; the resolution in use marches from the first to the second.
    iterations : minibatch steps in all. minibatch : images a step at the start and at the end.
    momentum : μ of paper 0 eq. 7. step_size : η at the start and at the end, in units of the full
        diagonally preconditioned step.
    significant_poses : share of poses (effective sample size / poses) that the noise inflation aims at in the
        beginning; the inflation is annealed to 1.
    shift_range_a : Å, largest shift searched from the box centre; None takes 6 % of the diameter, at least 10 Å.
    classes : number of structures (1 here). seed : of all randomness.
    positivity, centring : constraints on the map after each step.
    max_particles : use this many, drawn by the seed; None uses all.
    """

    pixel_size: float
    box_size: int
    diameter_a: float
    symmetry: str = "C1"
    initial_resolution_a: float = 40.0
    final_resolution_a: float = 12.0
    iterations: int = 200
    minibatch: tuple = (60, 150)
    momentum: float = 0.5
    step_size: tuple = (0.5, 0.3)
    significant_poses: float = 0.01
    shift_range_a: Optional[float] = None
    classes: int = 1
    seed: int = 0
    optimiser: str = "sgd-momentum"
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
        need(self.classes == 1, f"{self.classes} classes were asked for; this engine estimates one structure so far")
        need(0 <= self.momentum < 1, f"momentum {self.momentum} must lie in [0, 1)")
        need(all(0 < s <= 10 for s in self.step_size), f"step sizes {self.step_size} must lie in (0, 10]")
        need(all(m >= 1 for m in self.minibatch), f"minibatch {self.minibatch} must hold at least one image")
        need(0 < self.significant_poses < 1, f"share of significant poses {self.significant_poses} must lie in (0, 1)")
        need(0 <= self.symmetry_start <= 1, f"symmetry start {self.symmetry_start} must lie in [0, 1]")
        need(self.optimiser in OPTIMISERS,
              f"optimiser '{self.optimiser}' is unknown; choose of {', '.join(OPTIMISERS)}")
        need(self.start in START_KINDS, f"start '{self.start}' is unknown; choose of {', '.join(START_KINDS)}")
        need(self.max_particles is None or self.max_particles > 0,
              f"max particles {self.max_particles} must be positive, or left out to use all")
        need(self.shift_range_a is None or self.shift_range_a >= 0, f"shift range {self.shift_range_a} Å is negative")

    @property
    def shift_range(self) -> float:
        """Largest shift searched, Å."""
        return max(10.0, 0.06 * self.diameter_a) if self.shift_range_a is None else self.shift_range_a
