"""The certificate of a bounded search: a sample of the images is searched exhaustively as well, on the same grid.

What the bound gives away can only be known by scoring what it pruned. A few images do that for all, while the poses so
scored are no more than a small share of those of the run (`CertificatePlan`). Reported are: the images whose best pose
is the same, what the others lose in nats, poses that score more than the bound of their cell said any could, and the
share of the posterior's mass that the bounded search kept.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.poses import distance_to_mates_deg
from .modes import grid_rotations

# iterations from one certificate to the next; the last iteration has one of its own
EVERY = 3
# images of one certificate, at most
MOST_IMAGES = 200
# optima that differ by this little (nats) are as good as the same
SAME_NATS = 0.1
# float32 scores of a few hundred nats are this exact
ROUNDING_NATS = 0.02
# poses that could be scored while one number of a slice is made; and, all in a row as an exhaustive search does it, in
# the time that a bounded one takes for each of its own
SLICE_COST, BOUNDED_COST = 5, 2


@dataclass(frozen=True)
class Certified:
    """Of n images that were searched both ways.

    same : (n,) bool, the same pose of the grid, a symmetry mate of it, or one within SAME_NATS
    lost : (n,) nats by which the exhaustive search found a better pose; covered : (n,) share of its posterior mass
    above_bound : (n, levels − 1) bool, whether its best pose scores more than its cell's bound
    pruned, cut : (n, levels − 1), scored : (n,) of the bounded search (search.FoundPoses)
    """

    same: np.ndarray
    lost: np.ndarray
    covered: np.ndarray
    above_bound: np.ndarray
    pruned: np.ndarray
    cut: np.ndarray
    scored: np.ndarray


def certify(bounded, exhaustive, images, table, rows, noise, operators) -> Certified:
    """Search some images both ways.

    bounded, exhaustive : BoundedSearch of the same levels; images (n, b, b), table, rows, noise : as in their `run`
    operators : (g, 3, 3) of the symmetry
    """
    finest = bounded.levels[-1].grid
    found, exact = (search.run(images, table, rows, noise) for search in (bounded, exhaustive))
    best = np.array([one.rows[0] * len(finest.shifts_a) + one.shifts[0] for one in exact])
    top = np.array([one.scores[0] for one in exact])
    lost = top - np.array([one.scores[0] for one in found])
    mates = np.array([_is_mate(one, other, finest, operators) for one, other in zip(found, exact)])
    gained = np.array([one.log_evidence - other.log_evidence for one, other in zip(found, exact)])
    ceilings = bounded.ceilings(images, table, rows, noise, best)
    return Certified(mates | (lost <= SAME_NATS), np.maximum(lost, 0), np.exp(np.minimum(gained, 0)),
                     top[:, None] > ceilings + ROUNDING_NATS, np.array([one.pruned for one in found]),
                     np.array([one.cut for one in found]),
                     np.array([one.scored for one in found]))


def _is_mate(one, other, grid, operators):
    same_shift = one.shifts[0] == other.shifts[0]
    same_map = one.rows[0] // grid.n_directions == other.rows[0] // grid.n_directions
    first, second = (grid_rotations(grid, found.rows[:1], found.angles[:1]) for found in (one, other))
    # poses of the grid are this far apart at least, and mates of each other at most by its rounding at the rim
    near = distance_to_mates_deg(first, second[0], operators)[0] < 0.5 * min(grid.spacing_deg, 360
                                                                            / grid.polar.n_angles)
    return bool(same_shift and same_map and near)


def as_record(parts, n_poses: int, seconds: float, above_share: float) -> dict:
    """Plain values for a run's history of the Certified of several blocks; n_poses : of the finest grid; above_share :
    of the poses that may score more than their bound (bounds.share_beyond)."""
    def joined(name):
        return np.concatenate([getattr(part, name) for part in parts])

    return dict(images=len(joined("same")), same=int(joined("same").sum()), lost_nats=joined("lost").tolist(),
                covered=joined("covered").tolist(), above_bound=int(joined("above_bound").sum()),
                bounds=int(joined("above_bound").size), above_share=above_share,
                pruned=joined("pruned").mean(axis=0).tolist(), cut=joined("cut").mean(axis=0).tolist(),
                scored_share=float(joined("scored").mean() / n_poses), seconds=seconds)


class CertificatePlan:
    """How many images are searched exhaustively, and when: with `share` of the time that the run takes to score poses.

    budget : poses that may be scored by now
    """

    def __init__(self, share: float):
        self.share, self.budget = share, 0

    def earn(self, scored: int, bounded: bool = True) -> None:
        """Note poses that the run itself has scored; bounded : on several levels, not all in a row."""
        self.budget += int(self.share * scored * (BOUNDED_COST if bounded else 1))

    def spend(self, grid, n_rows: int, iteration: int, half: int, last: bool, *, groups: int = 1,
              most: int = MOST_IMAGES) -> int:
        """Images to search exhaustively now, after one half (0, 1) of iteration 0, 1 …; their poses are paid for.

        grid : PoseGrid of the finest level; n_rows : its directions times the classes; groups : of optics, each of
        which has the slices made anew; most : images that there are
        """
        # one half at a time: each has slices of its own to make
        turn, due = divmod(iteration, EVERY)
        if not (last or due == EVERY - 1) or half != turn % 2:
            return 0
        poses = n_rows * grid.polar.n_angles * len(grid.shifts_a)
        slices = groups * SLICE_COST * n_rows * grid.polar.radius * grid.polar.n_angles // 2
        count = min(MOST_IMAGES, most, math.floor((self.budget - slices) / poses))
        if count < 1:
            return 0
        self.budget -= slices + count * poses
        return count
