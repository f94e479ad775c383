"""Point groups in RELION's orientation, and what they do to poses and maps."""
from __future__ import annotations

import re

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from .errors import InputError
from .poses import directions_to_vectors, saff_kuijlaars_directions

_GOLDEN = (1.0 + np.sqrt(5.0)) / 2.0
# generators: (fold, axis); the axes as `relion_refine --print_symmetry_ops` of RELION 3.1.3 shows them.
# I1 has two-folds on the axes and five-folds in the xz plane; I2 is I1 turned by 90° about z, I3 and I4 have a
# five-fold and its two-fold in the xz plane turned so that a five-fold lies on z
_I1 = ((2, (1.0, 0.0, 0.0)), (5, (_GOLDEN, 0.0, -1.0)))
_I2 = ((2, (0.0, 0.0, 1.0)), (5, (1.0, 0.0, _GOLDEN)))
_I3 = ((5, (0.0, 0.0, 1.0)), (2, (-1.0, 0.0, _GOLDEN)))
_I4 = ((5, (0.0, 0.0, 1.0)), (2, (1.0, 0.0, _GOLDEN)))
_POLYHEDRAL = {
    "T": ((3, (0.0, 0.0, 1.0)), (2, (0.0, np.sqrt(2.0 / 3.0), np.sqrt(1.0 / 3.0)))),
    "O": ((4, (0.0, 0.0, 1.0)), (3, (1.0, 1.0, 1.0))),
    "I": _I2, "I1": _I1, "I2": _I2, "I3": _I3, "I4": _I4,
}
_ORDERS = {"T": 12, "O": 24, "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60}
ALLOWED = "C1, C2, …, D2, D3, …, T, O, I (= I2), I1, I2, I3, I4"


def point_group(name):
    """The rotations of a point group in RELION's orientation: (g, 3, 3) float64, the identity first.

    name : Cn (axis on z), Dn (n-fold on z, a two-fold on x), T (three-fold on z), O (four-folds on the axes),
    I1 … I4; I is I2, as in RELION. Case does not matter. Raises InputError for any other name.
    """
    text = str(name).strip().upper()
    cyclic = re.fullmatch(r"([CD])([1-9][0-9]*)", text)
    if cyclic:
        fold = int(cyclic.group(2))
        turns = _turns(fold, (0.0, 0.0, 1.0))
        if cyclic.group(1) == "C":
            return turns
        return np.concatenate([turns, turns @ _turns(2, (1.0, 0.0, 0.0))[1]])
    if text not in _POLYHEDRAL:
        raise InputError(f"point group '{name}' is not known; choose of {ALLOWED}")
    return _close(_POLYHEDRAL[text], _ORDERS[text])


def asymmetric_unit(directions_deg, group):
    """Which view directions lie in one asymmetric unit of the sphere.

    directions_deg : (n, 2) [rot, tilt] in degrees; group : (g, 3, 3) rotations or a group's name.
    Returns (n,) bool. Of the mates {S·d} of a direction exactly one lies inside; on the boundary, which is
    included, several do. The unit is the set of directions nearer to a fixed centre than to any of its mates
    (a Dirichlet domain), so it is convex and compact.
    """
    operators = _operators(group)
    vectors = directions_to_vectors(directions_deg)
    if len(operators) == 1:
        return np.ones(len(vectors), dtype=bool)
    centre = _unit_centre(operators)
    others = operators[1:] @ centre
    return np.all(vectors @ centre[:, None] >= vectors @ others.T - 1e-9, axis=1)


def symmetry_mates(rotations, group):
    """The equivalent poses A·Sᵀ of each pose: (n, 3, 3), group (g, 3, 3) or name → (n, g, 3, 3).

    All of them give the same projection of a map that has the symmetry; the first is the pose itself.
    """
    return np.einsum("nij,gkj->ngik", np.asarray(rotations, dtype=np.float64), _operators(group))


def rotate_volume(volume, rotation, shift_px=(0.0, 0.0, 0.0)):
    """Turn a map about n//2 and then move it: V'(p) = V(Rᵀ (p − shift)), so a density at q moves to R·q + shift.

    volume : (d, d, d) [z, y, x]; rotation : (3, 3) acting on (x, y, z); shift_px : (x, y, z) in px.
    Cubic spline interpolation, 0 outside the box. Returns (d, d, d) float32.
    """
    return _resample(_spline(volume), np.asarray(rotation, dtype=np.float64), np.asarray(shift_px, dtype=np.float64))


def symmetrise(volume, group):
    """The mean of a map over its symmetry mates, V'(p) = 1/g Σ V(Sᵀ p): (d, d, d) float32.

    volume : (d, d, d) [z, y, x]; group : (g, 3, 3) or name. Quarter turns about n//2 move voxels without
    interpolation (all of O, D2 and C4); other turns are cubic splines, about 0.7 s each for 128³. The corners of the
    box outside the inscribed sphere receive 0 from the mates whose box does not reach them.
    """
    operators = _operators(group)
    volume = _cube(volume)
    if len(operators) == 1:
        return volume.astype(np.float32)
    onto_itself = np.abs(operators - np.rint(operators)).max(axis=(1, 2)) < 1e-9
    total = np.zeros(volume.shape, dtype=np.float64)
    for operator in np.rint(operators[onto_itself]).astype(int):
        total += _permuted(volume, operator)
    if not onto_itself.all():
        spline = _spline(volume)
        for operator in operators[~onto_itself]:
            total += _resample(spline, operator, np.zeros(3))
    return (total / len(operators)).astype(np.float32)


def _operators(group):
    return point_group(group) if isinstance(group, str) else np.asarray(group, dtype=np.float64)


def _turns(fold, axis):
    axis = np.asarray(axis) / np.linalg.norm(axis)
    angles = 2.0 * np.pi * np.arange(fold) / fold
    return Rotation.from_rotvec(angles[:, None] * axis).as_matrix()


def _close(generators, order):
    """All products of the generators, the identity first."""
    steps = [_turns(fold, axis)[1] for fold, axis in generators]
    members = [np.eye(3)]
    for member in members:  # grows while it is walked, until no product is new
        for step in steps:
            product = step @ member
            if min(np.abs(product - known).max() for known in members) > 1e-6:
                members.append(product)
        if len(members) > order:
            raise AssertionError(f"the generators {generators} do not close into a group of {order}")
    return np.stack(members)


def _unit_centre(operators):
    """A direction as far from all its own mates as can be, in x ≥ 0 and up where the group leaves the choice."""
    candidates = directions_to_vectors(saff_kuijlaars_directions(2000))
    nearest_mate = np.max(np.einsum("gij,nj,ni->gn", operators[1:], candidates, candidates), axis=0)
    # of the equally good ones the tie is broken towards +z, then +x: a fixed, easily drawn choice
    score = nearest_mate - 1e-3 * candidates[:, 2] - 1e-4 * candidates[:, 0]
    return candidates[np.argmin(score)]


def _cube(volume):
    volume = np.asarray(volume)
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError(f"a volume of shape {volume.shape} is not a cube; give a map of equal sides")
    return volume


def _permuted(volume, operator):
    """V(Sᵀ p) for an S that takes the axes onto each other: transposed and flipped about n//2."""
    back = operator.T[::-1, ::-1]  # source index = centre + back · (target index − centre), for (z, y, x)
    axes = np.argmax(np.abs(back), axis=1)  # source axis i runs along target axis axes[i]
    turned = np.transpose(volume, np.argsort(axes))
    for target_axis, source_axis in zip(axes, range(3)):
        if back[source_axis, target_axis] < 0:
            turned = np.flip(turned, target_axis)
            if volume.shape[0] % 2 == 0:  # index 0 of an even box has no mate: it falls outside the box
                turned = np.roll(turned, 1, target_axis)
                turned[(slice(None),) * target_axis + (0,)] = 0
    return turned


def _spline(volume):
    return ndimage.spline_filter(_cube(volume).astype(np.float64), order=3, output=np.float64)


def _resample(spline, rotation, shift_px):
    centre = np.full(3, spline.shape[0] // 2, dtype=np.float64)
    back = rotation.T[::-1, ::-1]  # (x, y, z) acts on the indices (z, y, x)
    offset = centre - back @ (centre + shift_px[::-1])
    return ndimage.affine_transform(spline, back, offset, order=3, mode="constant", prefilter=False,
                                    output=np.float32)
