"""How well several maps agree, as Scipion's outputs and in words: of restarts, and of maps that were compared."""
from __future__ import annotations

import numpy as np
from pyworkflow.object import Boolean, Integer

from ..convert import fsc_object, volume_object

# curves that can be told apart in one picture
MOST_CURVES = 10
# pairs whose resolutions a summary lists
MOST_PAIRS = 6


def append_aligned(volumes, agreement, pixel_size, prefix=""):
    """Append the aligned maps to a SetOfVolumes; each knows whether it is of the largest group, and its seed."""
    for entry in agreement.maps:
        volume = volume_object(entry["file"], pixel_size, label=prefix + entry["name"])
        volume._cryosgdAgrees = Boolean(entry["agrees"])
        if "seed" in entry:
            volume._cryosgdSeed = Integer(entry["seed"])
        volumes.append(volume)


def consensus_words(agreement) -> str:
    """What the consensus is, and in which frame."""
    if not agreement.agree:
        return "There is no consensus, as no two maps agree."
    largest = agreement.groups[0]
    return (f"The consensus is the mean of {', '.join(largest[:-1])} and {largest[-1]}, in the frame of "
            f"{agreement.reference}.")


def append_curves(curves, agreements):
    """Append to a SetOfFSCs the mean FSC of each structure's pairs, with every pair where all fit one picture, else
    with mean ± standard deviation; of a single pair its curve alone."""
    each = sum(len(agreement.curves) + 1 for agreement in agreements) <= MOST_CURVES
    for number, agreement in enumerate(agreements, start=1):
        prefix = f"class {number}, " if len(agreements) > 1 else ""
        mean, spread = agreement.mean, agreement.std
        named = {"mean of pairs": mean} if len(agreement.curves) > 1 else {}
        if each or not named:
            named.update((" and ".join(pair), values) for pair, values in agreement.curves.items())
        else:
            named.update({"mean - sd": mean - spread, "mean + sd": mean + spread})
        for words, values in named.items():
            curves.append(fsc_object(prefix + words, agreement.frequencies[1:], values[1:]))


def pair_words(agreement) -> str:
    """A sentence on how far the pairs agree."""
    resolutions = agreement.pair_resolutions_a
    if len(resolutions) <= MOST_PAIRS:
        listed = "; ".join(f"{one} and {other}: {_resolution(value)}"
                           for (one, other), value in zip(agreement.curves, resolutions))
        return f"FSC 0.5 of {'the pair' if len(resolutions) == 1 else 'each pair'}: {listed}."
    return (f"FSC 0.5 of {len(resolutions)} pairs: {_resolution(resolutions.min())} at best, "
            f"{_resolution(np.median(resolutions))} in the median, {_resolution(resolutions.max())} at worst.")


def _resolution(value):
    return f"{value:.3g} Å" if np.isfinite(value) else "nowhere"
