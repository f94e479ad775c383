"""Inner products that do not lose a map's small terms, and the elements that a constraint holds."""
from __future__ import annotations

import math

from ...core.backend import array_module


def dot(a, b) -> float:
    """Σ a·b of two real arrays, summed in float64 and in a fixed order (BLAS sums float32 in float32)."""
    return float((a * b).sum(dtype="float64"))


def norm(a) -> float:
    """Euclidean norm, summed as `dot`."""
    return math.sqrt(dot(a, a))


def near_walls(x, step, problem):
    """Boolean array: elements of which the constraint withholds more than half of ±step.

    A step by a metric that couples elements, followed by a clip, need not descend and comes to rest beside the
    constrained minimum (Bertsekas 1982, projected Newton methods). So elements beside a wall take the plain step and
    the metric acts among the others. Both directions are tried: were it only the one that the present minibatch
    wants, elements would enter the metric with gradients of one sign, and the mean step would be biased.
    """
    xp = array_module(x)
    held = xp.zeros(x.shape, bool)
    for move in (step, -step):
        trial = x + move
        held |= xp.abs(problem.constrain(trial) - trial) > 0.5 * xp.abs(step)
    return held
