"""Stochastic average gradient descent, which tunes its own step (paper 1, Algorithm 1)."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from ...core.backend import array_module, to_current_device, to_host
from ...core.settings import Settings, need
from .optimiser import Optimiser, need_step_size

# a search that doubles L so often without success has met a value that disagrees with its gradient
MOST_DOUBLINGS, MOST_HALVINGS = 20, 10
# a minibatch's gradient so many times as long as at the last search calls for the next one: with ε = 2 and an L that
# was found along a flat direction, twenty steps can take x away by many powers of ten
GROWTH = 2.0
# bound on nηε along the mean of all n gradients. Minibatches that come in random order, each once an epoch, make them
# up to n steps old: along the curvature L itself steps of more than π²/2n (about 5/n) swing wider and wider. While the
# table fills, swings die away of themselves. Drawn with replacement, as in paper 1, minibatches forbid no step, but
# fill the table slowly. The phantom after 150 steps to 16 Å, without the bound and with it: of 24 minibatches FSC 0.5
# at 36.8 and 11.4 Å, held-out errors of -22.8 and -52.2 nats; of 99, most of a run's steps, 12.4 and 16.6 Å, but -45.2
# and -46.6 nats
REACH = 4.0


@dataclass(frozen=True)
class SagdSettings(Settings):
    """step_size : η, a factor on ε for a caller's own schedule; 1 is the paper's.

    epsilon : ε at the first and at the last iterations; it halves every halving_steps.
    lipschitz : first guess of L, in units of the preconditioner (1: P bounds the curvature). bisections : halvings of
    the bracket (in powers) that the first search finds. search_every : steps between line searches, between which L
    falls by 2^(−1/lipschitz_halving) a step.
    value_rounding : relative rounding of `problem.value`; a search that asks for a smaller decrease is not made, and L
    goes back to what the last one found.
    reach : ηε ≤ reach / n once all n minibatches are in the table, or None for no bound.
    """

    step_size: float = 1.0
    epsilon: tuple = (2.0, 1 / 16)
    halving_steps: int = 150
    lipschitz_halving: int = 150
    lipschitz: float = 1.0
    bisections: int = 3
    search_every: int = 20
    value_rounding: float = 1e-9
    reach: Optional[float] = REACH

    def __post_init__(self):
        need_step_size(self.step_size)
        need(len(self.epsilon) == 2 and 0 < self.epsilon[1] <= self.epsilon[0] <= 10,
             f"epsilon {self.epsilon} must fall from the first to the second and lie in (0, 10]")
        for steps in (self.halving_steps, self.lipschitz_halving):
            need(steps >= 1, f"halving every {steps} steps: give at least 1")
        need(0 < self.lipschitz < np.inf, f"Lipschitz constant {self.lipschitz} must be positive")
        need(self.bisections >= 0, f"{self.bisections} bisections: give 0 or more")
        need(self.search_every >= 1, f"line search every {self.search_every} steps: give at least 1")
        need(0 <= self.value_rounding < 1, f"rounding of values {self.value_rounding} must lie in [0, 1)")
        need(self.reach is None or self.reach > 0, f"reach {self.reach} must be positive, or None for no bound")


class StochasticAverageGradient(Optimiser):
    """x ← x − (ηε/L) P⁻¹ ḡ, ḡ the mean of the last gradient of every minibatch seen so far; ηε ≤ 4/n once all n are,
    where minibatches come once an epoch.

    Paper 1 §3.3 after Schmidt, Le Roux and Bach (2017), with its slips mended: the sum is divided by the number of
    minibatches seen, the prior comes once (in the problem's gradient), and the line search, in the metric of P⁻¹, uses
    the fresh gradient of the present minibatch at the x where it was taken: L doubles while
    f(x) − f(x − P⁻¹g/L) < gᵀP⁻¹g / 2L. The first step brackets and bisects L instead. Beyond the paper, a gradient that
    has doubled calls for a search at once.

    info["gradient_norm"] is √ḡᵀP⁻¹ḡ, of all data once batches_seen is n_batches: the paper's measure of convergence.
    The partition into minibatches is fixed for the run. The sum is held in float64, for it shrinks while its terms do
    not, and is made anew once an epoch, else rounding from times of large gradients would stay in it for good.
    """

    name = "sagd"
    Settings = SagdSettings
    ARRAYS = ("total",)
    SCALARS = ("tau", "lipschitz", "found", "length", "n_batches")

    def __init__(self, **settings):
        super().__init__(**settings)
        self.total = None        # Σ of the unpacked table
        self.table = {}          # minibatch → packed gradient
        self.n_batches = 0
        self.tau = 0
        self.lipschitz = self.settings.lipschitz
        self.found = 0.0         # L of the last search, 0 before the first
        self.length = 0.0        # √gᵀP⁻¹g of its minibatch

    def step(self, x, problem):
        self._check_partition(problem)
        self.tau += 1
        g, move, square = self._gradient(x, problem)
        self._enter(g, problem, array_module(x))
        holds = self._tune(x, move, square, problem)
        mean = (self.total / len(self.table)).astype(x.dtype)
        direction, full_square = self._precondition(mean, problem)
        share = self.step_size * self.epsilon
        if self.settings.reach is not None and len(self.table) == self.n_batches:
            share = min(share, self.settings.reach / self.n_batches)
        trial = x - float(share / self.lipschitz) * direction
        return self._arrive(x, trial, problem, full_square, minibatch_gradient_norm=square ** 0.5, epsilon=self.epsilon,
                            lipschitz=self.lipschitz, lipschitz_holds=holds, batches_seen=len(self.table))

    @property
    def epsilon(self) -> float:
        """ε = max(1/16, 2^(1 − ⌊τ/150⌋)) with the paper's settings; τ counts from 1."""
        first, last = self.settings.epsilon
        return max(last, first * 0.5 ** (self.tau // self.settings.halving_steps))

    def state(self):
        table = {f"table.{k}": to_host(packed) for k, packed in self.table.items()}
        return {**super().state(), **table, "batches": np.array(list(self.table), int)}

    def restore(self, state, xp=np):
        """As for any optimiser; the table stays on the host, where it surely fits."""
        super().restore(state, xp)
        self.table = {int(k): state[f"table.{k}"] for k in state["batches"]}

    def transform(self, f):
        """Packed gradients of x's own shape follow f; others know their resolution, and `unpack` brings them to x's.

        Where f changes the scale of x, gradients change inversely: let `pack` and `unpack` see to it.
        The sum is made anew from the table in the next step.
        """
        if self.total is not None:
            shape, xp = self.total.shape, array_module(self.total)
            self.table = {k: f(to_current_device(packed, xp)) if packed.shape == shape else packed
                          for k, packed in self.table.items()}
            self.total = None

    def _check_partition(self, problem):
        k, n = problem.batch, problem.n_batches
        need(self.n_batches in (0, n), f"sagd began with {self.n_batches} minibatches and now meets {n}; its table of "
                                       "gradients needs one partition for the whole run")
        need(0 <= k < n, f"minibatch {k} does not exist; they are 0 to {n - 1}")
        self.n_batches = n

    def _enter(self, g, problem, xp):
        """Put the gradient in the table, and bring the sum up to date with what the table now holds."""
        def unpacked(packed):
            return to_current_device(problem.unpack(packed), xp).astype(xp.float64)

        k, packed = problem.batch, problem.pack(g)
        old = self.table.get(k)
        self.table[k] = packed
        if self.total is None or self.tau % self.n_batches == 0:
            self.total = sum(unpacked(each) for each in self.table.values())
            return
        self.total = self.total + unpacked(packed)
        if old is not None:
            self.total = self.total - unpacked(old)

    def _tune(self, x, move, square, problem) -> float:
        """Adapt L; 1 if its condition was met, 0 if no L met it, NaN if it was not looked at."""
        due = self.tau % self.settings.search_every == 0 or square > (GROWTH * self.length) ** 2
        if self.found and not due:
            self.lipschitz *= 0.5 ** (1 / self.settings.lipschitz_halving)
            return float("nan")
        before = problem.value(x)
        rounding = self.settings.value_rounding * abs(before)
        if square <= 10 * rounding * self.lipschitz:
            self.lipschitz = self.found or self.lipschitz
            return float("nan")

        def holds(lipschitz):
            decrease = before - problem.value(x - float(1 / lipschitz) * move)
            return decrease >= square / (2 * lipschitz) - rounding

        low, high = _bracket(holds, self.lipschitz, downwards=not self.found)
        if high is None:
            return 0.0
        for _ in range(0 if self.found else self.settings.bisections):
            middle = (low * high) ** 0.5
            low, high = (low, middle) if holds(middle) else (middle, high)
        self.lipschitz = self.found = high
        self.length = square ** 0.5
        return 1.0


def _bracket(holds, guess, *, downwards):
    """(largest L known to fail, smallest known to hold), apart by 2; the second None where doubling led nowhere.

    Where the guess holds it is taken, or, downwards, halved until it fails.
    """
    if holds(guess):
        for _ in range(MOST_HALVINGS if downwards else 0):
            if not holds(guess / 2):
                return guess / 2, guess
            guess /= 2
        return guess, guess
    for _ in range(MOST_DOUBLINGS):
        if holds(2 * guess):
            return guess, 2 * guess
        guess *= 2
    return guess, None
