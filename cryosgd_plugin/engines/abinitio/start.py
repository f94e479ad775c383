"""Starting maps: random ones, or a user's map brought to the working box."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.errors import InputError
from ...core.fourier import ifft3_centred
from ...core.masks import distance_from_centre, soft_sphere

# particle diameter over the width (standard deviation) of the kernel that smooths noise
DIAMETER_PER_WIDTH = 12
# how much the starts of several classes differ from the user's one map, as a share of its density
PERTURBATION = 0.1
# the low-pass falls from 1 to 0 over this share of its frequency, half-way at the resolution asked for
LOWPASS_EDGE = 0.3


def random_start(kind: str, box_size: int, diameter_px: float, rng) -> np.ndarray:
    """A random density inside the particle, of mean 1 there.

    kind : "spheres", a sum of random balls (paper 1, Fig. 6), or "noise", smoothed white noise
    Returns (box_size,)*3 float32 [z, y, x]. Raises InputError for another kind.
    """
    axis = np.arange(box_size) - box_size // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = x ** 2 + y ** 2 + z ** 2 <= (diameter_px / 2) ** 2
    if kind == "spheres":
        density = np.zeros(inside.shape)
        for _ in range(30):
            direction = rng.normal(size=3)
            centre = direction / np.linalg.norm(direction) * diameter_px / 2 * 0.8 * rng.random() ** (1 / 3)
            radius = diameter_px * rng.uniform(0.05, 0.2)
            distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
            density += np.clip(radius - distance + 0.5, 0, 1)
    elif kind == "noise":
        density = _smooth_noise(box_size, diameter_px, rng)
        density -= density[inside].min()
    else:
        raise InputError(f"random start '{kind}' is unknown; choose of spheres, noise")
    density *= inside
    return (density / density[inside].mean()).astype(np.float32)


def random_starts(kind: str, k: int, box_size: int, diameter_px: float, rng) -> np.ndarray:
    """k different maps of `random_start`, one for each class: (k, box_size, box_size, box_size) float32."""
    return np.stack([random_start(kind, box_size, diameter_px, rng) for _ in range(k)])


def perturbed_starts(start, k: int, diameter_px: float, rng) -> np.ndarray:
    """k starts for as many classes from one map: (k, d, d, d) float32, of mean 1 inside the particle.

    Alike to the bit they would stay alike, since every image would weigh the same in each. So each is multiplied by
    1 + PERTURBATION · noise, where the noise is smooth (as that of `random_start`), of variance 1 inside the particle
    and adds up to zero over the classes; non-negative maps stay so. For k = 1 the map is left as it is.

    start : (d, d, d) non-negative, as `map_start` gives
    """
    if k == 1:
        return start[None].astype(np.float32)
    box = len(start)
    inside = distance_from_centre(box, 3) <= diameter_px / 2
    noise = np.stack([_smooth_noise(box, diameter_px, rng) for _ in range(k)])
    noise -= noise.mean(axis=0)
    noise /= noise[:, inside].std(axis=1)[:, None, None, None]
    starts = start * np.maximum(1 + PERTURBATION * noise, 0)
    return (starts / starts[:, inside].mean(axis=1)[:, None, None, None]).astype(np.float32)


def map_start(volume, pixel_size: float, *, box_size: int, box_pixel_size: float, diameter_a: float,
              resolution_a: float) -> np.ndarray:
    """A user's map as a start: (box_size,)*3 float32 of box_pixel_size Å/px, mean 1 inside the particle.

    The background outside the particle is subtracted, the map low-passed to resolution_a (half-way, with a soft edge),
    brought to the new pixel size and box about the same centre n // 2 (what does not fit is cut off, what is missing
    is 0), masked softly outside diameter_a, and made non-negative.

    volume : (d, d, d), any grey scale, protein bright; pixel_size in Å/px
    Raises InputError for a map that is not a cube of numbers, is constant, much smaller than the particle or dark in
    the middle, and for a resolution that the working box can't hold.
    """
    volume = _checked(volume, pixel_size, diameter_a)
    extent = box_size * box_pixel_size
    if not 0 < resolution_a <= extent / 2:
        raise InputError(f"the start can't be low-passed to {resolution_a:g} Å in a box of {extent:g} Å; give a "
                         f"resolution between 0 and {extent / 2:g} Å")
    centred = volume - _background(volume, pixel_size, diameter_a)
    density = _reframed(centred, pixel_size, box_size, box_pixel_size, resolution_a)
    radius = diameter_a / 2 / box_pixel_size
    inside = distance_from_centre(box_size, 3) <= radius
    if density[inside].mean() <= 1e-3 * np.abs(density[inside]).max():
        raise InputError("the starting map is no brighter inside the particle than around it; give a map with bright "
                         "protein (inverted contrast is multiplied by -1), centred in its box")
    density = np.maximum(density * soft_sphere(box_size, radius, max(1.0, 0.1 * radius)), 0)
    return (density / density[inside].mean()).astype(np.float32)


def _smooth_noise(box_size, diameter_px, rng):
    return ndimage.gaussian_filter(rng.normal(size=(box_size,) * 3), diameter_px / DIAMETER_PER_WIDTH)


def _checked(volume, pixel_size, diameter_a):
    volume = np.asarray(volume, dtype=np.float32)
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        sides = " × ".join(str(side) for side in volume.shape)
        raise InputError(f"the starting map of {sides} px is not a cube; pad it to equal sides")
    wrong = np.count_nonzero(~np.isfinite(volume))
    if wrong:
        raise InputError(f"the starting map has {wrong} voxels that are not numbers; make the map again")
    if np.ptp(volume) == 0:
        raise InputError(f"the starting map is constant ({volume.flat[0]:g} everywhere); give a map with a particle, "
                         "or a random start")
    if not pixel_size > 0:
        raise InputError(f"the starting map's pixel size {pixel_size} Å/px is not positive; correct it")
    extent = len(volume) * pixel_size
    if extent < 0.5 * diameter_a:
        raise InputError(f"the starting map's box of {extent:g} Å ({len(volume)} px of {pixel_size:g} Å/px) is far "
                         f"smaller than the particle of {diameter_a:g} Å; correct its pixel size or the diameter")
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
