"""Paper 3's maximisation step alone, on the two half-maps of any refinement."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError
from ...core.shells import fsc
from ...core.symmetry import point_group
from ..mask import dynamic_mask
from ..refine.maps import of_both
from .choose import choose
from .config import SparseTVConfig
from .problem import FourierData
from .solver import SparseTVMap, sparse_tv_map
from .weights import weights_of_halves, with_prior


@dataclass(frozen=True)
class RegularisedHalves:
    """What came of two half-maps.

    halves : [SparseTVMap] of each by itself; both : SparseTVMap of their mean; traditional : (d, d, d) float32, the
    Wiener solution of the same data; choices : [Choice] of each half where the penalties were chosen
    measured : (d // 2 + 1,) FSC of the half-maps as they were given, the only one that says anything of the resolution;
    regularised : that of the regularised ones, which also agree on what the penalties make of noise
    """

    halves: list
    both: SparseTVMap
    traditional: np.ndarray
    choices: list
    measured: np.ndarray
    regularised: np.ndarray


def propose_epsilon(volume, pixel_size: float, diameter_a: float) -> float:
    """The density level of the molecule (paper 3 §2.5: what one would draw a mask at): rms density in a mask of it.

    volume : a map with little noise. Raises InputError where it has no density above its background.
    """
    inside = dynamic_mask(volume, pixel_size, diameter_a) > 0.5
    return float(np.sqrt(np.mean(volume[inside].astype(np.float64) ** 2)))


def regularise_halves(first, second, config: SparseTVConfig, *, pixel_size: float, diameter_a: float, chosen: bool,
                      symmetry: str = "C1", seed: int = 0, threads: int = 1,
                      scan: bool = False) -> RegularisedHalves:
    """Regularise two unregularised half-maps (d, d, d) float32, each by itself, and their mean.

    symmetry : point group that was imposed on the maps. chosen : whether each half chooses α and β by a part of its
    data that it holds back, from paper 3's grid if scan; the mean then takes the mean of both choices. N, P, ε and the
    mask come from both halves.
    Raises InputError for maps that don't fit, aren't finite, or hold no density.
    """
    if first.shape != second.shape:
        raise InputError(f"the half-maps have boxes of {first.shape[0]} and {second.shape[0]} px; give two halves of "
                         "one refinement")
    for number, volume in enumerate((first, second), 1):
        bad = int((~np.isfinite(volume)).sum())
        if bad:
            raise InputError(f"{bad} voxels of half-map {number} are not finite numbers; make it anew")
    measured = fsc(first, second)
    weight = weights_of_halves(first, second)
    mean = FourierData(0.5 * (first + second), *with_prior(2 * weight, of_both(measured)), threads=threads)
    traditional = mean.quadratic()
    epsilon = config.epsilon or propose_epsilon(traditional, pixel_size, diameter_a)
    mask = dynamic_mask(traditional, pixel_size, diameter_a)
    halves, choices = [], []
    for number, volume in enumerate((first, second)):
        data, own = FourierData(volume, *with_prior(weight, measured), threads=threads), config
        if chosen:
            choices.append(choose(data, config, epsilon=epsilon, mask=mask, difference=first - second,
                                  rng=np.random.default_rng([seed, number]), operators=point_group(symmetry),
                                  scan=scan))
            own = choices[-1].config
        halves.append(sparse_tv_map(data, own, epsilon=epsilon))
    both = sparse_tv_map(mean, _of_both(config, choices), epsilon=epsilon)
    return RegularisedHalves(halves, both, traditional, choices, measured, fsc(*(one.volume for one in halves)))


def _of_both(config, choices):
    if not choices:
        return config
    alpha, beta = (float(np.mean([getattr(one.config, name) for one in choices])) for name in ("alpha", "beta"))
    return SparseTVConfig(**{**config.to_dict(), "alpha": alpha, "beta": beta})

