"""Random starting maps."""
from __future__ import annotations

import numpy as np
from scipy import ndimage


def random_start(kind: str, box_size: int, diameter_px: float, rng) -> np.ndarray:
    """A random density inside the particle, of mean 1 there.

    kind : "spheres", a sum of random balls (paper 1, Fig. 6), or "noise", smoothed white noise
    Returns (box_size,)*3 float32 [z, y, x].
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
    else:
        density = ndimage.gaussian_filter(rng.normal(size=inside.shape), diameter_px / 12)
        density -= density[inside].min()
    density *= inside
    return (density / density[inside].mean()).astype(np.float32)
