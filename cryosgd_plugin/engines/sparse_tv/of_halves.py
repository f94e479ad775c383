"""Paper 3's maximisation step alone, on the two half-maps of any refinement."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...core.backend import to_host
from ...core.errors import InputError
from ...core.shells import fsc
from ...core.symmetry import point_group
from ..mask import dynamic_mask
from ..refine.maps import of_both
from .choose import LARGEST_BOX, choose
from .config import SparseTVConfig
from .problem import FourierData, NoMap
from .scan import GRID, box_of_scan, scanned
from .solver import EmptyMap, SparseTVMap, check_left, step_after_wiener
from .weights import weights_of_halves, with_prior

# an ε that is so many times more or less than the map's own density level is likely to be in other units
FAR_LEVEL = 10.0
# relative fixed-point gap of a map that more iterations would change to be seen
FAR_GAP = 0.1


@dataclass(frozen=True)
class RegularisedHalves:
    """What came of two half-maps; all arrays numpy.

    halves : [SparseTVMap] of each by itself; both : SparseTVMap of their mean; traditional : (d, d, d) float32, the
    Wiener solution of the same data; choices : [Choice] of each half where the penalties were chosen
    measured : (d // 2 + 1,) FSC of the half-maps as they were given, the only one that says anything of the resolution;
    regularised : that of the regularised ones, which also agree on what the penalties make of noise
    agreement : {(α, β, γ): shell} of the grid where it was tried, see `scan.scanned`; warnings : sentences
    """

    halves: list
    both: SparseTVMap
    traditional: np.ndarray
    choices: list
    measured: np.ndarray
    regularised: np.ndarray
    agreement: dict = field(default_factory=dict)
    warnings: list = field(default_factory=list)


def propose_epsilon(volume, pixel_size: float, diameter_a: float) -> float:
    """The density level of the molecule (paper 3 §2.5: what one would draw a mask at): rms density in a mask of it.

    volume : a map with little noise. Raises NoMap where it has no density above its background.
    """
    try:
        inside = dynamic_mask(volume, pixel_size, diameter_a) > 0.5
    except InputError as error:
        raise NoMap(str(error)) from error
    return float(np.sqrt(np.mean(volume[inside].astype(np.float64) ** 2)))


def far_level(epsilon: float, proposed: float) -> list:
    """A warning where an ε that was given is far from the density level of the map."""
    if 1 / FAR_LEVEL <= epsilon / proposed <= FAR_LEVEL:
        return []
    return [f"ε {epsilon:g} is {epsilon / proposed:.2g} times the density level of the map ({proposed:.3g}); check "
            "that it is in the map's units, or leave it out to have one proposed"]


def regularise_halves(first, second, config: SparseTVConfig, *, pixel_size: float, diameter_a: float, chosen: bool,
                      symmetry: str = "C1", seed: int = 0, threads: int = 1, scan: bool = False,
                      xp=np) -> RegularisedHalves:
    """Regularise two unregularised half-maps (d, d, d) float32 numpy, each by itself, and their mean.

    config : its γ holds each map to Wiener's, as in a refinement's iteration after one of the traditional method
    symmetry : point group that was imposed on the maps. chosen : whether each half chooses α and β by a part of its
    data that it holds back, from paper 3's grid if scan, which has γ too; the mean then takes the mean of both choices.
    N, P, ε and the mask come from both halves. xp : numpy or cupy, where the final maps are solved for
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
    proposed = propose_epsilon(traditional, pixel_size, diameter_a)
    epsilon = config.epsilon or proposed
    mask = dynamic_mask(traditional, pixel_size, diameter_a)
    data = [FourierData(volume, *with_prior(weight, measured), threads=threads) for volume in (first, second)]
    choices, largest_box = [], box_of_scan(measured) if scan else LARGEST_BOX
    if chosen:
        choices = [choose(one, config, epsilon=epsilon, mask=mask, difference=first - second,
                          rng=np.random.default_rng([seed, number]), operators=point_group(symmetry), hold=True,
                          grid=GRID if scan else None, largest_box=largest_box) for number, one in enumerate(data)]
    agreement = scanned(data, config, epsilon=epsilon, largest_box=largest_box) if scan else {}
    configs = [one.config for one in choices] or [config] * 2
    warnings, maps = config.unusual() + far_level(epsilon, proposed), []
    for what, one, own in zip(("half 1", "half 2", "both halves"), [*data, mean], [*configs, _mean_of(configs)]):
        maps.append(_solved(one, own, epsilon, xp))
        warnings += _doubts(what, maps[-1], own, one.quadratic(), mask)
    return RegularisedHalves(maps[:2], maps[2], traditional, choices, measured,
                             fsc(maps[0].volume, maps[1].volume), agreement, warnings)


def _doubts(what, found, config, wiener, mask):
    """Sentences on a SparseTVMap that is nearly empty, or that more iterations would change."""
    words = []
    try:
        check_left(found, config, wiener, mask)
    except EmptyMap as error:
        words.append(f"The map of {what} is nearly empty: {error}")
    if found.gap > FAR_GAP:
        words.append(f"The map of {what} is not settled: its gap is {found.gap:.2g} after "
                     f"{sum(map(len, found.gaps))} iterations; allow for more, or lower the penalties")
    return words


def _solved(data, config, epsilon, xp):
    """SparseTVMap, numpy, solved for where arrays of xp lie."""
    if xp is not np:
        data = FourierData(*(xp.asarray(one) for one in (data.volume, data.weight, data.prior)))
    found = step_after_wiener(data, config, epsilon=epsilon)
    return replace(found, volume=to_host(found.volume))


def _mean_of(configs):
    return replace(configs[0], **{name: float(np.mean([getattr(one, name) for one in configs]))
                                  for name in ("alpha", "beta", "gamma")})
