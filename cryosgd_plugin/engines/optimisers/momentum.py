"""Gradient descent with memory of where it was going: classical momentum and Nesterov's."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.settings import Settings, need
from .optimiser import Optimiser, need_step_size


@dataclass(frozen=True)
class MomentumSettings(Settings):
    """step_size : η. momentum : μ, the share of the last update in the next."""

    step_size: float = 0.4
    momentum: float = 0.5

    def __post_init__(self):
        need_step_size(self.step_size)
        need(0 <= self.momentum < 1, f"momentum {self.momentum} must lie in [0, 1)")


class Momentum(Optimiser):
    """d ← μ d − (1 − μ) η P⁻¹ g, x ← x + d (paper 0 eq. 7, where G points uphill of the log posterior).

    The factor 1 − μ keeps η's meaning: the step in the long run is η P⁻¹ g whatever μ is.
    What the constraint takes off x is taken off d too, else d would go on pushing into the wall.
    """

    name = "sgd-momentum"
    Settings = MomentumSettings
    ARRAYS = ("velocity",)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.velocity = None

    def step(self, x, problem):
        _, move, square = self._gradient(x, problem)
        momentum = self.settings.momentum
        velocity = -(1 - momentum) * self.step_size * move
        if self.velocity is not None:
            velocity = velocity + momentum * self.velocity
        trial = x + velocity
        new = self._arrive(x, trial, problem, square)
        self.velocity = velocity + (new - trial)
        return new


@dataclass(frozen=True)
class NesterovSettings(MomentumSettings):
    """step_size : η, of each gradient; the step in the long run is η / (1 − μ). momentum : μ."""

    step_size: float = 0.1
    momentum: float = 0.9


class Nesterov(Optimiser):
    """v ← μ v − η P⁻¹ ∇f(x + μ v), x ← x + v (Sutskever et al. 2013, eq. 3-4).

    One gradient a step, at the look-ahead point, which may lie beyond the constraints. What the constraint takes off x
    is taken off v, so that v is the way travelled, as in the projected form (Beck and Teboulle 2009).
    """

    name = "nesterov"
    Settings = NesterovSettings
    ARRAYS = ("velocity",)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.velocity = None

    def step(self, x, problem):
        drift = 0 * x if self.velocity is None else self.settings.momentum * self.velocity
        _, move, square = self._gradient(x + drift, problem)
        velocity = drift - self.step_size * move
        trial = x + velocity
        new = self._arrive(x, trial, problem, square)
        self.velocity = velocity + (new - trial)
        return new
