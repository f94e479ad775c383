"""The bounded search on a GPU: all images of a block at once, and only the poses that count come back.

What search.py does image by image is here a few array operations and kernels for a block. Per level: each image's
harmonics under the shifts that it still needs; one kernel for the products of its rectangles of directions and shifts
(ops/pairs.py), one batch of inverse transforms over the in-plane angle, the best angle of each pair. Bounds, survivors
and their children are array operations on one number a pair. Of the finest level's scores, which would not fit, three
passes are made over the pairs that are within FORGOTTEN nats of each image's best: one adds up their posterior, one
lists the best poses, one draws poses; where an image says much these are few, where it says little the finest level is
scored about twice.

On paper, for 256 px of 1.4 Å, 180 Å across, C1, at 4 Å (levels at 14.4, 7.2 and 4 Å of 768, 3072 and 12288 directions,
45, 145 and 253 shifts, 96, 192 and 360 angles, 24, 49 and 89 rings): the first level has 35,000 pairs an image, 0.3
GFLOP, and five or six passes over their 13 MB of products and scores. Each other level has at most 6,000 pairs (12,000
in the last iteration); at the finest these are 0.8 GFLOP, 8 kB a pair in all passes, 50 MB an image, and as much for
the harmonics under its shifts where it needs all of them. A block of 250 images asks for some 1,400 array operations
and 40 kernels with two levels, preparation and polish among them. So where memory moves 2 TB/s and products run at 8
TFLOP/s, 100,000 images take some 10 to 20 s a level. The slices of a level, 2.4 GB of harmonics at the finest, are
made once for each half and iteration where they fit in BANK_SHARE of the memory, else for those rows that a piece of
the work needs. None of this has been measured.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.backend import array_module, gpu_memory, to_host
from ...ops.pair_scores import (
    draw_angles,
    pair_masses,
    pair_scores,
    score_counts,
    segment_max,
    segment_sum,
    shifted_harmonics,
)
from ...ops.pairs import TILE, Cells, Pairs, best_of_each
from ...ops.polar import harmonics
from ..abinitio.slices import slice_rings
from .local import LocalSearch
from .modes import modes_of_block
from .search import BEAM, DRAWN, FORGOTTEN, MAX_POSES, PLACES, BoundedSearch, FoundPoses, level_words, shares

# of the memory that is free for a search when it begins: what slices, scores, and lists of pairs may take; the rest is
# for images. It is never less than LEAST_SHARE of all that is free, whatever is reserved
BANK_SHARE, SCORE_SHARE, LIST_SHARE, LEAST_SHARE = 0.4, 0.3, 0.15, 0.1
# bytes for each angle of a pair: its products, the transform's copy of them, scores, and 64-bit numbers of those that
# are picked; for each angle and ring of an image's shift and of a direction, while they are made, and of a direction
# that is kept; for each pair in the lists of them
PAIR_BYTES, SHIFT_BYTES, SLICE_BYTES, BANK_BYTES, LIST_BYTES = 28, 12, 36, 6, 100
# pairs of the first level that are worked on at a time, at most
MOST_PAIRS = 5e7
# bins of the histogram by which the best MAX_POSES are told, over FORGOTTEN nats
BINS = 512


@dataclass
class _Rings:
    """What the scores of n images need at one level: filtered (n, R, A/2), ctf (n, R, A/4 + 1) harmonics; mates
    (n, g, 3, 3) of poses that a local search keeps near, or None."""

    filtered: object
    ctf: object
    mates: object = None

    def part(self, images: slice) -> "_Rings":
        return _Rings(self.filtered[images], self.ctf[images], None if self.mates is None else self.mates[images])

    def __len__(self):
        return len(self.filtered)


class DeviceSearch(BoundedSearch):
    """As BoundedSearch, for levels whose maps lie on a GPU; `threads` is of no account.

    reserved : bytes of the memory that is free now which are kept for others
    """

    def __init__(self, levels, *, shrinkage, rng, reserved: float = 0.0, **options):
        super().__init__(levels, shrinkage=shrinkage, rng=rng, **options)
        self.xp = levels[-1].xp
        free = gpu_memory(self.xp)
        memory = max(free - reserved, LEAST_SHARE * free)
        self._room, self._bank_room = SCORE_SHARE * memory, BANK_SHARE * memory
        self._most_pairs = min(MOST_PAIRS, LIST_SHARE * memory / LIST_BYTES)
        self._banks = {}
        self._device_cells = [self._cells_between(depth) for depth in range(len(self.levels) - 1)]
        self._offsets = [self.xp.asarray(level.grid.log_shift_weights.astype(np.float32)) for level in self.levels]

    def run(self, images, table, rows, noise) -> list:
        """[FoundPoses] of the images (n, b, b) of some table rows; noise : σ² by Fourier radius."""
        matched, limits = self._prepare(images, table, rows, noise)
        rings = [_Rings(one.filtered, harmonics(one.ctf_power)) for one in matched]
        most = [limit.most(slice(None), self.deviations) for limit in limits]
        first, found = self.levels[0], []
        step = max(1, int(self._most_pairs // (first.n_rows * len(first.grid.shifts_a))))
        for part in (slice(begin, begin + step) for begin in range(0, len(images), step)):
            found += self._run_part([one.part(part) for one in rings], [one[part] for one in most],
                                    [limit.lost[part] for limit in limits],
                                    limits[0].tail_power[part] if limits else None)
        return found

    def ceilings(self, images, table, rows, noise, poses) -> np.ndarray:
        """As `BoundedSearch.ceilings`."""
        matched, limits = self._prepare(images, table, rows, noise)
        found = np.empty((len(images), len(self.bounds)))
        xp, image = self.xp, self.xp.arange(len(images))
        for depth in reversed(range(len(self.bounds))):
            poses = self._cells[depth].parents(poses)
            row, shift = map(xp.asarray, np.divmod(poses, len(self.levels[depth].grid.shifts_a)))
            pairs = Pairs.listed(image, row, shift, len(images))
            rings = _Rings(matched[depth].filtered, harmonics(matched[depth].ctf_power))
            top = self._best_angles(depth, rings, pairs)
            found[:, depth] = to_host(self._bounds(depth, (image, row, shift), top, limits[depth].most(
                slice(None), self.deviations)))
        return found

    def modes(self, found, operators) -> list:
        """As `BoundedSearch.modes`, of all images at once."""
        return modes_of_block(found, self.levels[-1].grid, operators, self.xp)

    def _run_part(self, rings, most, lost, tail_power):
        n, last = len(rings[0]), len(self.levels) - 1
        first = self.levels[0]
        pairs = Pairs.everything(n, first.n_rows, len(first.grid.shifts_a), self.xp)
        scored, capped, incumbents = np.zeros(n, int), np.zeros(n, bool), np.full(n, -np.inf)
        pruned, cut = [], [np.zeros(n)]
        for depth in range(last):
            listed, top = pairs.expanded(), self._best_angles(depth, rings[depth], pairs)
            if depth == 0:
                held_against = self._descended(rings, listed, top, tail_power)
                incumbents = to_host(held_against)
            scored += _counts(pairs) * self.levels[depth].grid.polar.n_angles
            with self.phases("bounds"):
                segments = pairs.segments()
                pairs, left, kept = self._cut(depth, listed, segments, top, self._bounds(
                    depth, listed, top, most[depth]), held_against, self._least(depth, segment_max(top, segments),
                                                                                lost[depth]))
            level = self.levels[depth]
            given_up, taken = shares(left, kept, level.n_rows * len(level.grid.shifts_a), cut[-1])
            pruned.append(given_up)
            cut.append(taken)
            capped |= left > kept
        found = self._picked(rings[-1], pairs)
        for i, one in enumerate(found):
            one.scored += int(scored[i])
            one.pruned, one.cut = ([float(share[i]) for share in of] for of in (pruned, cut[1:]))
            one.capped = bool(capped[i])
            one.incumbent = float(incumbents[i])
        return found

    # ---- levels
    def _bounds(self, depth, listed, top, most):
        """(p,) the most that a pose in the cells of a level's pairs may score, whose best angles score `top`."""
        image, row, shift = listed
        gain = self.xp.asarray(self._cells[depth].prior_gain.astype(np.float32))
        return top + most[image, row] + gain[shift]

    def _cut(self, depth, listed, segments, top, bound, incumbents, least):
        """(Pairs of the next level in the cells that are kept, cells that were left of each image, those kept);
        top, bound : (p,) the pairs' scores, and what they may hide at most."""
        xp, image = self.xp, listed[0]
        kept = (bound >= incumbents[image] - self.soft_margin) & (top >= least[image])
        count = _kept_of_each(kept, segments)
        # the incumbent's own cell, where the noise is beyond what the bound allows for
        kept |= (count == 0)[image] & (bound == segment_max(bound, segments)[image])
        limit = int(self.most_children / self._cells[depth].children_each)
        over = count > limit
        if bool(over.any()):
            crowded = xp.flatnonzero(kept & over[image])
            best = crowded[best_of_each(top[crowded], image[crowded], limit)]
            kept &= ~over[image]
            kept[best] = True
        numbers = xp.flatnonzero(kept)
        children = self._device_cells[depth].children(*(one[numbers] for one in listed), len(segments) - 1)
        return children, to_host(count), to_host(_kept_of_each(kept, segments))

    def _descended(self, rings, listed, top, tail_power):
        """(n,) score of the best pose on the finest grid that a narrow search comes upon."""
        image, row, _ = listed
        # by what is seen and by what the bound promises beyond it, as on the CPU
        kept = self.xp.zeros(len(top), bool)
        for order in (top, top + 0.5 * tail_power[image, row]):
            kept[best_of_each(order, image, BEAM)] = True
        best = self.xp.flatnonzero(kept)
        for depth in range(1, len(self.levels)):
            pairs = self._device_cells[depth - 1].children(*(one[best] for one in listed), len(rings[0]))
            top = self._best_angles(depth, rings[depth], pairs)
            if depth < len(self.levels) - 1:
                listed = pairs.expanded()
                best = best_of_each(top, listed[0], BEAM)
        return segment_max(top, pairs.segments())

    def _best_angles(self, depth, rings, pairs):
        """(len(pairs),) float32: the best score over the in-plane angles of each."""
        top = self.xp.empty(len(pairs), np.float32)
        for part, scores in self._scores(depth, rings, pairs):
            top[part] = scores.max(axis=1)
        return top

    def _scores(self, depth, rings, pairs):
        """(slice of the pairs, (…, A) scores) piece by piece, as the memory allows."""
        with self.phases(level_words(depth)):
            level, xp = self.levels[depth], self.xp
            n_shifts, polar = len(level.grid.shifts_a), level.grid.polar
            start = to_host(pairs.start)
            whole = self._whole_bank(depth)
            for begin, end in self._pieces(depth, pairs, np.diff(start), whole is None):
                part = pairs.part(begin, end)
                used = part.used_shifts(n_shifts).ravel()
                number = xp.flatnonzero(used)
                shifted = shifted_harmonics(rings.filtered, level.phases, (number // n_shifts).astype(xp.int32),
                                            (number % n_shifts).astype(xp.int32))
                slots = (xp.cumsum(used.astype(xp.int32)) - 1).astype(xp.int32)
                bank, numbered = (whole, part) if whole is not None else self._bank_of(depth, part)
                scores = pair_scores(*bank, shifted, rings.ctf, slots, self._offsets[depth], numbered, polar.n_angles)
                if rings.mates is not None:
                    scores = self._within_range(scores, rings.mates, part)
                yield slice(int(start[begin]), int(start[end])), scores

    def _pieces(self, depth, pairs, sizes, with_bank):
        """(begin, end) of rectangles whose scores fit together, and their slices where these are made for each."""
        level = self.levels[depth]
        polar = level.grid.polar
        cost = PAIR_BYTES * polar.n_angles * sizes.astype(float)
        if with_bank:
            cost += (SLICE_BYTES + BANK_BYTES) * polar.radius * polar.n_angles * to_host(pairs.height)
        # an image's shifts come with its first rectangle
        image = to_host(pairs.image)
        first = np.flatnonzero(np.diff(image, prepend=-1))
        shifts = to_host(pairs.used_shifts(len(level.grid.shifts_a)).sum(axis=1))
        cost[first] += SHIFT_BYTES * polar.radius * polar.n_angles * shifts[image[first]]
        ends, begin = np.cumsum(cost), 0
        while begin < len(ends):
            end = int(np.searchsorted(ends, (ends[begin - 1] if begin else 0) + self._room, side="right"))
            end = max(end, begin + 1)
            yield begin, end
            begin = end

    # ---- slices
    def forget_slices(self) -> None:
        """Free the memory that kept slices take; they are made again where they are needed."""
        for depth, bank in self._banks.items():
            if bank is not None:
                self._bank_room += self._bank_size(depth)
        self._banks = {}

    def _bank_size(self, depth):
        polar = self.levels[depth].grid.polar
        return BANK_BYTES * self.levels[depth].n_rows * polar.radius * polar.n_angles

    def _whole_bank(self, depth):
        """(linear, square) harmonics of all slices of a level, kept while they fit; else None."""
        if depth not in self._banks:
            level, size = self.levels[depth], self._bank_size(depth)
            self._banks[depth] = None
            if size <= self._bank_room:
                self._bank_room -= size
                self._banks[depth] = self._bank(level, np.arange(level.n_rows))
        return self._banks[depth]

    def _bank_of(self, depth, part):
        """((linear, square) of the rows of some pairs, the pairs with their rows counted among these)."""
        level, xp = self.levels[depth], self.xp
        marked = xp.zeros(level.n_rows, bool)
        for k in range(TILE):
            marked[part.row[part.height > k] + k] = True
        number = (xp.cumsum(marked.astype(xp.int32)) - 1).astype(xp.int32)
        return self._bank(level, np.flatnonzero(to_host(marked))), replace(part, row=number[part.row])

    def _bank(self, level, rows):
        xp, polar = self.xp, level.grid.polar
        weights = xp.asarray(polar.ring_weights())[:, None]
        linear = xp.empty((len(rows), polar.radius, polar.n_angles // 2 + 1), np.complex64)
        square = xp.empty((len(rows), polar.radius, polar.n_angles // 4 + 1), np.complex64)
        step = max(1, int(self._room // (SLICE_BYTES * polar.radius * polar.n_angles)))
        for part in (slice(first, first + step) for first in range(0, len(rows), step)):
            values = slice_rings(level.halves, level.grid, rows[part])
            linear[part] = harmonics(values) * weights
            square[part] = harmonics(values.real ** 2 + values.imag ** 2) * weights
        return linear, square

    # ---- the finest level
    def _picked(self, rings, pairs):
        """[FoundPoses] of the images, from their pairs on the finest grid."""
        xp, depth, n = self.xp, len(self.levels) - 1, len(rings)
        top = self._best_angles(depth, rings, pairs)
        best = segment_max(top, pairs.segments())
        least = best - np.float32(FORGOTTEN)
        image, row, shift = pairs.expanded()
        # most pairs have no angle that counts
        heavy = xp.flatnonzero(top >= least[image])
        image, row, shift, top = (one[heavy] for one in (image, row, shift, top))
        held = Pairs.listed(image, row, shift, n)
        segments = held.segments()
        mass, moment = (xp.empty(len(held), np.float64) for _ in range(2))
        histogram = xp.zeros((n, BINS), np.uint64)
        for part, scores in self._scores(depth, rings, held):
            mass[part], moment[part] = pair_masses(scores, image[part], best, least)
            score_counts(scores, image[part], best, least, BINS, FORGOTTEN / BINS, histogram)
        total = to_host(segment_sum(mass, segments))
        evidence = to_host(best) + np.log(total)
        entropy = np.log(total) - to_host(segment_sum(moment, segments)) / total
        listed = self._listed(rings, held, (image, row, shift), top, best, least, to_host(histogram))
        drawn = self._drawn(rings, (image, row, shift), to_host(segments), to_host(mass), best, least)
        bounds = np.searchsorted(listed[0], np.arange(n + 1))
        scored = _counts(pairs) * self.levels[depth].grid.polar.n_angles
        return [FoundPoses(*(one[a:min(b, a + MAX_POSES)] for one in listed[1:]), float(evidence[i]), float(entropy[i]),
                           drawn[i], int(scored[i])) for i, (a, b) in enumerate(zip(bounds, bounds[1:]))]

    def _listed(self, rings, held, listed, top, best, least, histogram):
        """(images, rows, shifts, angles, scores), on the host: of each image its best MAX_POSES and a few more, the
        best first."""
        xp = self.xp
        reached = np.cumsum(histogram, axis=1) >= MAX_POSES
        bins = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, BINS)
        lowest = xp.maximum(least, best - xp.asarray((bins * (FORGOTTEN / BINS)).astype(np.float32)))
        chosen = xp.flatnonzero(top >= lowest[listed[0]])
        image, row, shift = (one[chosen] for one in listed)
        columns = []
        for part, scores in self._scores(len(self.levels) - 1, rings, Pairs.listed(image, row, shift, held.n)):
            pair, angle = xp.nonzero(scores >= lowest[image[part]][:, None])
            columns.append((pair + part.start, angle, scores[pair, angle]))
        pair, angle, score = (xp.concatenate(column) for column in zip(*columns))
        order = xp.argsort(-score, kind="stable")
        order = order[xp.argsort(image[pair[order]], kind="stable")]
        pair, angle, score = pair[order], angle[order], score[order]
        return (*(to_host(one).astype(int) for one in (image[pair], row[pair], shift[pair], angle)),
                to_host(score).astype(float))

    def _drawn(self, rings, listed, segments, mass, best, least):
        """(n, DRAWN, 3) rows, shifts and angles of poses drawn through each image's cumulated mass (search.PLACES)."""
        xp, n = self.xp, len(segments) - 1
        passed = np.concatenate([[0.0], np.cumsum(mass)])
        begin, end = passed[segments[:-1], None], passed[segments[1:], None]
        wanted = begin + PLACES * (end - begin)
        pick = np.clip(np.searchsorted(passed, wanted, side="right") - 1, segments[:-1, None], segments[1:, None] - 1)
        chosen, number = np.unique(pick, return_inverse=True)
        number = number.ravel()
        rest = (wanted - passed[pick]).ravel().astype(np.float32)
        image, row, shift = (one[xp.asarray(chosen)] for one in listed)
        angles = np.empty(n * DRAWN, int)
        for part, scores in self._scores(len(self.levels) - 1, rings, Pairs.listed(image, row, shift, n)):
            # picks and pairs are in one order
            draws = slice(*np.searchsorted(number, (part.start, part.stop)))
            of = np.repeat(np.arange(n), DRAWN)[draws].astype(np.int32)
            angles[draws] = to_host(draw_angles(scores, xp.asarray((number[draws] - part.start).astype(np.int32)),
                                                xp.asarray(of), xp.asarray(rest[draws]), best, least))
        rows, shifts = (to_host(one)[number].astype(int) for one in (row, shift))
        return np.stack([rows, shifts, angles], axis=1).reshape(n, DRAWN, 3)

    def _cells_between(self, depth):
        coarse, fine = self.levels[depth].grid, self.levels[depth + 1].grid
        ratio = fine.n_directions // coarse.n_directions
        if not np.array_equal(fine.parents, np.repeat(np.arange(coarse.n_directions), ratio)):
            raise ValueError("on a GPU the directions of a cell must follow each other, as HEALPix's nested ones do")
        return Cells(self._cells[depth].near, ratio, self.xp)


class DeviceLocalSearch(LocalSearch, DeviceSearch):
    """As LocalSearch, for levels whose maps lie on a GPU."""

    def run(self, images, table, rows, noise) -> list:
        """[FoundPoses] of the images (n, b, b) of some table rows; noise : σ² by Fourier radius."""
        xp, level = self.xp, self.levels[0]
        with self.phases("preparation"):
            matched = level.matcher.prepare(images, table, rows, noise, with_power=False)
            rings = _Rings(matched.filtered, harmonics(matched.ctf_power), xp.asarray(
                self._mates(rows).astype(np.float32)))
            near = [self._near(row, level) for row in rows]
            image = xp.asarray(np.repeat(np.arange(len(rows)), [len(one) for one in near]))
            row, shift = map(xp.asarray, np.divmod(np.concatenate(near), len(level.grid.shifts_a)))
        return self._picked(rings, Pairs.listed(image, row, shift, len(rows)))

    def _within_range(self, scores, mates, pairs):
        """The scores of some pairs, −∞ where a pose is turned too far in the plane; the nearest angle is always in."""
        xp, grid = self.xp, self.levels[0].grid
        image, row, _ = pairs.expanded()
        frames = xp.asarray(grid.frames)[row % grid.n_directions]
        psi = xp.asarray(np.radians(360 / grid.polar.n_angles * np.arange(grid.polar.n_angles)).astype(np.float32))
        cosine, sine = xp.cos(psi), xp.sin(psi)
        traces = xp.full_like(scores, -np.inf)
        for mate in range(mates.shape[1]):
            # tr(A0ᵀ Z(psi) F) as in poses.parallel_transport_psi
            b = xp.matmul(frames, mates[image, mate].transpose(0, 2, 1))
            along, across = (b[:, 0, 0] + b[:, 1, 1])[:, None], (b[:, 1, 0] - b[:, 0, 1])[:, None]
            traces = xp.maximum(traces, along * cosine + across * sine + b[:, 2, 2][:, None])
        least = xp.minimum(traces.max(axis=1), np.float32(self._least_trace))
        return xp.where(traces >= least[:, None], scores, np.float32(-np.inf))


def _counts(pairs) -> np.ndarray:
    """(n,) pairs of each image."""
    return np.diff(to_host(pairs.segments()))


def _kept_of_each(kept, segments):
    """(n,) int64 how many of each segment are kept."""
    xp = array_module(kept)
    before = xp.concatenate([xp.zeros(1, np.int64), xp.cumsum(kept.astype(np.int64))])
    return before[segments[1:]] - before[segments[:-1]]
