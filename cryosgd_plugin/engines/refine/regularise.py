"""From the sums of both halves to the maps that particles are compared with: Wiener's, or paper 3's sparse and smooth.

Both see the same sums and the same τ². FSC, τ² and every resolution come from the unregularised halves, the dynamic
mask from Wiener's maps: two runs that differ in this differ in nothing but the maps that drive the alignment.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.fourier import fft3_centred
from ...core.shells import fsc, radial_average, shell_index_3d
from ..sparse_tv.choose import choose
from ..sparse_tv.of_halves import far_level, propose_epsilon
from ..sparse_tv.problem import FourierData, NoMap
from ..sparse_tv.solver import EmptyMap, check_left, sparse_tv_map
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

    def whole(self, wiener, unregularised, weights, curves, radius: int, mask, last: bool = False):
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
        self._found, self._whole, self._kept, self._agreement, self._warnings = [], None, None, None, []

    def halves(self, wiener, sums, halves, curves, radius, mask, last=False):
        """As Wiener.halves; Wiener's map where there is no other, which `record` says. Raises EmptyMap where penalties
        that were given leave next to nothing of all first maps: that run would be another than the one asked for."""
        anew = self.chosen and (last or radius >= FURTHER * self.chosen_at)
        first, emptied, maps = self.previous is None, None, wiener.copy()
        self._found, self._warnings = [], []
        self._kept = np.ones((2,) + np.shape(curves))
        for half, k in np.ndindex(wiener.shape[:2]):
            try:
                data = self._data(halves[half, k], sums[half].weight[k], curves[k], radius)
                epsilon = self._epsilon(wiener[half, k], warn=first and half == 0)
                if anew:
                    self._choose(half, k, data, epsilon, mask, halves[0, k] - halves[1, k], radius)
                config = self._config(half, k)
                found = sparse_tv_map(data, config, epsilon=epsilon,
                                      previous=None if self.previous is None else self.previous[half, k])
                check_left(found, config, wiener[half, k], mask)
            except NoMap as error:
                self._found.append(None)
                self._stand_in(f"half {half + 1}{self._of_class(k)}", error)
                emptied = error if isinstance(error, EmptyMap) else emptied
                continue
            self._found.append(found)
            maps[half, k] = found.volume
            self._kept[half, k] = amplitude_kept(found.volume, halves[half, k])
        if first and emptied is not None and not self.chosen and not any(self._found):
            raise emptied
        if anew:
            self.chosen_at = radius
        self.previous = maps
        self._agreement = [fsc(first, second, mask) for first, second in zip(*maps)] if last else None
        return maps

    def _stand_in(self, what, error):
        self._warnings.append(f"Wiener's map stands in for the sparse and smooth one of {what}: {error}.")

    def _of_class(self, k):
        return f" of class {k + 1}" if self.penalties.shape[1] > 1 else ""

    def _choose(self, half, k, data, epsilon, mask, difference, radius):
        own = choose(data, self._config(half, k), epsilon=epsilon, mask=mask, difference=difference,
                     rng=np.random.default_rng([self.seed, half, k, radius]), operators=self.operators).config
        self.penalties[half, k] = own.alpha, own.beta

    def shrinkage(self, curves):
        """As Wiener.shrinkage: of what the penalties left, or the FSC where that is less."""
        return np.minimum(curves, self._kept.min(axis=0))

    def whole(self, wiener, unregularised, weights, curves, radius, mask, last=False):
        """As Wiener.whole, with the mean of the halves' penalties; Wiener's map where there is no other, and before the
        last iteration, where nothing depends on it."""
        self.traditional = wiener
        if not last:
            return wiener
        maps, self._whole = wiener.copy(), []
        for k, curve in enumerate(curves):
            alpha, beta = self.penalties[:, k].mean(axis=0)
            config = replace(self.config, alpha=float(alpha), beta=float(beta))
            try:
                data = self._data(unregularised[k], weights[k], of_both(curve), radius)
                found = sparse_tv_map(data, config, epsilon=self._epsilon(wiener[k]))
                check_left(found, config, wiener[k], mask)
            except NoMap as error:
                self._whole.append(None)
                self._stand_in(f"both halves{self._of_class(k)}", error)
                continue
            self._whole.append(found)
            maps[k] = found.volume
        return maps

    def record(self):
        """Warnings; penalties by half and class; of each map its gap, empty voxels and total variation, None where
        Wiener's had to stand in; in the last iteration the same of the map of both halves (`whole`), and the FSC of the
        regularised halves within the mask (`fsc_regularised`), which is no measure of resolution."""
        last = {} if self._agreement is None else dict(
            whole=[_described(one) for one in self._whole], fsc_regularised=[one.tolist() for one in self._agreement])
        return dict(warnings=list(self._warnings), sparse_tv=dict(
            penalties=self.penalties.tolist(), maps=[_described(one) for one in self._found], **last))

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

    def _epsilon(self, volume, warn=False):
        """ε for a map, as given or proposed; warn : whether one that was given is held against the proposal."""
        if self.config.epsilon is None:
            return propose_epsilon(volume, self.pixel_size, self.diameter_a)
        if warn:
            self._warnings += far_level(self.config.epsilon, propose_epsilon(volume, self.pixel_size, self.diameter_a))
        return self.config.epsilon

    def _data(self, volume, weight, curve, radius):
        weight = weights_of_sums(weight, len(volume), radius, len(self.operators))
        return FourierData(np.ascontiguousarray(volume, np.float32), *with_prior(weight, curve), threads=self.threads)


def _described(found):
    return found and dict(gap=found.gap, zeros=found.zeros, variation=found.variation,
                          epsilon=found.strengths.epsilon)


def amplitude_kept(volume, unregularised):
    """(d // 2 + 1,) in each shell Re Σ x conj(y) / Σ |y|²: which part of an unregularised map's amplitudes a map has
    left. Where noise prevails it is less than of the signal's."""
    box = len(volume)
    x, y = fft3_centred(volume), fft3_centred(unregularised)
    shells = np.minimum(shell_index_3d(box), box // 2)
    common, power = (radial_average(values, shells, box // 2 + 1) for values in ((x * y.conj()).real, np.abs(y) ** 2))
    return np.clip(common / np.maximum(power, 1e-30), 0, 1)
