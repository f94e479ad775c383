"""Score, slope and curvature of single poses at the full resolution, for steps between the poses of a grid.

The score of a pose (A, t) is s = Σ 2 Re(conj(F) Y') − W |Y'|² over half of the Fourier plane, with F = C X / σ²,
W = C² / σ² and Y' = V̂(Aᵀ k) exp(2πi k·t): minus the error of paper 0 eq. 9, less the image's own power. Its slope is
by a rotation vector ω in the image's frame, A → exp([ω]×) A, and by the shift; its curvature is Fisher's, Σ 2 W
Re(conj(∂Y') ∂Y'), which is that of −s where the slice explains the image but for noise.
"""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module, to_host
from .slicing import PADDING


def pose_terms(half, filtered, weight, points, rotations, shifts, image, padding: int = PADDING):
    """(scores (n,), slopes (n, 5), curvatures (n, 5, 5)), float64, of n poses.

    Parameters
    ----------
    half : half volume (ops/slicing.py)
    filtered, weight : (m, p) complex64 and float32, F and W of m images at the points; where `half` lies
    points : (p, 2) int, kx, ky in Fourier pixels; one of each Friedel pair, kx ≥ 0
    rotations : (n, 3, 3), A of core/CONVENTIONS.md; shifts : (n, 2), t in boxes (Å over the box's side)
    image : (n,) int, the image that each pose is of

    The derivatives are by (ωx, ωy, ωz) in radians and (tx, ty) in boxes.
    """
    arguments = (half, filtered, weight, np.ascontiguousarray(points, np.int64),
                 np.ascontiguousarray(rotations, np.float64), np.ascontiguousarray(shifts, np.float64),
                 np.ascontiguousarray(image, np.int64), padding)
    return _kernels(half).pose_terms(*arguments)


def pose_terms_plain(half, filtered, weight, points, rotations, shifts, image, padding: int = PADDING):
    """As `pose_terms`, in array operations: the truth for the kernels."""
    xp = array_module(half)
    scores, slopes, curvatures = [], [], []
    k = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
    for rotation, shift, i in zip(rotations, shifts, image):
        value, gradient = _trilinear(half, padding * k @ rotation, xp)
        phase = xp.asarray(np.exp(2j * np.pi * (points @ shift)))
        value = value * phase
        columns = [(gradient * xp.asarray(padding * np.cross(k, axis) @ rotation)).sum(axis=1) * phase
                   for axis in np.eye(3)]
        columns += [2j * np.pi * xp.asarray(points[:, j]) * value for j in (0, 1)]
        columns = xp.stack(columns)
        f, w = filtered[i], weight[i]
        scores.append(float((2 * (xp.conj(f) * value).real - w * xp.abs(value) ** 2).sum()))
        slopes.append((2 * (xp.conj(f - w * value) * columns).real).sum(axis=1))
        curvatures.append(2 * ((w * xp.conj(columns)) @ columns.T).real)
    return np.array(scores), to_host(xp.stack(slopes)), to_host(xp.stack(curvatures))


def shell_terms(half, filtered, weight, points, shells, rotations, shifts, image, count: int, padding: int = PADDING):
    """(cross, power), (n, count) float64: Σ Re(conj(F) Y') and Σ W |Y'|² over the points of each shell.

    shells : (p,) int, the shell of each point, below `count`; the rest as of `pose_terms`, whose score is the sum over
    the shells of 2 cross − power
    """
    arguments = (half, filtered, weight, np.ascontiguousarray(points, np.int64), np.ascontiguousarray(shells, np.int64),
                 np.ascontiguousarray(rotations, np.float64), np.ascontiguousarray(shifts, np.float64),
                 np.ascontiguousarray(image, np.int64), count, padding)
    return _kernels(half).shell_terms(*arguments)


def shell_terms_plain(half, filtered, weight, points, shells, rotations, shifts, image, count, padding: int = PADDING):
    """As `shell_terms`, in array operations: the truth for the kernels."""
    xp = array_module(half)
    cross, power = np.zeros((len(rotations), count)), np.zeros((len(rotations), count))
    k = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
    for n, (rotation, shift, i) in enumerate(zip(rotations, shifts, image)):
        value = _trilinear(half, padding * k @ rotation, xp)[0] * xp.asarray(np.exp(2j * np.pi * (points @ shift)))
        cross[n] = np.bincount(shells, to_host((xp.conj(filtered[i]) * value).real), count)
        power[n] = np.bincount(shells, to_host(weight[i] * xp.abs(value) ** 2), count)
    return cross, power


def shell_power(values, shells, count: int):
    """(n, count) float64: Σ |value|² over the points of each shell; values : (n, p) complex64, shells : (p,) int."""
    if array_module(values) is np:
        return shell_power_plain(values, shells, count)
    from ._pose_cupy import shell_power as kernel
    return kernel(values, np.asarray(shells), count)


def shell_power_plain(values, shells, count):
    """As `shell_power`, for numpy arrays: the truth for the CUDA kernel."""
    return np.stack([np.bincount(shells, np.abs(row) ** 2, count) for row in values])


def _kernels(half):
    if array_module(half) is np:
        from . import _pose_score_numba
        return _pose_score_numba
    from . import _pose_cupy
    return _pose_cupy


def _trilinear(half, positions, xp):
    """(values (p,), gradients (p, 3) by x, y, z in padded pixels) of a half volume at points of the whole space."""
    positions = xp.asarray(positions)
    flipped = positions[:, 0] < 0
    x, y, z = xp.where(flipped[:, None], -positions, positions).T
    centre = half.shape[0] // 2
    y, z = y + centre, z + centre
    x0, y0, z0 = (xp.floor(v).astype(int) for v in (x, y, z))
    fx, fy, fz = x - x0, y - y0, z - z0
    value, gradient = 0, [0, 0, 0]
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                node = half[z0 + dz, y0 + dy, x0 + dx]
                wx, wy, wz = (f if d else 1 - f for f, d in ((fx, dx), (fy, dy), (fz, dz)))
                sx, sy, sz = (1 if d else -1 for d in (dx, dy, dz))
                value = value + wx * wy * wz * node
                gradient = [g + s * node for g, s in zip(gradient, (sx * wy * wz, wx * sy * wz, wx * wy * sz))]
    gradient = xp.stack(gradient, axis=1)
    # V̂(−k) = conj V̂(k): the gradient changes its sign as well
    return (xp.where(flipped, xp.conj(value), value),
            xp.where(flipped[:, None], -xp.conj(gradient), gradient))
