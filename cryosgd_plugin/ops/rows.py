"""Adding to some rows of a large accumulator."""
from __future__ import annotations

import numpy as np
from numba import njit

from ..core.backend import array_module


def add_rows(total, positions, part):
    """total[:, positions] += part, in place; total (m, n, r), part (m, d, r) complex64, positions (d,) distinct.

    With numpy's own indexing this copies what it adds to twice: ten times slower for a few dozen rows.
    """
    xp = array_module(total)
    if xp is np:
        _add_rows(total, np.asarray(positions, np.int64), part)
    else:
        total[:, xp.asarray(positions)] += part


@njit(cache=True, nogil=True)
def _add_rows(total, positions, part):
    for m in range(part.shape[0]):
        for j in range(len(positions)):
            row = positions[j]
            for r in range(part.shape[2]):
                total[m, row, r] += part[m, j, r]
