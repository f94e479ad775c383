"""Bringing maps onto each other: rotation, shift and hand.

Global search over rotations and shifts together at low resolution, then least squares at rising resolution for the
best trials. The centres of mass only start the search: in a noisy map they lie pixels away, so the shift of every
trial rotation is searched as well (a cross-correlation, one matrix product for all).
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..core.errors import InputError
from ..core.poses import euler_to_matrix, healpix_directions, in_plane_angles
from ..core.symmetry import rotate_volume
from .align_fan import (
    Fan,
    centre_of_mass,
    check_map,
    check_radius,
    refine,
    small_turns,
    stacked,
    turn,
    turn_slopes,
    working_map,
)

# shells compared where the user states no resolution: a particle that fills its box shows about a tenth of its size
DEFAULT_SHELLS = 16
# trials of the global search, 15° apart, seen up to shell 5: (HEALPix nside, in-plane angles, Fourier radius)
SEARCH_NSIDE, SEARCH_ANGLES, SEARCH_RADIUS = 4, 24, 5
# shifts searched reach this share of the box, in steps of a third of the finest period
SEARCH_REACH = 0.15
# then the best of them at rising Fourier radius: (radius, trials kept for it, HEALPix nside of the planes)
STAGES = ((7, 24, 1), (11, 8, 1), (None, 3, 2))
# share of the whitening of the spectrum: none would let the first shells alone decide, all of it the noise
WHITEN = 0.5


@dataclass(frozen=True)
class Alignment:
    """What brings one map onto another: mirror z first if `mirrored`, then V'(p) = V(Rᵀ(p − shift)).

    rotation : (3, 3); shift_px : (3,) x, y, z; correlation : of the slices compared, up to the radius asked for, their
    spectra half whitened: 1 for the same map
    """

    rotation: np.ndarray
    shift_px: np.ndarray
    mirrored: bool
    correlation: float

    def apply(self, volume):
        """The aligned map, resampled by cubic splines."""
        return rotate_volume(mirror(volume) if self.mirrored else volume, self.rotation, self.shift_px)

    def then(self, second: Alignment) -> Alignment:
        """This alignment followed by another, as one; its correlation is the lower of the two."""
        flip = np.diag([1.0, 1.0, -1.0]) if second.mirrored else np.eye(3)
        return Alignment(second.rotation @ flip @ self.rotation @ flip,
                         second.rotation @ flip @ self.shift_px + second.shift_px,
                         self.mirrored != second.mirrored, min(self.correlation, second.correlation))

    def inverse(self) -> Alignment:
        """What takes the aligned map back."""
        flip = np.diag([1.0, 1.0, -1.0]) if self.mirrored else np.eye(3)
        rotation = flip @ self.rotation.T @ flip
        return Alignment(rotation, -rotation @ flip @ self.shift_px, self.mirrored, self.correlation)


def compared_radius(box: int, pixel_size: float, *, resolution_a=None, shells=None) -> int:
    """The Fourier radius up to which maps of `box` px at pixel_size Å/px are compared.

    resolution_a : Å, or shells : their number; of neither DEFAULT_SHELLS
    Raises InputError where the box can't hold it.
    """
    if resolution_a is not None:
        if not resolution_a > 0:
            raise InputError(f"a resolution of {resolution_a:g} Å is not positive; give for example "
                             f"{box * pixel_size / min(DEFAULT_SHELLS, box // 2 - 1):.3g}, or none")
        shells = int(round(box * pixel_size / resolution_a))
    if shells is None:
        return min(DEFAULT_SHELLS, box // 2 - 1)
    if not 3 <= shells <= box // 2:
        raise InputError(f"{box * pixel_size / max(shells, 1e-9):.3g} Å is shell {shells} of a box of {box} px at "
                         f"{pixel_size:.4g} Å/px, which shows shells 3 to {box // 2}; give a resolution between "
                         f"{2 * pixel_size:.3g} and {box * pixel_size / 3:.3g} Å")
    return shells


def mirror(volume):
    """The other hand: z reversed about the centre n // 2."""
    return np.roll(volume[::-1], 1, axis=0) if len(volume) % 2 == 0 else volume[::-1].copy()


def align_volume(moving, reference, *, radius: int, hands: bool = True) -> Alignment:
    """Rotation, shift and hand that best bring `moving` onto `reference`.

    moving, reference : (d, d, d) float32, the same pixel size; radius : Fourier px up to which they are compared
    hands : also try the mirror image

    Raises
    ------
    InputError : boxes differ, a map is empty or holds NaN, the radius is beyond Nyquist
    """
    return max(align_hands(moving, reference, radius=radius, hands=hands), key=lambda found: found.correlation)


def align_hands(moving, reference, *, radius: int, hands: bool = True) -> tuple:
    """As `align_volume`, but the best Alignment of each hand: (as it is, mirrored), or (as it is,)."""
    if np.shape(moving) != np.shape(reference):
        raise InputError(f"maps of {np.shape(moving)[0]} and {np.shape(reference)[0]} px can't be aligned; "
                         "resample one of them first")
    target = PreparedMap(reference, radius, "the reference")
    return tuple(align_prepared(PreparedMap(mirror(moving) if mirrored else moving, radius, "the map to align"),
                                target, mirrored) for mirrored in ((False, True) if hands else (False,)))


class PreparedMap:
    """A map centred, resampled and cut into fans, one a stage: made once where it is aligned many times.

    volume : (d, d, d); radius : Fourier px; what : its name in messages. Raises InputError as `align_volume` does.
    """

    def __init__(self, volume, radius: int, what: str = "the map"):
        check_map(volume, what)
        radius = check_radius(radius, len(volume))
        self.centre = centre_of_mass(volume)
        small, self.scale = working_map(volume, radius, self.centre)
        self.coarse = Fan(small, min(radius, SEARCH_RADIUS), 1, WHITEN)
        self.stages = [Fan(small, min(radius, stage or radius), nside, WHITEN) for stage, _, nside in STAGES]


def align_prepared(moving: PreparedMap, target: PreparedMap, mirrored: bool = False) -> Alignment:
    """The best Alignment of one prepared map onto another of the same box and radius, as they are.

    mirrored : what the result states: whether `moving` was made of the mirrored map.
    """
    trials = _search(moving.coarse, target.coarse)
    for (_, kept, _), fan, reference in zip(STAGES, moving.stages, target.stages):
        trials = [_polish(fan, reference, rotation, shift) for _, rotation, shift in _distinct(trials, kept)]
    correlation, rotation, shift = max(trials, key=lambda trial: trial[0])
    correlation, rotation, shift = _weighted_polish(fan, reference, rotation, shift)
    shift_px = shift / moving.scale + target.centre - rotation @ moving.centre
    return Alignment(rotation, shift_px, mirrored, float(correlation))


def _search(fan, reference):
    """[(correlation, rotation, shift in px of the fan's box)] of all trial rotations, each at its best shift."""
    target = np.conj(reference.values(np.eye(3)[None])[0])
    shifts, phases = _shift_table(fan)
    rotations = _rotations(SEARCH_NSIDE, SEARCH_ANGLES)
    best, where, norms = [], [], []
    for block in np.array_split(rotations, 12):
        values = fan.values(block)
        norms.append(np.linalg.norm(values.reshape(len(block), -1), axis=1))
        scores = stacked((values * target).reshape(len(block), -1)) @ phases
        where.append(scores.argmax(axis=1))
        best.append(scores.max(axis=1))
    correlations = np.concatenate(best) / (np.concatenate(norms) * np.linalg.norm(target) + 1e-30)
    return list(zip(correlations, rotations, shifts[np.concatenate(where)]))


def _weighted_polish(fan, reference, rotation, shift):
    """The last polish, each ring weighted by what the maps share of it, so that noise does not blur the answer."""
    a = (fan.values(rotation[None])[0] * fan.shift_phases(shift)).reshape(len(fan.planes), fan.radius, -1)
    b = reference.values(np.eye(3)[None])[0].reshape(a.shape)
    power = np.sqrt((np.abs(a) ** 2).sum(axis=(0, 2)) * (np.abs(b) ** 2).sum(axis=(0, 2))) + 1e-30
    shared = np.clip((np.conj(a) * b).real.sum(axis=(0, 2)) / power, 0.01, 0.95)
    gain = shared / (1 - shared ** 2) * np.arange(1, fan.radius + 1) / power
    _, rotation, shift = _polish(fan.with_gain(gain), reference.with_gain(gain), rotation, shift)
    return _correlation(fan, reference, rotation, shift), rotation, shift


def _correlation(fan, reference, rotation, shift):
    a, b = fan.values(rotation[None])[0] * fan.shift_phases(shift), reference.values(np.eye(3)[None])[0]
    return (np.conj(a) * b).real.sum() / (np.linalg.norm(a) * np.linalg.norm(b))


def _polish(fan, reference, rotation, shift):
    """The correlation's maximum near a trial: (correlation, rotation, shift)."""
    target = reference.values(np.eye(3)[None])[0]
    target = target / np.linalg.norm(target)
    # a shift by this many px weighs as much as a turn by one radian
    reach = 0.25 * fan.box
    stencil = small_turns()

    def residuals(parameters):
        values = fan.values(stencil @ (turn(parameters[:3]) @ rotation)) * fan.shift_phases(
            shift + reach * parameters[3:])
        unit = (values[0] / np.linalg.norm(values[0])).ravel()
        along = (-2j * np.pi * reach / fan.box) * fan.frequencies.reshape(-1, 3).T * unit
        # turning hardly changes the norm, but what it does change is no residual
        turned = turn_slopes(values).reshape(3, -1) / np.linalg.norm(values[0])
        turned = turned - (turned @ np.conj(unit)).real[:, None] * unit
        slopes = stacked(np.concatenate([turned, along]))
        return stacked(unit - target.ravel()).astype(float), slopes.T.astype(float)

    found, squares = refine(residuals, np.zeros(6))
    return 1 - 0.5 * squares, turn(found[:3]) @ rotation, shift + reach * found[3:]


def _distinct(trials, kept, apart_deg=10.0):
    """The best trials that are not neighbours of a better one."""
    chosen = []
    # the trace of the difference rotation is 1 + 2 cos(angle)
    limit = 1 + 2 * np.cos(np.radians(apart_deg))
    for trial in sorted(trials, key=lambda trial: -trial[0]):
        if all(np.sum(trial[1] * other[1]) < limit for other in chosen):
            chosen.append(trial)
        if len(chosen) == kept:
            break
    return chosen


@lru_cache(maxsize=4)
def _rotations(nside, n_angles):
    directions, angles = healpix_directions(nside), in_plane_angles(n_angles)
    rot, tilt = np.repeat(directions, len(angles), axis=0).T
    return euler_to_matrix(rot, tilt, np.tile(angles, len(directions)))


def _shift_table(fan):
    """((s, 3) shifts in px, (2·values, s) float32): Re Σ values · exp(−2πi k·shift) as one product of real matrices."""
    step = fan.box / (3.0 * fan.radius)
    n = int(np.ceil(SEARCH_REACH * fan.box / step))
    shifts = step * np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    angles = (2 * np.pi / fan.box) * fan.frequencies.reshape(-1, 3) @ shifts.T
    return shifts, np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32)
