"""What the data say of each shell of a map: noise, power of the signal, their ratio, and data against prior."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.backend import array_module
from ...core.shells import friedel_weights, shell_index_3d
from ...ops.slicing import PADDING
from .maps import FLOOR, inverse_tau2, node_shells, shell_means


@dataclass(frozen=True)
class ShellSpectra:
    """Of one class, (radius + 1,) each, in the units of raw Fourier coefficients (core/CONVENTIONS.md).

    noise : σ² of an image, the mean over both halves and all optics groups; of few images it is some per cent too
    small where there is signal, because their own map fits some of their noise
    signal : τ², the power of the particle; that of its image in focus too, so that τ² · CTF² / σ² is an image's SNR
    snr : of a half-map within the mask, τ² over the power of its noise
    data_share : mean of weight / (weight + 1/τ²), how far the regularised half-maps follow the data and not the prior
    completeness : share of the coefficients where the data weigh more than the prior
    coefficients : of the map in the shell, one of each Friedel pair
    """

    noise: np.ndarray
    signal: np.ndarray
    snr: np.ndarray
    data_share: np.ndarray
    completeness: np.ndarray
    coefficients: np.ndarray

    @property
    def map_noise(self) -> np.ndarray:
        """Power of the noise of a half-map within the mask, raw coefficient; 0 where it is unknown."""
        return np.divide(self.signal, self.snr, out=np.zeros(len(self.snr)), where=self.snr > 0)

    def record(self) -> dict:
        """name → list of four digits each, for a history."""
        return {name: [float(f"{value:.4g}") for value in values] for name, values in vars(self).items()}


def shell_spectra(curve, weights, noise, mask, radius: int, n_operators: int = 1) -> ShellSpectra:
    """The spectra of a class.

    curve : FSC of its half-maps within `mask`, as the Wiener solution trusts it; weights : each half's Hermitian half
    volume, the mean over the point group's n_operators, on the host or a GPU; noise : σ² by shell.

    A half-map's raw coefficient has noise of 1 / (padding³ · operators · weight): a padded volume has that many nodes
    for each coefficient, whatever the kernel spreads it over, and every image was seen under all operators. Of that a
    mask keeps its mean square, and of the particle all. With the signal-to-noise ratio of the masked half-maps,
    FSC / (1 − FSC), this gives τ²; shell 0, which no image says anything of, has none. (Symmetry mates that
    are read between nodes add noise that this does not count, about a seventh in D3.)
    """
    xp = array_module(weights[0])
    nearest = xp.minimum(node_shells(radius, xp), radius)
    snr = 1 / inverse_tau2(curve[:radius + 1], 1.0)
    variances, shares, heavier = [], [], []
    for weight in weights:
        mean = shell_means(weight, radius).astype(np.float32)
        prior = xp.asarray((mean / snr).astype(np.float32))[nearest]
        # of numerator / weight as `solve` divides where there is no prior
        below = xp.maximum(xp.maximum(weight, FLOOR * xp.asarray(mean)[nearest]), 1e-30)
        variances.append(shell_means(weight / below ** 2, radius))
        shares.append(shell_means(weight / xp.maximum(weight + prior, 1e-30), radius))
        heavier.append(shell_means(weight >= prior, radius))
    map_noise = np.mean(variances, axis=0) * np.mean(np.square(mask, dtype=np.float64)) / (PADDING ** 3 * n_operators)
    known = (np.min(variances, axis=0) > 0) & (np.arange(radius + 1) > 0)
    snr, share, complete = (np.where(known, values, 0) for values in (snr, np.mean(shares, 0), np.mean(heavier, 0)))
    return ShellSpectra(np.asarray(noise, float)[:radius + 1], snr * map_noise, snr, share, complete,
                        coefficients_per_shell(len(mask))[:radius + 1])


def mean_noise(noise, images) -> np.ndarray:
    """(shells,) mean of (2, groups, shells) σ² over (2, groups) numbers of images."""
    images = np.asarray(images)
    # of a group that a half lacks the noise is unknown
    return np.average(noise[images > 0], axis=0, weights=images[images > 0])


def coefficients_per_shell(box_size: int) -> np.ndarray:
    """(box // 2 + 1,) Fourier coefficients of a map in each shell, one of each Friedel pair."""
    index = shell_index_3d(box_size)
    both = np.broadcast_to(friedel_weights(box_size), index.shape)
    counts = np.bincount(index.ravel(), weights=both.ravel())[:box_size // 2 + 1]
    return np.ceil(counts / 2).astype(int)
