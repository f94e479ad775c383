"""How much better than what is seen of it at low resolution a pose can be: paper 0 eq. 10-24, corrected.

The score of a pose is s = Re Σ conj(C Y) S X / σ² − ½ Σ C² |Y|² / σ², the error E of eq. 9 turned round and less the
image's own power, so the pose of least error scores highest. Up to the radius L of a level it is computed; beyond, and
for poses inside the cell that a grid pose stands for, it is bounded from above. If X = C Y(r*) / s + noise with a model
whose shells are too weak by the factor s (its shrinkage), then for every pose r

    tail(r) ≤ p_r p̂ / s − ½ p_r² + k p_r,         p_r² = Σ_{l > L} C² |Y(r)|² / σ²,   p̂ = max_r p_r,

with probability Φ(k) for the true pose: ⟨C Y, S X⟩ has the variance p_r² (eq. 21 gives half of it, so its 4σ is 2.83),
and Cauchy-Schwarz with the model's scale gives the rest (eq. 16-17 hold for s = 1 only). The strongest slice p̂ depends
on the image's CTF; this bound is called "strongest". What must not be given up is the true pose, though, and of it more
is known: X is C Y(r) / s there, so that

    tail(r) = Σ_{l > L} C² |Y(r)|² / (s σ²) − ½ p_r² + noise ≤ p_r² / s − ½ p_r² + k p_r

with the same probability. This one, "own", gives up any pose that would be too poor if it were the true one. Where
views differ in strength it prunes far more, since weak ones need not allow for the strongest (of the phantom at p² 412
and 8.3 Å 94 % against 76 %).

A pose in the cell of a grid pose, off by what changes its slice by ω² = Σ_{l ≤ L} C² |ΔY|² / σ², scores more than the
grid pose by at most ½ (2/s − 1) ω² + k ω. Noise below and beyond L is independent, so both deviations add in squares:
k √(ω² + p_r²).

For the same reason what lies beyond L says nothing of what the shells within say already: that the true pose is r with
the probability exp s_L(r) / Σ exp s_L. So a cell is also given up whose best pose has, by these shells alone, less than
Φ(−k) over the number of cells, which loses the true pose with the probability Φ(−k) at most over all images. A cell's
best pose scores up to `lost` more than the grid pose: the quantile of ½ (2/s − 1) ω² + ω z over the cells and the
noise z together. Of the phantom at p² 412 this leaves 0.5 % of the cells at 15 Å, where the bound alone leaves 28 %:
it has to allow for the strongest views.
"""
from __future__ import annotations

from dataclasses import dataclass

import healpix
import numpy as np
from scipy.stats import norm

from ...core.backend import array_module, to_host
from ...core.poses import (
    euler_to_matrix,
    healpix_directions,
    in_plane_rotation,
    matrix_to_euler,
    parallel_transport_psi,
    random_rotations,
)
from ...ops.polar import PolarGrid, harmonics
from ...ops.slicing import slice_volume

# what a pose's shells beyond a level are bounded by: those of its own slice, as if it were the true pose, or those of
# the strongest slice, whichever pose it is (paper 0 eq. 24)
BOUNDS = ("own", "strongest")
# harmonics of |Y|² and C² over the in-plane angle that are multiplied one by one; the rest as one norm
EXACT_HARMONICS = 3
# poses whose cells are sampled for ω, and the share of them whose ω is at most the one that is used
CELL_SAMPLES, CELL_QUANTILE = 2000, 0.999
# deviates of the noise for each of them
CELL_NOISE = 4
# slices that are taken at a time
SLICED = 1000


def share_beyond(deviations: float) -> float:
    """The share of true poses that score more than the bound of their cell, as it states itself: cells that hide more
    than CELL_QUANTILE of them do, and noise beyond its standard deviations."""
    return 1 - CELL_QUANTILE + float(norm.sf(deviations))


@dataclass(frozen=True)
class CellBound:
    """Of each image, what is added to the scores of a level's grid poses, row by row (K · d of them); where the maps
    lie.

    tail : (n, rows) float32 what the shells beyond the level may add without noise, for the largest p_r in each
    direction's cell; tail_power : (n, rows) that p_r²; cell, cell_power : (n, rows) what a cell hides within the level
    without noise, and ω²; lost : (n,) what the best pose of a cell scores more than its grid pose within the level, in
    all cells but the share 1 − CELL_QUANTILE, noise counted
    """

    tail: np.ndarray
    tail_power: np.ndarray
    cell: np.ndarray
    cell_power: np.ndarray
    lost: np.ndarray

    def most(self, i, deviations: float):
        """(rows,) float32: how much more than its grid pose any pose in a direction's cell may score in image i; of
        several images (…, rows)."""
        spread = array_module(self.tail).sqrt(self.tail_power[i] + self.cell_power[i])
        return self.tail[i] + self.cell[i] + deviations * spread


class LevelBound:
    """The bound's share that depends on the maps alone, for one level of a search.

    coarse : PoseGrid of the level (HEALPix); fine : PoseGrid of the next, made within it
    halves : K half volumes; radius : Fourier radius in use; n_angles : of its rings
    shrinkage : (K, radius + 1) s of each shell of each map, below 1 where it is too weak
    extent_a : side of the box, Å; rng : draws the poses whose cells are measured; kind : one of BOUNDS
    """

    def __init__(self, coarse, fine, halves, radius: int, n_angles: int, shrinkage, extent_a: float, rng,
                 kind: str = BOUNDS[0]):
        xp = array_module(halves[0])
        self.kind = kind
        self.level_radius, self.radius = coarse.polar.radius, radius
        self.shrinkage = xp.asarray(np.asarray(shrinkage, np.float32)[:, 1:radius + 1])
        self._tail = [xp.asarray(one) for one in _tail_power(coarse, fine, halves, PolarGrid(radius, n_angles))]
        self._cells = [tuple(map(xp.asarray, one)) for one in _cell_terms(coarse, fine, halves, extent_a, rng)]
        self._noise = xp.asarray(rng.standard_normal((CELL_NOISE, 1, CELL_SAMPLES)).astype(np.float32))

    def of(self, ctf_power) -> CellBound:
        """For images whose C²/σ² on the rings is given: (n, radius, n_angles / 2)."""
        ctf = _circle_features(ctf_power)
        parts = [self._of_class(ctf, *of) for of in zip(self._tail, self._cells, self.shrinkage)]
        *columns, lost = zip(*parts)
        xp = array_module(ctf)
        return CellBound(*(xp.concatenate(column, axis=1) for column in columns), xp.stack(lost).max(axis=0))

    def _of_class(self, ctf, tail_power, cells, shrinkage):
        xp = array_module(ctf)
        n, inner, outer = len(ctf), ctf[:, :self.level_radius, 0], ctf[:, self.level_radius:]
        within, beyond = shrinkage[:self.level_radius], shrinkage[self.level_radius:]
        power = outer.reshape(n, -1) @ tail_power.T
        if self.kind == "own":
            most = (outer / beyond[:, None]).reshape(n, -1) @ tail_power.T
        else:
            strongest = ((outer / beyond[:, None] ** 2).reshape(n, -1) @ tail_power.T).max(axis=1)
            most = xp.sqrt(power * strongest[:, None])
        cross, square = cells
        omega2 = inner @ square.T
        gain = (inner * (1 / within - 1)) @ cross.T + 0.5 * omega2
        hidden, hidden_power = (xp.repeat(xp.quantile(values, CELL_QUANTILE, axis=1)[:, None], len(tail_power), axis=1)
                                for values in (gain, omega2))
        noisy = (gain + xp.sqrt(omega2) * self._noise).transpose(1, 0, 2).reshape(n, -1)
        return (most - 0.5 * power, power, hidden.astype(np.float32), hidden_power.astype(np.float32),
                xp.quantile(noisy, CELL_QUANTILE, axis=1))


def _circle_features(values):
    """(…, rings, EXACT_HARMONICS + 2) float32, non-negative, of functions of period π given on half circles: the mean
    of a product of two of them is at most the sum of the products of their features, at whatever angle between them."""
    xp = array_module(values)
    spectrum = xp.abs(harmonics(values)) / values.shape[-1]
    exact = 2 ** 0.5 * spectrum[..., 1:EXACT_HARMONICS + 1]
    rest = xp.sqrt(2 * (spectrum[..., EXACT_HARMONICS + 1:] ** 2).sum(axis=-1))
    return xp.concatenate([spectrum[..., :1], exact, rest[..., None]], axis=-1).astype(np.float32)


def _tail_power(coarse, fine, halves, polar):
    """[(d, rings beyond the level · features) float32] of each map: of |Y|² on each ring, times its area, the largest
    features that a direction of the finer grid has in each cell."""
    first = coarse.polar.radius
    xp = array_module(halves[0])
    points = xp.asarray(polar.points()[first * (polar.n_angles // 2):])
    area = (polar.ring_weights() * polar.n_angles)[first:, None]
    parents = np.searchsorted(coarse.rows, fine.parents)
    found = []
    for half in halves:
        largest = np.zeros((coarse.n_directions, len(area), EXACT_HARMONICS + 2), np.float32)
        for first in range(0, len(fine.frames), SLICED):
            values = slice_volume(half, xp.asarray(fine.frames[first:first + SLICED]), points)
            values = values.reshape(len(values), len(area), polar.n_angles // 2)
            features = to_host(_circle_features(values.real ** 2 + values.imag ** 2)) * area
            np.maximum.at(largest, parents[first:first + SLICED], features)
        found.append(largest.reshape(len(largest), -1))
    return found


def _nearest(coarse, poses):
    """(n, 3, 3) the rotations of a grid in whose cells some (n, 3, 3) lie."""
    rot, tilt, _ = matrix_to_euler(poses)
    pixels = healpix.ang2pix(coarse.nside, np.radians(tilt), np.radians(rot), nest=True)
    frames = euler_to_matrix(*healpix_directions(coarse.nside)[pixels].T, 0.0)
    step = 360 / coarse.polar.n_angles
    turns = [parallel_transport_psi(frame[None], pose)[0] for frame, pose in zip(frames, poses)]
    return in_plane_rotation(step * np.rint(np.array(turns) / step)) @ frames


def _cell_terms(coarse, fine, halves, extent_a, rng):
    """[((samples, rings), (samples, rings)) float32] of each map: with Y at a pose drawn at random and ΔY = Y − the
    slice at the grid pose of its cell, means over each ring of Re conj(ΔY) Y and of |ΔY|², times its area."""
    polar = coarse.polar
    poses = random_rotations(CELL_SAMPLES, rng)
    # where the next level has the same directions and angles it only cuts the shifts
    grid = poses if fine.nside == coarse.nside and fine.polar == polar else _nearest(coarse, poses)
    points = polar.points()
    shifts = rng.uniform(-0.5, 0.5, (len(poses), 2)) * coarse.shift_step_a / extent_a
    moved = np.exp(-2j * np.pi * (shifts @ points.T)).astype(np.complex64)
    area = polar.ring_weights() * polar.n_angles
    found = []
    xp = array_module(halves[0])
    for half in halves:
        there, here = (to_host(slice_volume(half, xp.asarray(one.astype(np.float32)), xp.asarray(points)))
                       for one in (poses, grid))
        there = there * moved
        change = there - here
        found.append(tuple((values.reshape(len(there), polar.radius, -1).mean(axis=2) * area).astype(np.float32)
                           for values in ((change.conj() * there).real, np.abs(change) ** 2)))
    return found
