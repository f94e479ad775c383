"""The noise spectrum: from the borders at first, then from residuals.

"coloured" : one variance for each shell. "white" : one for all, as in papers 1 and 2.
"""
from __future__ import annotations

import numpy as np

from ...core.backend import array_module, to_host
from ...core.noise import border_noise_spectrum, white_noise_variance

NOISES = ("coloured", "white")
# images that the running estimate remembers
MEMORY = 1500.0


class NoiseModel:
    """σ² per raw Fourier coefficient by Fourier radius, (box / 2 + 1,) float64; kind : of NOISES."""

    def __init__(self, spectrum, kind: str = "coloured"):
        self.spectrum, self.kind = np.asarray(spectrum, float).copy(), kind
        self.images_seen = np.zeros(len(self.spectrum))

    @classmethod
    def from_borders(cls, images, radius_px: float, kind: str = "coloured") -> "NoiseModel":
        """From pixels outside the particle's circle of (n, d, d) images."""
        if kind == "white":
            box = images.shape[-1]
            return cls(np.full(box // 2 + 1, box ** 2 * white_noise_variance(images, radius_px)), kind)
        return cls(border_noise_spectrum(images, radius_px), kind)

    def update(self, residual, n_images: int) -> None:
        """Blend in the residual power of a minibatch: (radius,) mean |X − C Y|² under each image's posterior.

        X is masked, C Y is not: signal that the CTF spreads beyond the mask counts as noise. White noise takes the mean
        over all coefficients of the rings in use.
        """
        rings = slice(1, len(residual) + 1)
        if self.kind == "white":
            radii = np.arange(1, len(residual) + 1)  # a ring's coefficients go with its radius
            rings, residual = slice(None), np.average(residual, weights=radii)
        # borders count as 200 images: the first residuals are those of a wrong map
        seen = np.minimum(self.images_seen[rings] + n_images, MEMORY)
        share = n_images / (seen + 200)
        lowest = 0.2 * self.spectrum[rings]
        self.spectrum[rings] += share * (np.maximum(residual, lowest) - self.spectrum[rings])
        self.images_seen[rings] = seen


def residual_power(batch, spectrum) -> np.ndarray:
    """(radius,) mean over images and ring of |X − C Y|², from |X|² and the batch's sums."""
    values = batch.values
    xp = array_module(values)
    numerator, weight = batch.rings()
    linear = (numerator.real * values.real + numerator.imag * values.imag).sum(axis=(0, 2), dtype=xp.float64)
    square = (weight * (values.real ** 2 + values.imag ** 2)).sum(axis=(0, 2), dtype=xp.float64)
    n_half = values.shape[2]
    sigma2 = spectrum[1:values.shape[1] + 1]
    explained = sigma2 * to_host(2 * linear - square) / n_half
    return batch.power.mean(axis=0) - explained / len(batch.images)
