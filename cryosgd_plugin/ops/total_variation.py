"""Total variation of a map, smoothed after Nesterov, and the proximal step of a weighted ℓ1 norm (paper 3 §2.1).

The gradient of x at a voxel is its difference to the voxel before it along each axis (eq. 12), 0 at the box's first
planes, where there is none. The smoothed norm of it is |g|² / 2μ below μ and |g| − μ/2 above (eq. 14), so that
Σ w |∇x|_μ has the gradient D*(w u), u = g / max(|g|, μ) (eq. 15-16). The weights belong inside of D*: paper 3's eq. 20
has them outside, which is not the gradient of eq. 11.

numpy and cupy alike; on the CPU numba kernels work on slabs of the map side by side.
"""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module


def gradient_norm(x, threads: int = 1):
    """(d, d, d) float32: |∇x| at each voxel."""
    xp = array_module(x)
    if xp is np:
        from ._total_variation_numba import gradient_norm as kernel
        return kernel(x, threads)
    return gradient_norm_plain(x)


def flux_scale(x, weight, mu: float, threads: int = 1, out=None):
    """(d, d, d) float32: w / max(|∇x|, μ), what a difference of neighbours is multiplied with in w u.

    x, weight : (d, d, d) float32; mu : μ > 0, in the map's units; out : to be written into (fresh memory costs a
    large map's solver as much time as its arithmetic)
    """
    if array_module(x) is np:
        from ._total_variation_numba import flux_scale as kernel
        out = np.empty_like(x) if out is None else out
        kernel(x, weight, mu, threads, out)
        return out
    return flux_scale_plain(x, weight, mu)


def proximal_step(x, slope, scale, step: float, limit, threads: int = 1, out=None):
    """S(x − step · (slope + D*(scale · Dx)), step · limit) with S the soft threshold (eq. 20-21): (d, d, d) float32.

    slope : gradient of the rest of what is minimised; scale : of `flux_scale`; limit : (d, d, d) weights of |x|
    out : to be written into, none of the others
    """
    if array_module(x) is np:
        from ._total_variation_numba import proximal_step as kernel
        out = np.empty_like(x) if out is None else out
        kernel(x, slope, scale, step, limit, threads, out)
        return out
    return proximal_step_plain(x, slope, scale, step, limit)


def step_products(new, at, before, threads: int = 1):
    """(|new − at|², |new|², (new − at)·(new − before)): how far a step went, of what, and along its momentum."""
    xp = array_module(new)
    if xp is np:
        from ._total_variation_numba import step_products as kernel
        return kernel(new, at, before, threads)
    change = new - at
    return tuple(float(xp.vdot(a, b)) for a, b in ((change, change), (new, new), (change, new - before)))


def extrapolate(new, before, share: float, threads: int = 1, out=None):
    """new + share · (new − before), (d, d, d) float32; out : to be written into."""
    if array_module(new) is np:
        from ._total_variation_numba import extrapolate as kernel
        out = np.empty_like(new) if out is None else out
        kernel(new, before, share, threads, out)
        return out
    return new + np.float32(share) * (new - before)


def smoothed_variation(x, weight, mu: float) -> float:
    """Σ w |∇x|_μ (eq. 14, weighted)."""
    xp, total = array_module(x), 0.0
    # plane by plane: in double precision a large map's would take as much memory as its solver
    for norm, of_plane in zip(gradient_norm(x), weight):
        norm = norm.astype(xp.float64)
        total = total + (of_plane * xp.where(norm < mu, norm ** 2 / (2 * mu), norm - mu / 2)).sum()
    return float(total)


def gradient_norm_plain(x):
    """As `gradient_norm`, in array operations: the truth for the numba kernel."""
    xp = array_module(x)
    return xp.sqrt(sum(_difference(x, axis, xp) ** 2 for axis in range(3)))


def flux_scale_plain(x, weight, mu):
    """As `flux_scale`, in array operations."""
    xp = array_module(x)
    return weight / xp.maximum(gradient_norm_plain(x), xp.float32(mu))


def proximal_step_plain(x, slope, scale, step, limit):
    """As `proximal_step`, in array operations."""
    xp = array_module(x)
    total = slope.copy()
    for axis in range(3):
        flux = scale * _difference(x, axis, xp)
        total += flux
        _take(total, axis, slice(None, -1))[...] -= _take(flux, axis, slice(1, None))
    # in place, here and below: on a GPU memory is what limits the map
    del flux
    total *= xp.float32(-step)
    total += x
    size = xp.abs(total)
    size -= xp.float32(step) * limit
    return xp.sign(total) * xp.maximum(size, 0, out=size)


def _difference(x, axis, xp):
    change = xp.zeros_like(x)
    _take(change, axis, slice(1, None))[...] = _take(x, axis, slice(1, None)) - _take(x, axis, slice(None, -1))
    return change


def _take(array, axis, part):
    return array[(slice(None),) * axis + (part,)]
