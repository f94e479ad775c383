"""The map of paper 3: weighted least squares in Fourier space with log-norm sparsity and log total variation.

    ½ Σ N |Ax − V̂|² + ½ Σ P |Ax|² + α Σ log(|x| + ε) + β Σ log(|∇x| + ε') + γ ‖x − x_previous‖²     (eq. 31, 22)

The logarithms are replaced by their tangents at the last map (eq. 11), which leaves weighted ℓ1 and TV norms: a convex
problem, solved by proximal gradient steps (eq. 20-21) with Nesterov's smoothed TV, plain or accelerated (FISTA: Beck &
Teboulle 2009, with the restarts of O'Donoghue & Candès 2015). Then the weights are made anew.

What it holds is counted in memory.py. An iteration is two transforms and five passes over memory.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ops.total_variation import (
    extrapolate,
    flux_scale,
    gradient_norm,
    proximal_step,
    smoothed_variation,
    step_products,
)
from .config import SparseTVConfig
from .problem import FourierData, NoMap

# a difference of neighbours stretches a map by at most this, squared, over three axes
DIFFERENCE_NORM2 = 12.0
# share of voxels that must be left of a map, and of its power
LEAST_VOXELS, LEAST_POWER = 1e-4, 1e-3
# share of Wiener's density with less of which a map is as good as empty: particles hardly tell its orientations apart
LEAST_LEFT = 0.1


class EmptyMap(NoMap):
    """The penalties leave next to nothing of a map."""


@dataclass(frozen=True)
class Strengths:
    """The parameters in the units of the map and its data."""

    alpha: float
    beta: float
    gamma: float
    epsilon: float
    epsilon_tv: float
    mu: float


@dataclass(frozen=True)
class SparseTVMap:
    """What came out.

    volume : (d, d, d) float32; strengths; gap : relative fixed-point gap of the last convex problem
    gaps : of each of its predecessors and of itself, a list of lists over iterations
    zeros : share of voxels that are exactly 0; variation : Σ |∇x| over that of the unregularised map
    """

    volume: np.ndarray
    strengths: Strengths
    gap: float
    gaps: list
    zeros: float
    variation: float


def strengths_for(data: FourierData, config: SparseTVConfig, epsilon: float) -> Strengths:
    """The absolute parameters of a data term (paper 3 §2.5); epsilon : where the config leaves it open."""
    epsilon = config.epsilon or epsilon
    tv = config.epsilon_ratio * epsilon
    return Strengths(config.alpha * data.pull_rms * epsilon, config.beta * data.pull_rms * tv,
                     config.gamma * data.mean_weight, epsilon, tv, config.smoothing * data.voxel_noise)


def sparse_tv_map(data: FourierData, config: SparseTVConfig, *, epsilon: float, start=None,
                  previous=None) -> SparseTVMap:
    """Solve for a map.

    epsilon : the density level of the molecule, used where the config has none; start : first map, whose weights are
    the first ones, Wiener's if None (`FourierData.quadratic`); previous : of the last M-step, for γ
    Raises EmptyMap where the penalties leave nothing of the map.
    """
    xp, strengths = data.xp, strengths_for(data, config, epsilon)
    solver = _Convex(data, strengths, previous, config)
    x = data.quadratic() if start is None else start
    gaps = []
    for _ in range(1 if config.convex else config.reweightings):
        solver.weigh(x)
        x, found = solver.solve(x)
        gaps.append(found)
    zeros = float((x == 0).mean())
    power = float((x.astype(xp.float64) ** 2).sum())
    if 1 - zeros < LEAST_VOXELS or power < LEAST_POWER * _expected_power(data):
        raise EmptyMap(f"the penalties α {config.alpha:g} and β {config.beta:g} leave nothing of the map "
                       f"({1 - zeros:.2%} of the voxels); lower them, or check ε ({strengths.epsilon:.3g})")
    ones = xp.ones_like(x)
    before = smoothed_variation(data.volume, ones, strengths.mu)
    return SparseTVMap(x, strengths, gaps[-1][-1], gaps, zeros,
                       smoothed_variation(x, ones, strengths.mu) / before if before else 0.0)


def step_after_wiener(data: FourierData, config: SparseTVConfig, *, epsilon: float) -> SparseTVMap:
    """`sparse_tv_map` as in the iteration after one of the traditional method: γ holds the map to Wiener's."""
    return sparse_tv_map(data, config, epsilon=epsilon, previous=data.quadratic() if config.gamma else None)


def density_left(volume, wiener, mask) -> float:
    """Which part of Wiener's density within a mask a map has left: Σ m x w / Σ m w², (d, d, d) each."""
    weighted = mask * wiener
    return float(np.vdot(weighted, volume) / max(float(np.vdot(weighted, wiener)), 1e-30))


def check_left(found: SparseTVMap, config: SparseTVConfig, wiener, mask) -> None:
    """Raise EmptyMap where a map has less than LEAST_LEFT of Wiener's density within the mask; numpy arrays."""
    left = density_left(found.volume, wiener, mask)
    if left < LEAST_LEFT:
        raise EmptyMap(f"the penalties α {config.alpha:g} and β {config.beta:g} leave {max(left, 0):.1%} of the "
                       f"density that Wiener's map has; lower them, or check ε ({found.strengths.epsilon:.3g})")


def objective(data: FourierData, strengths: Strengths, x, previous=None) -> float:
    """What the reweighting brings down (see the head of this file), the gradient's norm not smoothed."""
    xp = data.xp
    norm = gradient_norm(x).astype(xp.float64)
    total = data.misfit(x) + strengths.alpha * float(xp.log(xp.abs(x).astype(xp.float64) + strengths.epsilon).sum())
    total += strengths.beta * float(xp.log(norm + strengths.epsilon_tv).sum())
    if previous is not None:
        total += strengths.gamma * float(((x - previous).astype(xp.float64) ** 2).sum())
    return total


def _expected_power(data):
    """Power of the map that a Wiener filter would leave at half of the mean weight: a yardstick for an empty map."""
    spectrum = data.pull / (data.weight + data.mean_weight)
    return float((data.inverse(spectrum).astype(data.xp.float64) ** 2).sum())


class _Convex:
    """The problem with fixed weights, its step and its solution."""

    def __init__(self, data, strengths, previous, config):
        self.data, self.strengths, self.config, self.xp = data, strengths, config, data.xp
        gamma = 0.0 if previous is None else 2 * strengths.gamma
        self.diagonal = data.weight + data.prior + self.xp.float32(gamma)
        self.pull = data.pull if previous is None else data.pull + self.xp.float32(gamma) * data.transform(previous)
        self._quadratic = data.largest_weight + gamma
        self._scale = None

    def weigh(self, x):
        """Take the tangents of the logarithms at x, or with a convex penalty their slopes at 0."""
        xp, strengths, threads = self.xp, self.strengths, self.data.threads
        if self.config.convex:
            self.limit = xp.full_like(x, strengths.alpha / strengths.epsilon)
            self.weight = xp.full_like(x, strengths.beta / strengths.epsilon_tv)
        else:
            self.limit = xp.float32(strengths.alpha) / (xp.abs(x) + xp.float32(strengths.epsilon))
            self.weight = xp.float32(strengths.beta) / (gradient_norm(x, threads) + xp.float32(strengths.epsilon_tv))
        # no curvature of the smoothed norm is above its weight over μ
        self.step = 1 / (self._quadratic + DIFFERENCE_NORM2 * float(self.weight.max()) / strengths.mu)

    def advance(self, x, out=None):
        """One proximal gradient step; out : to be written into."""
        threads = self.data.threads
        raw = self.data.transform(x)
        raw *= self.diagonal
        raw -= self.pull
        slope = self.data.inverse(raw, overwrite=True)
        del raw
        self._scale = flux_scale(x, self.weight, self.strengths.mu, threads, self._scale)
        return proximal_step(x, slope, self._scale, self.step, self.limit, threads, out)

    def solve(self, x):
        """(x, [gap of each iteration])."""
        threads, momentum, gaps = self.data.threads, 1.0, []
        accelerated = self.config.method == "fista"
        # three maps that take turns; the one given stays as it is
        x, at, new = x.copy(), x.copy(), None
        for _ in range(self.config.iterations):
            new = self.advance(at, new)
            change, size, along = step_products(new, at, x, threads)
            # of a step of 1 / mean N, whatever the one taken: a short step moves little and proves nothing
            gaps.append(float(np.sqrt(change / max(size, 1e-60)) / (self.step * self.data.mean_weight)))
            if along < 0:
                # the momentum points uphill: begin anew from here
                momentum = 1.0
            following = 0.5 * (1 + np.sqrt(1 + 4 * momentum ** 2)) if accelerated else 1.0
            at = extrapolate(new, x, (momentum - 1) / following, threads, at)
            momentum = following
            x, new = new, x
            if gaps[-1] < self.config.tolerance:
                break
        return x, gaps
