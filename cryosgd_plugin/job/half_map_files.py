"""The files of two half-maps and their mask, read and checked together."""
from __future__ import annotations

from dataclasses import asdict, dataclass

from ..core.errors import InputError
from ..core.masks import check_mask, check_mask_frame
from ..engines.mask import MaskShape
from ..engines.validation.halves import HalfMaps, automatic_mask
from ..io.volumes import read_pair, read_volume


@dataclass(frozen=True)
class HalfMapFiles:
    """Paths of two unfiltered half-maps, and what is known of them.

    mask : path, or None to make one of the maps; pixel_size : Å/px, None takes the headers'; diameter_a : of the
    particle, Å, for the mask that is made; mask_shape : how it is made
    """

    first: str
    second: str
    mask: str | None = None
    pixel_size: float | None = None
    diameter_a: float | None = None
    mask_shape: MaskShape = MaskShape()

    def read(self) -> HalfMaps:
        """The maps; raises InputError where they or the mask can't be used."""
        if self.diameter_a is not None and not self.diameter_a > 0:
            raise InputError(f"a diameter of {self.diameter_a:g} Å is not positive; measure it on the map")
        first, second, pixel_size = read_pair(self.first, self.second, self.pixel_size)
        for path, volume in ((self.first, first), (self.second, second)):
            if volume.min() == volume.max():
                raise InputError(f"{path} is empty: every voxel is {float(volume.flat[0]):g}; give a map with density")
        return HalfMaps(first, second, pixel_size, read_mask(self.mask, len(first), pixel_size) if self.mask else
                        automatic_mask(0.5 * (first + second), pixel_size, self.diameter_a, self.mask_shape),
                        bool(self.mask))

    def names(self) -> dict:
        """Names for a summary."""
        return dict(half1=self.first, half2=self.second, mask=self.mask,
                    mask_shape=None if self.mask else asdict(self.mask_shape))


def read_mask(path, box_size: int, pixel_size: float):
    """A mask (d, d, d) on the grid of a map; InputError where it is none or lies on another grid."""
    mask, mask_pixel = read_volume(path, need_pixel_size=False)
    # 1 Å/px is what programs write that don't know better
    check_mask_frame(mask.shape, box_size, None if mask_pixel == 1 else mask_pixel, pixel_size)
    return check_mask(mask, box_size)
