"""The kernel of pose_insert on CPU cores."""
from __future__ import annotations

import numpy as np
from numba import njit, prange

from ._slicing_numba import CHUNK_MEMORY, MAX_CHUNKS, spread_gaussian, spread_trilinear


def insert_poses(filtered, weight, points, rotations, shifts, image, mass, padding, numerator, total,
                 kernel="trilinear"):
    """As `pose_insert.insert_poses_plain`."""
    if not len(rotations):
        return
    # one accumulator a chunk, summed in order: the same result on any number of threads
    chunks = int(max(1, min(MAX_CHUNKS, CHUNK_MEMORY // (numerator.size * 12), len(rotations))))
    numerators = np.zeros((chunks,) + numerator.shape, np.complex64)
    totals = np.zeros((chunks,) + numerator.shape, np.float32)
    _insert(filtered, weight, points, rotations, shifts, image, mass, float(padding), int(np.abs(points).max()),
            kernel == "gaussian", numerators, totals)
    numerator += numerators.sum(axis=0)
    total += totals.sum(axis=0)


@njit(parallel=True, cache=True, fastmath=True)
def _insert(filtered, weight, points, rotations, shifts, image, mass, padding, reach, gaussian, numerators, totals):
    chunks = len(numerators)
    centre = np.float32(numerators.shape[1] // 2)
    for chunk in prange(chunks):
        numerator, total = numerators[chunk], totals[chunk]
        along_x, along_y = np.empty(reach + 1, np.complex64), np.empty(2 * reach + 1, np.complex64)
        for n in range(chunk * len(rotations) // chunks, (chunk + 1) * len(rotations) // chunks):
            a = (rotations[n] * padding).astype(np.float32)
            i, share = image[n], np.float32(mass[n])
            for j in range(reach + 1):
                angle = -2 * np.pi * j * shifts[n, 0]
                along_x[j] = np.complex64(complex(np.cos(angle), np.sin(angle))) * share
            for j in range(-reach, reach + 1):
                angle = -2 * np.pi * j * shifts[n, 1]
                along_y[j + reach] = np.complex64(complex(np.cos(angle), np.sin(angle)))
            for p in range(len(points)):
                if weight[i, p] == 0:
                    continue
                kx, ky = points[p, 0], points[p, 1]
                value = filtered[i, p] * (along_x[kx] * along_y[ky + reach])
                w = weight[i, p] * share
                px, py = np.float32(kx), np.float32(ky)
                x = a[0, 0] * px + a[1, 0] * py
                y = a[0, 1] * px + a[1, 1] * py
                z = a[0, 2] * px + a[1, 2] * py
                if x < 0:
                    x, y, z = -x, -y, -z
                    value = np.conj(value)
                if gaussian:
                    spread_gaussian(numerator, total, x, y + centre, z + centre, value, w)
                else:
                    spread_trilinear(numerator, total, x, y + centre, z + centre, value, w)
