"""A search near poses that are known: every pose of the finest grid within given angles and shifts of each image's own.

Nothing is bounded: so near a pose there are few others, and all of them are scored.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ...core.poses import view_directions
from .modes import grid_rotations
from .search import BoundedSearch, _Found


class LocalSearch(BoundedSearch):
    """Searches images against the finest of `levels`, [Level], around poses of their own.

    rotations (n, 3, 3), shifts_a (n, 2) : of all particles of the table; operators : (g, 3, 3) of the symmetry, whose
    mates are as near; angle_deg, shift_a : how far to look, at least to the nearest poses of the grid
    """

    def __init__(self, levels, rotations, shifts_a, operators, *, angle_deg: float, shift_a: float, rng,
                 threads: int = 1, **options):
        super().__init__(levels, shrinkage=None, rng=rng, threads=threads, exhaustive=True, **options)
        grid = self.levels[0].grid
        self._rotations, self._operators = np.asarray(rotations), np.asarray(operators)
        self._shifts_a = np.asarray(shifts_a)
        # half of the diagonal of a cell, so that the nearest pose of the grid is never out of reach
        self._angle_deg = max(angle_deg, 0.75 * max(grid.spacing_deg, 360 / grid.polar.n_angles))
        self._shift_a = max(shift_a, 0.75 * grid.shift_step_a)
        self._least_trace = 1 + 2 * np.cos(np.radians(self._angle_deg))
        self._tree = cKDTree(view_directions(grid.frames))

    def run(self, images, table, rows, noise) -> list:
        """[FoundPoses] of the images (n, b, b) of some table rows; noise : σ² by Fourier radius."""
        level = self.levels[0]
        matched = level.matcher.prepare(images, table, rows, noise, with_power=False)
        found = [_Found() for _ in rows]
        pairs = [self._near(row, level) for row in rows]

        def take(i, flat, scores):
            # poses turned too far in the plane are no candidates
            scores[self._outside(rows[i], flat, level.grid)] = -np.inf
            found[i].add(flat, scores)

        self._score(0, matched, pairs, take)
        return [one.result(len(level.grid.shifts_a)) for one in found]

    def _mates(self, rows):
        """(…, g, 3, 3): the poses of some rows that are as good as their own."""
        return self._rotations[rows][..., None, :, :] @ self._operators

    def allowed(self, rows):
        """(numbers among the rows, rotations, shifts_a) -> (n,) bool, whether poses lie within the range of each."""
        def within(image, rotations, shifts_a):
            mates = self._mates(rows[image]).reshape(len(image), -1, 9)
            traces = np.einsum("ni,ngi->ng", rotations.reshape(-1, 9), mates).max(axis=1)
            return (traces >= self._least_trace) & (
                np.hypot(*(shifts_a - self._shifts_a[rows[image]]).T) <= self._shift_a)

        return within

    def _near(self, row, level):
        """Sorted pairs, row of the level · shifts + shift, whose direction and shift are near those of a particle."""
        grid = level.grid
        # a chord of the unit sphere
        reach = 2 * np.sin(np.radians(min(self._angle_deg, 180)) / 2)
        own = view_directions(self._mates(row))
        views = self._tree.query_ball_point(own, reach)
        directions = np.unique(np.concatenate([np.asarray(view, int) for view in views]))
        shifts = np.flatnonzero(np.hypot(*(grid.shifts_a - self._shifts_a[row]).T) <= self._shift_a)
        if not len(directions):
            directions = np.array([self._tree.query(own)[1][0]])
        if not len(shifts):
            shifts = np.array([np.hypot(*(grid.shifts_a - self._shifts_a[row]).T).argmin()])
        rows = (np.arange(level.classes)[:, None] * grid.n_directions + directions).ravel()
        return (rows[:, None] * len(grid.shifts_a) + np.sort(shifts)).ravel()

    def _outside(self, row, pairs, grid):
        """(angles, pairs) bool: poses farther away than the range allows; the nearest angle of each view is in."""
        directions, number = np.unique(pairs // len(grid.shifts_a) % grid.n_directions, return_inverse=True)
        n_angles = grid.polar.n_angles
        poses = grid_rotations(grid, np.repeat(directions, n_angles), np.tile(np.arange(n_angles), len(directions)))
        traces = (poses.reshape(-1, 9) @ self._mates(row).reshape(-1, 9).T).max(axis=1).reshape(-1, n_angles)
        return (traces < np.minimum(self._least_trace, traces.max(axis=1))[:, None]).T[:, number]
