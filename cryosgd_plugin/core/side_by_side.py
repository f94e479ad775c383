"""Independent parts of a calculation at the same time, each with its share of the threads."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import scipy.fft

# numba's ways to run parallel kernels that bear being called by several threads at a time
SAFE_LAYERS = ("omp", "tbb")


def side_by_side(function, parts, threads: int) -> list:
    """[function(part, its threads)], in the order of the parts.

    One after the other, with all threads, where there are fewer threads than parts, or where numba's parallel kernels
    can't be called by two at a time. An error of any part is raised once all of them have ended.
    """
    parts = list(parts)
    share = threads // max(1, len(parts))
    if len(parts) < 2 or share < 1 or not _kernels_are_safe():
        return [function(part, threads) for part in parts]

    def one(part):
        # both settings are each thread's own
        numba.set_num_threads(min(share, numba.config.NUMBA_NUM_THREADS))
        with scipy.fft.set_workers(share):
            return function(part, share)

    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(one, parts))


def _kernels_are_safe():
    # numba chooses its threading layer with the first parallel kernel that runs
    _first(np.zeros(2, np.int8))
    return numba.threading_layer() in SAFE_LAYERS


@numba.njit(parallel=True, cache=True)
def _first(values):
    for i in numba.prange(len(values)):
        values[i] = 1
