"""AdaGrad: each element's step falls with the gradients it has already seen."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.backend import array_module
from .arrays import dot
from .optimiser import Optimiser, StepSettings


@dataclass(frozen=True)
class AdaGradSettings(StepSettings):
    """step_size : η, a bound on the share of the preconditioned step that any element takes."""

    step_size: float = 1.0


class AdaGrad(Optimiser):
    """x ← x − η s u / √(s² + Σ u²), u = P⁻¹ g, element by element (Duchi, Hazan and Singer 2011, diagonal form).

    The published step η u / √Σu² moves each element by η whatever the units of x. Here s, the root mean square of the
    first u over its nonzero elements, gives the units back: scaling the problem scales the step, no element ever
    moves by more than η u, elements with gradients like the first step's average halve their step after three
    steps, and those that see only small ones go on with whole steps.
    """

    name = "adagrad"
    Settings = AdaGradSettings
    ARRAYS = ("accumulated",)
    SCALARS = ("scale",)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.accumulated = None  # √Σu², in units of x
        self.scale = 0.0

    def step(self, x, problem):
        xp = array_module(x)
        _, move, square = self._gradient(x, problem)
        if self.scale == 0:
            self.scale = (dot(move, move) / max(1, int(xp.count_nonzero(move)))) ** 0.5
        self.accumulated = xp.abs(move) if self.accumulated is None else xp.hypot(self.accumulated, move)
        if self.scale == 0:
            return self._arrive(x, x - 0 * move, problem, square)
        share = self.scale / xp.hypot(self.accumulated, xp.full_like(move, self.scale))
        return self._arrive(x, x - self.step_size * share * move, problem, square)

    def transform(self, f):
        """The accumulator is in units of x, so f applies; the scalar s follows what f makes of a constant map."""
        if self.accumulated is not None:
            xp = array_module(self.accumulated)
            self.scale *= float(xp.abs(f(xp.ones_like(self.accumulated))).max())
            # interpolation may ring below zero
            self.accumulated = xp.maximum(f(self.accumulated), 0)
