"""Anisotropic magnification undone in the images themselves, for engines that read them on their own pixels.

A group's matrix M says where a frequency k of its images belongs: F(k) = F₀(M k), F₀ the transform of the image as it
would be without the distortion (RELION's definition). So that image is f₀(y) = |M| f(Mᵀ y), about the centre.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..core.ctf import is_distorted
from ..core.fourier import resample_images

# samples for each pixel, and order of the spline between them: below the images' Nyquist frequency it is off by 0.2 %
OVERSAMPLING, ORDER = 2, 5


def undistorted(images, magnification):
    """(n, d, d) float32 images as they would be without an anisotropic magnification (2, 2)."""
    matrix, box = np.asarray(magnification, float), images.shape[-1]
    fine = resample_images(images, OVERSAMPLING * box) * OVERSAMPLING ** 2
    # of (x, y) for (row, column), from pixels to samples
    place = OVERSAMPLING * matrix.T[::-1, ::-1]
    offset = OVERSAMPLING * box // 2 - place @ np.full(2, box // 2)
    return np.stack([abs(np.linalg.det(matrix)) * ndimage.affine_transform(
        image, place, offset, (box, box), order=ORDER, mode="grid-wrap") for image in fine]).astype(np.float32)


def undistorted_table(table):
    """A ParticleTable that describes the undistorted images: no magnification, shifts as they are in these."""
    if not any(map(is_distorted, table.optics)):
        return table
    optics = [replace(group, magnification=None) for group in table.optics]
    return replace(table, optics=optics, shifts_a=_turned(table, table.shifts_a, np.linalg.inv))


def distorted_shifts(table, shifts_a):
    """(n, 2) Å shifts of the images as they are, from those of the undistorted ones; the table's optics say how."""
    return _turned(table, shifts_a, lambda matrix: matrix)


def _turned(table, shifts_a, change):
    """shifts @ change(M) of each group: exp(2πi k·t) with k = M⁻¹ κ is exp(2πi κ·M⁻ᵀ t)."""
    if shifts_a is None or not any(map(is_distorted, table.optics)):
        return shifts_a
    turned = np.array(shifts_a, float)
    for number, group in enumerate(table.optics):
        if is_distorted(group):
            members = np.asarray(table.optics_id) == number
            turned[members] = turned[members] @ change(np.asarray(group.magnification, float))
    return turned
