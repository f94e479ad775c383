"""The posterior over poses of each image of a minibatch, and the sums that its gradient needs.

At low resolution every pose of the grid is summed (paper 1 eq. 4). Beyond that a search at low resolution finds the
directions and shifts that hold all but a thousandth of the posterior mass, and the next, finer level sums over the
cells inside those survivors only, at all in-plane angles; and so on up to the resolution in use.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ...core.backend import array_module, on_device
from ...ops.polar import correlate, harmonics, spread
from ...ops.posterior import exponentiate
from .slices import SliceBank, SliceSums

# posterior mass that may be lost by leaving out directions or shifts, at each level
LOST_MASS = 1e-3
# a coarse cell's centre may score below the poses inside it: its posterior is flattened before survivors are chosen
SEARCH_TEMPERATURE = 1.5
# directions that survive a level, at most, times the directions of each inside the next level
MAX_DIRECTIONS = 400


@dataclass
class ImageResult:
    """One image: log evidence (nats, without −½ Σ|X|²/σ²; ops/posterior.py), effective number of poses, poses of the
    grid, best pose (rotation A and shift in Å) and its posterior mass."""

    log_evidence: float
    effective_poses: float
    n_poses: int
    rotation: np.ndarray
    shift_a: np.ndarray
    best_mass: float


@dataclass
class BatchResult:
    """A minibatch: the sums per direction, each image's result in order, and for the noise the ring powers of the
    masked images with the share of noise that the mask leaves (MatchedImages)."""

    sums: SliceSums
    images: list = field(default_factory=list)
    power: np.ndarray = None
    noise_share: float = 1.0


class Level:
    """One grid with its model slices and the images' sampling on its rings; device : the GPU that they lie on."""

    def __init__(self, grid, half, matcher, device=None):
        xp = array_module(half)
        self.grid, self.matcher, self.xp, self.device = grid, matcher, xp, device
        self.bank = SliceBank(half, grid)
        self.phases = matcher.shift_phases(grid.shifts_a)

    def image_harmonics(self, filtered, shifts=None):
        """(m, radius, s) complex64 harmonics of one image under the given rows of the shift grid."""
        phases = self.phases if shifts is None else self.phases[self.xp.asarray(shifts)]
        return self.xp.ascontiguousarray(harmonics(filtered * phases).transpose(2, 1, 0))

    def scores(self, image, ctf_harmonics, prior, rows=None):
        """(n_angles, d, s) log probabilities of one image's poses, up to its own constant."""
        linear, square = self.bank.pick(rows)
        power = (square @ self.xp.conj(ctf_harmonics)[:, :, None])[:, :, 0]
        return correlate(image, linear, self.grid.polar.n_angles, power=power, offset=prior)


def expect(levels, images, table, rows, noise, *, temperature: float, shift_sd_a: float, threads: int = 1,
           lanes: int = 4, accumulate: bool = True, replicas=()) -> BatchResult:
    """Posterior of each image over the levels' poses.

    levels : [Level] for the full sum, or [coarse, fine] for a search and a sum over survivors
    images : (n, b, b) float32; table, rows : their optics; noise : σ² by Fourier radius
    temperature : noise inflation ≥ 1. shift_sd_a : of the Gaussian prior on shifts, Å.
    lanes : number of partial sums, each filled by one thread in order: the result depends on it in rounding only,
        (so it does on `replicas`), and not on `threads`
    replicas : the same levels on further GPUs, each of which takes its share of the lanes. A GPU fills its lanes one
        after the other: its queue is one.
    """
    xp, teams = levels[0].xp, [levels, *replicas]
    rows = np.asarray(rows)
    lanes = max(1, min(lanes, len(rows)))
    lane_of = np.arange(len(rows)) % lanes
    teams = teams[:lanes]  # a GPU without a lane has nothing to do

    def run_team(number):
        # a new thread begins on GPU 0 whichever was chosen
        with on_device(teams[number][0].device):
            members = np.flatnonzero(lane_of % len(teams) == number)
            return members, *_run_lanes(teams[number], images[members], table, rows[members], noise, lane_of[members],
                                        temperature, shift_sd_a, threads if xp is np else 1, accumulate)

    if len(teams) > 1:
        with ThreadPoolExecutor(len(teams)) as pool:
            done = list(pool.map(run_team, range(len(teams))))
    else:
        done = [run_team(0)]
    results, power, partial = [None] * len(rows), np.empty((len(rows), levels[-1].grid.polar.radius)), {}
    for members, sums, part, matched in done:
        partial.update(sums)
        power[members] = matched.power
        for i, result in zip(members, part):
            results[i] = result
    total = None
    # in the order of the lanes, whichever GPU filled them
    for lane in range(lanes if accumulate else 0):
        sums = partial[lane].to(xp)
        if total is None:
            total = sums
        else:
            total += sums
    return BatchResult(total, results, power, done[0][-1].noise_share)


def _run_lanes(levels, images, table, rows, noise, lane_of, temperature, shift_sd_a, threads, accumulate):
    """Some lanes on one device: ({lane: SliceSums}, [ImageResult] in the images' order, finest MatchedImages)."""
    xp = levels[0].xp
    matched = [level.matcher.prepare(images, table, rows, noise) for level in levels]
    priors = [xp.asarray((-0.5 * (level.grid.shifts_a ** 2).sum(axis=1) / shift_sd_a ** 2).astype(np.float32))
              for level in levels]
    results = [None] * len(rows)

    def run_lane(lane):
        sums = SliceSums(levels[-1].grid, xp) if accumulate else None
        for i in np.flatnonzero(lane_of == lane):
            results[i] = _one_image(levels, matched, priors, i, temperature, sums)
        return lane, sums

    used = np.unique(lane_of)
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            return dict(pool.map(run_lane, used)), results, matched[-1]
    return dict(run_lane(lane) for lane in used), results, matched[-1]


def _one_image(levels, matched, priors, i, temperature, sums):
    xp = levels[0].xp
    directions = shifts = None
    for depth, (level, images, prior) in enumerate(zip(levels, matched, priors)):
        last = depth == len(levels) - 1
        image = level.image_harmonics(images.filtered[i], shifts)
        ctf = xp.ascontiguousarray(harmonics(images.ctf_power[i]).T)
        scores = level.scores(image, ctf, prior if shifts is None else prior[xp.asarray(shifts)], directions)
        marginals = exponentiate(scores, temperature if last else max(temperature, SEARCH_TEMPERATURE))
        if not last:
            directions, shifts = _survivors(level.grid, levels[depth + 1].grid, marginals, directions, shifts)
    if sums is not None:
        _accumulate(sums, scores, image, ctf, directions, marginals)
    return _result(levels[-1].grid, scores.shape, marginals, directions, shifts)


def _accumulate(sums, weights, image, ctf, directions, marginals):
    """Add one image's posterior-weighted rings, leaving out directions that together hold under LOST_MASS."""
    xp = array_module(weights)
    kept = _heaviest(marginals.direction_mass, LOST_MASS)
    rows = kept if directions is None else directions[kept]
    posterior = weights[:, xp.asarray(kept)] * xp.float32(1 / marginals.total)
    per_angle = posterior.sum(axis=2)
    half = len(per_angle) // 2
    folded = per_angle[:half] + per_angle[half:]
    sums.add(rows, spread(posterior, image), spread(xp.ascontiguousarray(folded[:, :, None]), ctf[:, :, None]))


def _survivors(coarse, fine, marginals, directions, shifts):
    """Rows of the fine grid's directions and shifts that the coarse posterior leaves.

    directions, shifts : rows of the coarse grid that the posterior ran over (all where None)
    """
    limit = MAX_DIRECTIONS * (coarse.nside / fine.nside) ** 2
    kept = _heaviest(marginals.direction_mass, LOST_MASS, int(limit))
    parents = coarse.children(fine, kept if directions is None else directions[kept])
    used = coarse.shifts_a if shifts is None else coarse.shifts_a[shifts]
    near = used[_heaviest(marginals.shift_mass, LOST_MASS)]
    gap = np.abs(fine.shifts_a[:, None, :] - near[None, :, :]).max(axis=2).min(axis=1)
    return parents, np.nonzero(gap <= 0.75 * coarse.shift_step_a + 1e-6)[0]


def _heaviest(mass, lost, limit=None):
    """Sorted indices of the smallest set that holds all but `lost` of the mass; of `limit` members at most."""
    order = np.argsort(mass)[::-1]
    count = int(np.searchsorted(np.cumsum(mass[order]), 1 - lost)) + 1
    return np.sort(order[:count if limit is None else min(count, limit)])


def _result(grid, shape, marginals, directions, shifts):
    angle, direction, shift = np.unravel_index(marginals.best, shape)
    row = direction if directions is None else directions[direction]
    column = shift if shifts is None else shifts[shift]
    return ImageResult(marginals.log_evidence, marginals.effective_poses, grid.n_poses,
                       grid.rotation(row, angle), grid.shifts_a[column], 1 / marginals.total)
