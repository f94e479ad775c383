"""The kernels of ops/total_variation.py for CPU cores: slabs of planes, one pass over memory each."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit


def gradient_norm(x, threads):
    """As total_variation.gradient_norm."""
    out = np.empty_like(x)
    _by_slabs(len(x), threads, lambda first, last: _norm(x, out, first, last))
    return out


def flux_scale(x, weight, mu, threads, out):
    """As total_variation.flux_scale."""
    _by_slabs(len(x), threads, lambda first, last: _scale(x, weight, np.float32(mu), out, first, last))
    return out


def proximal_step(x, slope, scale, step, limit, threads, out):
    """As total_variation.proximal_step."""
    _by_slabs(len(x), threads, lambda first, last: _step(x, slope, scale, np.float32(step), limit, out, first, last))
    return out


def step_products(new, at, before, threads):
    """As total_variation.step_products."""
    return np.sum(_by_slabs(len(new), threads, lambda first, last: _products(new, at, before, first, last)), axis=0)


def extrapolate(new, before, share, threads, out):
    """As total_variation.extrapolate."""
    _by_slabs(len(new), threads, lambda first, last: _extrapolate(new, before, np.float32(share), out, first, last))


def _by_slabs(planes, threads, work):
    """[work(first, last)] of as many slabs as threads."""
    if threads == 1:
        return [work(0, planes)]
    edges = np.linspace(0, planes, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, edges[:-1], edges[1:]))


@njit(inline="always")
def _steepness(x, k, j, i):
    here = x[k, j, i]
    a = here - x[k - 1, j, i] if k > 0 else np.float32(0)
    b = here - x[k, j - 1, i] if j > 0 else np.float32(0)
    c = here - x[k, j, i - 1] if i > 0 else np.float32(0)
    return np.sqrt(a * a + b * b + c * c)


@njit(cache=True, nogil=True, fastmath=True)
def _norm(x, out, first, last):
    _, rows, columns = x.shape
    for k in range(first, last):
        for j in range(rows):
            for i in range(columns):
                out[k, j, i] = _steepness(x, k, j, i)


@njit(cache=True, nogil=True, fastmath=True)
def _scale(x, weight, mu, out, first, last):
    _, rows, columns = x.shape
    for k in range(first, last):
        for j in range(rows):
            for i in range(columns):
                out[k, j, i] = weight[k, j, i] / max(_steepness(x, k, j, i), mu)


@njit(cache=True, nogil=True, fastmath=True)
def _products(new, at, before, first, last):
    _, rows, columns = new.shape
    change, size, along = 0.0, 0.0, 0.0
    for k in range(first, last):
        for j in range(rows):
            # a row in single precision, the map in double
            a, b, c = np.float32(0), np.float32(0), np.float32(0)
            for i in range(columns):
                moved = new[k, j, i] - at[k, j, i]
                a += moved * moved
                b += new[k, j, i] * new[k, j, i]
                c += moved * (new[k, j, i] - before[k, j, i])
            change += a
            size += b
            along += c
    return change, size, along


@njit(cache=True, nogil=True, fastmath=True)
def _extrapolate(new, before, share, out, first, last):
    _, rows, columns = new.shape
    for k in range(first, last):
        for j in range(rows):
            for i in range(columns):
                out[k, j, i] = new[k, j, i] + share * (new[k, j, i] - before[k, j, i])


@njit(cache=True, nogil=True, fastmath=True)
def _step(x, slope, scale, step, limit, out, first, last):
    planes, rows, columns = x.shape
    for k in range(first, last):
        for j in range(rows):
            for i in range(columns):
                here, total = x[k, j, i], slope[k, j, i]
                # the first planes' own differences are none
                own = np.float32(0)
                if k > 0:
                    own += here - x[k - 1, j, i]
                if j > 0:
                    own += here - x[k, j - 1, i]
                if i > 0:
                    own += here - x[k, j, i - 1]
                total += scale[k, j, i] * own
                if k + 1 < planes:
                    total -= scale[k + 1, j, i] * (x[k + 1, j, i] - here)
                if j + 1 < rows:
                    total -= scale[k, j + 1, i] * (x[k, j + 1, i] - here)
                if i + 1 < columns:
                    total -= scale[k, j, i + 1] * (x[k, j, i + 1] - here)
                moved = here - step * total
                size = abs(moved) - step * limit[k, j, i]
                out[k, j, i] = np.sign(moved) * size if size > 0 else np.float32(0)
