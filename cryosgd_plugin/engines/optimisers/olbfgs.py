"""Online L-BFGS: curvature from two gradients of one minibatch."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.backend import array_module
from ...core.settings import Settings, need
from .arrays import dot, near_walls
from .optimiser import Optimiser, need_step_size

# a pair whose curvature is less than this share of the preconditioner's along it is noise or a change of sign
LEAST_CURVATURE = 1e-4


@dataclass(frozen=True)
class OnlineLbfgsSettings(Settings):
    """step_size : η. memory : pairs kept, two arrays of x's shape each.

    regularisation : λ, curvature added to every pair in units of the preconditioner's along the step.
    scale_preconditioner : scale H₀ = P⁻¹ by the mean over the pairs of sᵀy / yᵀP⁻¹y.
    """

    step_size: float = 0.4
    memory: int = 10
    regularisation: float = 0.1
    scale_preconditioner: bool = True

    def __post_init__(self):
        need_step_size(self.step_size)
        need(self.memory >= 1, f"memory of {self.memory} pairs: give at least 1")
        need(self.regularisation >= 0, f"regularisation {self.regularisation} must not be negative")


class OnlineLbfgs(Optimiser):
    """x ← x − η H g with H from pairs s = change of x, y = change of the same minibatch's gradient + λκs.

    Schraudolph, Yu and Günter 2007: both gradients of a pair come from one minibatch, so that the noise cancels, which
    costs two gradients a step; λ keeps H bounded where a minibatch has no curvature; the scale of H₀ is the mean over
    the pairs, not the last pair's. Here H₀ is the preconditioner, κ = gᵀP⁻¹g / ‖P⁻¹g‖² puts λ in its units, and pairs
    without positive curvature are left out. Elements that the constraint holds take the plain step (`near_walls`).
    """

    name = "olbfgs"
    Settings = OnlineLbfgsSettings
    LISTS = ("steps", "changes")
    SCALARS = ("scales",)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.steps, self.changes = [], []
        self.scales = np.zeros(0)  # sᵀy / yᵀP⁻¹y of each pair

    def step(self, x, problem):
        xp = array_module(x)
        g, move, square = self._gradient(x, problem)
        walls = near_walls(x, self.step_size * move, problem)
        scale = float(self.scales.mean()) if self.settings.scale_preconditioner and self.steps else 1.0
        newton = two_loop(xp.where(walls, 0, g), self.steps, self.changes, lambda q: scale * problem.precondition(q))
        new = self._arrive(x, x - self.step_size * xp.where(walls, move, newton), problem, square)
        if square > 0:
            kept = self._remember(new - x, problem.gradient(new) - g, square / dot(move, move), problem)
            self.info.update(pairs=float(len(self.steps)), pair_kept=float(kept))
        return new

    def transform(self, f):
        """s is a step of x and follows f; y is a gradient and would need f's inverse adjoint, which is a multiple of f
        for shifts, padding and Fourier resampling: the multiple that keeps sᵀy. Pairs that f takes all of are dropped.
        """
        kept = []
        for s, y, scale in zip(self.steps, self.changes, self.scales):
            new_s, new_y = f(s), f(y)
            product = dot(new_s, new_y)
            if product > 0:
                kept.append((new_s, dot(s, y) / product * new_y, scale))
        self.steps, self.changes = [pair[0] for pair in kept], [pair[1] for pair in kept]
        self.scales = np.array([pair[2] for pair in kept])

    def _remember(self, s, y, kappa, problem) -> bool:
        least = LEAST_CURVATURE * kappa * dot(s, s)
        if not dot(s, y) > least:
            return False
        y = y + self.settings.regularisation * kappa * s
        memory = self.settings.memory
        self.steps, self.changes = [*self.steps, s][-memory:], [*self.changes, y][-memory:]
        self.scales = np.append(self.scales, dot(s, y) / dot(y, problem.precondition(y)))[-memory:]
        return True


def two_loop(g, steps, changes, apply_h0):
    """H g for the inverse Hessian of L-BFGS (Nocedal 1980); pairs in order of age, the oldest first."""
    products = [dot(s, y) for s, y in zip(steps, changes)]
    shares = []
    for s, y, product in zip(steps[::-1], changes[::-1], products[::-1]):
        shares.append(dot(s, g) / product)
        g = g - shares[-1] * y
    h = apply_h0(g)
    for s, y, product, share in zip(steps, changes, products, shares[::-1]):
        h = h + (share - dot(y, h) / product) * s
    return h
