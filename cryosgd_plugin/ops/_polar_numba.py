"""The part of `polar.correlate` that numpy's broadcasting is slow at: its rows are short."""
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
