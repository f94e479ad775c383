"""What the data say of a map: the quadratic of paper 3 eq. 28, each Fourier coefficient with its own weight."""
from __future__ import annotations

import numpy as np
from scipy import fft

from ...core.backend import array_module
from ...core.errors import InputError
from ...core.shells import friedel_weights, shell_index_3d


class NoMap(InputError):
    """There is nothing to make a map of: no data, or no density. A refinement goes on with Wiener's map."""


class FourierData:
    """½ Σ N |Ax − V̂|² + ½ Σ P |Ax|² over all Fourier coefficients, A unitary: how well a map x explains an
    unregularised one, and how strong its coefficients are.

    volume : (d, d, d) float32, the unregularised map, whose transform is V̂
    weight : (d, d, d // 2 + 1) float32, N ≥ 0 in the layout of rfftn: one over the variance of a coefficient of the
        unitary transform; 0 where there are no data
    prior : P ≥ 0 of the same shape, one over the power of the signal, with which the minimum is Wiener's map. None: 0,
        as in eq. 28, where weak penalties leave the noise of what the data hardly tell as it is. (Paper 3's program has
        a ridge that the paper does not mention.)
    mean_weight : of N, where it is not 0; voxel_noise : standard deviation of
        a voxel's noise in the quadratic's minimum; pull_rms : of AᴴN V̂
    Raises InputError: shapes that don't fit, values that are no numbers, negative weights; NoMap: no data at all.
    """

    def __init__(self, volume, weight, prior=None, *, threads: int = 1):
        self.xp, self.threads = array_module(volume), threads
        self.volume, self.weight = volume, weight
        self.prior = self.xp.zeros_like(weight) if prior is None else prior
        d = volume.shape[0]
        if volume.shape != (d,) * 3:
            raise InputError(f"a map of {' × '.join(map(str, volume.shape))} px is not a cube; pad it to equal sides")
        if weight.shape != (d, d, d // 2 + 1):
            raise InputError(f"Fourier weights of {weight.shape} do not belong to a map of {d} px, which has "
                             f"{(d, d, d // 2 + 1)}; make both from one reconstruction")
        for what, values in (("map", volume), ("Fourier weights", weight), ("prior", self.prior)):
            bad = int((~self.xp.isfinite(values)).sum())
            if bad:
                raise InputError(f"{bad} values of the {what} are not finite numbers; reconstruct it anew")
            if what != "map" and float(values.min()) < 0:
                raise InputError(f"the least of the {what} is {float(values.min()):.3g}, below 0; each is one over a "
                                 "variance")
        self._both = friedel_weights(d, self.xp)
        known = weight > 0
        share = self._mean(known.astype(weight.dtype))
        if not share > 0:
            raise NoMap("no Fourier coefficient has any data; give a reconstruction of at least one particle")
        # over the coefficients of which something is known: maps may end long before the corners
        self.mean_weight = self._mean(weight) / share
        whole = self.xp.where(known, weight + self.prior, self.xp.float32(1))
        self.voxel_noise = float(np.sqrt(self._mean(weight / whole / whole)))
        self.largest_weight = float((weight + self.prior).max())
        self.pull = weight * self.transform(volume)
        self.pull_rms = float(self.xp.sqrt((self.inverse(self.pull).astype(self.xp.float64) ** 2).mean()))

    @property
    def box(self) -> int:
        return self.volume.shape[0]

    @property
    def shells(self):
        """(d, d, d // 2 + 1) shell of each coefficient; the corners are counted to the last."""
        return self.xp.minimum(shell_index_3d(self.box, self.xp), self.box // 2)

    def of(self, volume) -> "FourierData":
        """The same of another unregularised map."""
        return FourierData(volume, self.weight, self.prior, threads=self.threads)

    def quadratic(self):
        """(d, d, d) float32: the minimum without penalties, Wiener's map; 0 where neither data nor prior say anything.
        Without a prior the unregularised map as far as it has data."""
        return self.inverse(self.pull / self.xp.maximum(self.weight + self.prior, self.xp.float32(1e-30)))

    def transform(self, x):
        """(d, d, d // 2 + 1) complex64: the raw transform; norms cancel where it is undone."""
        if self.xp is np:
            return fft.rfftn(x, workers=self.threads)
        return self.xp.fft.rfftn(x).astype(self.xp.complex64)

    def inverse(self, coefficients, overwrite: bool = False):
        """(d, d, d) float32, the inverse of `transform`; overwrite : whether the coefficients may be lost."""
        shape = (self.box,) * 3
        if self.xp is np:
            return fft.irfftn(coefficients, shape, workers=self.threads, overwrite_x=overwrite)
        return self.xp.fft.irfftn(coefficients, shape).astype(self.xp.float32)

    def misfit(self, x) -> float:
        """½ Σ N |Ax − V̂|² + ½ Σ P |Ax|²."""
        raw = self.transform(x)
        gap = raw - self.transform(self.volume)
        power = self.weight * (gap.real ** 2 + gap.imag ** 2) + self.prior * (raw.real ** 2 + raw.imag ** 2)
        # the raw transform is √(d³) times the unitary one
        return 0.5 * float((power.sum(axis=(0, 1), dtype=self.xp.float64) * self._both).sum()) / self.box ** 3

    def _mean(self, weight):
        """Over the whole transform, of which (d, d, d // 2 + 1) are given."""
        return float((weight.mean(axis=(0, 1), dtype=self.xp.float64) * self._both).sum()) / self.box
