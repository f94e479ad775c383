"""Soft masks in real space, and the spherical average of a map. All about the centre n//2."""
from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.linalg import solveh_banded

from .backend import array_module, to_host
from .errors import InputError

# the largest step between neighbouring voxels of a raised-cosine edge three voxels wide is 0.5
HARD_STEP = 0.7


def soft_circle(box, radius_px, edge_px, xp=np):
    """1 within radius_px of the centre, 0 beyond radius_px + edge_px, a raised cosine between: (box, box) float32."""
    return _soft_ball(box, radius_px, edge_px, 2, xp)


def soft_sphere(box, radius_px, edge_px, xp=np):
    """1 within radius_px of the centre, 0 beyond radius_px + edge_px, a raised cosine between: (box,)*3 float32."""
    return _soft_ball(box, radius_px, edge_px, 3, xp)


def distance_from_centre(box, dimensions, xp=np):
    """Distance of each pixel or voxel from the centre n//2 in px: (box,)*dimensions float32."""
    line = (xp.arange(box, dtype=xp.float32) - box // 2) ** 2
    squared = line
    for _ in range(dimensions - 1):
        squared = squared[..., None] + line
    return xp.sqrt(squared)


def spherical_average(volume):
    """The radial density nearest to a map, as a volume: (d, d, d) float32; subtract it to see what is not spherical.

    Nearest in least squares among the densities that are linear in the radius between whole numbers of voxels, so
    the average of an average is itself, and what the subtraction leaves has no radial part.
    """
    xp = array_module(volume)
    radius = distance_from_centre(volume.shape[0], 3, xp).ravel()
    inner = xp.floor(radius).astype(xp.int64)
    upper = (radius - inner).astype(xp.float64)
    lower = 1.0 - upper
    n = int(inner.max()) + 2
    values = volume.ravel().astype(xp.float64)

    def summed(nodes, weights):
        return to_host(xp.bincount(nodes, weights=weights, minlength=n)[:n])

    # normal equations of the two weights that each voxel has: tridiagonal; the ridge serves a last node without voxels
    normal = np.zeros((2, n))
    normal[1] = summed(inner, lower**2) + summed(inner + 1, upper**2) + 1e-9
    normal[0, 1:] = summed(inner, lower * upper)[:-1]
    nodes = xp.asarray(solveh_banded(normal, summed(inner, lower * values) + summed(inner + 1, upper * values)))
    return (nodes[inner] * lower + nodes[inner + 1] * upper).reshape(volume.shape).astype(xp.float32)


def check_mask(mask, box):
    """Check a user's mask: a cube of `box` px, finite, within [0, 1] (to 1e-3), not empty. Returns it as float32.

    Raises InputError that says which of these failed and what to do.
    """
    mask = np.asarray(mask, dtype=np.float32)
    check_mask_frame(mask.shape, box)
    if not np.isfinite(mask).all():
        raise InputError(f"the mask has {np.count_nonzero(~np.isfinite(mask))} voxels that are not numbers; "
                         "make the mask again")
    low, high = float(mask.min()), float(mask.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise InputError(f"the mask's values run from {low:.4g} to {high:.4g} where 0 to 1 is needed; "
                         "threshold the map to make a mask of it")
    if high <= 0:
        raise InputError("the mask is empty (all zero); lower the threshold it was made with")
    return np.clip(mask, 0, 1)


def has_hard_edge(mask) -> bool:
    """Whether a mask (d, d, d) jumps from outside to inside within a voxel: its edge is no wider than two."""
    mask = np.asarray(mask)
    return any(float(np.abs(np.diff(mask, axis=axis)).max()) > HARD_STEP for axis in range(mask.ndim))


def check_mask_frame(shape, box, pixel_size=None, box_pixel_size=None):
    """Check a mask's shape in px, and its Å/px where both are known, against the map's; InputError where they differ.

    A deviation of 1 % in the pixel size is taken for another calibration of the same grid.
    """
    if tuple(shape) != (box,) * 3:
        sides = " × ".join(str(side) for side in shape)
        raise InputError(f"mask of {sides} px differs from the map of {box} × {box} × {box} px; "
                         f"resample the mask to {box} px")
    if pixel_size and box_pixel_size and abs(pixel_size / box_pixel_size - 1) > 0.01:
        raise InputError(f"mask of {pixel_size:.4g} Å/px differs from the map of {box_pixel_size:.4g} Å/px; resample "
                         "the mask, or correct its pixel size")


def soft_mask_from_volume(volume, threshold, extend_px, edge_px):
    """A soft mask of the density above a threshold: (d, d, d) float32 in [0, 1].

    The region above `threshold` is grown by extend_px (Euclidean distance) and given a raised-cosine edge of edge_px
    outside. Raises InputError where no voxel, or every voxel, lies above the threshold.
    """
    inside = np.asarray(volume) > threshold
    if inside.all() or not inside.any():
        raise InputError(f"threshold {threshold:g} puts {'every' if inside.any() else 'no'} voxel inside the mask; "
                         f"give one between {float(np.min(volume)):.4g} and {float(np.max(volume)):.4g}")
    distance = ndimage.distance_transform_edt(~inside)
    return _raised_cosine(distance, extend_px, edge_px, np)


def _soft_ball(box, radius_px, edge_px, dimensions, xp):
    if radius_px < 0 or edge_px < 0:
        raise InputError(f"mask radius {radius_px} px and edge {edge_px} px must not be negative; correct them")
    return _raised_cosine(distance_from_centre(box, dimensions, xp), radius_px, edge_px, xp)


def _raised_cosine(distance, start, edge, xp):
    if edge == 0:
        return (distance <= start).astype(xp.float32)
    fraction = xp.clip((distance - start) / edge, 0.0, 1.0)
    return (0.5 + 0.5 * xp.cos(np.pi * fraction)).astype(xp.float32)
