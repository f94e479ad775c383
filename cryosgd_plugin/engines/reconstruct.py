"""A map from particles of known poses: the yardstick that ab initio poses are held against."""
from __future__ import annotations

import numpy as np

from ..core.ctf import aberration_phase, ctf_for, magnified_rotations
from ..core.errors import InputError
from ..core.fourier import fft2_centred, frequencies_2d, shift_phases
from ..core.symmetry import point_group
from ..ops.slicing import from_half_volume, half_volume_radius, half_volume_shape, hermitian, insert_slices

BLOCK = 100


def reconstruct(source, table, *, symmetry: str = "C1", radius: int = None, noise=None, rows=None) -> np.ndarray:
    """Σ C X / Σ C² on a padded trilinear grid, gridding-corrected, unregularised but for a floor on the weights.

    source : `images(rows, box)`; table : ParticleTable with rotations and shifts_a
    radius : largest Fourier radius (default: one below Nyquist); noise : σ² by Fourier radius (default: white)
    Returns (box,)*3 float32. Raises InputError where the table has no poses.
    """
    if table.rotations is None or table.shifts_a is None:
        raise InputError("the particles have no poses; a reconstruction needs rlnAngleRot and the other five")
    box, pixel = table.box_size, table.pixel_size
    radius = box // 2 - 1 if radius is None else radius
    kx, ky = (k.ravel() for k in frequencies_2d(box, pixel))
    points = np.stack([kx, ky], axis=1) * (box * pixel)
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
        spectrum = spectrum * shift_phases(kx, ky, table.shifts_a[block])
        rotations = table.rotations[block].copy()
        for group in np.unique(table.optics_id[block]):
            members = table.optics_id[block] == group
            optics = table.optics[group]
            spectrum[members] *= np.exp(-1j * aberration_phase(optics, kx, ky)).astype(np.complex64)
            rotations[members] = magnified_rotations(optics, rotations[members])
        ctf = ctf_for(table, block, kx, ky)
        for operator in point_group(symmetry):
            part = insert_slices(spectrum * ctf / sigma2, ctf ** 2 / sigma2, rotations @ operator, points, radius)
            numerator += part[0]
            weight += part[1]
    numerator, weight = hermitian(numerator), hermitian(weight)
    distance = half_volume_radius(radius)
    solved = numerator / np.maximum(weight, 1e-3 * weight[distance <= radius].mean())
    return from_half_volume(np.where(distance <= radius, solved, 0).astype(np.complex64), box)
