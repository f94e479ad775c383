"""From the sums of both halves to the maps that particles are compared with: Wiener's, or paper 3's sparse and smooth.

Both see the same sums and the same τ². FSC, τ² and every resolution come from the unregularised halves, the dynamic
mask from Wiener's maps: two runs that differ in this differ in nothing but the maps that drive the alignment.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.errors import InputError
from ...core.fourier import fft3_centred
from ...core.shells import radial_average, shell_index_3d
from ..sparse_tv.choose import choose
from ..sparse_tv.of_halves import propose_epsilon
from ..sparse_tv.problem import FourierData
from ..sparse_tv.solver import sparse_tv_map
from ..sparse_tv.weights import weights_of_sums, with_prior
from .maps import of_both

# penalties are chosen anew where maps reach so many times further than when they were chosen
FURTHER = 1.25


class Wiener:
    """Numerator / (weight + 1/τ²), τ² from the FSC (paper 3's "traditional method"): maps that are there anyway."""

    # of the same sums, beside the map that is regularised otherwise
    traditional = None

    def halves(self, wiener, sums, halves, curves, radius: int, mask, last: bool = False):
        """(2, K, box, box, box) float32, the maps that become references.

        wiener, halves : (2, K, …) Wiener's maps and the unregularised ones of sums, [HalfSums]; curves : (K, shells)
        FSC of the latter within mask; radius : of the maps; last : of the last iteration
        """
        return wiener

    def whole(self, wiener, unregularised, weights, curves, radius: int, last: bool = False):
        """(K, box, box, box) float32 of both halves together, whose weights and maps are given; curves : of a half."""
        return wiener

    def shrinkage(self, curves):
        """(K, shells) which part of a true amplitude is left in each shell of the last maps (bounds.py)."""
        return curves

    def record(self) -> dict:
        """What an iteration's record says of it."""
        return {}

    def state(self) -> dict:
        """What the next iteration depends on, as arrays."""
        return {}

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""


class SparseTV:
    """Weighted least squares with log-norm sparsity and log total variation (engines/sparse_tv).

    config : SparseTVConfig; chosen : whether each half and class chooses α and β by data that it holds back
    operators : (g, 3, 3) of the symmetry
    traditional : (K, box, box, box) float32, Wiener's maps of both halves in the newest iteration
    """

    traditional = None

    def __init__(self, config, chosen: bool, *, pixel_size: float, diameter_a: float, classes: int, operators,
                 seed: int, threads: int):
        self.config, self.chosen, self.threads = config, chosen, threads
        self.pixel_size, self.diameter_a, self.operators, self.seed = pixel_size, diameter_a, operators, seed
        self.penalties = np.tile([config.alpha, config.beta], (2, classes, 1)).astype(float)
        self.chosen_at, self.previous = 0, None
        self._found, self._kept = [], None

    def halves(self, wiener, sums, halves, curves, radius, mask, last=False):
        """As Wiener.halves; Wiener's map where there is no other. Raises InputError where penalties that were given
        leave nothing of a first map."""
        anew = self.chosen and (last or radius >= FURTHER * self.chosen_at)
        first, self._found, maps = self.previous is None, [], wiener.copy()
        self._kept = np.ones((2,) + np.shape(curves))
        for half, k in np.ndindex(wiener.shape[:2]):
            try:
                data = self._data(halves[half, k], sums[half].weight[k], curves[k], radius)
                epsilon = self._epsilon(wiener[half, k])
                if anew:
                    self._choose(half, k, data, epsilon, mask, halves[0, k] - halves[1, k], radius)
                found = sparse_tv_map(data, self._config(half, k), epsilon=epsilon,
                                      previous=None if self.previous is None else self.previous[half, k])
            except InputError:
                if first and not self.chosen:
                    raise
                self._found.append(None)
                continue
            self._found.append(found)
            maps[half, k] = found.volume
            self._kept[half, k] = amplitude_kept(found.volume, halves[half, k])
        if anew:
            self.chosen_at = radius
        self.previous = maps
        return maps

    def _choose(self, half, k, data, epsilon, mask, difference, radius):
        own = choose(data, self._config(half, k), epsilon=epsilon, mask=mask, difference=difference,
                     rng=np.random.default_rng([self.seed, half, k, radius]), operators=self.operators).config
        self.penalties[half, k] = own.alpha, own.beta

    def shrinkage(self, curves):
        """As Wiener.shrinkage: of what the penalties left, or the FSC where that is less."""
        return np.minimum(curves, self._kept.min(axis=0))

    def whole(self, wiener, unregularised, weights, curves, radius, last=False):
        """As Wiener.whole, with the mean of the halves' penalties; Wiener's map where there is no other, and before the
        last iteration, where nothing depends on it."""
        self.traditional = wiener
        if not last:
            return wiener
        maps = wiener.copy()
        for k, curve in enumerate(curves):
            alpha, beta = self.penalties[:, k].mean(axis=0)
            config = replace(self.config, alpha=float(alpha), beta=float(beta))
            try:
                data = self._data(unregularised[k], weights[k], of_both(curve), radius)
                maps[k] = sparse_tv_map(data, config, epsilon=self._epsilon(wiener[k])).volume
            except InputError:
                continue
        return maps

    def record(self):
        """Penalties by half and class, and of each map its gap, empty voxels and total variation; None where Wiener's
        map had to stand in."""
        return dict(sparse_tv=dict(penalties=self.penalties.tolist(), maps=[
            one and dict(gap=one.gap, zeros=one.zeros, variation=one.variation, epsilon=one.strengths.epsilon)
            for one in self._found]))

    def state(self):
        """As Wiener.state."""
        return dict(penalties=self.penalties, chosen_at=self.chosen_at, previous=self.previous,
                    traditional=self.traditional)

    def restore(self, state):
        """As Wiener.restore."""
        self.penalties, self.previous = np.asarray(state["penalties"]), np.asarray(state["previous"])
        self.chosen_at, self.traditional = int(state["chosen_at"]), np.asarray(state["traditional"])

    def _config(self, half, k):
        alpha, beta = self.penalties[half, k]
        return replace(self.config, alpha=float(alpha), beta=float(beta))

    def _epsilon(self, volume):
        return self.config.epsilon or propose_epsilon(volume, self.pixel_size, self.diameter_a)

    def _data(self, volume, weight, curve, radius):
        weight = weights_of_sums(weight, len(volume), radius, len(self.operators))
        return FourierData(np.ascontiguousarray(volume, np.float32), *with_prior(weight, curve), threads=self.threads)


def amplitude_kept(volume, unregularised):
    """(d // 2 + 1,) in each shell Re Σ x conj(y) / Σ |y|²: which part of an unregularised map's amplitudes a map has
    left. Where noise prevails it is less than of the signal's."""
    box = len(volume)
    x, y = fft3_centred(volume), fft3_centred(unregularised)
    shells = np.minimum(shell_index_3d(box), box // 2)
    common, power = (radial_average(values, shells, box // 2 + 1) for values in ((x * y.conj()).real, np.abs(y) ** 2))
    return np.clip(common / np.maximum(power, 1e-30), 0, 1)
