"""Back-projection of images at single poses, many poses an image: numerators Σ w conj-shifted C X / σ² and weights."""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module
from . import gaussian
from .slicing import PADDING, check_kernel, check_reach, half_volume_shape, insert_slices


def insert_poses(filtered, weight, points, rotations, shifts, image, mass, radius: int, padding: int = PADDING,
                 kernel: str = "trilinear"):
    """Sum of S(t) F and W at each pose, times its mass: (numerator, weight), half volumes, not yet Hermitian.

    filtered, weight, points, rotations, shifts, image : as in `pose_score.pose_terms`; mass : (n,)
    radius : of the half volume. kernel : "trilinear", the adjoint of the slices that `pose_terms` takes, or "gaussian"
    (ops/gaussian.py), the adjoint of its own; both in the same unit.
    Raises ValueError: a point beyond the radius, or another kernel.
    """
    check_kernel(kernel)
    xp = array_module(filtered)
    shape = half_volume_shape(radius, padding)
    numerator, total = xp.zeros(shape, xp.complex64), xp.zeros(shape, xp.float32)
    check_reach(numerator, points, padding)
    arguments = (filtered, weight, np.ascontiguousarray(points, np.int64), np.ascontiguousarray(rotations, np.float64),
                 np.ascontiguousarray(shifts, np.float64), np.ascontiguousarray(image, np.int64),
                 np.ascontiguousarray(mass, np.float64), padding, numerator, total, kernel)
    if xp is np:
        from ._pose_insert_numba import insert_poses as fast
    else:
        from ._pose_cupy import insert_poses as fast
    fast(*arguments)
    return numerator, total


def insert_poses_plain(filtered, weight, points, rotations, shifts, image, mass, padding, numerator, total,
                       kernel="trilinear"):
    """Adds to numerator and total in array operations: the truth for the kernels."""
    xp = array_module(filtered)
    at = xp.asarray(points.astype(np.float32))
    # one pose at a time: the values of all would not fit
    for rotation, shift, i, share in zip(rotations, shifts, image, mass):
        phase = xp.asarray(np.exp(-2j * np.pi * (points @ shift)).astype(np.complex64))
        value = (share * filtered[i] * phase)[None].astype(xp.complex64)
        worth = (share * weight[i])[None].astype(xp.float32)
        if kernel == "gaussian":
            gaussian.insert_points(value, worth, rotation[None], points * padding, numerator, total)
            continue
        part = insert_slices(value, worth, xp.asarray(rotation[None], dtype=xp.float32), at,
                             (numerator.shape[2] - 2) // padding, padding)
        numerator += part[0]
        total += part[1]
