"""Penalties chosen by what they foretell: a part of one half's data that its map has not seen.

Each half chooses by itself. Its data are parted in two as if T² / (1 + T²) of its particles were held out: noise n of
the unregularised map's own covariance Σ is added to that map and taken off it,

    V + T n    and    V − n / T,    noise (1 + T²) Σ and (1 + 1/T²) Σ, covariance Σ − Σ = 0

(data thinning: Oliveira, Lei & Tibshirani 2021, arXiv:2111.09447; Neufeld et al. 2024, JMLR 25, 57). A map of the first
part correlates with the second by its signal alone. So its Fourier shell correlation with the truth follows, shell by
shell within the particle's mask, and the penalties that raise it most on average are taken: every shell counts alike,
where a misfit in nats would be that of the few strongest.

The program of paper 3 chooses by the other half's data, after which its FSC is no longer one of independent maps. Here
the halves share the power of their noise by shell, as they share their FSC, and nothing else.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...core.errors import InputError
from ...core.fourier import resample_volume
from ...core.shells import radial_average
from ...core.symmetry import symmetrise
from .config import SparseTVConfig
from .problem import FourierData
from .solver import sparse_tv_map

# T: the map is of 92 % of the data, and judged by 8 %
THINNING = 0.3
# what is tried of each penalty, in the pull of noise: √(mean N), which the paper's unit, rms(AᴴNV̂), exceeds wherever
# there is signal (eightfold for apoferritin's half-maps, whose best β is 0.1 of the paper's unit; see benchmarks)
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# paper 3 §2.5, Fig. 1-3, in its units
SCAN_ALPHAS, SCAN_BETAS = (0.4, 0.5), (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6)
# of a half-map's shell within the mask: what lies beyond the first shell of less is not judged by
LEAST_SNR = 1 / 3
# share of a shell's mean weight that `refine.maps.solve` takes no weight to lie below in an unregularised map
FLOOR = 1e-3
# maps of more px are chosen by their low frequencies alone
LARGEST_BOX = 96
# fixed-point gap that suffices to rank penalties
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Choice:
    """What was tried: a row (α, β, gain) each, and the best config.

    gain : mean over the shells with signal of the FSC with the truth, less that of Wiener's map, as the half foretells
    it; nan where the penalties left nothing. Where none is above 0, α and β are 0, which is Wiener's map.
    """

    config: SparseTVConfig
    tried: list


def choose(data: FourierData, config: SparseTVConfig, *, epsilon: float, mask, difference, rng, operators=None,
           alphas=LEVELS, betas=LEVELS, scan: bool = False) -> Choice:
    """Find α and β of `config` for the data of one half, whose `prior` is Wiener's: β, then α, then β once more.

    mask : (d, d, d) around the particle; difference : of both unregularised halves, of which the power of its shells
    is used; operators : (g, 3, 3) of the symmetry that was imposed on the map; rng : draws n.
    alphas, betas : what is tried beside 0, in √(mean N); none leaves that penalty out
    scan : whether the whole grid of paper 3 is tried instead, SCAN_ALPHAS × SCAN_BETAS
    """
    given, full_box, epsilon = config, data.box, config.epsilon or epsilon
    if full_box > LARGEST_BOX:
        data, mask, difference, epsilon = _reduced(data, mask, difference, epsilon)
    # neighbours are farther apart in a smaller box, so that they differ by more and there are fewer of them
    finer = full_box / data.box
    config = replace(config, epsilon=None, epsilon_ratio=config.epsilon_ratio * finer,
                     tolerance=max(config.tolerance, TOLERANCE))
    held_out = HeldOut(data, mask, difference, rng, operators)
    if not held_out.shells.any():
        return Choice(replace(given, alpha=0.0, beta=0.0), [(0.0, 0.0, 0.0)])
    unit = np.sqrt(data.mean_weight) / data.pull_rms
    alphas, betas = ([0.0] + [float(f"{level * unit:.2g}") for level in levels] for levels in (alphas, betas))
    tried = {(0.0, 0.0): 0.0}

    def gain(alpha, beta):
        if (alpha, beta) not in tried:
            try:
                tried[alpha, beta] = held_out.gain(replace(config, alpha=alpha, beta=beta), epsilon)
            except InputError:
                tried[alpha, beta] = np.nan
        return -np.inf if np.isnan(tried[alpha, beta]) else tried[alpha, beta]

    alpha = beta = 0.0
    if scan:
        grid = [(one, other / finer) for one in SCAN_ALPHAS for other in SCAN_BETAS]
        alpha, beta = max([(alpha, beta), *grid], key=lambda both: gain(*both))
    else:
        for _ in range(2):
            beta = _climb(betas, beta, partial(gain, alpha))
            alpha = _climb(alphas, alpha, partial(_swapped, gain, beta))
    return Choice(replace(given, alpha=alpha, beta=beta * finer),
                  [(a, b * finer, value) for (a, b), value in tried.items()])


class HeldOut:
    """The two parts of a half's data, and what a map of the first tells of the second.

    shells : (d // 2 + 1,) bool, those with signal, which are judged by; traditional : (d // 2 + 1,) FSC of Wiener's map
    with the truth, as foretold
    """

    def __init__(self, data: FourierData, mask, difference, rng, operators=None):
        self.data, self.mask = data, mask
        self._reliable = data.weight / np.maximum(data.weight + data.prior, 1e-30)
        noise_power = 0.5 * self._common(difference, difference)
        noise = self._noise(noise_power, rng, operators)
        # both signs: what n adds to either by chance goes out
        self._seen = [data.of(data.volume + np.float32(sign * THINNING) * noise) for sign in (1, -1)]
        self._unseen = [data.volume - np.float32(sign / THINNING) * noise for sign in (1, -1)]
        self._signal = self._common(data.volume, data.volume) - noise_power
        snr = self._signal / np.maximum(noise_power, 1e-30)
        self.shells = np.concatenate([[False], np.logical_and.accumulate(snr[1:] >= LEAST_SNR)])
        self.traditional = self.curve([one.quadratic() for one in self._seen])

    def gain(self, config: SparseTVConfig, epsilon: float) -> float:
        """Mean FSC with the truth over `shells`, less that of Wiener's map. Raises InputError for empty maps."""
        return float((self.curve(self.maps(config, epsilon)) - self.traditional)[self.shells].mean())

    def maps(self, config: SparseTVConfig, epsilon: float) -> list:
        """[(d, d, d)] the first part's map for either sign of n."""
        return [sparse_tv_map(one, config, epsilon=epsilon).volume for one in self._seen]

    def curve(self, maps) -> np.ndarray:
        """(d // 2 + 1,) FSC of the first part's maps with the truth, within the mask; 0 where there is no signal."""
        common = sum(self._common(one, unseen) for one, unseen in zip(maps, self._unseen))
        power = 2 * sum(self._common(one, one) for one in maps) * np.maximum(self._signal, 0)
        found = np.divide(common, np.sqrt(power), out=np.zeros(len(common)), where=self.shells & (power > 0))
        return np.clip(found, 0, 1)

    def _common(self, first, second):
        """(d // 2 + 1,) mean of Re x conj(y) over shells, within the mask. Coefficients that the data leave open are
        left out as far as they are: nothing tells what is right there, and the mask would spread their noise."""
        x, y = (self.data.transform(self.mask * self.data.inverse(self._reliable * self.data.transform(one)))
                for one in (first, second))
        return radial_average((x * y.conj()).real, self.data.shells, self.data.box // 2 + 1)

    def _noise(self, power, rng, operators):
        """(d, d, d) noise as the map has it: of the covariance that its weights say, symmetric, with this power within
        the mask, which pose errors raise above that of the weights, and images' masks below it elsewhere."""
        data = self.data
        floor = FLOOR * radial_average(data.weight, data.shells, data.box // 2 + 1)[data.shells]
        deviation = np.sqrt(data.weight) / np.maximum(np.maximum(data.weight, floor), 1e-30)
        white = data.transform(rng.standard_normal(data.volume.shape).astype(np.float32))
        noise = data.inverse(white * deviation.astype(np.float32))
        if operators is not None and len(operators) > 1:
            noise = symmetrise(noise, operators)
        # the mask mixes neighbouring shells: twice
        for _ in range(2):
            scale = np.sqrt(power / np.maximum(self._common(noise, noise), 1e-30)).astype(np.float32)
            noise = data.inverse(data.transform(noise) * scale[data.shells])
        return noise


def _swapped(gain, beta, alpha):
    return gain(alpha, beta)


def _climb(values, start, gain):
    """The best of ascending values, walking from `start` to either side until two in a row are worse."""
    best, first = start, values.index(start)
    for way in (values[first + 1:], values[:first][::-1]):
        worse = 0
        for value in way:
            worse = worse + 1 if gain(value) <= gain(best) else 0
            best = best if worse else value
            if worse == 2:
                break
    return best


def _reduced(data, mask, difference, epsilon):
    """The same in a box of LARGEST_BOX px, of the same side in Å."""
    # raw coefficients stay as they are: a voxel holds that much more, and the square of a unitary one is as much larger
    share = np.float32((LARGEST_BOX / data.box) ** 3)
    line = np.fft.fftfreq(LARGEST_BOX, 1 / LARGEST_BOX).astype(int)
    weight, prior = (values[line][:, line][:, :, :LARGEST_BOX // 2 + 1] * share for values in (data.weight, data.prior))
    small = FourierData(resample_volume(data.volume, LARGEST_BOX), weight, prior, threads=data.threads)
    return (small, np.clip(resample_volume(mask, LARGEST_BOX) * share, 0, 1), resample_volume(difference, LARGEST_BOX),
            epsilon / float(share))
