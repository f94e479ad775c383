"""The best poses of each image on a fine grid over all orientations and shifts, found without scoring most of them.

The search goes through the levels of engines/abinitio/grids.py, from low to high resolution. Paper 0 §0.3: every pose
of the coarsest grid is scored at its low resolution; a quick descent from the best few scores a good pose at the full
resolution, the incumbent; a cell whose bound (bounds.py) lies below it can't hold the best pose and is given up, the
others are cut into the cells of the next level and scored there, and so on. So is a cell that can hardly hold the true
pose by what is seen of it already. The in-plane angle is never cut: scores at
all angles cost one Fourier transform, so what survives are pairs of direction and shift.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from ...core.backend import to_host
from ...ops.polar import harmonics
from ..abinitio.selection import Selection
from .bounds import BOUNDS, LevelBound
from .modes import grid_modes
from .phases import Phases

# standard deviations of the noise that the bound allows for: one true pose in 30,000 lies beyond
DEVIATIONS = 4.0
# poses whose bound lies this much below the incumbent (nats) are followed too: they count in a soft posterior
SOFT_MARGIN = 7.0
# pairs of direction and shift that the descent to the incumbent keeps at each level
BEAM = 6
# pairs of the next level that survivors are cut into, at most: an image that says too little for a bound keeps its best
# (of apoferritin at 6.2 Å these hold 99.95 % of the posterior, 6,000 hold 99.4 % and 3,000 98.2 %; of the phantom at
# p² 206 and 8.3 Å even 1,000 hold all of it)
MAX_CHILDREN = 12_000
# complex numbers of slices, and scores of one image, that are held at a time
BANK_NUMBERS, SCORE_NUMBERS = 1e7, 2e7
# threads that may hold so many scores each; more of them share
FULL_SHARES = 2
# poses this much below the best found (nats) are forgotten, and so are all beyond the best so many
FORGOTTEN, MAX_POSES = 12.0, 2000
# poses of an image that are held at a time: of a posterior that is broader the best
MAX_HELD = 300_000
# poses drawn from all of a posterior, which stand for it where it is broad: an image adds a fiftieth of its noise
# (apoferritin's half-maps agree as well as with 400 of them, and back-projection takes half the time of 100)
DRAWN = 50
# where they lie in the cumulated posterior: one in each part, at a place drawn once; even steps would beat with
# the order of the poses, in which shifts repeat
PLACES = (np.arange(DRAWN) + np.random.default_rng(0).random(DRAWN)) / DRAWN


@dataclass
class FoundPoses:
    """The significant poses of one image on the finest grid, best first.

    rows : (p,) numbers of direction and structure (row k · n_directions + j is direction j of structure k);
    shifts : (p,) numbers of the grid's shifts; angles : (p,) in-plane steps; scores : (p,) nats
    log_evidence : log Σ exp score over all poses that were not forgotten; those above may be the best of them only
    entropy : of the posterior over all of these, nats
    drawn : (DRAWN, 3) rows, shifts and angles of poses drawn from all of these by their posterior
    capped : whether poses were left out that the bound had left
    scored : poses scored on all levels; pruned : for each level but the last the share of the whole grid's pairs of
    direction and shift, in cells of that level, that the bound or `_least` gave up by then; cut : likewise what
    `most_children` took besides; incumbent : score of the pose that the bound was held against
    """

    rows: np.ndarray
    shifts: np.ndarray
    angles: np.ndarray
    scores: np.ndarray
    log_evidence: float
    entropy: float
    drawn: np.ndarray
    scored: int = 0
    pruned: list = field(default_factory=list)
    cut: list = field(default_factory=list)
    capped: bool = False
    incumbent: float = -np.inf

    @property
    def weights(self) -> np.ndarray:
        """(p,) posterior mass of each; less than one in all where the posterior is broad."""
        return np.exp(self.scores - self.log_evidence)


class BoundedSearch:
    """Searches images against the maps of `levels`, [Level] coarse to fine, the last at the resolution in use.

    shrinkage : (K, shells) s of each map (bounds.py); rng : for the sample of cells; threads : images at a time
    exhaustive : score every pose of the finest grid instead; deviations : of the noise that the bound allows for;
    soft_margin : nats below the incumbent down to which poses are followed, since they count in a soft posterior
    bound : one of bounds.BOUNDS
    most_children : pairs that an image's survivors are cut into at most, None for MAX_CHILDREN
    phases : how long what took, by level
    """

    def __init__(self, levels, *, shrinkage, rng, threads: int = 1, exhaustive: bool = False,
                 deviations: float = DEVIATIONS, soft_margin: float = SOFT_MARGIN, most_children: int = None,
                 bound: str = BOUNDS[0]):
        self.most_children = MAX_CHILDREN if most_children is None else most_children
        self.levels = levels[-1:] if exhaustive else levels
        self.threads, self.deviations, self.soft_margin = threads, deviations, soft_margin
        self._log_share = float(norm.logsf(deviations))
        self.phases = Phases(levels[-1].xp)
        finest = levels[-1]
        polar = finest.grid.polar
        self.bounds = [LevelBound(coarse.grid, fine.grid, finest.halves, polar.radius, polar.n_angles, shrinkage,
                                  finest.matcher.extent, rng, bound)
                       for coarse, fine in zip(self.levels, self.levels[1:])]
        self._cells = [_Cells(coarse, fine) for coarse, fine in zip(self.levels, self.levels[1:])]

    def run(self, images, table, rows, noise) -> list:
        """[FoundPoses] of the images (n, b, b) of some table rows.

        noise : σ² by Fourier radius
        """
        matched, limits = self._prepare(images, table, rows, noise)
        n = len(images)
        found = [_Found() for _ in range(n)]
        pairs = [None] * n
        for depth in range(len(self.levels) - 1):
            tops = self._tops(depth, matched[depth], pairs)
            if depth == 0:
                incumbents = self._descend(matched, tops, limits)
            with self.phases("bounds"):
                for i in range(n):
                    found[i].scored += len(tops[i][1]) * self.levels[depth].grid.polar.n_angles
                    pairs[i] = self._survivors(depth, tops[i], limits[depth].most(i, self.deviations), incumbents[i],
                                               self._least(depth, tops[i][1].max(), limits[depth].lost[i]), found[i])
        self._score(len(self.levels) - 1, matched[-1], pairs, lambda i, *scored: found[i].add(*scored))
        for i in range(n):
            if self.bounds:
                found[i].incumbent = incumbents[i]
        return [one.result(len(self.levels[-1].grid.shifts_a)) for one in found]

    def modes(self, found, operators) -> list:
        """What `modes.grid_modes` says of each of the FoundPoses; operators : (g, 3, 3) of the symmetry."""
        return [grid_modes(one, self.levels[-1].grid, operators) for one in found]

    def allowed(self, rows):
        """Which poses images of some table rows may have: (numbers among them, rotations, shifts_a) -> (n,) bool, or
        None for all."""
        return None

    def ceilings(self, images, table, rows, noise, poses) -> np.ndarray:
        """(n, levels − 1) nats: at each level the bound of the cell that one pose of each image lies in, which its
        score may not exceed.

        images, table, rows, noise : as in `run`; poses : (n,) numbers of the finest grid's pairs, row · shifts + shift
        """
        matched, limits = self._prepare(images, table, rows, noise)
        found = np.empty((len(images), len(self.bounds)))
        for depth in reversed(range(len(self.bounds))):
            poses = self._cells[depth].parents(poses)
            tops = self._tops(depth, matched[depth], [pair[None] for pair in poses])
            for i, top in enumerate(tops):
                found[i, depth] = self._bound(depth, *top, limits[depth].most(i, self.deviations))[0]
        return found

    def _prepare(self, images, table, rows, noise):
        """([MatchedImages], [CellBound]) of the levels."""
        with self.phases("preparation"):
            # levels that differ in their shifts alone share a matcher
            prepared = {level.matcher: level.matcher.prepare(images, table, rows, noise, with_power=False)
                        for level in {level.matcher: level for level in self.levels}.values()}
            matched = [prepared[level.matcher] for level in self.levels]
            return matched, [bound.of(matched[-1].ctf_power) for bound in self.bounds]

    def _bound(self, depth, pairs, top, most):
        """The most that a pose in the cells of some pairs of a level may score, whose best angles score `top`."""
        rows, shifts = np.divmod(pairs, len(self.levels[depth].grid.shifts_a))
        return top + most[rows] + self._cells[depth].prior_gain[shifts]

    def _least(self, depth, best, lost):
        """The score, at a level's own resolution, below which a cell is too unlikely to hold the true pose, by the best
        score there and CellBound.lost; numbers, or arrays of several images."""
        level = self.levels[depth]
        cells = level.n_rows * len(level.grid.shifts_a) * level.grid.polar.n_angles
        return best - lost - (np.log(cells) - self._log_share)

    def _survivors(self, depth, scored, most, incumbent, least, found):
        """Pairs of the next level in the cells that are left of the scored ones by the bound and by `_least`."""
        pairs, top = scored
        level = self.levels[depth]
        bound = self._bound(depth, pairs, top, most)
        kept = np.flatnonzero((bound >= incumbent - self.soft_margin) & (top >= least))
        left = len(kept)
        most_kept = int(self.most_children / self._cells[depth].children_each)
        if len(kept) > most_kept:
            # as the posterior of what was seen so far has it: by their bounds, which all but the strongest views owe to
            # the noise that they allow for, a third of the phantom's best poses were lost here
            kept = kept[np.argpartition(-top[kept], most_kept)[:most_kept]]
            found.capped = True
        elif not len(kept):
            # the incumbent's own cell, where the noise is beyond what the bound allows for
            kept = np.array([np.argmax(bound)])
        found.note(left, len(kept), level.n_rows * len(level.grid.shifts_a))
        return self._cells[depth].children(pairs[kept])

    def _descend(self, matched, tops, limits):
        """(n,) score of the best pose on the finest grid that a narrow search comes upon."""
        # what the bound promises beyond the level tells directions apart that look alike below it; but the strongest
        # views promise so much that weak ones, whose cells score best, were not tried (of the phantom at p² 413 and
        # 8.3 Å in seven images of eight, and the bound pruned 15 % instead of 72 %)
        pairs = [self._beam(0, top[0], top[1], top[1] + 0.5 * limits[0].tail_power[i][
            top[0] // len(self.levels[0].grid.shifts_a)]) for i, top in enumerate(tops)]
        for depth in range(1, len(self.levels) - 1):
            pairs = [self._beam(depth, *top) for top in self._tops(depth, matched[depth], pairs)]
        return np.array([top.max() for _, top in self._tops(len(self.levels) - 1, matched[-1], pairs)])

    def _beam(self, depth, pairs, *orders):
        """What the best few pairs by each of some orders are cut into."""
        kept = [np.argpartition(-order, min(BEAM, len(order) - 1))[:BEAM] for order in orders]
        return self._cells[depth].children(pairs[np.unique(np.concatenate(kept))])

    def _tops(self, depth, matched, pairs):
        """Of each image (pairs, the best score over the in-plane angles of each)."""
        parts = [[] for _ in pairs]
        self._score(depth, matched, pairs, lambda i, flat, scores: parts[i].append((flat, scores.max(axis=0))))
        return [tuple(np.concatenate(column) for column in zip(*part)) for part in parts]

    def _score(self, depth, matched, pairs, take):
        """take(i, pairs, scores (n_angles, pairs)) for the pairs of each image, all where None, piece by piece."""
        with self.phases(level_words(depth)):
            self._score_level(depth, matched, pairs, take)

    def _score_level(self, depth, matched, pairs, take):
        level = self.levels[depth]
        n_shifts, polar = len(level.grid.shifts_a), level.grid.polar
        chunk = int(max(1, BANK_NUMBERS // (polar.radius * polar.n_angles)))
        if any(one is None for one in pairs):
            needed = np.arange(level.n_rows)
            share = SCORE_NUMBERS * min(1.0, FULL_SHARES / self.threads)
            chunk = int(max(1, min(chunk, share // (polar.n_angles * n_shifts))))
        else:
            marked = np.zeros(level.n_rows, bool)
            for one in pairs:
                marked[one // n_shifts] = True
            needed = np.flatnonzero(marked)
        for first in range(0, len(needed), chunk):
            rows = needed[first:first + chunk]
            bank = level.bank(None if len(rows) == level.n_rows else rows)

            def one(i, rows=rows, bank=bank):
                self._score_image(level, bank, matched, i, pairs[i], rows, take)

            if self.threads > 1:
                with ThreadPoolExecutor(self.threads) as pool:
                    list(pool.map(one, range(len(pairs))))
            else:
                for i in range(len(pairs)):
                    one(i)

    @staticmethod
    def _score_image(level, bank, matched, i, pairs, rows, take):
        n_shifts = len(level.grid.shifts_a)
        if pairs is None:
            flat, picked = (rows[:, None] * n_shifts + np.arange(n_shifts)).ravel(), None
            selection = Selection() if len(rows) == level.n_rows else Selection(rows)
        else:
            flat = pairs[np.searchsorted(pairs, rows[0] * n_shifts):np.searchsorted(pairs, (rows[-1] + 1) * n_shifts)]
            if not len(flat):
                return
            used_rows, row = _numbered(flat // n_shifts, level.n_rows)
            used_shifts, shift = _numbered(flat % n_shifts, n_shifts)
            selection, picked = Selection(used_rows, used_shifts), row * len(used_shifts) + shift
        image = level.image_harmonics(matched.filtered[i], selection.shifts)
        ctf = level.xp.ascontiguousarray(harmonics(matched.ctf_power[i]).T)
        scores = to_host(level.scores(bank, image, ctf, selection, pairs=picked))
        take(i, flat, scores.reshape(len(scores), -1))


def shares(left, kept, cells, cut):
    """(pruned, cut): shares of a level's cells that the bound gave up, and that a limit took besides, up to this level.

    left : cells that the bound leaves of those that were looked at; kept : of them; cut : share that a limit took on
    the levels before. Numbers, or arrays of several images.
    """
    # the incumbent's own cell is kept where the bound leaves none
    cut = cut + np.maximum(left - kept, 0) / cells
    return 1 - kept / cells - cut, cut


def level_words(depth: int) -> str:
    """The phase in which a level's poses are scored."""
    return f"scoring, level {depth + 1}"


def _numbered(values, count):
    """(sorted values that occur, number of each value among them); values : of 0 … count − 1. Sorts nothing."""
    present = np.zeros(count, bool)
    present[values] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[values]


class _Cells:
    """Which pairs of a finer level lie in the cells of a coarser one's, and what the shifts' prior adds there."""

    def __init__(self, coarse, fine):
        order = np.argsort(fine.grid.parents, kind="stable")
        self.bounds = np.searchsorted(fine.grid.parents[order], np.arange(coarse.grid.n_directions + 1))
        self.order = order
        self.n_coarse, self.n_fine = coarse.grid.n_directions, fine.grid.n_directions
        self.shifts_coarse, self.shifts_fine = len(coarse.grid.shifts_a), len(fine.grid.shifts_a)
        gap = np.abs(fine.grid.shifts_a[:, None] - coarse.grid.shifts_a[None]).max(axis=2)
        within = gap <= 0.5 * (coarse.grid.shift_step_a + fine.grid.shift_step_a) + 1e-6
        # at the rim of the circle a shift may lie in no cell: it goes with the nearest
        within[np.arange(len(gap)), gap.argmin(axis=1)] = True
        # and a cell may hold no shift of a finer level that is hardly finer: it gets the nearest
        within[gap.argmin(axis=0), np.arange(gap.shape[1])] = True
        self.near = within.T.astype(np.float32)
        self.children_each = self.n_fine / self.n_coarse * within.sum() / self.shifts_coarse
        self._direction, self._shift = fine.grid.parents, gap.argmin(axis=1)
        # a shift within the cell may be likelier beforehand than the cell's own
        weights = fine.grid.log_shift_weights
        likeliest = np.array([weights[near].max(initial=-np.inf) for near in within.T])
        self.prior_gain = likeliest - coarse.grid.log_shift_weights

    def children(self, pairs) -> np.ndarray:
        """Sorted numbers of the finer level's pairs, row · shifts + shift."""
        rows, shifts = np.divmod(pairs, self.shifts_coarse)
        used, row = np.unique(rows, return_inverse=True)
        marked = np.zeros((len(used), self.shifts_coarse), np.float32)
        marked[row, shifts] = 1
        structure, direction = np.divmod(used, self.n_coarse)
        counts = self.bounds[direction + 1] - self.bounds[direction]
        parent = np.repeat(np.arange(len(used)), counts)
        place = np.arange(len(parent)) - np.repeat(np.cumsum(counts) - counts, counts)
        fine = structure[parent] * self.n_fine + self.order[self.bounds[direction][parent] + place]
        order = np.argsort(fine)
        number, shift = np.nonzero((marked @ self.near > 0)[parent[order]])
        return fine[order][number] * self.shifts_fine + shift

    def parents(self, pairs) -> np.ndarray:
        """The coarser level's pair whose cell holds each of the finer one's: of several cells that of the nearest
        shift."""
        rows, shifts = np.divmod(pairs, self.shifts_fine)
        structure, direction = np.divmod(rows, self.n_fine)
        return ((structure * self.n_coarse + self._direction[direction]) * self.shifts_coarse + self._shift[shifts])


class _Found:
    """Gathers the poses of one image that count."""

    def __init__(self):
        self.best, self.parts, self.held = -np.inf, [], 0
        self.scored, self.pruned, self.cut, self.capped, self.incumbent = 0, [], [], False, -np.inf

    def note(self, left, kept, cells):
        """How many of a level's cells the bound left, and how many of these were kept."""
        pruned, cut = shares(left, kept, cells, self.cut[-1] if self.cut else 0.0)
        self.pruned.append(pruned)
        self.cut.append(cut)

    def add(self, pairs, scores):
        """Take (angles, p) scores of p pairs."""
        self.scored += scores.size
        top = scores.max(axis=0)
        self.best = max(self.best, float(top.max()))
        # most pairs have no angle that counts
        columns = np.flatnonzero(top >= self.best - FORGOTTEN)
        picked = scores[:, columns]
        angle, column = np.nonzero(picked >= self.best - FORGOTTEN)
        self.parts.append((pairs[columns[column]], angle, picked[angle, column]))
        self.held += len(angle)
        if self.held > MAX_HELD:
            self._thin()

    def result(self, n_shifts) -> FoundPoses:
        """The image's FoundPoses; n_shifts : of the grid."""
        pairs, angles, scores = (np.concatenate(column) for column in zip(*self.parts))
        kept = np.flatnonzero(scores >= self.best - FORGOTTEN)
        pairs, angles, scores = pairs[kept], angles[kept], scores[kept].astype(float)
        mass = np.exp(scores - self.best)
        evidence = float(self.best + np.log(mass.sum()))
        entropy = evidence - float(mass @ scores / mass.sum())
        cumulated = np.cumsum(mass)
        picked = np.searchsorted(cumulated, PLACES * cumulated[-1])
        drawn = np.stack([*np.divmod(pairs[picked], n_shifts), angles[picked]], axis=1)
        order = np.arange(len(scores)) if len(scores) <= MAX_POSES else np.argpartition(-scores, MAX_POSES)[:MAX_POSES]
        order = order[np.argsort(-scores[order], kind="stable")]
        rows, shifts = np.divmod(pairs[order], n_shifts)
        return FoundPoses(rows, shifts, angles[order], scores[order], evidence, entropy, drawn, self.scored,
                          self.pruned, self.cut, self.capped, self.incumbent)

    def _thin(self):
        """Keep what is not forgotten by now, and of that the best."""
        pairs, angles, scores = (np.concatenate(column) for column in zip(*self.parts))
        kept = np.flatnonzero(scores >= self.best - FORGOTTEN)
        if len(kept) > MAX_HELD // 2:
            kept = kept[np.argpartition(-scores[kept], MAX_HELD // 2)[:MAX_HELD // 2]]
            self.capped = True
        self.parts, self.held = [(pairs[kept], angles[kept], scores[kept])], len(kept)
