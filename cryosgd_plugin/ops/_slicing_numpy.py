"""Plain numpy truth of the slicing kernels: what the numba and CuPy siblings are tested against."""
from __future__ import annotations

import numpy as np


def slice_points(half, rotations, points):
    """Trilinear values of a half volume at Aᵀ (x, y, 0); points (p, 2) already in padded Fourier pixels."""
    values = np.zeros((len(rotations), len(points)), np.complex128)
    for index, weight, flipped in _footprint(half.shape, rotations, points):
        values += weight * np.where(flipped, np.conj(half[index]), half[index])
    return values.astype(np.complex64)


def insert_points(values, weights, rotations, points, numerator, weight_volume):
    """Adjoint of `slice_points`, added into numerator and weight_volume in place."""
    for index, weight, flipped in _footprint(numerator.shape, rotations, points):
        np.add.at(numerator, index, (weight * np.where(flipped, np.conj(values), values)).astype(np.complex64))
        np.add.at(weight_volume, index, (weight * weights).astype(np.float32))


def _footprint(shape, rotations, points):
    """For each of the eight corners: indices (z, y, x), weight, and whether the Friedel mate was taken."""
    rows = rotations[:, :2, :].astype(np.float64)
    frequency = np.einsum("pi,nij->npj", points.astype(np.float64), rows)
    flipped = frequency[..., 0] < 0
    frequency = np.where(flipped[..., None], -frequency, frequency)
    x, y, z = frequency[..., 0], frequency[..., 1] + shape[1] // 2, frequency[..., 2] + shape[0] // 2
    x0, y0, z0 = (np.floor(c).astype(int) for c in (x, y, z))
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (np.abs(1 - dx - (x - x0)) * np.abs(1 - dy - (y - y0)) * np.abs(1 - dz - (z - z0)))
                yield (z0 + dz, y0 + dy, x0 + dx), weight, flipped
