"""Where the axes of a point group lie in a map, and how much of the map the group explains."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.masks import spherical_average
from ..core.poses import euler_to_matrix, healpix_directions, in_plane_angles
from ..core.symmetry import asymmetric_unit, point_group
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
from .align_maps import WHITEN, Alignment

# the global search: view directions (HEALPix nside), in-plane angles on the full circle, Fourier radius
SEARCH_NSIDE, SEARCH_ANGLES, SEARCH_RADIUS = 8, 48, 7
# then the best of its trials at rising radius: (radius, trials kept for it)
STAGES = ((SEARCH_RADIUS, 5), (None, 2))
# groups of more operators see each plane often enough on six planes
FEW_OPERATORS = 3


@dataclass(frozen=True)
class GroupFit:
    """How well one point group fits a map.

    alignment : brings the map onto the group's axes (never mirrored); its correlation is the score
    score : share of the map's power, spherical average removed and spectrum half whitened, that survives symmetrisation
    operators : (g,) correlation of the map with itself turned by each operator, every shell weighing the same; the
        identity's 1 first
    curve : (radius + 1,) FSC of the map and its symmetrised self, both without their spherical average; 1 at shell 0
    """

    group: str
    alignment: Alignment
    score: float
    operators: np.ndarray
    curve: np.ndarray

    @property
    def order(self) -> int:
        return len(self.operators)

    @property
    def weakest(self) -> float:
        """Correlation under the operator that fits worst: what a group must not have that is only half there."""
        return float(self.operators.min())


def align_to_group(volume, group: str, *, radius: int):
    """Rotation and shift that bring a map onto the axes of a point group (RELION's orientation).

    Returns (Alignment, score): `correlation` and score are the share of the map's power (up to `radius`, without the
    spherical average, spectrum half whitened) that survives symmetrisation, 1 for a perfectly symmetric map.
    Raises InputError for an unknown group and for a map that is empty or holds NaN.
    """
    if len(point_group(group)) == 1:
        return Alignment(np.eye(3), np.zeros(3), False, 1.0), 1.0
    fit = GroupSearch(volume, radius).fit(group)
    return fit.alignment, fit.score


class GroupSearch:
    """One map prepared for the search of any number of groups.

    volume : (d, d, d) float32; radius : Fourier px up to which it is looked at.
    uneven : share of the power up to `radius` that is not spherical; only that can show a symmetry.
    """

    def __init__(self, volume, radius: int):
        check_map(volume, "the map")
        radius = check_radius(radius, len(volume))
        self.centre = centre_of_mass(volume)
        small, self.scale = working_map(volume, radius, self.centre)
        uneven = small - spherical_average(small)
        self._fans = {(stage, nside): Fan(uneven, min(radius, stage or radius), nside, WHITEN)
                      for stage, _ in STAGES for nside in (1, 2)}
        whole = Fan(small, radius, 2, 0.0).values(np.eye(3)[None])
        part = Fan(uneven, radius, 2, 0.0).values(np.eye(3)[None])
        self.uneven = float((np.abs(part) ** 2).sum() / (np.abs(whole) ** 2).sum())

    def fit(self, group: str) -> GroupFit:
        """The best place of one group's axes; raises InputError for an unknown group."""
        operators = point_group(group)
        trials = self._search(group, operators)
        for stage, kept in STAGES:
            fan = self._fans[stage, 2 if stage is None and len(operators) <= FEW_OPERATORS else 1]
            trials = [_polish(fan, operators, rotation, offset) for _, rotation, offset in _best(trials, kept)]
        score, rotation, offset = max(trials, key=lambda trial: trial[0])
        alignment = Alignment(rotation, -rotation @ (self.centre + offset / self.scale), False, float(score))
        return GroupFit(group.upper(), alignment, float(score),
                        *_shell_curves(self._fans[None, 2], operators, rotation, offset))

    def _search(self, group, operators):
        fan, rotations = self._fans[SEARCH_RADIUS, 1], _trials(group, operators)
        blocks = np.array_split(rotations, max(1, len(rotations) * len(operators) // 500))
        scores = np.concatenate([_scores(fan.values(_turned(operators, block).reshape(-1, 3, 3)), len(operators))
                                 for block in blocks])
        best = np.argsort(scores)[::-1][:STAGES[0][1]]
        return [(scores[index], rotations[index], np.zeros(3)) for index in best]


def _best(trials, kept):
    """The best trials; those of one score to three digits have reached the same place, or a mate of it."""
    distinct = {round(float(trial[0]), 3): trial for trial in trials}
    return [distinct[score] for score in sorted(distinct, reverse=True)[:kept]]


def _turned(operators, rotations):
    """(n, g, 3, 3): the map turned by each rotation and then back by each operator."""
    return np.einsum("gji,njk->ngik", operators, rotations)


def _scores(values, order):
    values = values.reshape(-1, order, values.shape[-2] * values.shape[-1])
    power = np.einsum("ngp,ngp->n", values, values.conj()).real / order
    return (np.abs(values.mean(axis=1)) ** 2).sum(axis=-1) / (power + 1e-30)


def _trials(group, operators):
    """Rotations that bring the map onto the group's axes in every distinguishable way, about 7° apart."""
    directions, angles = healpix_directions(SEARCH_NSIDE), in_plane_angles(SEARCH_ANGLES)
    fold = int(group[1:]) if group[0] in "cdCD" else None
    if fold is None:
        directions = directions[asymmetric_unit(directions, operators)]
        return _grid(directions, angles).transpose(0, 2, 1)
    # an axis has no sign; about it a cyclic group is the same at every angle, a dihedral one after half its turn
    upper = directions[directions[:, 1] < 90.01]
    step = 360.0 / SEARCH_ANGLES
    return _grid(upper, np.zeros(1) if group[0] in "cC" else np.arange(0, 180.0 / fold - 1e-9, min(step, 90.0 / fold)))


def _grid(directions, angles):
    rot, tilt = np.repeat(directions, len(angles), axis=0).T
    return euler_to_matrix(rot, tilt, np.tile(angles, len(directions)))


def _polish(fan, operators, rotation, offset):
    """The score's maximum near a trial: (score, rotation, offset of the centre in px of the fan's box)."""
    reach, order = 0.25 * fan.box, len(operators)
    stencil = small_turns()
    phase = 2 * np.pi / fan.box

    def seen(rotations, centre):
        """(n, g, p) values of the map about `centre`, and the frequencies (g, p, 3) of those of the first rotation."""
        turned = _turned(operators, rotations)
        values = fan.values(turned.reshape(-1, 3, 3)).reshape(len(rotations), order, -1)
        where = fan.frequencies.reshape(-1, 3) @ turned.astype(np.float32)
        return values * np.exp(1j * phase * (where @ centre.astype(np.float32))), where[0]

    def residuals(parameters):
        base = turn(parameters[:3]) @ rotation
        values, where = seen(stencil @ base, offset + reach * parameters[3:])
        norm = np.linalg.norm(values[0])
        along = 1j * phase * reach * np.moveaxis(where, -1, 0) * values[0]
        slopes = np.concatenate([turn_slopes(values), along])
        parts = np.concatenate([values[:1], slopes])
        # what symmetrisation would take away
        parts = stacked((parts - parts.mean(axis=1, keepdims=True)) / norm).reshape(7, -1).astype(float)
        return parts[0], parts[1:].T

    found, squares = refine(residuals, np.zeros(6))
    return 1 - squares, turn(found[:3]) @ rotation, offset + reach * found[3:]


def _shell_curves(fan, operators, rotation, offset):
    """((g,) correlations of the operators, (radius + 1,) FSC with the symmetrised map)."""
    turned = _turned(operators, rotation[None])[0]
    phases = np.exp(2j * np.pi / fan.box * (fan.frequencies.reshape(-1, 3) @ turned @ offset))
    values = fan.values(turned).reshape(len(operators), -1) * phases
    rings = values.reshape(len(operators), len(fan.planes), fan.radius, -1)
    products = np.einsum("prk,gprk->gr", rings[0].conj(), rings).real
    powers = np.einsum("gprk,gprk->gr", rings, rings.conj()).real
    symmetric = rings.mean(axis=0)
    curve = np.einsum("prk,prk->r", rings[0].conj(), symmetric).real / np.sqrt(
        powers[0] * np.einsum("prk,prk->r", symmetric, symmetric.conj()).real + 1e-30)
    correlations = products / np.sqrt(powers * powers[0] + 1e-30)
    return correlations.mean(axis=1), np.concatenate([[1.0], curve])
