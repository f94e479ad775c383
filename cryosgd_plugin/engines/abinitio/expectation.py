"""The posterior over structures and poses of each image of a minibatch, and the sums that its gradient needs.

At low resolution every pose of the grid is summed (paper 1 eq. 4). Beyond that a search at low resolution finds the
directions and shifts that hold nearly all of the posterior mass (selection.py), and the next, finer level sums over the
cells inside those survivors only, at all in-plane angles; and so on up to the resolution in use (levels.py). An image
whose posterior is known from an earlier visit skips the search: it comes with a weighted sample of the quadrature
points (importance.py). Structures are K blocks of directions (slices.py), equally likely beforehand (paper 0 eq. 3).
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...core.backend import on_device, to_host
from ...core.poses import parallel_transport_psi
from ...ops.polar import harmonics, posterior_harmonics, spread, spread_power
from ...ops.posterior import exponentiate, pick_poses
from .classes import class_mass, mixing, structures_of
from .results import BatchResult, ImageResult, PoseMarginals
from .selection import LOST_MASS, Selection, flattening, heaviest, survivors, union
from .slices import SliceSums, slice_rings

# as many in-plane angles make one FFT of the circle cheaper than their rows of the transform
MATRIX_ANGLES = 24


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
            bank = level.bank(union([chosen[i] for i in searched]))
            finer = self.levels[depth + 1].grid

            def search(number, level=level, bank=bank, matched=matched, finer=finer):
                i = searched[number]
                _, scores, marginals = self._posterior(level, bank, matched, number, chosen[i],
                                                       lambda scores: flattening(scores, self.temperature))
                return i, scores.size, survivors(level, finer, marginals, chosen[i], self.similarity)

            for i, count, selection in self._map(search, range(len(searched))):
                chosen[i] = selection
                evaluated[i] += count
        matched = finest.matcher.prepare(images, table, rows, noise)
        self.finest_bank = bank = finest.bank(union(chosen))
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

    def _one_image(self, level, bank, matched, i, selection, sums):
        (image, ctf), scores, marginals = self._posterior(level, bank, matched, i, selection,
                                                          lambda scores: self.temperature)
        grid = level.grid
        mass = class_mass(marginals.direction_mass, selection.rows, grid, level.classes)
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
        share = mixing(mass, self.similarity)
        row_mass = marginals.direction_mass
        structures = structures_of(selection.rows, grid, len(row_mass))
        if self.similarity > 0:
            row_mass = row_mass * share[structures]
        kept = heaviest(row_mass, LOST_MASS)
        rows = kept if selection.rows is None else selection.rows[kept]
        turns = None if selection.turns is None else selection.turns[kept]
        angles, shifts = (heaviest(mass, LOST_MASS) for mass in (marginals.angle_mass, marginals.shift_mass))
        # few angles are transformed by a matrix product, many by an FFT of the whole circle
        few = selection.angles is not None or len(angles) < MATRIX_ANGLES
        used = angles if few else np.arange(len(weights))
        posterior, per_angle = pick_poses(weights, used, kept, shifts,
                                          (share[structures[kept]] / marginals.total).astype(np.float32))
        steps = used if selection.angles is None else selection.angles[used]
        turned = dict(angles=steps if few else None, turns=turns)
        spectrum = posterior_harmonics(posterior, grid.polar.n_angles, **turned)
        whole = posterior_harmonics(per_angle[:, :, None], grid.polar.n_angles, **turned)
        sums.add(rows, spread(spectrum, image[:, :, xp.asarray(shifts)]), spread_power(whole[:, :, 0], ctf))
        return self._remember(grid, to_host(per_angle), rows, row_mass[kept], steps, marginals, selection, turns,
                              rotation)

    def _remember(self, grid, per_angle, rows, row_mass, steps, marginals, selection, turns, rotation):
        heavy = heaviest(row_mass / row_mass.sum(), LOST_MASS)
        origin = np.rint(parallel_transport_psi(grid.frames[rows[heavy] % grid.n_directions], rotation)
                         / 360 * grid.polar.n_angles).astype(int)
        steps = steps[:, None] - origin + (0 if turns is None else turns[heavy])
        angle_mass = np.bincount((steps % grid.polar.n_angles).ravel(), per_angle[:, heavy].ravel(),
                                 grid.polar.n_angles)
        angles = np.flatnonzero(angle_mass > 0)
        shifts = grid.shifts_a if selection.shifts is None else grid.shifts_a[selection.shifts]
        return PoseMarginals(rows[heavy], row_mass[heavy], shifts, marginals.shift_mass,
                             360 / grid.polar.n_angles * angles, angle_mass[angles])
