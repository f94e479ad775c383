"""Two half-maps and the mask they are compared in, and what makes them doubtful."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.fourier import fft3_centred
from ...core.masks import distance_from_centre
from ...core.shells import crossing_resolution, radial_average, shell_index_3d
from ..mask import MaskShape, dynamic_mask
from .half_maps import THRESHOLD

# where no diameter is given, a mask is looked for within this share of the box
DIAMETER_SHARE = 0.9
# halves that agree by more than this in every shell are one map
SAME = 0.999
SAME_MAP = ("The two half-maps are the same map (FSC above 0.999 in every shell), so nothing can be said of their "
            "resolution; give the two halves of one refinement.")
# a voxel whose halves differ by less than this share of the rms difference shows no noise; of Gaussian noise 0.08 %
# do, and more than a fifth of all only where maps were masked
NO_NOISE, MASKED_SHARE = 1e-3, 0.2
# a shell with less than this share of the noise that the agreeing shells have was filtered away
FILTERED = 1e-4


@dataclass(frozen=True)
class HalfMaps:
    """Two unregularised half-maps of one refinement, on one grid.

    first, second : (d, d, d) float32; pixel_size : Å/px; mask : (d, d, d) in [0, 1]; mask_given : False where the mask
    was made of the maps
    """

    first: np.ndarray
    second: np.ndarray
    pixel_size: float
    mask: np.ndarray
    mask_given: bool

    @property
    def box_size(self) -> int:
        return len(self.first)

    @property
    def mean(self) -> np.ndarray:
        return 0.5 * (self.first + self.second)

    def crossing(self, curve, threshold: float = THRESHOLD) -> float:
        """Å at which a curve of these maps falls below a threshold."""
        return crossing_resolution(curve, threshold, self.box_size, self.pixel_size)


def automatic_mask(volume, pixel_size: float, diameter_a: float = None, shape: MaskShape | None = None) -> np.ndarray:
    """A soft mask of the map's envelope, within a sphere of DIAMETER_SHARE of the box where no diameter is given.

    shape : MaskShape, None for the usual one
    """
    return dynamic_mask(volume, pixel_size, diameter_a or DIAMETER_SHARE * len(volume) * pixel_size, shape=shape)


def same_map(unmasked) -> bool:
    """Whether an FSC is that of a map with itself."""
    return bool(np.min(unmasked[1:]) > SAME)


def doubts(halves: HalfMaps, unmasked) -> list:
    """Sentences on half-maps that are no two independent, unmasked, unfiltered ones; [] where nothing is wrong.

    unmasked : (d//2 + 1,) their FSC
    """
    if same_map(unmasked):
        return [SAME_MAP]
    sentences = []
    difference = halves.first - halves.second
    # the corners beyond it are left empty by some reconstruction programs
    within = difference[distance_from_centre(halves.box_size, 3) < halves.box_size / 2 - 1]
    silent = float(np.mean(np.abs(within) < NO_NOISE * within.std()))
    if silent > MASKED_SHARE:
        sentences.append(f"{silent:.0%} of the box's inner sphere holds no noise: the half-maps were masked before, "
                         "which their FSC mistakes for agreement; give the unmasked halves.")
    noise = radial_average(np.abs(fft3_centred(difference)) ** 2, shell_index_3d(halves.box_size), len(unmasked))
    below = np.flatnonzero(unmasked[1:] < THRESHOLD) + 1
    end = int(below[0]) if len(below) else len(noise)
    held = int(np.flatnonzero(noise >= FILTERED * np.median(noise[1:max(end, 2)]))[-1])
    if held < min(end, len(noise) - 1):
        sentences.append(f"The half-maps hold nothing beyond {halves.box_size * halves.pixel_size / held:.1f} Å and "
                         "still agree there: they were low-pass filtered; give the unfiltered halves.")
    return sentences
