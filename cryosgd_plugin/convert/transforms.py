"""The pose inversion, the only one in the project: A and shift to Scipion's projection transform and back."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError


def transforms_from_poses(rotations, shifts_a, pixel_size):
    """(n, 4, 4) Scipion projection transforms M of rotations A (n, 3, 3) and shifts o (n, 2) in Å (None: zero)."""
    shifts_px = np.zeros((len(rotations), 3))
    if shifts_a is not None:
        shifts_px[:, :2] = np.asarray(shifts_a) / pixel_size
    transforms = np.zeros((len(rotations), 4, 4))
    # the inverse of [[A, −o], [0, 1]] is [[Aᵀ, Aᵀ·o], [0, 1]]
    transforms[:, :3, :3] = np.transpose(rotations, (0, 2, 1))
    transforms[:, :3, 3] = np.einsum("nji,nj->ni", rotations, shifts_px)
    transforms[:, 3, 3] = 1.0
    return transforms


def poses_from_transforms(transforms, pixel_size):
    """(A (n, 3, 3), o (n, 2) in Å) of Scipion projection transforms (n, 4, 4); the inverse of `transforms_from_poses`.

    Raises InputError for transforms that are no rotation (mirrored, scaled or singular).
    """
    rotations = np.transpose(transforms[:, :3, :3], (0, 2, 1))
    refuse_no_rotations(rotations)
    shifts_px = np.einsum("nij,nj->ni", rotations, transforms[:, :3, 3])[:, :2]
    return np.ascontiguousarray(rotations), shifts_px * pixel_size


def mate_transforms(transform, operators):
    """(g, 4, 4) the transforms of the poses A·S of one pose's transform (4, 4); operators S (g, 3, 3); shifts stay.

    (A·S)ᵀ = Sᵀ·Aᵀ, so M = [[Aᵀ, Aᵀ·o], [0, 1]] becomes [[Sᵀ, 0], [0, 1]] · M.
    """
    mates = np.tile(transform, (len(operators), 1, 1))
    mates[:, :3] = np.transpose(operators, (0, 2, 1)) @ transform[:3]
    return mates


def mirrored_transform(transform, signs):
    """(4, 4) the transform of the pose N·A·M under which the map mirrored by M has the old image, N = diag(1, 1, −1).

    transform : (4, 4) of A; signs : (3,) the diagonal of M (core/hand.py). The shift stays: N leaves x and y alone.
    """
    mirrored = np.array(transform, dtype=np.float64)
    mirrored[:3] *= np.asarray(signs)[:, None]
    mirrored[:3, 2] *= -1.0
    return mirrored


def refuse_no_rotations(rotations, ids=None):
    """Raise InputError where matrices (n, 3, 3) are mirrored, scaled or singular; ids (n,) name the particles."""
    wrong = np.flatnonzero(np.abs(np.einsum("nij,nkj->nik", rotations, rotations) - np.eye(3)).max(axis=(1, 2)) > 1e-3)
    if not wrong.size:
        wrong = np.flatnonzero(np.linalg.det(rotations) < 0)
    if wrong.size:
        number = wrong[0] + 1 if ids is None else ids[wrong[0]]
        raise InputError(f"the transform of particle {number} is no rotation (mirrored or scaled; {wrong.size} "
                         "such); take the particles from a 3D refinement")
