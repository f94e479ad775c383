"""The models' slices at the directions of a pose grid, and the accumulator that is their mirror image.

The directions of K structures are counted through: row k · n_directions + j is direction j of structure k, so that a
posterior over structures and poses is one posterior over rows, angles and shifts. Slices are made and summed at the
rows that a minibatch needs only, sorted; `rows=None` stands for all.
"""
from __future__ import annotations

import numpy as np
from scipy import fft

from ...core.backend import array_module, to_current_device
from ...ops.polar import from_harmonics, harmonics
from ...ops.rows import add_rows
from ...ops.slicing import insert_slices, slice_volume


def slice_rings(halves, grid, rows):
    """Polar slices (rows, radius, n_angles / 2) complex64 of K half volumes at the given rows (all where None)."""
    xp = array_module(halves[0])
    n = grid.n_directions
    rows = np.arange(n * len(halves)) if rows is None else rows
    points = xp.asarray(grid.polar.points())
    parts = [slice_volume(half, xp.asarray(grid.frames[part]), points)
             for half, part in zip(halves, _of_each_class(rows, n, len(halves)))]
    return grid.polar.unfold(parts[0] if len(parts) == 1 else xp.concatenate(parts))


class SliceBank:
    """Polar slices of K models, ready for scores.

    halves : K half volumes (ops/slicing.py); grid : PoseGrid; rows : sorted, or None for all
    values : (rows, radius, n_angles / 2) complex64
    linear : (m, rows, radius) complex64, harmonics weighted by ring area: for the term Re Σ conj(X) C Y
    square : (m', rows, radius) complex64, likewise of |Y|²: for ½ Σ C² |Y|²
    """

    def __init__(self, halves, grid, rows=None):
        xp = array_module(halves[0])
        self.grid, self.rows = grid, rows
        self.values = slice_rings(halves, grid, rows)
        weights = xp.asarray(grid.polar.ring_weights())
        # (rings, directions) are laid out per harmonic, as the matrix products read them
        self.linear = xp.ascontiguousarray((harmonics(self.values) * weights[:, None]).transpose(2, 0, 1))
        power = self.values.real ** 2 + self.values.imag ** 2
        self.square = xp.ascontiguousarray((harmonics(power) * weights[:, None]).transpose(2, 0, 1))

    def positions(self, rows):
        """Where the given rows lie in this bank (None where they are all of it)."""
        return _positions(self.rows, rows)

    def pick(self, rows):
        """(linear, square) of some rows; all of them where None."""
        positions = self.positions(rows)
        if positions is None:
            return self.linear, self.square
        positions = array_module(self.linear).asarray(positions)
        return self.linear[:, positions], self.square[:, positions]


class SliceSums:
    """Posterior-weighted sums per row: Σ w C X / σ² and Σ w C² / σ², as harmonics.

    rows : sorted, or None for all n_rows of them. Sums of several threads or devices are joined by `joined`.
    """

    def __init__(self, grid, n_rows: int, rows=None, xp=np):
        polar = grid.polar
        d = n_rows if rows is None else len(rows)
        self.grid, self.n_rows, self.rows = grid, n_rows, rows
        self.numerator = xp.zeros((polar.n_angles // 2 + 1, d, polar.radius), xp.complex64)
        self.weight = xp.zeros((polar.n_angles // 4 + 1, d, polar.radius), xp.complex64)

    def add(self, rows, numerator, weight):
        """Add contributions of the given rows, or of all where None."""
        positions = _positions(self.rows, rows)
        if positions is None:
            self.numerator += numerator
            self.weight += weight
        else:
            add_rows(self.numerator, positions, numerator)
            add_rows(self.weight, positions, weight)

    @classmethod
    def joined(cls, parts, xp):
        """The sum of several, in their order, on the device that is current."""
        parts = list(parts)
        first = parts[0]
        if all(_same(part.rows, first.rows) for part in parts):
            rows = first.rows
        elif any(part.rows is None for part in parts):
            rows = None
        else:
            rows = np.unique(np.concatenate([part.rows for part in parts]))
        total = cls(first.grid, first.n_rows, rows, xp)
        for part in parts:
            total.add(np.arange(first.n_rows) if part.rows is None and rows is not None else part.rows,
                      to_current_device(part.numerator, xp), to_current_device(part.weight, xp))
        return total

    def rings(self):
        """(numerator (rows, radius, n_angles / 2) complex64, weight likewise float32) on the half circle."""
        xp = array_module(self.numerator)
        n_angles = self.grid.polar.n_angles
        numerator = from_harmonics(self.numerator.transpose(1, 2, 0), n_angles)
        transform = fft.irfft if xp is np else xp.fft.irfft
        weight = transform(self.weight.transpose(1, 2, 0), n=n_angles // 2, axis=-1)
        return numerator.astype(xp.complex64, copy=False), xp.maximum(weight, 0).astype(xp.float32, copy=False)


def back_project(numerator, weight, grid, operators, radius: int, *, rows=None, classes: int = 1):
    """Insert half-circle rings into half volumes, once per symmetry operator.

    numerator (rows, radius, n_angles / 2) complex64, weight likewise float32; operators (g, 3, 3).
    Returns (numerator, weight) with (classes, …) half volumes, not yet Hermitian, weighted by ring area (both sides of
    the circle).
    """
    xp = array_module(numerator)
    area = xp.asarray(grid.polar.ring_weights())[:, None] / len(operators)
    points = xp.asarray(grid.polar.points())
    n = grid.n_directions
    rows = np.arange(n * classes) if rows is None else rows
    bounds = np.searchsorted(rows, n * np.arange(classes + 1))
    totals = []
    for number, directions in enumerate(_of_each_class(rows, n, classes)):
        part = slice(bounds[number], bounds[number + 1])
        # a structure may have no slice at all among these rows
        flat_n = (numerator[part] * area).reshape(len(directions), len(points))
        flat_w = (weight[part] * area).reshape(len(directions), len(points))
        total = None
        for operator in operators:
            rotations = xp.asarray(np.ascontiguousarray(grid.frames[directions] @ np.asarray(operator, np.float32)))
            inserted = insert_slices(flat_n, flat_w, rotations, points, radius)
            total = inserted if total is None else (total[0] + inserted[0], total[1] + inserted[1])
        totals.append(total)
    return xp.stack([n for n, _ in totals]), xp.stack([w for _, w in totals])


def _of_each_class(rows, n_directions, classes):
    """The directions of each structure among sorted rows."""
    bounds = np.searchsorted(rows, n_directions * np.arange(classes + 1))
    return [rows[bounds[k]:bounds[k + 1]] - k * n_directions for k in range(classes)]


def _positions(held, rows):
    if rows is None:
        if held is not None:
            raise ValueError("all rows were asked for, but only some are held")
        return None
    if held is None:
        return rows
    if held is rows:
        return None
    return np.searchsorted(held, rows)


def _same(a, b):
    return a is b or (a is not None and b is not None and np.array_equal(a, b))
