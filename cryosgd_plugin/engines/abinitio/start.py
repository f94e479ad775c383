"""Starting maps: random ones, or a user's map brought to the working box."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.errors import InputError
from ...core.masks import distance_from_centre, soft_sphere
from ..reframe import reframed_map

# particle diameter over the width (standard deviation) of the kernel that smooths noise
DIAMETER_PER_WIDTH = 12
# how much the starts of several classes differ from the user's one map, as a share of its density
PERTURBATION = 0.1


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
    density = reframed_map(volume, pixel_size, box_size=box_size, box_pixel_size=box_pixel_size,
                           diameter_a=diameter_a, resolution_a=resolution_a)
    radius = diameter_a / 2 / box_pixel_size
    inside = distance_from_centre(box_size, 3) <= radius
    if density[inside].mean() <= 1e-3 * np.abs(density[inside]).max():
        raise InputError("the starting map is no brighter inside the particle than around it; give a map with bright "
                         "protein (inverted contrast is multiplied by -1), centred in its box")
    density = np.maximum(density * soft_sphere(box_size, radius, max(1.0, 0.1 * radius)), 0)
    return (density / density[inside].mean()).astype(np.float32)


def _smooth_noise(box_size, diameter_px, rng):
    return ndimage.gaussian_filter(rng.normal(size=(box_size,) * 3), diameter_px / DIAMETER_PER_WIDTH)
