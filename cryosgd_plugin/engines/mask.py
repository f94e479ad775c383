"""A solvent mask made of the map itself: threshold, the large pieces, growth, soft edge."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.errors import InputError
from ..core.fourier import fft3_centred, ifft3_centred
from ..core.masks import soft_mask_from_volume, soft_sphere
from ..core.settings import need
from ..core.shells import shell_index_3d

# the map is low-passed to this, Å: a mask follows the envelope, not the detail
ENVELOPE_A = 15.0
# density that belongs to the particle, as a share of its bright parts: the mean of the brightest thousandth
THRESHOLD, BRIGHT = 0.2, 1e-3
# pieces of less than this share of the largest one are dust
DUST = 0.05
# growth and soft edge, Å
EXTEND_A, EDGE_A = 6.0, 9.0
# an edge of fewer px carries strong shells into weak ones: of a ribosome at 5 Å/px, whose map was right to 16.6 Å, the
# corrected curve of the halves ended at 20.3 Å with 2 px and at 16.7 Å with 5
EDGE_PX = 5.0


class NoDensity(InputError):
    """No mask can be made of a map: nothing in it lies above its background."""


@dataclass(frozen=True)
class MaskShape:
    """How a mask is made of a map.

    threshold : density that belongs to the particle, as a share of the brightness of the map's bright parts, 0 to 1
    extend_a : growth beyond it, Å; edge_a : width of the soft edge beyond that, Å, EDGE_PX at least
    """

    threshold: float = THRESHOLD
    extend_a: float = EXTEND_A
    edge_a: float = EDGE_A

    def __post_init__(self):
        need(0 < self.threshold < 1, f"a mask threshold of {self.threshold:g} of the brightest density is not between "
             "0 and 1; typical is 0.2")
        need(self.extend_a >= 0, f"a mask can't be grown by {self.extend_a:g} Å; give 0 or more")
        need(self.edge_a >= 0, f"a mask's edge of {self.edge_a:g} Å is negative; typical is 9")


def dynamic_mask(volume, pixel_size: float, diameter_a: float, *, envelope_a: float = ENVELOPE_A,
                 shape: MaskShape | None = None) -> np.ndarray:
    """A soft mask (d, d, d) float32 in [0, 1] around the density in the particle's sphere, without dust.

    shape : MaskShape, None for the usual one. Raises NoDensity where the map is nowhere above its background.
    """
    shape = shape or MaskShape()
    box = volume.shape[0]
    sphere = soft_sphere(box, min(diameter_a / 2 / pixel_size, box / 2 - 2), 2)
    shells = box * pixel_size / max(envelope_a, 2 * pixel_size)
    fall = np.clip((shell_index_3d(box) / shells - 1) / 0.3 + 0.5, 0, 1)
    blurred = ifft3_centred(fft3_centred(volume) * (0.5 + 0.5 * np.cos(np.pi * fall)).astype(np.float32), box) * sphere
    inside = np.sort(blurred[sphere > 0.5])
    bright = float(inside[-max(1, int(BRIGHT * len(inside))):].mean())
    if not bright > 0:
        raise NoDensity("the map has no density above its background inside the particle's sphere, so no mask can be "
                        "made of it; give a mask, or mask with the sphere")
    pieces, count = ndimage.label(blurred > shape.threshold * bright)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = (sizes > DUST * sizes.max())[pieces]
    edge = max(EDGE_PX, shape.edge_a / pixel_size)
    mask = soft_mask_from_volume(large, 0.5, shape.extend_a / pixel_size, edge)
    # what the growth adds beyond the particle's sphere ends softly too, as far as the box has room
    radius = min(diameter_a / 2 / pixel_size, box / 2 - 3)
    within = soft_sphere(box, radius, min(edge, box / 2 - 1 - radius))
    return np.minimum(mask, within).astype(np.float32)
