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
from itertools import product

import numpy as np
from scipy import ndimage

from ...core.shells import crossing_resolution, radial_average
from ...core.symmetry import symmetrise
from .coarse import coarse
from .config import SparseTVConfig
from .problem import FourierData
from .solver import EmptyMap, check_left, sparse_tv_map, step_after_wiener

# T: the map is of 92 % of the data, and judged by 8 %
THINNING = 0.3
# what is tried of each penalty, in the pull of noise: √(mean N), which the paper's unit, rms(AᴴNV̂), exceeds wherever
# there is signal (eightfold for apoferritin's half-maps, whose best β is 0.1 of the paper's unit; see benchmarks)
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# of a half-map's shell within the mask: what lies beyond the first shell of less is not judged by, and beyond the first
# of less than that (which penalties would have to clear of ten parts of noise) nothing is foretold
LEAST_SNR, TOLD_SNR = 1 / 3, 0.1
# share of a shell's mean weight that `refine.maps.solve` takes no weight to lie below in an unregularised map
FLOOR = 1e-3
# maps of more px are chosen by their low frequencies alone
LARGEST_BOX = 96


@dataclass(frozen=True)
class Trial:
    """What a half foretells of penalties.

    gain : mean over the shells with signal of the FSC with the truth, less that of Wiener's map
    shell : Fourier radius (px of the box) at which that FSC falls below 0.5; that of the last shell that is foretold
    where it does not. Both nan where the penalties left next to nothing.
    """

    alpha: float
    beta: float
    gamma: float
    gain: float
    shell: float


@dataclass(frozen=True)
class Choice:
    """What was tried, [Trial], and the best config. Where no gain is above 0, α and β are 0, which is Wiener's map.

    told : the last shell that anything is foretold of, 0 where there is none
    """

    config: SparseTVConfig
    tried: list
    told: int


def choose(data: FourierData, config: SparseTVConfig, *, epsilon: float, mask, difference, rng, operators=None,
           alphas=LEVELS, betas=LEVELS, grid=None, hold: bool = False, largest_box: int = None) -> Choice:
    """Find α and β of `config` for the data of one half, whose `prior` is Wiener's: β, then α, then β once more.

    mask : (d, d, d) around the particle; difference : of both unregularised halves, of which the power of its shells
    is used; operators : (g, 3, 3) of the symmetry that was imposed on the map; rng : draws n. numpy arrays.
    alphas, betas : what is tried beside 0, in √(mean N); none leaves that penalty out
    grid : (α, …), (β, …), (γ, …) of which every combination is tried instead, in the paper's units
    hold : whether γ holds each map to Wiener's. (Any map of an earlier iteration has seen what is held back here.)
    largest_box : px, of which the maps that are tried are at most; None: LARGEST_BOX
    """
    small = coarse(data, config, epsilon, largest_box or LARGEST_BOX)
    held_out = HeldOut(small.data, small.mask(mask), small.map(difference), rng, operators)
    tried = {}

    def gain(alpha, beta, gamma):
        if (alpha, beta, gamma) not in tried:
            tried[alpha, beta, gamma] = held_out.trial(small.settings(alpha, beta, gamma), small.epsilon, hold)
        found = tried[alpha, beta, gamma][0]
        return -np.inf if np.isnan(found) else found

    gamma = 0.0 if grid is not None else config.gamma
    alpha = beta = 0.0
    tried[alpha, beta, gamma] = 0.0, held_out.crossing(held_out.traditional)
    if held_out.shells.any():
        if grid is not None:
            alpha, beta, gamma = max([(alpha, beta, gamma), *product(*grid)], key=lambda one: gain(*one))
        else:
            unit = np.sqrt(small.data.mean_weight) / small.data.pull_rms
            alphas, betas = ([0.0] + [float(f"{level * unit:.2g}") * finer for level in levels]
                             for levels, finer in ((alphas, 1.0), (betas, small.finer)))
            for _ in range(2):
                beta = _climb(betas, beta, partial(gain, alpha, gamma=gamma))
                alpha = _climb(alphas, alpha, partial(gain, beta=beta, gamma=gamma))
    return Choice(replace(config, alpha=alpha, beta=beta, gamma=gamma),
                  [Trial(*penalties, *found) for penalties, found in tried.items()], int(held_out.told.sum()))


class HeldOut:
    """The two parts of a half's data, and what a map of the first tells of the second.

    shells : (d // 2 + 1,) bool, those with signal, which are judged by; told : the same with those of less signal
    beyond; traditional : (d // 2 + 1,) FSC of Wiener's map with the truth, as foretold
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
        self.shells, self.told = (np.concatenate([[False], np.logical_and.accumulate(snr[1:] >= least)])
                                  for least in (LEAST_SNR, TOLD_SNR))
        self._wiener = [one.quadratic() for one in self._seen]
        self.traditional = self.curve(self._wiener)

    def trial(self, config: SparseTVConfig, epsilon: float, hold: bool = False) -> tuple:
        """(gain, shell) of a Trial."""
        try:
            curve = self.curve(self.maps(config, epsilon, hold))
        except EmptyMap:
            return np.nan, np.nan
        return float((curve - self.traditional)[self.shells].mean()), self.crossing(curve)

    def crossing(self, curve) -> float:
        """Fourier radius (px) at which a foretold curve falls below 0.5, or of the last shell that is foretold."""
        told = curve[self.told]
        if not len(told):
            return 0.0
        # a mean of three shells: where the curve is flat, the scatter of one would settle the radius
        smooth = ndimage.uniform_filter1d(told, 3, mode="nearest")
        return shell_of_crossing(np.concatenate([[1], smooth]), 0.5, self.data.box)

    def maps(self, config: SparseTVConfig, epsilon: float, hold: bool = False) -> list:
        """[(d, d, d)] the first part's map for either sign of n; hold : whether γ holds them to Wiener's. Raises
        EmptyMap."""
        solve = step_after_wiener if hold else sparse_tv_map
        found = [solve(one, config, epsilon=epsilon) for one in self._seen]
        for one, wiener in zip(found, self._wiener):
            check_left(one, config, wiener, self.mask)
        return [one.volume for one in found]

    def curve(self, maps) -> np.ndarray:
        """(d // 2 + 1,) FSC of the first part's maps with the truth, within the mask; 0 where nothing is foretold."""
        common = sum(self._common(one, unseen) for one, unseen in zip(maps, self._unseen))
        power = 2 * sum(self._common(one, one) for one in maps) * np.maximum(self._signal, 0)
        found = np.divide(common, np.sqrt(power), out=np.zeros(len(common)), where=self.told & (power > 0))
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


def shell_of_crossing(curve, threshold: float, box: int) -> float:
    """Fourier radius, px, at which an FSC first falls below a threshold; that of its last shell where it does not, 0
    where there is none."""
    return 1 / crossing_resolution(curve, threshold, box, 1 / box)


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
