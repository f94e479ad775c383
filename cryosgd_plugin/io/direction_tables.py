"""What depends on direction, as STAR files: the FSC within cones, and how often views measured each direction.

Directions are the centres of HEALPix's areas in ring order, given as RELION's angles.
"""
from __future__ import annotations

from dataclasses import dataclass

import healpix
import numpy as np

from .fsc_star import CURVES
from .star_tables import read_table, write_table

# tags of the least, the quarter, the three quarter and the highest FSC of the cones, shell by shell
SPREAD = tuple(f"cryosgdConeFsc{word}" for word in ("Least", "LowerQuartile", "UpperQuartile", "Highest"))
# what RELION writes where there is no resolution
NONE_A = 999.0


@dataclass(frozen=True)
class ConesTable:
    """FSC within cones, as much of it as is looked at.

    frequencies, whole : (shells,) 1/Å, and the FSC of whole shells; spread : (4, shells) as SPREAD
    resolutions_a : (directions,) Å at FSC 0.143, infinity where the halves don't agree; half_angle_deg : of the cones
    """

    frequencies: np.ndarray
    whole: np.ndarray
    spread: np.ndarray
    resolutions_a: np.ndarray
    area_ratio: float
    sphericity: float
    half_angle_deg: float


@dataclass(frozen=True)
class SamplingTable:
    """counts : (directions,) views that measured each direction at a shell; views : how many there were"""

    counts: np.ndarray
    views: int
    shell: int
    scf_star: float

    @property
    def unsampled(self) -> float:
        """Share of the directions that no view measured."""
        return float(np.mean(self.counts == 0))


def write_cones(path, table: ConesTable):
    """Write a ConesTable; InputError where the file can't be written."""
    found = np.where(np.isfinite(table.resolutions_a), table.resolutions_a, NONE_A)
    write_table(path, {
        "general": {"cryosgdAreaRatio": table.area_ratio, "cryosgdSphericity": table.sphericity,
                    "cryosgdConeHalfAngle": table.half_angle_deg},
        "fsc": {"rlnResolution": table.frequencies, CURVES["masked"]: table.whole, **dict(zip(SPREAD, table.spread))},
        "directions": {**_angles(len(found)), "rlnAngstromResolution": found}})


def read_cones(path) -> ConesTable:
    """Read what `write_cones` wrote."""
    general, curves, directions = (read_table(path, block) for block in ("general", "fsc", "directions"))
    found = np.asarray(directions["rlnAngstromResolution"], float)
    return ConesTable(np.asarray(curves["rlnResolution"], float), np.asarray(curves[CURVES["masked"]], float),
                      np.array([curves[tag] for tag in SPREAD], float), np.where(found >= NONE_A, np.inf, found),
                      general["cryosgdAreaRatio"], general["cryosgdSphericity"], general["cryosgdConeHalfAngle"])


def write_sampling(path, table: SamplingTable):
    """Write a SamplingTable; InputError where the file can't be written."""
    write_table(path, {
        "general": {"cryosgdViews": table.views, "cryosgdFourierShell": table.shell, "cryosgdScfStar": table.scf_star},
        "directions": {**_angles(len(table.counts)), "cryosgdViewsThrough": table.counts}})


def read_sampling(path) -> SamplingTable:
    """Read what `write_sampling` wrote."""
    general, directions = (read_table(path, block) for block in ("general", "directions"))
    return SamplingTable(directions["cryosgdViewsThrough"], general["cryosgdViews"], general["cryosgdFourierShell"],
                         general["cryosgdScfStar"])


def _angles(areas):
    theta, phi = healpix.pix2ang(healpix.npix2nside(areas), np.arange(areas))
    return {"rlnAngleRot": np.degrees(phi), "rlnAngleTilt": np.degrees(theta)}
