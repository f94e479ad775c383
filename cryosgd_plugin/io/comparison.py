"""Maps to be compared on the same slice and contour: what links them, whatever their boxes and density units."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from ..core.scale import matching_factor
from .section_state import SectionState, default_greys, default_level, harder
from .volume_data import VolumeData

DENSITY, SIGMA = "density", "σ"
ALL_PLANES = (0, 1, 2)
LEAST_BOX = 8             # px; a map of fewer has no shells to be matched by


@dataclass(frozen=True)
class ComparedMap:
    """One of the maps.

    data : VolumeData; factor : what its densities are multiplied by to be in the first map's units, None where the two
    don't agree at any resolution; agreed_a : Å to which they were matched, None for the first map itself
    """

    data: VolumeData
    factor: float | None = 1.0
    agreed_a: float | None = None

    @property
    def scale(self):
        """The factor, 1 where there is none."""
        return 1.0 if self.factor is None else self.factor

    def in_words(self):
        """How its densities were brought to the first map's units."""
        if self.factor is None:
            return "as it is: it does not agree with the first map"
        if self.agreed_a is None:
            return ""
        return f"× {self.factor:.3g}, least squares to {self.agreed_a:.3g} Å"


@dataclass
class ComparisonView:
    """What a comparison shows, the same for all maps.

    position_a : cross-hair [z, y, x], Å from the origin; planes : normals drawn (0, 1, 2 for z, y, x)
    zoom : 1 shows the whole boxes; unit, level : of the contour, DENSITY in the first map's units or SIGMA above each
    map's own mean; one_grey_range : for all maps, else each its own; contrast : see `harder`
    """

    level: float
    unit: str = DENSITY
    position_a: list = field(default_factory=lambda: [0.0, 0.0, 0.0])
    planes: tuple = ALL_PLANES
    zoom: float = 1.0
    one_grey_range: bool = True
    contrast: float = 0.0
    thickness: int = 1
    contours: bool = True
    cross_hair: bool = True

    @classmethod
    def of(cls, maps) -> "ComparisonView":
        """The settings that suit [ComparedMap]: one contour at a density; in σ where a map's units are unknown."""
        survey = maps[0].data.survey
        level = default_level(survey)
        known = all(one.factor is not None for one in maps)
        return cls(level if known else survey.in_sigma(level), DENSITY if known else SIGMA,
                   planes=default_planes(len(maps)))

    def at(self, position_a) -> "ComparisonView":
        """The same view of another place."""
        return replace(self, position_a=list(position_a))

    def level_of(self, one):
        """The contour in a map's own densities."""
        return self.level / one.scale if self.unit == DENSITY else one.data.survey.from_sigma(self.level)

    def in_unit(self, unit, maps):
        """The level of the first map's contour in another unit."""
        survey = maps[0].data.survey
        density = self.level_of(maps[0])
        return density if unit == DENSITY else survey.in_sigma(density)

    def grey_ranges(self, maps):
        """[(black, white)] in each map's own densities."""
        own = [default_greys(one.data.survey) for one in maps]
        if self.one_grey_range:
            low = min(one.scale * pair[0] for one, pair in zip(maps, own))
            high = max(one.scale * pair[1] for one, pair in zip(maps, own))
            own = [(low / one.scale, high / one.scale) for one in maps]
        return [harder(pair, self.contrast) for pair in own]

    def section_states(self, maps):
        """[SectionState] of each map: the nearest voxel, its contour and greys."""
        return [SectionState(voxel_at(one.data, self.position_a), self.level_of(one), greys, thickness=self.thickness,
                             contours=self.contours, cross_hair=self.cross_hair)
                for one, greys in zip(maps, self.grey_ranges(maps))]


def compared(volumes, matched=True) -> list:
    """[ComparedMap] of [VolumeData], the densities of each brought to the first one's units, or all as they are.

    Raises InputError for a volume without a finite voxel.
    """
    first, *others = volumes
    return [ComparedMap(first), *(ComparedMap(data, *_matched(data, first)) if matched else ComparedMap(data)
                                  for data in others)]


def default_planes(count):
    """All planes where a row for each of so many maps still has its room, else the one across z."""
    return ALL_PLANES if count <= 3 else (0,)


def voxel_at(data, position_a):
    """The voxel [z, y, x] of a volume nearest to a position in Å from its origin, at its edge where that is outside."""
    return [min(max(0, int(round(at / size)) + n // 2), n - 1)
            for at, size, n in zip(position_a, data.voxel_size_a, data.shape)]


def _matched(data, first):
    """(factor, Å to which it was fitted) by the surveys' coarse copies on the grid of the coarser one."""
    pixel_a = max(float((one.voxel_size_a * one.survey.factor).max()) for one in (data, first))
    box = int(min(min(n * size for n, size in zip(one.shape, one.voxel_size_a)) for one in (data, first)) / pixel_a
              + 1e-6)
    if box < LEAST_BOX:
        return None, None
    factor, shells = matching_factor(*(_on_grid(one, box, pixel_a) for one in (data, first)))
    return (factor, box * pixel_a / shells) if factor is not None else (None, None)


def _on_grid(data, box, pixel_a):
    """The coarse copy of a volume in a cube of `box` px about the origin: (box,)*3 float32."""
    coarse, factor = data.survey.coarse, data.survey.factor
    steps = pixel_a / (data.voxel_size_a * factor)
    # the centre of coarse voxel i is the fine index i * factor + (factor - 1) / 2
    origin = (np.array(data.centre) - (factor - 1) / 2) / factor
    offset = origin - box // 2 * steps
    if coarse.shape == (box,) * 3 and np.allclose(steps, 1) and np.allclose(offset, 0):
        return coarse
    return ndimage.affine_transform(coarse, np.diag(steps), offset, output_shape=(box,) * 3, order=3)
