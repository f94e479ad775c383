"""A map from particles of known poses: the yardstick that ab initio poses are held against."""
from __future__ import annotations

import numpy as np

from ..core.ctf import aberration_phase, ctf_for, magnified_rotations
from ..core.errors import InputError
from ..core.fourier import fft2_centred, frequencies_2d
from ..core.symmetry import point_group
from ..ops.pose_insert import insert_poses
from ..ops.slicing import from_half_volume, half_volume_radius, half_volume_shape, hermitian

BLOCK = 100


def reconstruct(source, table, *, symmetry: str = "C1", radius: int = None, noise=None, rows=None) -> np.ndarray:
    """Σ C X / Σ C² on a padded trilinear grid, gridding-corrected, unregularised but for a floor on the weights.

    source : `images(rows, box)`; table : ParticleTable with rotations and shifts_a
    radius : largest Fourier radius (default: one below Nyquist); noise : σ² by Fourier radius (default: white)
    Returns (box,)*3 float32. Raises InputError where the table has no poses.
    """
    radius = table.box_size // 2 - 1 if radius is None else radius
    numerator, weight = back_projected(source, table, radius=radius, symmetry=symmetry, noise=noise, rows=rows)
    distance = half_volume_radius(radius)
    solved = numerator / np.maximum(weight, 1e-3 * weight[distance <= radius].mean())
    return from_half_volume(np.where(distance <= radius, solved, 0).astype(np.complex64), table.box_size)


def back_projected(source, table, *, radius: int, symmetry: str = "C1", noise=None, rows=None,
                   kernel: str = "trilinear"):
    """(numerator, weight): Hermitian half volumes Σ C X / σ² and Σ C² / σ² of images of known poses.

    Arguments and errors as in `reconstruct`; kernel : of ops/pose_insert.py.
    """
    if table.rotations is None or table.shifts_a is None:
        raise InputError("the particles have no poses; a reconstruction needs rlnAngleRot and the other five")
    box, pixel = table.box_size, table.pixel_size
    kx, ky = (k.ravel() for k in frequencies_2d(box, pixel))
    points = np.rint(np.stack([kx, ky], axis=1) * (box * pixel))
    # of the column kx = 0 the rfft holds both Friedel mates
    inside = (points ** 2).sum(axis=1) <= radius ** 2
    inside &= (points[:, 0] > 0.5) | (points[:, 1] > 0.5)
    kx, ky, points = kx[inside], ky[inside], points[inside].astype(np.float32)
    sigma2 = np.ones(len(kx), np.float32) if noise is None else np.interp(
        np.hypot(kx, ky) * box * pixel, np.arange(len(noise)), noise).astype(np.float32)
    numerator = np.zeros(half_volume_shape(radius), np.complex64)
    weight = np.zeros(numerator.shape, np.float32)
    rows = np.arange(len(table)) if rows is None else rows
    for first in range(0, len(rows), BLOCK):
        block = rows[first:first + BLOCK]
        spectrum = fft2_centred(source.images(block, box)).reshape(len(block), -1)[:, inside]
        rotations = table.rotations[block].copy()
        for group in np.unique(table.optics_id[block]):
            members = table.optics_id[block] == group
            optics = table.optics[group]
            spectrum[members] *= np.exp(-1j * aberration_phase(optics, kx, ky)).astype(np.complex64)
            rotations[members] = magnified_rotations(optics, rotations[members])
        ctf = ctf_for(table, block, kx, ky)
        values, weights = (spectrum * ctf / sigma2).astype(np.complex64), (ctf ** 2 / sigma2).astype(np.float32)
        one = np.ones(len(block), np.float32)
        for operator in point_group(symmetry):
            part = insert_poses(values, weights, points, rotations @ operator, table.shifts_a[block] / (box * pixel),
                                np.arange(len(block)), one, radius, kernel=kernel)
            numerator += part[0]
            weight += part[1]
    return hermitian(numerator), hermitian(weight)
