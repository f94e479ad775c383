"""What an iteration's sums say of the noise, and of how strong each particle's signal is; and what holds before it."""
from __future__ import annotations

import numpy as np

from ...core.noise import border_noise_spectrum

# images of a group from whose borders its first noise spectrum is taken
NOISE_IMAGES = 300
# particles' scales: relative spread expected beforehand, and limits
SCALE_SPREAD, SCALE_LIMITS = 0.2, (0.3, 3.0)


def border_noise(config, table, source, halves) -> np.ndarray:
    """(2, groups, shells) σ² of each half's optics groups, from the borders of some of their images.

    halves : the rows of each half
    """
    spectra = np.ones((2, len(table.optics), config.box_size // 2 + 1))
    circle = min(config.diameter_a / 2 / config.pixel_size, 0.47 * config.box_size)
    for half, rows in enumerate(halves):
        for group in np.unique(table.optics_id[rows]):
            members = rows[table.optics_id[rows] == group]
            sample = members[::max(1, len(members) // NOISE_IMAGES)][:NOISE_IMAGES]
            spectra[half, group] = border_noise_spectrum(source.images(sample, config.box_size), circle)
    return spectra


def update_noise(noise, sums, preparer) -> None:
    """Put the residuals of both halves' HalfSums into (2, groups, shells) σ²; preparer : ImagePreparer of the sums."""
    for half, one in enumerate(sums):
        for group in np.flatnonzero(one.images):
            spectrum = one.residual[group] / one.images[group] / np.maximum(preparer.counts, 1) / preparer.noise_share
            noise[half, group, 1:len(spectrum)] = spectrum[1:]
            # what no map reaches is as its outermost shell, and DC as the first
            noise[half, group, len(spectrum):] = spectrum[-1]
            noise[half, group, 0] = spectrum[1]


def update_scale(scale, posed, rows) -> None:
    """Correct (n,) scales by how much of its slice each image holds; posed : [(rows, PosedImages)] of all `rows`.

    A particle of weak signal keeps near the mean, which stays 1.
    """
    prior = 1 / SCALE_SPREAD ** 2
    for part, result in posed:
        scale[part] = np.clip(scale[part] * (result.linear + prior) / (result.square + prior), *SCALE_LIMITS)
    scale[rows] /= scale[rows].mean()
