"""Hessian-free optimisation: a truncated Newton step by conjugate gradients."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.backend import array_module
from ...core.settings import Settings, need
from .arrays import dot, near_walls
from .conjugate_gradients import solve
from .optimiser import Optimiser, need_step_size

# a step is accepted if f falls by this share of what the slope promises (Armijo), else it is halved, so often at most
ARMIJO, HALVINGS = 0.01, 5


@dataclass(frozen=True)
class HessianFreeSettings(Settings):
    """step_size : η. damping : λ at first, in units of the preconditioner; it stays in damping_range.

    cg_iterations : at most so many curvature products a step. cg_tolerance : CG stops where its progress per iteration
    falls below this share of the whole. warm_start : share of the last step that CG starts from; 0 for none.
    value_rounding : relative rounding of `problem.value`; smaller changes tell nothing about the damping.
    """

    step_size: float = 1.0
    damping: float = 0.1
    damping_range: tuple = (0.01, 100.0)
    cg_iterations: int = 10
    cg_tolerance: float = 5e-4
    warm_start: float = 0.0
    value_rounding: float = 1e-9

    def __post_init__(self):
        need_step_size(self.step_size)
        need(len(self.damping_range) == 2 and 0 < self.damping_range[0] <= self.damping <= self.damping_range[1],
             f"damping {self.damping} must be positive and lie in its range {self.damping_range}")
        need(self.cg_iterations >= 1, f"{self.cg_iterations} CG iterations: give at least 1")
        need(0 <= self.cg_tolerance < 1, f"CG tolerance {self.cg_tolerance} must lie in [0, 1)")
        need(0 <= self.warm_start < 1, f"warm start {self.warm_start} must lie in [0, 1)")
        need(0 <= self.value_rounding < 1, f"rounding of values {self.value_rounding} must lie in [0, 1)")


class HessianFree(Optimiser):
    """x ← x + η d with (B + λP) d = −g solved roughly, B the minibatch's curvature (Martens 2010).

    λ follows Levenberg and Marquardt: with ρ = (f(x + d) − f(x)) / (gᵀd + ½dᵀBd), λ ← 3/2 λ where ρ < 1/4 and 2/3 λ
    where ρ > 3/4. Damping by λP, not λI, treats all resolutions alike. Each step asks for two values (more where d
    must be halved because f rises). The next start of CG is kept as P d: P⁻¹ brings it into the P of that day.
    Elements that the constraint holds take the plain step and are left out of the solve (`near_walls`).
    Gradient and curvature of one minibatch go together, so that the mean step vanishes a little beside the minimum, by
    about the inverse of the minibatch's size: give it large ones.
    """

    name = "hessian-free"
    Settings = HessianFreeSettings
    ARRAYS = ("last",)
    SCALARS = ("damping",)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.last = None  # P d of the last step
        self.damping = self.settings.damping

    def step(self, x, problem):
        xp, settings = array_module(x), self.settings
        g, move, square = self._gradient(x, problem)
        walls = near_walls(x, self.step_size * move, problem)

        def inside(v):
            return xp.where(walls, 0, v)

        start = None if self.last is None or not settings.warm_start else inside(settings.warm_start * self.last)
        found = solve(lambda v: inside(problem.curvature(x, v)), inside(g), lambda v: inside(problem.precondition(v)),
                      damping=self.damping, iterations=settings.cg_iterations, tolerance=settings.cg_tolerance,
                      start=start)
        used = self.damping
        ratio, share = self._try(x, found, g, problem)
        trial = x + self.step_size * xp.where(walls, -move, share * found.step)
        if settings.warm_start:
            self.last = share * found.dual
        return self._arrive(x, trial, problem, square, damping=used, cg_iterations=found.iterations,
                            reduction_ratio=ratio, step_share=share)

    def transform(self, f):
        """The start of CG is a gradient, which f does not suit, and only saves iterations: it is dropped."""
        self.last = None

    def _try(self, x, found, g, problem):
        """(ρ, share of d to take): adapts the damping; NaN and 1 where the change is below the rounding of f."""
        before = problem.value(x)
        if not -found.model > self.settings.value_rounding * abs(before):
            return float("nan"), 1.0
        change = problem.value(x + found.step) - before
        ratio = change / found.model
        low, high = self.settings.damping_range
        # written so that a NaN counts as failure
        if not ratio >= 0.25:
            self.damping = min(1.5 * self.damping, high)
        elif ratio > 0.75:
            self.damping = max(2 / 3 * self.damping, low)
        share, slope = 1.0, dot(g, found.step)
        for _ in range(HALVINGS):
            if change <= ARMIJO * share * slope:
                return ratio, share
            share /= 2
            change = problem.value(x + share * found.step) - before
        return ratio, share if change <= ARMIJO * share * slope else 0.0
