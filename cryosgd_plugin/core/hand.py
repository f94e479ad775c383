"""The mirror image of a map, and the poses under which it has the old map's projections."""
from __future__ import annotations

import numpy as np

from .errors import InputError
from .particles import ParticleTable

# array axes [z, y, x] that a mirror reverses
MIRRORS = {"xyz": (0, 1, 2), "x": (2,), "y": (1,), "z": (0,)}


def flip_volume(volume, axis="xyz"):
    """The mirror image of a map about the voxel n//2: V'(r) = V(M r), M diagonal with −1 at the mirrored axes.

    volume : (d, d, d) [z, y, x]. axis : "xyz" (inversion), "x", "y" or "z".
    In an even box the first plane has no mate within the box and stays where it is, as in a periodic one.
    """
    for number in MIRRORS[axis]:
        d = volume.shape[number]
        volume = np.take(volume, (2 * (d // 2) - np.arange(d)) % d, axis=number)
    return volume


def mirror_signs(axis="xyz"):
    """(3,) the diagonal of M for (x, y, z): −1 where mirrored."""
    return np.array([-1.0 if 2 - column in MIRRORS[axis] else 1.0 for column in range(3)])


def flip_poses(table: ParticleTable, axis="xyz") -> ParticleTable:
    """The table with the poses under which the mirrored map has the old projections; shifts stay.

    The image Σ_z V(Aᵀ(x, y, z)) doesn't change with z → −z in the sum. With V' = V∘M it is therefore the image of V'
    under A' = N A M, N = diag(1, 1, −1), a rotation again. For the inversion A' = Z(180°) A: psi + 180°.
    Raises InputError where the table has no poses.
    """
    if table.rotations is None:
        raise InputError("the particles have no poses (rlnAngleRot, rlnAngleTilt, rlnAnglePsi); leave --particles out")
    flipped = table.take(np.arange(len(table)))
    flipped.rotations = np.array([1.0, 1.0, -1.0])[:, None] * table.rotations * mirror_signs(axis)
    return flipped
