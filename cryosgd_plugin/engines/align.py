"""Bringing maps onto each other, and onto the axes of a point group.

Maps are compared through their slices on a fixed fan of central planes: a rotated map's values there are slices of the
unrotated one, so a trial costs a few thousand interpolations and no resampling.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from ..core.errors import InputError
from ..core.poses import euler_to_matrix, healpix_directions, in_plane_angles
from ..core.symmetry import asymmetric_unit, point_group, rotate_volume
from ..ops.polar import PolarGrid
from ..ops.slicing import slice_volume, to_half_volume

# trials of the global search: nside 8 is 7.3 degrees, right for up to about eight shells; six planes tell them apart
SEARCH_NSIDE, SEARCH_RADIUS, SEARCH_ANGLES, SEARCH_PLANES_NSIDE = 8, 7, 48, 1
PLANES_NSIDE = 2
KEPT_TRIALS = 6


@dataclass(frozen=True)
class Alignment:
    """What brings one map onto another: mirror z first if `mirrored`, then V'(p) = V(Rᵀ(p − shift)).

    rotation : (3, 3); shift_px : (3,) x, y, z; correlation : of the slices compared, at the finest radius used
    """

    rotation: np.ndarray
    shift_px: np.ndarray
    mirrored: bool
    correlation: float

    def apply(self, volume):
        """The aligned map, resampled by cubic splines."""
        return rotate_volume(mirror(volume) if self.mirrored else volume, self.rotation, self.shift_px)


def mirror(volume):
    """The other hand: z reversed about the centre n // 2."""
    return np.roll(volume[::-1], 1, axis=0) if len(volume) % 2 == 0 else volume[::-1].copy()


def align_volume(moving, reference, *, radius: int, hands: bool = True) -> Alignment:
    """Rotation, shift and hand that best bring `moving` onto `reference`.

    moving, reference : (d, d, d) float32, the same pixel size; radius : Fourier px up to which they are compared
    hands : also try the mirror image

    Raises
    ------
    InputError : boxes differ
    """
    if moving.shape != reference.shape:
        raise InputError(f"maps of {moving.shape[0]} and {reference.shape[0]} px can't be aligned; "
                         "resample one of them first")
    best = None
    for mirrored in (False, True) if hands else (False,):
        candidate = _align(mirror(moving) if mirrored else moving, reference, radius)
        if best is None or candidate[0] > best.correlation:
            best = Alignment(candidate[1], candidate[2], mirrored, candidate[0])
    return best


def align_to_group(volume, group: str, *, radius: int):
    """Rotation and shift that bring a map onto the axes of a point group (RELION's orientation).

    Returns (Alignment, score): `correlation` and score are the share of the map's power (up to `radius`, without the
    spherical average) that survives symmetrisation, 1 for a perfectly symmetric map.
    """
    operators = point_group(group)
    if len(operators) == 1:
        return Alignment(np.eye(3), np.zeros(3), False, 1.0), 1.0
    directions = healpix_directions(SEARCH_NSIDE)
    directions = directions[asymmetric_unit(directions, group)]
    trials = _rotations(directions).transpose(0, 2, 1)
    centre = _centre_of_mass(volume)
    coarse = _Fan(volume, min(radius, SEARCH_RADIUS), centre, SEARCH_PLANES_NSIDE)
    scores = np.concatenate([coarse.symmetry_scores(block, np.zeros(3), operators)
                             for block in np.array_split(trials, max(1, len(trials) * len(operators) // 500))])
    fine = _Fan(volume, radius, centre)

    def loss(parameters, start):
        rotation = Rotation.from_rotvec(parameters[:3]).as_matrix() @ start
        return -fine.symmetry_scores(rotation[None], 5 * parameters[3:], operators)[0]

    best = None
    for index in np.argsort(scores)[::-1][:KEPT_TRIALS]:
        found = _polish(loss, trials[index])
        if best is None or -found.fun > best[0]:
            rotation = Rotation.from_rotvec(found.x[:3]).as_matrix() @ trials[index]
            best = -found.fun, rotation, centre + 5 * found.x[3:]
    score, rotation, offset = best
    return Alignment(rotation, -rotation @ offset, False, score), score


class _Fan:
    """Slices of one map, its point `centre` (x, y, z px from the box's) moved to the origin, on a fan of planes."""

    def __init__(self, volume, radius, centre, planes_nside=PLANES_NSIDE):
        self.box = volume.shape[0]
        centred = ndimage.shift(np.asarray(volume, np.float32), -np.asarray(centre)[::-1], order=3)
        self.half = to_half_volume(centred, radius)
        self.polar = PolarGrid(radius, 4 * max(4, int(np.ceil(np.pi * radius / 4))))
        self.points = self.polar.points()
        directions = healpix_directions(planes_nside)
        directions = directions[directions[:, 1] < 90.01]
        self.planes = euler_to_matrix(directions[:, 0], directions[:, 1], np.zeros(len(directions)))
        self.weights = np.repeat(self.polar.ring_weights(), self.polar.n_angles // 2).astype(np.float32)

    def values(self, rotations, offset):
        """(n, planes, points) of the map moved by −offset (x, y, z px) and then rotated by each rotation."""
        turned = np.einsum("pij,njk->npik", self.planes, rotations).reshape(-1, 3, 3)
        values = slice_volume(self.half, turned, self.points)
        if np.any(offset):
            along = turned[:, :2, :] @ np.asarray(offset, float)
            values = values * np.exp(2j * np.pi * (along @ self.points.T) / self.box).astype(np.complex64)
        return values.reshape(len(rotations), len(self.planes), -1)

    def symmetry_scores(self, rotations, offset, operators):
        """(n,) power of the map turned by each rotation and symmetrised, over that of the map as it is.

        Each ring's mean over all planes is removed from both: it is the spherical average, which proves nothing.
        """
        turned = np.einsum("gji,njk->ngik", operators, rotations).reshape(-1, 3, 3)
        values = self.values(turned, offset)
        rings = values.reshape(len(rotations), len(operators), len(self.planes), self.polar.radius, -1)
        rings = rings - rings.real.mean(axis=(1, 2, 4))[:, None, None, :, None]
        weights = self.weights.reshape(self.polar.radius, -1)
        symmetric = (np.abs(rings.mean(axis=1)) ** 2 * weights).sum(axis=(1, 2, 3))
        return symmetric / (np.abs(rings) ** 2 * weights).mean(axis=1).sum(axis=(1, 2, 3))


def _align(moving, reference, radius):
    origin, centre = _centre_of_mass(reference), _centre_of_mass(moving)
    coarse, target = _fans(moving, centre, reference, origin, min(radius, SEARCH_RADIUS), SEARCH_PLANES_NSIDE)
    trials = _rotations(healpix_directions(SEARCH_NSIDE))
    scores = np.concatenate([_correlations(coarse.values(block, np.zeros(3)), target, coarse.weights)
                             for block in np.array_split(trials, 100)])
    fine, fine_target = _fans(moving, centre, reference, origin, radius, PLANES_NSIDE)

    def loss(parameters, start):
        rotation = Rotation.from_rotvec(parameters[:3]).as_matrix() @ start
        values = fine.values(rotation[None], 5 * parameters[3:])
        return -_correlations(values, fine_target, fine.weights)[0]

    best = None
    for index in _distinct(trials, scores):
        found = _polish(loss, trials[index])
        if best is None or -found.fun > best[0]:
            rotation = Rotation.from_rotvec(found.x[:3]).as_matrix() @ trials[index]
            best = -found.fun, rotation, centre + 5 * found.x[3:]
    correlation, rotation, offset = best
    return correlation, rotation, origin - rotation @ offset


def _fans(moving, centre, reference, origin, radius, planes_nside):
    fan = _Fan(moving, radius, centre, planes_nside)
    return fan, _Fan(reference, radius, origin, planes_nside).values(np.eye(3)[None], np.zeros(3))[0]


def _correlations(values, target, weights):
    cross = (np.conj(target) * values).real @ weights
    norm = np.sqrt(((np.abs(values) ** 2) @ weights).sum(axis=-1) * ((np.abs(target) ** 2) @ weights).sum())
    return cross.sum(axis=-1) / norm


def _distinct(trials, scores):
    """The best trials that are not neighbours of a better one."""
    kept = []
    for index in np.argsort(scores)[::-1]:
        angles = [Rotation.from_matrix(trials[index] @ trials[k].T).magnitude() for k in kept]
        if not angles or min(angles) > np.radians(15):
            kept.append(index)
        if len(kept) == KEPT_TRIALS:
            break
    return kept


def _polish(loss, start):
    simplex = np.vstack([np.zeros(6), 0.1 * np.eye(6)])
    return optimize.minimize(loss, np.zeros(6), args=(start,), method="Nelder-Mead",
                             options=dict(initial_simplex=simplex, maxfev=400, xatol=1e-4, fatol=1e-6))


def _rotations(directions):
    angles = in_plane_angles(SEARCH_ANGLES)
    rot, tilt = np.repeat(directions, len(angles), axis=0).T
    return euler_to_matrix(rot, tilt, np.tile(angles, len(directions)))


def _centre_of_mass(volume):
    """(x, y, z) px from the box centre, of the density above its 90th percentile's half."""
    level = 0.5 * np.percentile(volume, 98)
    positive = np.clip(ndimage.gaussian_filter(np.asarray(volume, float), 1) - level, 0, None)
    if positive.sum() <= 0:
        return np.zeros(3)
    return (np.array(ndimage.center_of_mass(positive)) - volume.shape[0] // 2)[::-1]
