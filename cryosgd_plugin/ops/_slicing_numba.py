"""The slicing kernels on CPU cores."""
from __future__ import annotations

import numpy as np
from numba import njit, prange

from .gaussian import BANDWIDTH, MEAN_SUM, STEP

# one accumulator a chunk, summed in order: the same result on any number of threads
MAX_CHUNKS = 8
CHUNK_MEMORY = 256e6
# so few are sliced by one thread: in 1 ms, where threads may wait for each other as long (the alignment of two maps of
# 32 px, a thousand calls, took 2.0 s on two busy cores and 0.7 s so)
FEW_POINTS = 50_000
# of the Gaussian kernel, in single precision
RATE, NEXT, SCALE = np.float32(1 / BANDWIDTH), np.float32(STEP), np.float32(1 / MEAN_SUM ** 3)


def slice_points(half, rotations, points):
    """As `_slicing_numpy.slice_points`."""
    values = np.empty((len(rotations), len(points)), np.complex64)
    slice_them = _slice_few if values.size < FEW_POINTS else _slice
    slice_them(half, rotations, points, values)
    return values


def insert_points(values, weights, rotations, points, numerator, weight_volume):
    """As `_slicing_numpy.insert_points`."""
    chunks = int(max(1, min(MAX_CHUNKS, CHUNK_MEMORY // (numerator.size * 12), len(rotations))))
    numerators = np.zeros((chunks,) + numerator.shape, np.complex64)
    weight_volumes = np.zeros((chunks,) + numerator.shape, np.float32)
    _insert(np.ascontiguousarray(values, np.complex64), np.ascontiguousarray(weights, np.float32), rotations, points,
            numerators, weight_volumes)
    numerator += numerators.sum(axis=0)
    weight_volume += weight_volumes.sum(axis=0)


@njit(inline="always")
def spread_trilinear(numerator, weight_volume, x, y, z, value, weight):
    """Add a value and its weight to the eight nodes around (x, y, z) ≥ 0, in the volumes' own pixels."""
    one = np.float32(1)
    x0, y0, z0 = int(x), int(y), int(z)
    fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
    for dz in range(2):
        wz = fz if dz else one - fz
        for dy in range(2):
            wy = wz * (fy if dy else one - fy)
            w0, w1 = wy * (one - fx), wy * fx
            numerator[z0 + dz, y0 + dy, x0] += w0 * value
            numerator[z0 + dz, y0 + dy, x0 + 1] += w1 * value
            weight_volume[z0 + dz, y0 + dy, x0] += w0 * weight
            weight_volume[z0 + dz, y0 + dy, x0 + 1] += w1 * weight


@njit(inline="always")
def spread_gaussian(numerator, weight_volume, x, y, z, value, weight):
    """Add a value and its weight to the 27 nodes about (x, y, z), x ≥ 0, as `gaussian.insert_points` does.

    Twice the time of trilinear: 0.34 ms a pose at 64 px and 1.7 at 128 px, against 0.14 and 1.0 (benchmarks/
    insertion.py, one thread, user time on two cores that were busy with other work).
    """
    half = np.float32(0.5)
    x0, y0, z0 = int(x + half), int(y + half), int(z + half)
    fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
    middle = SCALE * np.exp(-RATE * (fx * fx + fy * fy + fz * fz))
    ex, ey, ez = (np.exp(np.float32(2) * RATE * fx), np.exp(np.float32(2) * RATE * fy),
                  np.exp(np.float32(2) * RATE * fz))
    before, after = NEXT / ex, NEXT * ex
    last = numerator.shape[0] - 1
    mate = np.conj(value)
    for dz in range(-1, 2):
        wz = middle * (NEXT / ez if dz < 0 else NEXT * ez if dz > 0 else np.float32(1))
        for dy in range(-1, 2):
            w = wz * (NEXT / ey if dy < 0 else NEXT * ey if dy > 0 else np.float32(1))
            iz, iy = z0 + dz, y0 + dy
            numerator[iz, iy, x0] += w * value
            weight_volume[iz, iy, x0] += w * weight
            numerator[iz, iy, x0 + 1] += w * after * value
            weight_volume[iz, iy, x0 + 1] += w * after * weight
            if x0 > 0:
                numerator[iz, iy, x0 - 1] += w * before * value
                weight_volume[iz, iy, x0 - 1] += w * before * weight
            else:
                # kx = −1 is not stored, its Friedel mate is
                numerator[last - iz, last - iy, 1] += w * before * mate
                weight_volume[last - iz, last - iy, 1] += w * before * weight


@njit(inline="always")
def slice_value(half, a, px, py, centre):
    """The half volume at Aᵀ(px, py, 0), trilinear between its nodes; a, px, py, centre float32, in its own pixels."""
    one = np.float32(1)
    x = a[0, 0] * px + a[1, 0] * py
    y = a[0, 1] * px + a[1, 1] * py
    z = a[0, 2] * px + a[1, 2] * py
    flipped = x < 0
    if flipped:
        x, y, z = -x, -y, -z
    y += centre
    z += centre
    x0, y0, z0 = int(x), int(y), int(z)
    fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
    near = (one - fy) * ((one - fx) * half[z0, y0, x0] + fx * half[z0, y0, x0 + 1]) \
        + fy * ((one - fx) * half[z0, y0 + 1, x0] + fx * half[z0, y0 + 1, x0 + 1])
    far = (one - fy) * ((one - fx) * half[z0 + 1, y0, x0] + fx * half[z0 + 1, y0, x0 + 1]) \
        + fy * ((one - fx) * half[z0 + 1, y0 + 1, x0] + fx * half[z0 + 1, y0 + 1, x0 + 1])
    value = (one - fz) * near + fz * far
    return np.conj(value) if flipped else value


@njit(inline="always")
def _slice_one(half, rotation, points, values, centre):
    for p in range(len(points)):
        values[p] = slice_value(half, rotation, points[p, 0], points[p, 1], centre)


@njit(parallel=True, cache=True, fastmath=True)
def _slice(half, rotations, points, values):
    centre = np.float32(half.shape[0] // 2)
    for n in prange(len(rotations)):
        _slice_one(half, rotations[n], points, values[n], centre)


@njit(cache=True, fastmath=True)
def _slice_few(half, rotations, points, values):
    centre = np.float32(half.shape[0] // 2)
    for n in range(len(rotations)):
        _slice_one(half, rotations[n], points, values[n], centre)


@njit(parallel=True, cache=True, fastmath=True)
def _insert(values, weights, rotations, points, numerators, weight_volumes):
    chunks = len(numerators)
    centre = np.float32(numerators.shape[1] // 2)
    for chunk in prange(chunks):
        numerator, weight_volume = numerators[chunk], weight_volumes[chunk]
        for n in range(chunk * len(rotations) // chunks, (chunk + 1) * len(rotations) // chunks):
            a = rotations[n]
            for p in range(len(points)):
                value, weight = values[n, p], weights[n, p]
                if weight == 0 and value == 0:
                    continue
                px, py = points[p, 0], points[p, 1]
                x = a[0, 0] * px + a[1, 0] * py
                y = a[0, 1] * px + a[1, 1] * py
                z = a[0, 2] * px + a[1, 2] * py
                if x < 0:
                    x, y, z = -x, -y, -z
                    value = np.conj(value)
                spread_trilinear(numerator, weight_volume, x, y + centre, z + centre, value, weight)
