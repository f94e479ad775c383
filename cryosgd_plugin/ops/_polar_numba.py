"""Parts of `polar` that numpy's broadcasting is slow at: its rows are short, its temporary arrays large."""
from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def subtract_power(product, power):
    """product[::2] -= 2 · power[:, :, None], in place; product (m, d, s), power (m', d) complex64."""
    for m in range(len(power)):
        for d in range(power.shape[1]):
            row, twice = product[2 * m, d], np.float32(2) * power[m, d]
            for s in range(len(row)):
                row[s] -= twice


def shifted_hartley(image, phases, shifts):
    """(n_angles, radius, s) float32 Hartley transforms, Re + Im over the full circle, of one image under some shifts.

    Arguments as of `polar.shifted_harmonics`.
    """
    half, radius, _ = phases.shape
    values = np.empty((2 * half, radius, len(shifts)), np.float32)
    _shifted_hartley(image, phases, np.asarray(shifts, np.int64), values)
    return values


@njit(cache=True, nogil=True)
def _shifted_hartley(image, phases, shifts, values):
    half = len(phases)
    for k in range(half):
        for r in range(len(image)):
            re, im = image[r, k].real, image[r, k].imag
            of_all, first, second = phases[k, r], values[k, r], values[k + half, r]
            for s in range(len(shifts)):
                phase = of_all[shifts[s]]
                x, y = re * phase.real - im * phase.imag, re * phase.imag + im * phase.real
                first[s] = x + y
                second[s] = x - y
