"""Preconditioned conjugate gradients for (B + λP) d = −g, where only P⁻¹ is at hand."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .arrays import dot

# progress is judged over this many iterations, or a tenth of those done if that is more
WINDOW = 3


@dataclass(frozen=True)
class Solution:
    """step : d. dual : P d. model : gᵀd + ½ dᵀB d, what the undamped quadratic promises. iterations : products used."""

    step: Any
    dual: Any
    model: float
    iterations: int


def solve(curvature, g, precondition, *, damping: float, iterations: int, tolerance: float, start=None) -> Solution:
    """Minimise gᵀd + ½ dᵀ(B + λP) d roughly.

    Parameters
    ----------
    curvature, precondition : v → B v and v → P⁻¹ v, symmetric, the first positive semi-definite
    damping : λ ≥ 0
    iterations : at most so many products with B, the start's not counted
    tolerance : stop where the progress of the last WINDOW iterations is less than this share each of the whole
    start : P d of a first guess d, or None for 0

    Notes
    -----
    P itself is never applied: a search direction is p = P⁻¹r + βp, so P p = r + βPp follows from residuals.
    Stopping rule of Martens (2010) §4.4 with a shorter window: P makes the first iterations good ones.
    """
    if start is None:
        step, dual, residual = 0 * g, 0 * g, -g
    else:
        step, dual = precondition(start), start
        residual = -g - curvature(step) - damping * dual
    # φ = gᵀd + ½ dᵀA d = ½ dᵀ(g − r), as A d = −g − r
    history = [0.5 * dot(step, g - residual)]
    z = precondition(residual)
    direction, direction_dual, square = z, residual, dot(residual, z)
    first = square
    done = 0
    while done < iterations and square > 1e-24 * first:
        product = curvature(direction) + damping * direction_dual
        along = dot(direction, product)
        # B has negative curvature, or nothing is left but rounding
        if not along > 0:
            break
        length = square / along
        step, dual = step + length * direction, dual + length * direction_dual
        residual = residual - length * product
        done += 1
        history.append(history[-1] - 0.5 * length * square)
        if _has_stalled(history, tolerance):
            break
        z = precondition(residual)
        square, last = dot(residual, z), square
        direction, direction_dual = z + square / last * direction, residual + square / last * direction_dual
    # dᵀB d = dᵀ(−g − r − λP d)
    model = 0.5 * (dot(g, step) - dot(step, residual) - damping * dot(step, dual))
    return Solution(step, dual, model, done)


def _has_stalled(history, tolerance):
    window = max(WINDOW, math.ceil(0.1 * (len(history) - 1)))
    now = history[-1]
    return len(history) > window and now < 0 and now - history[-1 - window] > window * tolerance * now
