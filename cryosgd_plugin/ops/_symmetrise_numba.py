"""The kernel of symmetrise on CPU cores."""
from __future__ import annotations

import numpy as np
from numba import njit, prange


def symmetrise(half, operators, reach):
    """As `symmetrise.symmetrise_plain`; reach : radius in padded pixels."""
    result = np.zeros_like(half)
    _symmetrise(np.ascontiguousarray(half), operators, reach, result)
    return result


@njit(parallel=True, cache=True, fastmath=True)
def _symmetrise(half, operators, reach, result):
    centre = half.shape[0] // 2
    limit = half.shape[0] - 2
    for iz in prange(half.shape[0]):
        for iy in range(half.shape[1]):
            for ix in range(half.shape[2]):
                kx, ky, kz = float(ix), float(iy - centre), float(iz - centre)
                if kx * kx + ky * ky + kz * kz > reach * reach:
                    continue
                total = half[iz, iy, ix] * 0
                for g in range(len(operators)):
                    o = operators[g]
                    x = o[0, 0] * kx + o[0, 1] * ky + o[0, 2] * kz
                    y = o[1, 0] * kx + o[1, 1] * ky + o[1, 2] * kz
                    z = o[2, 0] * kx + o[2, 1] * ky + o[2, 2] * kz
                    flipped = x < 0
                    if flipped:
                        x, y, z = -x, -y, -z
                    y += centre
                    z += centre
                    # a hair of room: mates that are nodes themselves must not fall into the cell before
                    x0 = min(max(int(np.floor(x + 1e-9)), 0), half.shape[2] - 2)
                    y0 = min(max(int(np.floor(y + 1e-9)), 0), limit)
                    z0 = min(max(int(np.floor(z + 1e-9)), 0), limit)
                    fx, fy, fz = x - x0, y - y0, z - z0
                    near = ((1 - fy) * ((1 - fx) * half[z0, y0, x0] + fx * half[z0, y0, x0 + 1])
                            + fy * ((1 - fx) * half[z0, y0 + 1, x0] + fx * half[z0, y0 + 1, x0 + 1]))
                    far = ((1 - fy) * ((1 - fx) * half[z0 + 1, y0, x0] + fx * half[z0 + 1, y0, x0 + 1])
                           + fy * ((1 - fx) * half[z0 + 1, y0 + 1, x0] + fx * half[z0 + 1, y0 + 1, x0 + 1]))
                    value = (1 - fz) * near + fz * far
                    total += np.conj(value) if flipped else value
                result[iz, iy, ix] = total / len(operators)
