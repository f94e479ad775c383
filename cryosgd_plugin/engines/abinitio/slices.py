"""The model's slices at every direction of a pose grid, and the accumulator that is their mirror image."""
from __future__ import annotations

from copy import copy

import numpy as np

from ...core.backend import array_module, to_current_device
from ...ops.polar import from_harmonics, harmonics
from ...ops.slicing import insert_slices, slice_volume


class SliceBank:
    """Polar slices of one model.

    half : half volume of the model (ops/slicing.py); grid : PoseGrid
    values : (d, radius, n_angles / 2) complex64
    linear : (m, d, radius) complex64, harmonics weighted by ring area: for the term Re Σ conj(X) C Y
    square : (m', d, radius) complex64, likewise of |Y|²: for ½ Σ C² |Y|²
    """

    def __init__(self, half, grid):
        xp = array_module(half)
        self.grid = grid
        polar = grid.polar
        points = xp.asarray(polar.points())
        self.values = polar.unfold(slice_volume(half, xp.asarray(grid.frames), points))
        weights = xp.asarray(polar.ring_weights())
        # (rings, directions) are laid out per harmonic, as the matrix products read them
        self.linear = xp.ascontiguousarray((harmonics(self.values) * weights[:, None]).transpose(2, 0, 1))
        power = self.values.real ** 2 + self.values.imag ** 2
        self.square = xp.ascontiguousarray((harmonics(power) * weights[:, None]).transpose(2, 0, 1))

    def pick(self, rows):
        """(linear, square) of some directions; all of them where rows is None."""
        if rows is None:
            return self.linear, self.square
        rows = array_module(self.linear).asarray(rows)
        return self.linear[:, rows], self.square[:, rows]


class SliceSums:
    """Posterior-weighted sums per direction: Σ w C X / σ² and Σ w C² / σ², as harmonics.

    `add` takes what `ops.polar.spread` gives; sums of several threads are joined by `+=`.
    """

    def __init__(self, grid, xp=np):
        polar, d = grid.polar, len(grid.pixels)
        self.grid = grid
        self.numerator = xp.zeros((polar.n_angles // 2 + 1, d, polar.radius), xp.complex64)
        self.weight = xp.zeros((polar.n_angles // 4 + 1, d, polar.radius), xp.complex64)

    def add(self, rows, numerator, weight):
        """Add contributions of the directions `rows`, or of all where None."""
        if rows is None:
            self.numerator += numerator
            self.weight += weight
        else:
            rows = array_module(self.numerator).asarray(rows)
            self.numerator[:, rows] += numerator
            self.weight[:, rows] += weight

    def __iadd__(self, other):
        self.numerator += other.numerator
        self.weight += other.weight
        return self

    def to(self, xp):
        """These sums on the device that is current, in the given library."""
        moved = copy(self)
        moved.numerator, moved.weight = (to_current_device(array, xp) for array in (self.numerator, self.weight))
        return moved

    def rings(self):
        """(numerator (d, radius, n_angles / 2) complex64, weight likewise float32) on the half circle."""
        xp = array_module(self.numerator)
        n_angles = self.grid.polar.n_angles
        numerator = from_harmonics(self.numerator.transpose(1, 2, 0), n_angles)
        if xp is np:
            from scipy import fft
            weight = fft.irfft(self.weight.transpose(1, 2, 0), n=n_angles // 2, axis=-1)
        else:
            weight = xp.fft.irfft(self.weight.transpose(1, 2, 0), n=n_angles // 2, axis=-1)
        return numerator.astype(xp.complex64), xp.maximum(weight, 0).astype(xp.float32)


def back_project(numerator, weight, grid, operators, radius: int):
    """Insert half-circle rings into half volumes, once per symmetry operator.

    numerator (d, radius, n_angles / 2) complex64, weight likewise float32; operators (g, 3, 3).
    Returns (numerator, weight) half volumes, not yet Hermitian, weighted by ring area (both sides of the circle).
    """
    xp = array_module(numerator)
    area = xp.asarray(grid.polar.ring_weights())[:, None] / len(operators)
    flat_n = (numerator * area).reshape(len(numerator), -1)
    flat_w = (weight * area).reshape(len(weight), -1)
    points = xp.asarray(grid.polar.points())
    total = None
    for operator in operators:
        rotations = xp.asarray(np.ascontiguousarray(grid.frames @ np.asarray(operator, np.float32)))
        part = insert_slices(flat_n, flat_w, rotations, points, radius)
        total = part if total is None else (total[0] + part[0], total[1] + part[1])
    return total
