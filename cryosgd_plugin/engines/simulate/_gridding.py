"""Fourier sums over scattered points, by spreading on an oversampled grid (non-uniform FFT, type 1).

A point sum F(k) = Σ w_j exp(−2πi k·x_j / d) is evaluated for all k of a box at once: each point is spread with a narrow
kernel on a grid twice as fine, the grid is transformed and the kernel's own transform divided out. The kernel is the
"exponential of a semicircle" of Barnett, Magland & af Klinteberg (2019), SIAM J. Sci. Comput. 41, C479; eight points
wide its relative error is below 1e-6 (measured against the plain sum in tests/test_simulate_projection.py).
"""
from __future__ import annotations

import numpy as np
import scipy.fft
from numba import njit, prange

WIDTH = 8                     # kernel support in points of the fine grid
_BETA = 2.30 * WIDTH          # Barnett et al. §4.2 for two-fold oversampling
_ROWS = 2048                  # tabulated sub-grid positions; linear interpolation between them errs by 4e-8


def fine_size(box_size: int) -> int:
    """Size of the oversampled grid: at least twice the box and quick to transform."""
    return scipy.fft.next_fast_len(max(2 * box_size, 2 * WIDTH), real=True)


def kernel_table() -> np.ndarray:
    """(rows + 1, WIDTH) float64: kernel weights for a point at fraction row/rows behind its first grid point."""
    fraction = np.arange(_ROWS + 1) / _ROWS
    return _kernel(np.arange(WIDTH) - (WIDTH / 2 - 1) - fraction[:, None])


def kernel_transform(fine: int, radius: int) -> np.ndarray:
    """(radius + 1,) float64: the kernel's Fourier transform at 0 … radius periods per fine grid (by quadrature)."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    t = nodes * WIDTH / 2
    phase = np.cos(2 * np.pi * np.arange(radius + 1)[:, None] * t / fine)
    return phase @ (weights * _kernel(t)) * WIDTH / 2


@njit(parallel=True, cache=True)
def spread_images(points, weights, group_starts, rotations, scale, table, grids):
    """Rotate points, drop their z and spread them: adds to grids (images, groups, m, m), origin at [0, 0].

    points (n, 3) px, (x, y, z), ordered by group; group_starts (groups + 1,); scale = m / box. Each image is filled by
    one thread, so the sums don't depend on the number of threads.
    """
    m = grids.shape[-1]
    rows = table.shape[0] - 1
    width = table.shape[1]
    for image in prange(rotations.shape[0]):
        a = rotations[image]
        weight_x = np.empty(width)
        weight_y = np.empty(width)
        for group in range(len(group_starts) - 1):
            grid = grids[image, group]
            for j in range(group_starts[group], group_starts[group + 1]):
                px, py, pz = points[j, 0], points[j, 1], points[j, 2]
                first_x = _weigh(scale * (a[0, 0] * px + a[0, 1] * py + a[0, 2] * pz), table, rows, weight_x)
                first_y = _weigh(scale * (a[1, 0] * px + a[1, 1] * py + a[1, 2] * pz), table, rows, weight_y)
                for iy in range(width):
                    line = grid[(first_y + iy) % m]
                    value = weight_y[iy] * weights[j]
                    for ix in range(width):
                        line[(first_x + ix) % m] += value * weight_x[ix]


@njit(cache=True)
def spread_volume(points, weights, scale, table, grid):
    """Spread points (n, 3) px, (x, y, z), on grid (m, m, m) [z, y, x], origin at [0, 0, 0]; scale = m / box."""
    m = grid.shape[0]
    rows = table.shape[0] - 1
    width = table.shape[1]
    weight_x = np.empty(width)
    weight_y = np.empty(width)
    weight_z = np.empty(width)
    for j in range(points.shape[0]):
        first_x = _weigh(scale * points[j, 0], table, rows, weight_x)
        first_y = _weigh(scale * points[j, 1], table, rows, weight_y)
        first_z = _weigh(scale * points[j, 2], table, rows, weight_z)
        for iz in range(width):
            plane = grid[(first_z + iz) % m]
            for iy in range(width):
                line = plane[(first_y + iy) % m]
                value = weight_z[iz] * weight_y[iy] * weights[j]
                for ix in range(width):
                    line[(first_x + ix) % m] += value * weight_x[ix]


@njit(cache=True, inline="always")
def _weigh(u, table, rows, weights):
    """Fill the kernel weights of a point at fine coordinate u; returns the first grid point (may be negative)."""
    base = np.floor(u)
    position = (u - base) * rows
    row = min(int(position), rows - 1)
    t = position - row
    for i in range(weights.shape[0]):
        weights[i] = (1 - t) * table[row, i] + t * table[row + 1, i]
    return int(base) - (weights.shape[0] // 2 - 1)


def _kernel(t):
    inside = np.clip(1 - (2 * np.asarray(t) / WIDTH) ** 2, 0, None)
    return np.where(np.abs(t) <= WIDTH / 2, np.exp(_BETA * (np.sqrt(inside) - 1)), 0.0)
