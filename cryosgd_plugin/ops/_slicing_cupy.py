"""The slicing kernels on a GPU: `_slicing.cu`.

Insertion is the same bit for bit on every run of one GPU, whatever order its threads come in: it adds 64-bit integers.
Their unit is 2⁻⁶² to 2⁻⁶¹ of Σ|value| over everything inserted, which no voxel's sum can pass; each of the m
contributions to a voxel is rounded to half a unit. With 10⁸ points of like size that is 10⁻¹⁰ of one point's value,
far below the float32 product that is rounded.
"""
from __future__ import annotations

from math import frexp, isfinite, ldexp

import numpy as np

from ..core.backend import array_module
from ._cuda import launch

SOURCES = ("_slicing.cu",)
# the sum of all magnitudes is scaled to at most this power of two, one below the sign
FIXED_BITS = 62


def slice_points(half, rotations, points):
    """As `_slicing_numpy.slice_points`, for CuPy arrays."""
    xp = array_module(half)
    values = xp.empty((len(rotations), len(points)), xp.complex64)
    launch(SOURCES, "slice_points", values.size,
           xp.ascontiguousarray(half, dtype=xp.complex64), np.int32(half.shape[0]), np.int32(half.shape[2]),
           rotations, points, np.int64(len(points)), np.int64(values.size), values)
    return values


def insert_points(values, weights, rotations, points, numerator, weight_volume):
    """As `_slicing_numpy.insert_points`, for CuPy arrays.

    Raises ValueError where a value or weight is not finite: integers can't carry that on.
    """
    xp = array_module(values)
    value_scale = fixed_point_scale(max(_magnitude(values.real), _magnitude(values.imag)))
    weight_scale = fixed_point_scale(_magnitude(weights))
    fixed = xp.zeros(numerator.shape + (3,), xp.uint64)
    launch(SOURCES, "insert_points", values.size,
           xp.ascontiguousarray(values, dtype=xp.complex64), xp.ascontiguousarray(weights, dtype=xp.float32),
           rotations, points, np.int64(len(points)), np.int64(values.size), np.int32(numerator.shape[0]),
           np.int32(numerator.shape[2]), np.float32(value_scale), np.float32(weight_scale), fixed)
    add_fixed(fixed, value_scale, weight_scale, numerator, weight_volume)


def add_fixed(fixed, value_scale: float, weight_scale: float, numerator, weight_volume):
    """numerator += fixed / value_scale, weight_volume += fixed / weight_scale; fixed : (…, 3) uint64 of a kernel."""
    launch(SOURCES, "add_fixed", numerator.size,
           fixed, np.int64(numerator.size), np.float64(1 / value_scale), np.float64(1 / weight_scale), numerator,
           weight_volume)


def fixed_point_scale(magnitude: float) -> float:
    """The power of two that brings a sum of magnitudes to at most 2⁶²; 1 where the sum is zero."""
    if not isfinite(magnitude):
        raise ValueError("values that are not finite can't be inserted; look for NaN or infinity in the images")
    # float32 ends at 2¹²⁸
    return ldexp(1.0, min(FIXED_BITS - frexp(magnitude)[1], 126)) if magnitude else 1.0


def _magnitude(array):
    """Σ|value|, summed in double precision (CuPy's reductions have a fixed order)."""
    return float(array_module(array).abs(array).sum(dtype=np.float64))
