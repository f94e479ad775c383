"""What a run draws before its first step: its particles, SAGD's minibatches, the first noise, the starting maps.

All of it comes from the run's one random generator, in the order in which AbInitio asks: another order is another run.
"""
from __future__ import annotations

import numpy as np

from ...core.backend import to_host
from ...core.settings import need
from .grids import fourier_radius
from .memory import sagd_minibatches
from .model import Model
from .noise import NoiseModel
from .start import map_start, perturbed_starts, random_starts

# images from whose borders the first noise spectrum is taken
NOISE_SAMPLE = 300
# room around the radius in use, px, so that non-negativity may act between the shells
BOX_MARGIN = 6


def choose_rows(config, n: int, rng):
    """Sorted rows of the particles that the run looks at, of n: all, or as many as were asked for at random."""
    limit = config.max_particles
    if limit is None or limit >= n:
        return np.arange(n)
    return np.sort(rng.choice(n, limit, replace=False))


def hold_out(config, rows, rng):
    """Sorted rows of those that no step shall see (heldout.py); none of a small set."""
    return np.sort(rng.choice(rows, config.held_out_of(len(rows)), replace=False))


def sagd_partition(config, rows, table_gb: float, rng) -> list:
    """The rows in SAGD's fixed minibatches, each sorted; table_gb : for its table of their gradients."""
    parts = np.array_split(rng.permutation(rows), sagd_minibatches(config, len(rows), table_gb))
    return [np.sort(part) for part in parts]


def border_noise(config, source, rows, rng) -> NoiseModel:
    """The first noise spectrum, from the borders of some of the images."""
    sample = np.sort(rng.choice(rows, min(NOISE_SAMPLE, len(rows)), replace=False))
    images = source.images(sample, config.box_size)
    circle = min(config.diameter_a / 2 / config.pixel_size, 0.47 * config.box_size)
    return NoiseModel.from_borders(images, circle, config.noise)


def starting_model(config, start_map, rng, xp) -> Model:
    """Random maps, or the user's, at the initial resolution and any scale; start_map : as AbInitio's."""
    extent_a = config.box_size * config.pixel_size
    radius = fourier_radius(config.initial_resolution_a, config.box_size, config.pixel_size)
    box = min(config.box_size, 2 * (radius + BOX_MARGIN))
    diameter = config.diameter_a / extent_a * box
    if config.start == "map":
        need(start_map is not None, "the start 'map' needs a map; give one")
        density = map_start(*start_map, box_size=box, box_pixel_size=extent_a / box,
                            diameter_a=config.diameter_a, resolution_a=config.initial_resolution_a)
        volumes = perturbed_starts(density, config.classes, diameter, rng)
    else:
        volumes = random_starts(config.start, config.classes, box, diameter, rng)
    return Model(xp.asarray(volumes), extent_a=extent_a, diameter_a=config.diameter_a,
                 preconditioned=config.preconditioner, batch_alone=config.whole_set)


def starting_scale(level, prepared, spectrum) -> np.float32:
    """The factor that gives the maps' slices about the power that the images have above the noise.

    level : the finest Level, of the maps; prepared : MatchedImages of it; spectrum : σ² by Fourier radius
    """
    xp = level.xp
    sigma2 = spectrum[1:level.grid.polar.radius + 1]
    excess = np.maximum(prepared.power.mean(axis=0) / sigma2 - prepared.noise_share, 0.02).sum()
    slices = to_host((xp.abs(level.bank().values) ** 2).mean(axis=(0, 2)))
    filtered = to_host(prepared.ctf_power.mean(axis=(0, 2))) * slices
    return np.float32(np.sqrt(excess / filtered.sum()))
