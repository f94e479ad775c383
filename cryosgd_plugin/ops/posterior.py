"""From scores to posterior weights over one image's poses, in place and numerically safe."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.backend import array_module, to_host

# scores this far below the best (over the temperature, in nats) are clipped: each adds under 1e-17 of the best
LOWEST = -40.0


class Marginals(NamedTuple):
    """What one image's posterior says.

    log_evidence : temperature · log Σ exp(score / temperature) in nats; at temperature 1 the log evidence summed
        over the poses, without the image's own power
    effective_poses : 1 / Σ p²
    direction_mass : (d,), shift_mass : (s,), angle_mass : (a,) posterior mass of each, summing to 1
    best : flat index into (angle, direction, shift) of the best pose
    total : what the weights left in `scores` sum to (they are relative to the best pose's)
    """

    log_evidence: float
    effective_poses: float
    direction_mass: np.ndarray
    shift_mass: np.ndarray
    angle_mass: np.ndarray
    best: int
    total: float


def exponentiate(scores, temperature: float) -> Marginals:
    """Replace scores by posterior weights exp((score − best) / temperature).

    scores : (n_angles, d, s) float32 log probabilities up to a constant, nats; overwritten
    temperature : ≥ 1, noise inflation: the noise is taken as that much larger when poses are weighed
    """
    if array_module(scores) is np:
        from ._posterior_numba import exponentiate_scores
        return exponentiate_scores(scores, temperature)
    return exponentiate_plain(scores, temperature)


def exponentiate_plain(scores, temperature: float) -> Marginals:
    """As `exponentiate`, in array operations: the truth for the numba kernel, and what a GPU runs."""
    xp = array_module(scores)
    best = int(scores.argmax())
    top = float(scores.ravel()[best])
    scores -= xp.float32(top)
    scores *= xp.float32(1 / temperature)
    xp.maximum(scores, xp.float32(LOWEST), out=scores)
    xp.exp(scores, out=scores)
    per_direction = to_host(scores.sum(axis=(0, 2), dtype=xp.float64))
    per_shift = to_host(scores.sum(axis=(0, 1), dtype=xp.float64))
    per_angle = to_host(scores.sum(axis=(1, 2), dtype=xp.float64))
    squares = float(xp.square(scores).sum(dtype=xp.float64))
    return marginals(top, best, per_direction, per_shift, per_angle, squares, temperature)


def pick_poses(weights, angles, directions, shifts, factor):
    """(posterior (a', d', s') float32, its sum over shifts (a', d') likewise) of chosen poses.

    weights : (a, d, s) float32, as `exponentiate` leaves them; angles (a',), directions (d',), shifts (s',) : numbers
    of those wanted; factor : (d',) float32, by which each direction's weights are multiplied
    """
    if array_module(weights) is np:
        from ._posterior_numba import pick_poses as pick_on_host
        return pick_on_host(weights, angles, directions, shifts, factor)
    return pick_poses_plain(weights, angles, directions, shifts, factor)


def pick_poses_plain(weights, angles, directions, shifts, factor):
    """As `pick_poses`, in array operations: the truth for the numba kernel, and what a GPU runs."""
    xp = array_module(weights)
    chosen = weights[tuple(xp.asarray(i) for i in np.ix_(angles, directions, shifts))] * xp.asarray(factor)[:, None]
    return chosen, chosen.sum(axis=2)


def marginals(top, best, per_direction, per_shift, per_angle, squares, temperature) -> Marginals:
    """The named results of either kernel from its sums."""
    total = float(per_direction.sum())
    return Marginals(top + temperature * float(np.log(total)), total ** 2 / squares, per_direction / total,
                     per_shift / total, per_angle / total, best, total)
