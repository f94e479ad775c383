"""Which poses of a grid are summed for an image: all, a sample, or what a search at low resolution has left.

A search sums a coarse grid, keeps the directions and shifts that hold nearly all of the posterior mass, and goes on to
the cells of the next, finer grid that lie inside these survivors (expectation.py runs it).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from .classes import mixing, structures_of

# posterior mass that may be lost by leaving out directions or shifts, at each level
LOST_MASS = 1e-3
# the centre of a coarse cell scores lower than the best pose inside it, by up to this share of what the image says at
# all: so much must not cost a cell its survival, and so the posterior is flattened before survivors are chosen
CELL_LOSS, LEAST_FLATTENING = 0.2, 1.2
# directions that survive a level, at most, times the directions of each inside the next level
MAX_DIRECTIONS = 400


@dataclass(frozen=True)
class Selection:
    """The quadrature points of a grid that are summed for one image, and what each stands for.

    rows : (d,) sorted rows (slices.py), None for all; shifts : (s,) of the shift grid, None for all; angles : (a,)
    steps of the circle, None for all, counted from `turns` (d,), each row's own origin (0 where None).
    log_rows, log_shifts, log_angles : their log weights, how many points each stands for; None for one.
    """

    rows: Optional[np.ndarray] = None
    shifts: Optional[np.ndarray] = None
    angles: Optional[np.ndarray] = None
    turns: Optional[np.ndarray] = None
    log_rows: Optional[np.ndarray] = None
    log_shifts: Optional[np.ndarray] = None
    log_angles: Optional[np.ndarray] = None


def flattening(scores, temperature: float) -> float:
    """The temperature at which survivors are chosen: a cell that CELL_LOSS of the image's range of scores has been
    taken from still counts for more than LOST_MASS. An image that says little is hardly flattened, or all of its cells
    would survive."""
    lost = CELL_LOSS * float(scores.max() - scores.mean())
    return max(temperature, LEAST_FLATTENING, lost / np.log(1 / LOST_MASS))


def survivors(level, fine, marginals, selection, similarity: float) -> Selection:
    """The Selection of the finer grid that a coarse posterior leaves.

    level : the coarse Level; fine : PoseGrid of the next; marginals : of one image (ops/posterior.py), over the poses
    that `selection` chose of the coarse grid; similarity : of classes, see `expect`.
    """
    coarse = level.grid
    mass = marginals.direction_mass
    structures = structures_of(selection.rows, coarse, len(mass))
    if similarity > 0:
        mass = mass * mixing(np.bincount(structures, mass, level.classes), similarity)[structures]
    limit = MAX_DIRECTIONS * level.classes * coarse.n_directions / fine.n_directions
    kept = heaviest(mass, LOST_MASS, max(1, int(limit)))
    parents = kept if selection.rows is None else selection.rows[kept]
    rows = np.concatenate([
        k * fine.n_directions + coarse.children(fine, parents[structures[kept] == k] - k * coarse.n_directions)
        for k in range(level.classes)])
    used = coarse.shifts_a if selection.shifts is None else coarse.shifts_a[selection.shifts]
    near = used[heaviest(marginals.shift_mass, LOST_MASS)]
    gap = np.abs(fine.shifts_a[:, None, :] - near[None, :, :]).max(axis=2).min(axis=1)
    return Selection(rows=rows, shifts=np.nonzero(gap <= 0.75 * coarse.shift_step_a + 1e-6)[0])


def union(selections):
    """Sorted rows that any of the selections needs; None where one needs all."""
    if any(selection.rows is None for selection in selections):
        return None
    return np.unique(np.concatenate([selection.rows for selection in selections]))


def heaviest(mass, lost, limit=None):
    """Sorted indices of the smallest set that holds all but `lost` of the mass; of `limit` members at most."""
    order = np.argsort(mass)[::-1]
    count = int(np.searchsorted(np.cumsum(mass[order]), (1 - lost) * min(1.0, mass.sum()))) + 1
    return np.sort(order[:count if limit is None else min(count, limit)])
