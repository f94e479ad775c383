"""The kernels of pose_score on CPU cores."""
from __future__ import annotations

import numpy as np
from numba import njit, prange

from ._slicing_numba import slice_value

# points that are gathered, then computed with, at a time: their numbers stay in the nearest cache
BLOCK = 128


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
    for n in prange(len(rotations)):
        a = (rotations[n] * padding).astype(np.float32)
        i = image[n]
        along_x, along_y = _phases(shifts[n], reach)
        corners, places = np.empty((8, 2, BLOCK), np.float32), np.empty((8, BLOCK), np.float32)
        slices, sums = np.empty((8, BLOCK), np.float32), np.zeros(21)
        for first in range(0, len(points), BLOCK):
            part = points[first:first + BLOCK]
            _gather(half, part, a, along_x, along_y, reach, corners, places)
            _interpolate(corners, places, len(part), a, slices)
            _add_terms(slices, places, filtered[i, first:first + BLOCK], weight[i, first:first + BLOCK], len(part),
                       sums)
        scores[n] = sums[0]
        k = 6
        for j in range(5):
            slopes[n, j] = 2 * sums[1 + j]
            for m in range(j + 1):
                curvatures[n, j, m] = curvatures[n, m, j] = 2 * sums[k]
                k += 1


@njit(inline="always")
def _gather(half, points, a, along_x, along_y, reach, corners, places):
    """What the arithmetic of a block needs, side by side, so that it can be vectorised: the eight nodes around each
    point, its place between them (x, y, z), −1 where it is read from its Friedel mate, the shift's phase, kx, ky."""
    centre, one = np.float32(half.shape[0] // 2), np.float32(1)
    nodes, row = half.reshape(-1), half.shape[2]
    plane = row * half.shape[1]
    for q in range(len(points)):
        kx, ky = points[q, 0], points[q, 1]
        px, py = np.float32(kx), np.float32(ky)
        x = a[0, 0] * px + a[1, 0] * py
        y = a[0, 1] * px + a[1, 1] * py
        z = a[0, 2] * px + a[1, 2] * py
        sign = one
        if x < 0:
            x, y, z, sign = -x, -y, -z, -one
        y += centre
        z += centre
        x0, y0, z0 = int(x), int(y), int(z)
        base = z0 * plane + y0 * row + x0
        for j in range(8):
            # unsigned: a negative index would be asked for otherwise
            node = nodes[np.uintp(base + (j >> 2) * plane + ((j >> 1) & 1) * row + (j & 1))]
            corners[j, 0, q], corners[j, 1, q] = node.real, node.imag
        phase = along_x[kx] * along_y[ky + reach]
        places[0, q], places[1, q], places[2, q] = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
        places[3, q], places[4, q], places[5, q], places[6, q], places[7, q] = sign, phase.real, phase.imag, px, py


@njit(inline="always")
def _trilinear(corners, part, q, x, y, z):
    """A value and its slopes along x, y and z between eight nodes."""
    one = np.float32(1)
    v00, v01, v10, v11 = corners[0, part, q], corners[2, part, q], corners[4, part, q], corners[6, part, q]
    e00, e01 = corners[1, part, q] - v00, corners[3, part, q] - v01
    e10, e11 = corners[5, part, q] - v10, corners[7, part, q] - v11
    r00, r01, r10, r11 = v00 + x * e00, v01 + x * e01, v10 + x * e10, v11 + x * e11
    near, far = r00 + y * (r01 - r00), r10 + y * (r11 - r10)
    return (near + z * (far - near), (one - z) * (e00 + y * (e01 - e00)) + z * (e10 + y * (e11 - e10)),
            (one - z) * (r01 - r00) + z * (r11 - r10), far - near)


@njit(inline="always")
def _interpolate(corners, places, count, a, slices):
    """Of each point the slice's value, and its slopes by turns: k × e of the three axes, (0, 0, −ky), (0, 0, kx) and
    (ky, −kx, 0), turned into the volume's frame, are −ky · normal, kx · normal and `spin`. Real, imaginary, each."""
    for q in range(count):
        x, y, z, sign = places[0, q], places[1, q], places[2, q], places[3, q]
        vr, xr, yr, zr = _trilinear(corners, 0, q, x, y, z)
        vi, xi, yi, zi = _trilinear(corners, 1, q, x, y, z)
        c, s, px, py = places[4, q], places[5, q], places[6, q], places[7, q]
        # of the Friedel mate the value is the conjugate, the slope its negative
        vi *= sign
        normal_r = sign * (xr * a[2, 0] + yr * a[2, 1] + zr * a[2, 2])
        normal_i = xi * a[2, 0] + yi * a[2, 1] + zi * a[2, 2]
        spin_r = sign * (py * (xr * a[0, 0] + yr * a[0, 1] + zr * a[0, 2])
                         - px * (xr * a[1, 0] + yr * a[1, 1] + zr * a[1, 2]))
        spin_i = (py * (xi * a[0, 0] + yi * a[0, 1] + zi * a[0, 2])
                  - px * (xi * a[1, 0] + yi * a[1, 1] + zi * a[1, 2]))
        slices[0, q], slices[1, q] = vr * c - vi * s, vr * s + vi * c
        slices[2, q], slices[3, q] = normal_r * c - normal_i * s, normal_r * s + normal_i * c
        slices[4, q], slices[5, q] = spin_r * c - spin_i * s, spin_r * s + spin_i * c


@njit(inline="always")
def _add_terms(slices, places, filtered, weight, count, sums):
    """Add a block to the score, half the slope and half the lower triangle of the curvature, row by row."""
    turn, zero = np.float32(2 * np.pi), np.float32(0)
    score = s0 = s1 = s2 = s3 = s4 = zero
    c00 = c10 = c11 = c20 = c21 = c22 = c30 = c31 = c32 = c33 = c40 = c41 = c42 = c43 = c44 = zero
    for q in range(count):
        w, px, py = weight[q], places[6, q], places[7, q]
        vr, vi, nr, ni, tr, ti = (slices[0, q], slices[1, q], slices[2, q], slices[3, q], slices[4, q], slices[5, q])
        fr, fi = filtered[q].real, filtered[q].imag
        left_r, left_i = fr - w * vr, fi - w * vi
        score += fr * vr + fi * vi + left_r * vr + left_i * vi
        # the slopes are −py n, px n, t, px c and py c
        cr, ci = -turn * vi, turn * vr
        by_n, by_c = left_r * nr + left_i * ni, left_r * cr + left_i * ci
        s0 -= py * by_n
        s1 += px * by_n
        s2 += left_r * tr + left_i * ti
        s3 += px * by_c
        s4 += py * by_c
        nn, nt, nc = w * (nr * nr + ni * ni), w * (nr * tr + ni * ti), w * (nr * cr + ni * ci)
        tt, tc, cc = w * (tr * tr + ti * ti), w * (tr * cr + ti * ci), w * (cr * cr + ci * ci)
        xx, xy, yy = px * px, px * py, py * py
        c00 += yy * nn
        c10 -= xy * nn
        c11 += xx * nn
        c20 -= py * nt
        c21 += px * nt
        c22 += tt
        c30 -= xy * nc
        c31 += xx * nc
        c32 += px * tc
        c33 += xx * cc
        c40 -= yy * nc
        c41 += xy * nc
        c42 += py * tc
        c43 += xy * cc
        c44 += yy * cc
    block = (score, s0, s1, s2, s3, s4, c00, c10, c11, c20, c21, c22, c30, c31, c32, c33, c40, c41, c42, c43, c44)
    for j in range(21):
        sums[j] += block[j]
