"""How much better than what is seen of it at low resolution a pose can be: paper 0 eq. 10-24, corrected.

The score of a pose is s = Re Σ conj(C Y) S X / σ² − ½ Σ C² |Y|² / σ², the error E of eq. 9 turned round and less the
image's own power, so the pose of least error scores highest. Up to the radius L of a level it is computed; beyond, and
for poses inside the cell that a grid pose stands for, it is bounded from above. If X = C Y(r*) / s + noise with a model
whose shells are too weak by the factor s (its shrinkage), then for every pose r

    tail(r) ≤ p_r p̂ / s − ½ p_r² + k p_r,         p_r² = Σ_{l > L} C² |Y(r)|² / σ²,   p̂ = max_r p_r,

with probability Φ(k) for the true pose: ⟨C Y, S X⟩ has the variance p_r² (eq. 21 gives half of it, so its 4σ is 2.83),
and Cauchy-Schwarz with the model's scale gives the rest (eq. 16-17 hold for s = 1 only). The strongest slice p̂ depends
on the image's CTF. A pose in the cell of a grid pose, off by what changes its slice by ω² = Σ_{l ≤ L} C² |ΔY|² / σ²,
scores more than the grid pose by at most ½ (2/s − 1) ω² + k ω. Noise below and beyond L is independent, so both
deviations add in squares: k √(ω² + p_r²).
"""
from __future__ import annotations

from dataclasses import dataclass

import healpix
import numpy as np

from ...core.backend import to_host
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

# harmonics of |Y|² and C² over the in-plane angle that are multiplied one by one; the rest as one norm
EXACT_HARMONICS = 3
# poses whose cells are sampled for ω, and the share of them whose ω is at most the one that is used
CELL_SAMPLES, CELL_QUANTILE = 2000, 0.999


@dataclass(frozen=True)
class CellBound:
    """Of each image, what is added to the scores of a level's grid poses.

    tail : (n, d) float32 p_r p̂ / s − ½ p_r² for the largest p_r in each direction's cell
    tail_power : (n, d) float32 that p_r²; cell : (n,) float32 ½ (2/s − 1) ω²; cell_power : (n,) float32 ω²
    """

    tail: np.ndarray
    tail_power: np.ndarray
    cell: np.ndarray
    cell_power: np.ndarray

    def most(self, i: int, deviations: float):
        """(d,) float32: how much more than its grid pose any pose in a direction's cell may score in image i."""
        return self.tail[i] + self.cell[i] + deviations * np.sqrt(self.tail_power[i] + self.cell_power[i])


class LevelBound:
    """The bound's share that depends on the maps alone, for one level of a search.

    coarse : PoseGrid of the level (HEALPix); fine : PoseGrid of the next, made within it
    halves : K half volumes; radius : Fourier radius in use; n_angles : of its rings
    shrinkage : (radius + 1,) s of each shell, below 1 where the model is too weak
    extent_a : side of the box, Å; rng : draws the poses whose cells are measured
    """

    def __init__(self, coarse, fine, halves, radius: int, n_angles: int, shrinkage, extent_a: float, rng):
        self.level_radius, self.radius = coarse.polar.radius, radius
        self.shrinkage = np.asarray(shrinkage, np.float32)[1:radius + 1]
        self._tail = _tail_power(coarse, fine, halves, PolarGrid(radius, n_angles))
        self._cells = _cell_power(coarse, halves, extent_a, rng)

    def of(self, ctf_power) -> CellBound:
        """For images whose C²/σ² on the rings is given: (n, radius, n_angles / 2)."""
        ctf = _circle_features(to_host(ctf_power))
        n, inner, outer = len(ctf), ctf[:, :self.level_radius, 0], ctf[:, self.level_radius:]
        power = outer.reshape(n, -1) @ self._tail.T
        within, beyond = np.split(self.shrinkage, [self.level_radius])
        strongest = ((outer / beyond[:, None] ** 2).reshape(n, -1) @ self._tail.T).max(axis=1)
        tail = np.sqrt(power * strongest[:, None]) - 0.5 * power
        worst = np.quantile((inner * (1 / within - 0.5)) @ self._cells.T, CELL_QUANTILE, axis=1)
        return CellBound(tail, power, worst.astype(np.float32),
                         np.quantile(inner @ self._cells.T, CELL_QUANTILE, axis=1).astype(np.float32))


def _circle_features(values):
    """(…, rings, EXACT_HARMONICS + 2) float32, non-negative, of functions of period π given on half circles: the mean
    of a product of two of them is at most the sum of the products of their features, at whatever angle between them."""
    spectrum = np.abs(harmonics(values)) / values.shape[-1]
    exact = np.sqrt(2) * spectrum[..., 1:EXACT_HARMONICS + 1]
    rest = np.sqrt(2 * (spectrum[..., EXACT_HARMONICS + 1:] ** 2).sum(axis=-1))
    return np.concatenate([spectrum[..., :1], exact, rest[..., None]], axis=-1).astype(np.float32)


def _tail_power(coarse, fine, halves, polar):
    """(K · d, rings beyond the level · features) float32: of |Y|² on each ring, times its area, the largest features
    that a direction of the finer grid has in each cell."""
    first = coarse.polar.radius
    points = polar.points()[first * (polar.n_angles // 2):]
    area = (polar.ring_weights() * polar.n_angles)[first:, None]
    parents = np.searchsorted(coarse.rows, fine.parents)
    found = []
    for half in halves:
        values = to_host(slice_volume(half, fine.frames, points))
        values = values.reshape(len(values), len(area), polar.n_angles // 2)
        features = _circle_features(values.real ** 2 + values.imag ** 2) * area
        largest = np.zeros((coarse.n_directions,) + features.shape[1:], np.float32)
        np.maximum.at(largest, parents, features)
        found.append(largest.reshape(len(largest), -1))
    return np.concatenate(found)


def _cell_power(coarse, halves, extent_a, rng):
    """(samples, rings) float32: mean over each ring of |Y(pose) − Y(grid pose of its cell)|², times its area, for
    poses drawn at random."""
    polar = coarse.polar
    poses = random_rotations(CELL_SAMPLES, rng)
    rot, tilt, _ = matrix_to_euler(poses)
    pixels = healpix.ang2pix(coarse.nside, np.radians(tilt), np.radians(rot), nest=True)
    frames = euler_to_matrix(*healpix_directions(coarse.nside)[pixels].T, 0.0)
    step = 360 / polar.n_angles
    turns = [parallel_transport_psi(frame[None], pose)[0] for frame, pose in zip(frames, poses)]
    grid = in_plane_rotation(step * np.rint(np.array(turns) / step)) @ frames
    points = polar.points()
    shifts = rng.uniform(-0.5, 0.5, (len(poses), 2)) * coarse.shift_step_a / extent_a
    moved = np.exp(-2j * np.pi * (shifts @ points.T)).astype(np.complex64)
    area = polar.ring_weights() * polar.n_angles
    found = []
    for number, half in enumerate(halves):
        mine = slice(number, None, len(halves))
        there = to_host(slice_volume(half, poses[mine].astype(np.float32), points)) * moved[mine]
        here = to_host(slice_volume(half, grid[mine].astype(np.float32), points))
        power = (np.abs(there - here) ** 2).reshape(len(there), polar.radius, -1).mean(axis=2)
        found.append(power * area)
    return np.concatenate(found).astype(np.float32)
