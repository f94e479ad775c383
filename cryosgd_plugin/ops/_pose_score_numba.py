"""The kernels of pose_score on CPU cores."""
from __future__ import annotations

import numpy as np
from numba import njit, prange

from ._slicing_numba import slice_value


def pose_terms(half, filtered, weight, points, rotations, shifts, image, padding):
    """As `pose_score.pose_terms_plain`."""
    n = len(rotations)
    scores, slopes, curvatures = np.zeros(n), np.zeros((n, 5)), np.zeros((n, 5, 5))
    if n:
        reach = int(np.abs(points).max())
        _terms(half, filtered, weight, points, rotations, shifts, image, float(padding), reach, scores, slopes,
               curvatures)
    return scores, slopes, curvatures


def shell_terms(half, filtered, weight, points, shells, rotations, shifts, image, count, padding):
    """As `pose_score.shell_terms_plain`."""
    cross, power = np.zeros((len(rotations), count)), np.zeros((len(rotations), count))
    if len(rotations):
        _shell_terms(half, filtered, weight, points, shells, rotations, shifts, image, float(padding),
                     int(np.abs(points).max()), cross, power)
    return cross, power


@njit(inline="always")
def _phases(shift, reach):
    """Phases of whole frequencies along each axis: two tables instead of a sine for each point."""
    along_x, along_y = np.empty(reach + 1, np.complex64), np.empty(2 * reach + 1, np.complex64)
    for j in range(reach + 1):
        angle = 2 * np.pi * j * shift[0]
        along_x[j] = np.complex64(complex(np.cos(angle), np.sin(angle)))
    for j in range(-reach, reach + 1):
        angle = 2 * np.pi * j * shift[1]
        along_y[j + reach] = np.complex64(complex(np.cos(angle), np.sin(angle)))
    return along_x, along_y


@njit(parallel=True, cache=True, fastmath=True)
def _shell_terms(half, filtered, weight, points, shells, rotations, shifts, image, padding, reach, cross, power):
    centre = np.float32(half.shape[0] // 2)
    for n in prange(len(rotations)):
        a = (rotations[n] * padding).astype(np.float32)
        i = image[n]
        along_x, along_y = _phases(shifts[n], reach)
        for p in range(len(points)):
            kx, ky = points[p, 0], points[p, 1]
            value = slice_value(half, a, np.float32(kx), np.float32(ky), centre)
            f, moved = filtered[i, p], value * (along_x[kx] * along_y[ky + reach])
            cross[n, shells[p]] += f.real * moved.real + f.imag * moved.imag
            power[n, shells[p]] += weight[i, p] * (value.real ** 2 + value.imag ** 2)


@njit(parallel=True, cache=True, fastmath=True)
def _terms(half, filtered, weight, points, rotations, shifts, image, padding, reach, scores, slopes, curvatures):
    centre = np.float32(half.shape[0] // 2)
    one = np.float32(1)
    for n in prange(len(rotations)):
        a = (rotations[n] * padding).astype(np.float32)
        i = image[n]
        along_x, along_y = _phases(shifts[n], reach)
        score = 0.0
        slope = np.zeros(5)
        fisher = np.zeros((5, 5))
        d = np.empty(5, np.complex64)
        turn = np.float32(2 * np.pi)
        for p in range(len(points)):
            w, f = weight[i, p], filtered[i, p]
            if w == 0:
                continue
            kx, ky = points[p, 0], points[p, 1]
            px, py = np.float32(kx), np.float32(ky)
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
            v000, v001 = half[z0, y0, x0], half[z0, y0, x0 + 1]
            v010, v011 = half[z0, y0 + 1, x0], half[z0, y0 + 1, x0 + 1]
            v100, v101 = half[z0 + 1, y0, x0], half[z0 + 1, y0, x0 + 1]
            v110, v111 = half[z0 + 1, y0 + 1, x0], half[z0 + 1, y0 + 1, x0 + 1]
            e00, e01, e10, e11 = v001 - v000, v011 - v010, v101 - v100, v111 - v110
            r00, r01, r10, r11 = v000 + fx * e00, v010 + fx * e01, v100 + fx * e10, v110 + fx * e11
            near, far = r00 + fy * (r01 - r00), r10 + fy * (r11 - r10)
            value = near + fz * (far - near)
            gx = (one - fz) * (e00 + fy * (e01 - e00)) + fz * (e10 + fy * (e11 - e10))
            gy = (one - fz) * (r01 - r00) + fz * (r11 - r10)
            gz = far - near
            if flipped:
                value, gx, gy, gz = np.conj(value), -np.conj(gx), -np.conj(gy), -np.conj(gz)
            phase = along_x[kx] * along_y[ky + reach]
            value, gx, gy, gz = value * phase, gx * phase, gy * phase, gz * phase
            # k × e of the three axes, (0, 0, −ky), (0, 0, kx), (ky, −kx, 0), turned into the volume's frame
            normal = gx * a[2, 0] + gy * a[2, 1] + gz * a[2, 2]
            d[0] = -py * normal
            d[1] = px * normal
            d[2] = (py * (gx * a[0, 0] + gy * a[0, 1] + gz * a[0, 2])
                    - px * (gx * a[1, 0] + gy * a[1, 1] + gz * a[1, 2]))
            circling = turn * np.complex64(complex(-value.imag, value.real))
            d[3] = px * circling
            d[4] = py * circling
            score += 2 * (f.real * value.real + f.imag * value.imag) - w * (value.real ** 2 + value.imag ** 2)
            left = f - w * value
            for j in range(5):
                slope[j] += 2 * (left.real * d[j].real + left.imag * d[j].imag)
                for m in range(j + 1):
                    fisher[j, m] += 2 * w * (d[j].real * d[m].real + d[j].imag * d[m].imag)
        scores[n] = score
        for j in range(5):
            slopes[n, j] = slope[j]
            for m in range(j + 1):
                curvatures[n, j, m] = fisher[j, m]
                curvatures[n, m, j] = fisher[j, m]
