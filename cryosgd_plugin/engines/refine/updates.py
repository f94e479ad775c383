"""What an iteration's sums say of the noise, and of how strong each particle's signal is; and what holds before it."""
from __future__ import annotations

import numpy as np

from ...core.noise import border_noise_spectrum

# images of a group from whose borders its first noise spectrum is taken
NOISE_IMAGES = 300
# particles' scales: relative spread expected beforehand, and limits
SCALE_SPREAD, SCALE_LIMITS = 0.2, (0.3, 3.0)
# images of its group that the mean of all groups is worth, and the least share of the former σ² that a new one may be:
# a few images tell little of a shell of a few coefficients
POOLED_IMAGES, LEAST_NOISE = 50, 0.2


def border_noise(config, table, source, halves) -> np.ndarray:
    """(2, groups, shells) σ² of each half's optics groups, from the borders of some of their images.

    halves : the rows of each half
    """
    spectra = np.full((2, len(table.optics), config.box_size // 2 + 1), np.nan)
    circle = min(config.diameter_a / 2 / config.pixel_size, 0.47 * config.box_size)
    for half, rows in enumerate(halves):
        for group in np.unique(table.optics_id[rows]):
            members = rows[table.optics_id[rows] == group]
            sample = members[::max(1, len(members) // NOISE_IMAGES)][:NOISE_IMAGES]
            spectra[half, group] = border_noise_spectrum(source.images(sample, config.box_size), circle)
    return spectra


def update_noise(noise, sums, preparer) -> None:
    """Put the residuals of both halves' HalfSums into (2, groups, shells) σ²; preparer : ImagePreparer of the sums.

    Groups of few images are drawn to the mean of their half.
    """
    per_coefficient = np.maximum(preparer.counts, 1) * preparer.noise_share
    for half, one in enumerate(sums):
        pooled = one.residual.sum(axis=0) / one.images.sum() / per_coefficient
        for group in np.flatnonzero(one.images):
            count = one.images[group]
            own = one.residual[group] / count / per_coefficient
            spectrum = (count * own + POOLED_IMAGES * pooled) / (count + POOLED_IMAGES)
            last = len(spectrum)
            spectrum = np.maximum(spectrum, LEAST_NOISE * noise[half, group, :last])
            noise[half, group, 1:last] = spectrum[1:]
            # what no map reaches is as its outermost shell, and DC as the first
            noise[half, group, last:] = spectrum[-1]
            noise[half, group, 0] = spectrum[1]


def update_scale(scale, posed) -> None:
    """Put how much of its slice each image holds into (n,) scales; posed : [(rows, PosedImages)], whose mean stays 1.

    The most probable scale under a normal prior about 1: a particle of weak signal keeps near it.
    """
    prior = 1 / SCALE_SPREAD ** 2
    for part, result in posed:
        # the sums are over half of the plane, and hold the scale so far
        linear, square = 2 * result.linear / scale[part], 2 * result.square / scale[part] ** 2
        scale[part] = np.clip((linear + prior) / (square + prior), *SCALE_LIMITS)
    rows = np.concatenate([part for part, _ in posed])
    scale[rows] /= scale[rows].mean()
