"""What sections of a map show, apart from the map: place, contour, greys."""
from __future__ import annotations

from dataclasses import dataclass

SLICES, PROJECTIONS = "slices", "projections"


@dataclass
class SectionState:
    """Settings of a map's planes.

    position : voxel [z, y, x] of the cross-hair; mode : SLICES or PROJECTIONS; thickness : sections averaged
    level : density of the contour; grey_range : densities drawn black and white
    contours, cross_hair : drawn over the slices
    """

    position: list
    level: float
    grey_range: tuple
    mode: str = SLICES
    thickness: int = 1
    contours: bool = True
    cross_hair: bool = True

    @classmethod
    def of(cls, data):
        """The settings that suit a volume: its centre, a contour about the molecule, the range of its densities."""
        return cls(position=list(data.centre), level=default_level(data.survey), grey_range=default_greys(data.survey))


def default_level(survey):
    """3σ above the mean, the usual first contour; lower where the densities hardly reach that far."""
    level = min(survey.from_sigma(3.0), survey.mean + 0.6 * (survey.quantile(0.999) - survey.mean))
    return level if level > survey.minimum else survey.mean


def default_greys(survey):
    """Densities drawn black and white: all but the darkest 0.5 % and the brightest 0.05 % of the voxels."""
    low, high = survey.quantile(0.005), survey.quantile(0.9995)
    if high <= low:                 # a map that is mostly one value, as a mask
        low, high = survey.minimum, survey.maximum
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def harder(grey_range, contrast):
    """A grey range about its middle, narrower by a factor of two for each unit of contrast."""
    low, high = grey_range
    half = (high - low) / 2 * 2.0 ** -contrast
    return (low + high) / 2 - half, (low + high) / 2 + half
