"""Priors over the density of a map, for the negative log posterior of paper 1 (eq. 5-7 and §4.6).

A prior is that of one whole map: it is added once to the sum over all K images, or as 1/K of it to each (eq. 7).

Strengths are pure numbers. `scale` is a typical density of the map, its mean inside the particle at its present
sampling, and `voxel` the edge of the map's voxel in voxels of the particles' own box (box_size / working box, 1 or
more). A strength of 1 then means the same for particles of any grey scale, and, since resampling keeps mass, the same
physical map costs about the same in every working box: exactly so with the exponential prior, and with the
autoregressive one as far as the map is smooth on the coarser grid.
"""
from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ...core.backend import array_module
from ...core.errors import InputError

# a voxel touches 26 others: by a face, an edge or a corner
NEIGHBOURS = 26


class Prior(ABC):
    """A smooth function of a map. To add one: these three methods, and an entry in PRIORS.

    Volumes are (d, d, d) real arrays of numpy or CuPy; gradients come back in the same library and type.
    """

    @classmethod
    @abstractmethod
    def of_strength(cls, strength: float, scale: float, voxel: float) -> "Prior":
        """The prior of a pure number's strength, for maps of a typical density and a voxel edge (module's notes)."""

    @abstractmethod
    def value(self, volume) -> float:
        """−log p(volume) in nats, up to a constant."""

    @abstractmethod
    def gradient(self, volume):
        """Derivative of `value` by each voxel: (d, d, d)."""


class UniformPrior(Prior):
    """Every density is as likely (improper)."""

    @classmethod
    def of_strength(cls, strength, scale, voxel):
        return cls()

    def value(self, volume) -> float:
        return 0.0

    def gradient(self, volume):
        return array_module(volume).zeros_like(volume)


class ExponentialPrior(Prior):
    """Each voxel is exponentially distributed, p = λ exp(−λ v) for v ≥ 0 (paper 1 §3.3).

    rate : λ, in 1/density. Negative density is excluded by the optimiser, which truncates it after each step (paper 1
    §3.3.2), and not by an infinite value here: between steps and after resampling, the line goes on below 0.
    """

    def __init__(self, rate: float):
        self.rate = rate

    @classmethod
    def of_strength(cls, strength, scale, voxel):
        # per density, not per voxel: the coarse voxel's λ is that of the fine voxels whose mass it holds
        return cls(strength * voxel ** 3 / scale)

    def value(self, volume) -> float:
        return self.rate * float(volume.sum(dtype=np.float64))

    def gradient(self, volume):
        return array_module(volume).full_like(volume, self.rate)


class CarPrior(Prior):
    """Conditionally autoregressive: each voxel is N(mean of its 26 neighbours, sigma²) (paper 1 §4.6).

    sigma : density. −log of the product of these conditionals (Besag's pseudo-likelihood): Σ (v − M v)² / 2 sigma²,
    M the mean over the neighbours, which go round the box. M is symmetric, so the gradient is (1 − M)² v / sigma².
    """

    def __init__(self, sigma: float):
        self.sigma = sigma

    @classmethod
    def of_strength(cls, strength, scale, voxel):
        # v − M v goes as the Laplacian, voxel² · scale for one physical map, and voxels are voxel³ times fewer
        return cls(scale / strength * voxel ** 0.5)

    def value(self, volume) -> float:
        residual = _less_neighbours(volume) / self.sigma
        return 0.5 * float((residual * residual).sum(dtype=np.float64))

    def gradient(self, volume):
        return _less_neighbours(_less_neighbours(volume)) / self.sigma ** 2


PRIORS = {"uniform": UniformPrior, "car": CarPrior, "exponential": ExponentialPrior}


def make_prior(name: str, strength: float, *, scale: float, voxel: float = 1.0) -> Prior:
    """The prior of a name in PRIORS: λ = strength · voxel³ / scale, or σ_CAR = scale · √voxel / strength.

    strength : pure number > 0, without meaning for the uniform prior; scale, voxel : the module's notes.
    Raises InputError for another name, or for numbers that are not positive and finite.
    """
    if name not in PRIORS:
        raise InputError(f"prior '{name}' is unknown; choose of {', '.join(PRIORS)}")
    if PRIORS[name] is not UniformPrior:
        if not 0 < strength < np.inf:
            raise InputError(f"the strength {strength} of the {name} prior is not positive; give a number above 0, or "
                             "the prior 'uniform' for none")
        if not 0 < scale < np.inf:
            raise InputError(f"the typical density {scale} that the {name} prior is scaled by is not positive; give "
                             "the map's mean inside the particle")
        if not 0 < voxel < np.inf:
            raise InputError(f"the voxel edge {voxel} is not positive; give box size / working box")
    return PRIORS[name].of_strength(strength, scale, voxel)


def _less_neighbours(volume):
    """Each voxel less the mean of its 26 neighbours, periodic."""
    if volume.ndim != 3 or min(volume.shape) < 3:
        raise InputError(f"a map of shape {volume.shape} has no 26 neighbours of each voxel; give a cube of at least "
                         "3 px")
    xp = array_module(volume)
    summed = volume
    for axis in range(3):
        summed = summed + xp.roll(summed, 1, axis) + xp.roll(summed, -1, axis)
    # the sum holds the voxel itself
    return ((NEIGHBOURS + 1) * volume - summed) / NEIGHBOURS
