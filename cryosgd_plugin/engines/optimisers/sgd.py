"""Plain stochastic gradient descent, and the whole step of batch EM."""
from __future__ import annotations

from dataclasses import dataclass

from ...core.settings import Settings
from .optimiser import Optimiser


class Sgd(Optimiser):
    """x ← x − η P⁻¹ g (Robbins and Monro 1951); it remembers nothing."""

    name = "sgd"

    def step(self, x, problem):
        _, move, square = self._gradient(x, problem)
        return self._arrive(x, x - self.step_size * move, problem, square)


@dataclass(frozen=True)
class NoSettings(Settings):
    """A whole step has nothing to set."""


class WholeStep(Optimiser):
    """x ← x − P⁻¹ g: with all images as the minibatch and P their weights, the M-step of batch EM.

    `step_size` is not used.
    """

    name = "whole-step"
    Settings = NoSettings

    def step(self, x, problem):
        _, move, square = self._gradient(x, problem)
        return self._arrive(x, x - move, problem, square)
