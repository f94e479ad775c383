"""The slicing kernels on a GPU: what `_slicing.cu` needs of CuPy 13 and 14.

Insertion is the same bit for bit on every run of one GPU, whatever order its threads come in: it adds 64-bit integers.
Their unit is 2⁻⁶² to 2⁻⁶¹ of Σ|value| over everything inserted, which no voxel's sum can pass; each of the m
contributions to a voxel is rounded to half a unit. With 10⁸ points of like size that is 10⁻¹⁰ of one point's value,
far below the float32 product that is rounded.
"""
from __future__ import annotations

from functools import lru_cache
from math import frexp, isfinite, ldexp
from pathlib import Path

import cupy
import numpy as np

THREADS = 256
# each thread strides over the points beyond: a grid's first side may hold no more than 2³¹ − 1 blocks
MAX_BLOCKS = 1 << 20
# the sum of all magnitudes is scaled to at most this power of two, one below the sign
FIXED_BITS = 62


def slice_points(half, rotations, points):
    """As `_slicing_numpy.slice_points`, for CuPy arrays."""
    values = cupy.empty((len(rotations), len(points)), cupy.complex64)
    _launch("slice_points", values.size,
            cupy.ascontiguousarray(half, dtype=cupy.complex64), np.int32(half.shape[0]), np.int32(half.shape[2]),
            rotations, points, np.int64(len(points)), np.int64(values.size), values)
    return values


def insert_points(values, weights, rotations, points, numerator, weight_volume):
    """As `_slicing_numpy.insert_points`, for CuPy arrays.

    Raises ValueError where a value or weight is not finite: integers can't carry that on.
    """
    value_scale = fixed_point_scale(max(_magnitude(values.real), _magnitude(values.imag)))
    weight_scale = fixed_point_scale(_magnitude(weights))
    fixed = cupy.zeros(numerator.shape + (3,), cupy.uint64)
    _launch("insert_points", values.size,
            cupy.ascontiguousarray(values, dtype=cupy.complex64), cupy.ascontiguousarray(weights, dtype=cupy.float32),
            rotations, points, np.int64(len(points)), np.int64(values.size), np.int32(numerator.shape[0]),
            np.int32(numerator.shape[2]), np.float32(value_scale), np.float32(weight_scale), fixed)
    _launch("add_fixed", numerator.size,
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
    return float(cupy.abs(array).sum(dtype=cupy.float64))


def _launch(name, n_threads, *arguments):
    if n_threads:
        blocks = min(-(-n_threads // THREADS), MAX_BLOCKS)
        _kernel(name, cupy.cuda.runtime.getDevice())((blocks,), (THREADS,), arguments)


@lru_cache(maxsize=None)
def _kernel(name, device):
    """A kernel of `_slicing.cu`, compiled once for each device."""
    source = Path(__file__).with_name("_slicing.cu").read_text(encoding="utf-8")
    return cupy.RawKernel(source, name)
