"""A user's map on the particles' grid: checked, its background taken off, low-passed, in another box and pixel size."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..core.fourier import ifft3_centred
from ..core.masks import distance_from_centre

# the low-pass falls from 1 to 0 over this share of its frequency, half-way at the resolution asked for
LOWPASS_EDGE = 0.3


def reframed_map(volume, pixel_size: float, *, box_size: int, box_pixel_size: float, diameter_a: float,
                 resolution_a: float) -> np.ndarray:
    """A user's map less its background, low-passed, on another grid: (box_size,)*3 float32.

    The centre n // 2 stays; what does not fit into the new box is cut off, what is missing is 0.
    volume : (d, d, d), any grey scale; pixel_size in Å/px. Raises InputError for a map that is not a cube of numbers,
    is constant or much smaller than the particle, and for a resolution that the new box can't hold.
    """
    volume = _checked(volume, pixel_size, diameter_a)
    extent = box_size * box_pixel_size
    if not 0 < resolution_a <= extent / 2:
        raise InputError(f"the map can't be low-passed to {resolution_a:g} Å in a box of {extent:g} Å; give a "
                         f"resolution between 0 and {extent / 2:g} Å")
    centred = volume - _background(volume, pixel_size, diameter_a)
    return _reframed(centred, pixel_size, box_size, box_pixel_size, resolution_a)


def check_frame(shape, pixel_size, diameter_a) -> None:
    """Raise InputError for a map's shape in px that is no cube, or a box in Å that can't hold half of the particle."""
    if len(shape) != 3 or len(set(shape)) != 1:
        raise InputError(f"the map of {' × '.join(map(str, shape))} px is not a cube; pad it to equal sides")
    if not pixel_size > 0:
        raise InputError(f"the map's pixel size {pixel_size} Å/px is not positive; correct it")
    extent = shape[0] * pixel_size
    if extent < 0.5 * diameter_a:
        raise InputError(f"the map's box of {extent:g} Å ({shape[0]} px of {pixel_size:g} Å/px) is far "
                         f"smaller than the particle of {diameter_a:g} Å; correct its pixel size or the diameter")


def _checked(volume, pixel_size, diameter_a):
    volume = np.asarray(volume, dtype=np.float32)
    check_frame(volume.shape, pixel_size, diameter_a)
    wrong = np.count_nonzero(~np.isfinite(volume))
    if wrong:
        raise InputError(f"the map has {wrong} voxels that are not numbers; make the map again")
    if np.ptp(volume) == 0:
        raise InputError(f"the map is constant ({volume.flat[0]:g} everywhere); give a map with a particle, "
                         "or none")
    return volume


def _background(volume, pixel_size, diameter_a):
    """Median around the particle; the corners beyond the inscribed sphere are background at least."""
    outside = distance_from_centre(len(volume), 3) * pixel_size > 0.5 * min(diameter_a, len(volume) * pixel_size)
    return np.median(volume[outside])


def _reframed(volume, pixel_size, box_size, box_pixel_size, resolution_a):
    """The low-passed map on another grid, keeping mass: its Fourier sum at the new box's own frequencies.

    Crop and pad in Fourier space would need boxes of the same extent; here no interpolation enters.
    """
    extent = box_size * box_pixel_size
    x = (np.arange(len(volume)) - len(volume) // 2) * pixel_size
    full, half = np.fft.fftfreq(box_size, box_pixel_size), np.fft.rfftfreq(box_size, box_pixel_size)
    # what lies outside the new box would come back in at its other side; the slack is for other digits of one edge
    x_used = np.where(np.abs(x) <= 0.5 * extent * (1 + 1e-6), 1.0, 0.0)
    spectrum = volume
    for axis, k in ((2, half), (1, full), (0, full)):
        kernel = np.exp(-2j * np.pi * np.outer(k, x)) * x_used
        # beyond the map's own Nyquist the sum would repeat its spectrum, and the new box's line stands for two
        kernel[np.abs(k) >= 0.5 * (1 - 1e-6) / max(pixel_size, box_pixel_size)] = 0
        spectrum = np.moveaxis(np.tensordot(spectrum, kernel.astype(np.complex64), axes=(axis, 1)), -1, axis)
    radius = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
    fall = np.clip((radius * resolution_a - 1) / LOWPASS_EDGE + 0.5, 0, 1)
    return ifft3_centred(spectrum * (0.5 + 0.5 * np.cos(np.pi * fall)), box_size)
