"""The posterior over structures and poses of each image of a minibatch, and the sums that its gradient needs.

At low resolution every pose of the grid is summed (paper 1 eq. 4). Beyond that a search at low resolution finds the
directions and shifts that hold nearly all of the posterior mass, and the next, finer level sums over the
cells inside those survivors only, at all in-plane angles; and so on up to the resolution in use. An image whose
posterior is known from an earlier visit skips the search: it comes with a weighted sample of the quadrature points
(importance.py). Structures are K blocks of directions (slices.py), equally likely beforehand (paper 0 eq. 3).
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from ...core.backend import array_module, on_device
from ...core.poses import parallel_transport_psi
from ...ops.polar import correlate, harmonics, posterior_harmonics, spread, spread_power
from ...ops.posterior import exponentiate
from .slices import SliceBank, SliceSums, slice_rings

# posterior mass that may be lost by leaving out directions or shifts, at each level
LOST_MASS = 1e-3
# the centre of a coarse cell scores lower than the best pose inside it, by up to this share of what the image says at
# all: so much must not cost a cell its survival, and so the posterior is flattened before survivors are chosen
CELL_LOSS, LEAST_FLATTENING = 0.2, 1.2
# directions that survive a level, at most, times the directions of each inside the next level
MAX_DIRECTIONS = 400
# as many in-plane angles make one FFT of the circle cheaper than their rows of the transform
MATRIX_ANGLES = 24
# a structure that explains an image e^40 times worse has lost its weights to rounding: similarity can't bring it back
LEAST_CLASS_MASS = 1e-12


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

    def count(self, grid, classes: int) -> int:
        """Poses that it makes the E-step evaluate."""
        chosen = ((self.rows, classes * grid.n_directions), (self.shifts, len(grid.shifts_a)),
                  (self.angles, grid.polar.n_angles))
        return int(np.prod([float(total if rows is None else len(rows)) for rows, total in chosen]))


@dataclass
class ImageResult:
    """One image.

    log_evidence : nats, T log of the prior mean of exp(log likelihood / T), without the image's own −½ Σ|X|²/σ²
    effective_poses : 1 / Σ p²; n_poses : poses of the whole quadrature; evaluated : scores computed, all levels
    class_mass : (K,) posterior of each structure; structure, rotation (A), shift_a (Å), best_mass : of the best pose
    marginals : what importance.py remembers of it, where the gradient was summed
    """

    log_evidence: float
    effective_poses: float
    n_poses: int
    evaluated: int
    class_mass: np.ndarray
    structure: int
    rotation: np.ndarray
    shift_a: np.ndarray
    best_mass: float
    marginals: Optional["PoseMarginals"] = None


@dataclass
class PoseMarginals:
    """Posterior marginals of one image over the points that hold nearly all of it.

    rows, row_mass : rows of the grid; shifts_a (s, 2), shift_mass; angles_deg, angle_mass : in-plane, relative to the
    best pose carried over to each direction without twist (core.poses.parallel_transport_psi)
    """

    rows: np.ndarray
    row_mass: np.ndarray
    shifts_a: np.ndarray
    shift_mass: np.ndarray
    angles_deg: np.ndarray
    angle_mass: np.ndarray


@dataclass
class BatchResult:
    """A minibatch: the sums per row, each image's result in order, and for the noise the ring powers of the masked
    images with the share of noise that the mask leaves (MatchedImages); grid : of the finest level."""

    sums: SliceSums
    images: list = field(default_factory=list)
    power: np.ndarray = None
    noise_share: float = 1.0
    grid: object = None
    values: object = None
    _rings: tuple = None

    def rings(self):
        """(numerator, weight) of `SliceSums.rings`, computed once."""
        if self._rings is None:
            self._rings = self.sums.rings()
        return self._rings


class Level:
    """One grid with the K models' half volumes and the images' sampling on its rings; device : the GPU they lie on."""

    def __init__(self, grid, halves, matcher, device=None):
        xp = array_module(halves[0])
        self.grid, self.halves, self.matcher, self.xp, self.device = grid, halves, matcher, xp, device
        self.phases = matcher.shift_phases(grid.shifts_a)
        self._whole = None

    @property
    def classes(self) -> int:
        return len(self.halves)

    @property
    def n_rows(self) -> int:
        return self.classes * self.grid.n_directions

    def bank(self, rows=None) -> SliceBank:
        """The models' slices at some rows, or at all."""
        if rows is not None:
            return SliceBank(self.halves, self.grid, rows)
        if self._whole is None:
            self._whole = SliceBank(self.halves, self.grid)
        return self._whole

    def image_harmonics(self, filtered, shifts=None):
        """(m, radius, s) complex64 harmonics of one image under the given rows of the shift grid."""
        phases = self.phases if shifts is None else self.phases[self.xp.asarray(shifts)]
        return self.xp.ascontiguousarray(harmonics(filtered * phases).transpose(2, 1, 0))

    def scores(self, bank, image, ctf_harmonics, selection: Selection, temperature: float = 1.0):
        """(a, d, s) log probabilities of one image's selected poses, up to its own constant.

        Log weights, the shifts' prior among them, count `temperature` times: inflated noise changes what an image
        says, not what is known beforehand, nor how many points one stands for.
        """
        xp = self.xp
        linear, square = bank.pick(selection.rows)
        power = (square @ xp.conj(ctf_harmonics)[:, :, None])[:, :, 0]
        offset = self.grid.log_shift_weights[slice(None) if selection.shifts is None else selection.shifts][None, :]
        if selection.log_shifts is not None:
            offset = offset + selection.log_shifts
        if selection.log_rows is not None:
            offset = offset + selection.log_rows[:, None]
        offset = temperature * offset
        scores = correlate(image, linear, self.grid.polar.n_angles, power=power, angles=selection.angles,
                           offset=xp.asarray(offset.astype(np.float32)), turns=selection.turns)
        if selection.log_angles is not None:
            scores += xp.asarray((temperature * selection.log_angles).astype(np.float32))[:, None, None]
        return scores


def expect(levels, images, table, rows, noise, *, temperature: float, similarity: float = 0.0, selections=None,
           threads: int = 1, lanes: int = 4, accumulate: bool = True, replicas=()) -> BatchResult:
    """Posterior of each image over the levels' structures and poses.

    levels : [Level] for the full sum, or coarse to fine for a search and a sum over survivors
    images : (n, b, b) float32; table, rows : their optics; noise : σ² by Fourier radius
    temperature : noise inflation ≥ 1 (far below 1: all weight to the best pose, for projection matching)
    similarity : share of each image that is given to all structures alike (class similarity, annealed to 0)
    selections : per image a Selection of the finest grid, or None for a search
    lanes : number of partial sums, each filled by one thread in order: the result depends on it in rounding only
        (so it does on `replicas`), and not on `threads`
    replicas : the same levels on further GPUs, each of which takes its share of the lanes. A GPU fills its lanes one
        after the other: its queue is one.
    """
    xp, teams = levels[0].xp, [levels, *replicas]
    rows = np.asarray(rows)
    selections = [None] * len(rows) if selections is None else selections
    lanes = max(1, min(lanes, len(rows)))
    lane_of = np.arange(len(rows)) % lanes
    teams = teams[:lanes]  # a GPU without a lane has nothing to do

    def run_team(number):
        # a new thread begins on GPU 0 whichever was chosen
        with on_device(teams[number][0].device):
            members = np.flatnonzero(lane_of % len(teams) == number)
            team = _Team(teams[number], temperature, similarity, threads if xp is np else 1, accumulate)
            return members, team, *team.run(images[members], table, rows[members], noise, lane_of[members],
                                            [selections[i] for i in members])

    if len(teams) > 1:
        with ThreadPoolExecutor(len(teams)) as pool:
            done = list(pool.map(run_team, range(len(teams))))
    else:
        done = [run_team(0)]
    finest = levels[-1]
    batch = BatchResult(None, [None] * len(rows), np.empty((len(rows), finest.grid.polar.radius)),
                        done[0][-1].noise_share, finest.grid)
    partial = {}
    for members, _, sums, part, matched in done:
        partial.update(sums)
        batch.power[members] = matched.power
        for i, result in zip(members, part):
            batch.images[i] = result
    if accumulate:
        # in the order of the lanes, whichever GPU filled them
        batch.sums = SliceSums.joined([partial[lane] for lane in range(lanes)], xp)
        bank = done[0][1].finest_bank
        batch.values = bank.values if len(teams) == 1 else slice_rings(finest.halves, finest.grid, batch.sums.rows)
    return batch


class _Team:
    """The levels on one device, and how they are run through."""

    def __init__(self, levels, temperature, similarity, threads, accumulate):
        self.levels, self.temperature, self.similarity = levels, temperature, similarity
        self.threads, self.accumulate = threads, accumulate
        self.finest_bank = None

    def run(self, images, table, rows, noise, lane_of, selections):
        """({lane: SliceSums}, [ImageResult] in the images' order, MatchedImages of the finest level)."""
        finest = self.levels[-1]
        searched = [i for i, selection in enumerate(selections) if selection is None]
        chosen = [selection or Selection() for selection in selections]
        evaluated = np.zeros(len(rows), int)
        for depth, level in enumerate(self.levels[:-1]):
            if not searched:
                break
            matched = level.matcher.prepare(images[searched], table, rows[searched], noise)
            bank = level.bank(_union([chosen[i] for i in searched]))
            finer = self.levels[depth + 1].grid

            def search(number, level=level, bank=bank, matched=matched, finer=finer):
                i = searched[number]
                _, scores, marginals = self._posterior(level, bank, matched, number, chosen[i], self._flattening)
                return i, scores.size, self._survivors(level, finer, marginals, chosen[i])

            for i, count, selection in self._map(search, range(len(searched))):
                chosen[i] = selection
                evaluated[i] += count
        matched = finest.matcher.prepare(images, table, rows, noise)
        self.finest_bank = bank = finest.bank(_union(chosen))
        results = [None] * len(rows)

        def run_lane(lane):
            sums = SliceSums(finest.grid, finest.n_rows, bank.rows, finest.xp) if self.accumulate else None
            for i in np.flatnonzero(lane_of == lane):
                results[i] = self._one_image(finest, bank, matched, i, chosen[i], sums)
                results[i].evaluated += int(evaluated[i])
            return lane, sums

        return dict(self._map(run_lane, np.unique(lane_of))), results, matched

    def _map(self, function, numbers):
        if self.threads > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                return list(pool.map(function, numbers))
        return [function(number) for number in numbers]

    def _posterior(self, level, bank, matched, i, selection, temperature):
        image = level.image_harmonics(matched.filtered[i], selection.shifts)
        ctf = level.xp.ascontiguousarray(harmonics(matched.ctf_power[i]).T)
        scores = level.scores(bank, image, ctf, selection, self.temperature)
        return (image, ctf), scores, exponentiate(scores, temperature(scores))

    def _flattening(self, scores):
        """The temperature at which survivors are chosen: a cell that CELL_LOSS of the image's range of scores has been
        taken from still counts for more than LOST_MASS. An image that says little is hardly flattened, or all
        of its cells would survive."""
        lost = CELL_LOSS * float(scores.max() - scores.mean())
        return max(self.temperature, LEAST_FLATTENING, lost / np.log(1 / LOST_MASS))

    def _one_image(self, level, bank, matched, i, selection, sums):
        (image, ctf), scores, marginals = self._posterior(level, bank, matched, i, selection,
                                                            lambda scores: self.temperature)
        grid = level.grid
        mass = _class_mass(marginals.direction_mass, selection.rows, grid, level.classes)
        angle, direction, shift = np.unravel_index(marginals.best, scores.shape)
        structure, row = divmod(int(direction if selection.rows is None else selection.rows[direction]),
                                grid.n_directions)
        step = angle if selection.angles is None else selection.angles[angle]
        if selection.turns is not None:
            step = step + selection.turns[direction]
        rotation = grid.rotation(row, step)
        result = ImageResult(
            marginals.log_evidence - self.temperature * np.log(level.n_rows * grid.polar.n_angles),
            marginals.effective_poses, level.n_rows * grid.polar.n_angles * len(grid.shifts_a), scores.size, mass,
            structure, rotation, grid.shifts_a[shift if selection.shifts is None else selection.shifts[shift]],
            1 / marginals.total)
        if sums is not None:
            result.marginals = self._accumulate(level, sums, scores, image, ctf, selection, marginals, mass, rotation)
        return result

    def _accumulate(self, level, sums, weights, image, ctf, selection, marginals, mass, rotation):
        """Add one image's posterior-weighted rings, leaving out rows, and angles, and shifts that together hold under
        LOST_MASS each."""
        xp, grid = level.xp, level.grid
        share = _mixing(mass, self.similarity)
        row_mass = marginals.direction_mass
        structures = _structures(selection.rows, grid, len(row_mass))
        if self.similarity > 0:
            row_mass = row_mass * share[structures]
        kept = _heaviest(row_mass, LOST_MASS)
        rows = kept if selection.rows is None else selection.rows[kept]
        turns = None if selection.turns is None else selection.turns[kept]
        angles, shifts = (_heaviest(mass, LOST_MASS) for mass in (marginals.angle_mass, marginals.shift_mass))
        # few angles are transformed by a matrix product, many by an FFT of the whole circle
        few = selection.angles is not None or len(angles) < MATRIX_ANGLES
        used = angles if few else np.arange(len(weights))
        posterior = weights[tuple(xp.asarray(i) for i in np.ix_(used, kept, shifts))] * xp.asarray(
            (share[structures[kept]] / marginals.total).astype(np.float32))[:, None]
        steps = used if selection.angles is None else selection.angles[used]
        spectrum = posterior_harmonics(posterior, grid.polar.n_angles, angles=steps if few else None, turns=turns)
        sums.add(rows, spread(spectrum, image[:, :, xp.asarray(shifts)]), spread_power(spectrum, ctf))
        return self._remember(grid, posterior, rows, row_mass[kept], steps, marginals, selection, turns, rotation)

    def _remember(self, grid, posterior, rows, row_mass, steps, marginals, selection, turns, rotation):
        heavy = _heaviest(row_mass / row_mass.sum(), LOST_MASS)
        origin = np.rint(parallel_transport_psi(grid.frames[rows[heavy] % grid.n_directions], rotation)
                         / 360 * grid.polar.n_angles).astype(int)
        per_angle = posterior[:, array_module(posterior).asarray(heavy)].sum(axis=2)
        per_angle = per_angle if isinstance(per_angle, np.ndarray) else per_angle.get()
        steps = steps[:, None] - origin + (0 if turns is None else turns[heavy])
        angle_mass = np.bincount((steps % grid.polar.n_angles).ravel(), per_angle.ravel(), grid.polar.n_angles)
        angles = np.flatnonzero(angle_mass > 0)
        shifts = grid.shifts_a if selection.shifts is None else grid.shifts_a[selection.shifts]
        return PoseMarginals(rows[heavy], row_mass[heavy], shifts, marginals.shift_mass,
                             360 / grid.polar.n_angles * angles, angle_mass[angles])

    def _survivors(self, level, fine, marginals, selection):
        """The Selection of the finer grid that a coarse posterior leaves."""
        coarse = level.grid
        mass = marginals.direction_mass
        structures = _structures(selection.rows, coarse, len(mass))
        if self.similarity > 0:
            mass = mass * _mixing(np.bincount(structures, mass, level.classes), self.similarity)[structures]
        limit = MAX_DIRECTIONS * level.classes * coarse.n_directions / fine.n_directions
        kept = _heaviest(mass, LOST_MASS, max(1, int(limit)))
        parents = kept if selection.rows is None else selection.rows[kept]
        rows = np.concatenate([
            k * fine.n_directions + coarse.children(fine, parents[structures[kept] == k] - k * coarse.n_directions)
            for k in range(level.classes)])
        used = coarse.shifts_a if selection.shifts is None else coarse.shifts_a[selection.shifts]
        near = used[_heaviest(marginals.shift_mass, LOST_MASS)]
        gap = np.abs(fine.shifts_a[:, None, :] - near[None, :, :]).max(axis=2).min(axis=1)
        return Selection(rows=rows, shifts=np.nonzero(gap <= 0.75 * coarse.shift_step_a + 1e-6)[0])


def _union(selections):
    """Sorted rows that any of the selections needs; None where one needs all."""
    if any(selection.rows is None for selection in selections):
        return None
    return np.unique(np.concatenate([selection.rows for selection in selections]))


def _structures(rows, grid, count):
    return (np.arange(count) if rows is None else rows) // grid.n_directions


def _class_mass(direction_mass, rows, grid, classes):
    return np.bincount(_structures(rows, grid, len(direction_mass)), direction_mass, classes)


def _mixing(mass, similarity):
    """(K,) factors that turn class posteriors r into (1 − similarity) r + similarity / K."""
    if similarity == 0:
        return np.ones(len(mass))
    wanted = (1 - similarity) * mass + similarity / len(mass)
    return np.where(mass > LEAST_CLASS_MASS, wanted / np.maximum(mass, LEAST_CLASS_MASS), 1.0)


def _heaviest(mass, lost, limit=None):
    """Sorted indices of the smallest set that holds all but `lost` of the mass; of `limit` members at most."""
    order = np.argsort(mass)[::-1]
    count = int(np.searchsorted(np.cumsum(mass[order]), (1 - lost) * min(1.0, mass.sum()))) + 1
    return np.sort(order[:count if limit is None else min(count, limit)])
