"""Noise spectra of simulated images, as power relative to white noise of unit variance per pixel."""
from __future__ import annotations

import numpy as np

from ...core.fourier import fft2_centred, frequencies_2d, ifft2_centred
from ...core.shells import friedel_weights

# coloured noise: excess of its power at the origin over that of fine detail, and the length where it is halved
COLOURED_EXCESS = 9.0
COLOURED_LENGTH_A = 50.0


def coloured_power(frequency):
    """Shape of coloured noise at spatial frequencies in 1/Å: 1 + 9 / (1 + (50 Å · k)²), not normalised.

    Ten times as strong at the origin as in fine detail, as the background of ice and carbon is.
    """
    return 1 + COLOURED_EXCESS / (1 + (COLOURED_LENGTH_A * np.asarray(frequency)) ** 2)


def noise_power(kind, box_size, pixel_size):
    """(d, d//2 + 1) float64: power of each coefficient over that of white noise; its mean over the full plane is 1.

    Times d² it is σ² of CONVENTIONS.md for noise of unit pixel variance.
    """
    if kind == "white":
        return np.ones((box_size, box_size // 2 + 1))
    kx, ky = frequencies_2d(box_size, pixel_size)
    power = coloured_power(np.hypot(kx, ky).astype(np.float64))
    return power / ((friedel_weights(box_size) * power).sum() / box_size ** 2)


def noise_images(power, generators, box_size):
    """(n, d, d) float32 normal noise of unit variance per pixel and the given power, one generator an image."""
    white = np.stack([rng.standard_normal((box_size, box_size), dtype=np.float32) for rng in generators])
    if (power == 1).all():
        return white
    return ifft2_centred(fft2_centred(white) * np.sqrt(power).astype(np.float32), box_size)
