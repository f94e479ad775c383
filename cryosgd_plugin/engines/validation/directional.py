"""Directional resolution: the FSC of two half-maps within cones of Fourier space.

Tan et al. (2017), Nat. Methods 14, 793 (3DFSC). Products and powers are first added up on fine areas of the sphere,
shell by shell, so that a cone is a sum over areas: one matrix product for all cones, whatever the box.
"""
from __future__ import annotations

from dataclasses import dataclass

import healpix
import numpy as np
from scipy.spatial import ConvexHull

from ...core.fourier import fft3_centred
from ...core.shells import crossing_resolution, friedel_weights, shell_index_3d
from .half_maps import THRESHOLD

HALF_ANGLE_DEG = 20.0
# directions of cones: 768 areas of 7.3°, their antipodes among them; areas added up to cones: 1.8°
CONE_NSIDE, FINE_NSIDE = 8, 32
# an area ratio below this flags anisotropy: CryoSPARC's guide, "Orientation Diagnostics"
ANISOTROPIC = 0.5
# coefficients, Friedel mates counted both, below which a cone's correlation is scatter
FEWEST = 20
# FSC at which the surface lies whose sphericity is told, as 3DFSC has it
SURFACE = 0.5


@dataclass(frozen=True)
class ConicalFSC:
    """FSC within cones about the directions of HEALPix's areas (ring order, nside CONE_NSIDE).

    curves : (12·nside², shells); box_size, pixel_size : of the maps
    """

    curves: np.ndarray
    box_size: int
    pixel_size: float

    def resolutions(self, threshold: float = THRESHOLD) -> np.ndarray:
        """(directions,) Å at which each cone's curve falls below a threshold."""
        return np.array([crossing_resolution(curve, threshold, self.box_size, self.pixel_size)
                         for curve in self.curves])

    @property
    def areas(self) -> np.ndarray:
        """(directions,) area under each curve from shell 1 to where it first falls below 0.143, in shells."""
        ended = np.logical_or.accumulate(self.curves[:, 1:] < THRESHOLD, axis=1)
        return np.where(ended, 0, self.curves[:, 1:]).sum(axis=1)

    @property
    def area_ratio(self) -> float:
        """The smallest area by the largest: 1 for isotropic maps. What CryoSPARC calls cFAR, by this definition."""
        largest = self.areas.max()
        return float(self.areas.min() / largest) if largest > 0 else 0.0

    @property
    def sphericity(self) -> float:
        """Of the surface at which the cones' FSC is 0.5: π^(1/3) (6V)^(2/3) / A, 1 for a ball. Tan et al. (2017)."""
        radii = 1 / self.resolutions(SURFACE)
        if not radii.any():
            return 0.0
        ball = _sphericity(np.ones(len(radii)))
        return float(min(1.0, _sphericity(radii / radii.max()) / ball))


def conical_fsc(first, second, mask, *, pixel_size: float, half_angle_deg: float = HALF_ANGLE_DEG) -> ConicalFSC:
    """FSC of two half-maps (d, d, d) within a mask, in cones about all directions.

    Where a cone holds fewer than FEWEST coefficients of a shell it takes the value of the whole shell. Not corrected
    for the mask, which adds to all directions alike unless it is itself elongated.
    """
    box = len(first)
    n = box // 2 + 1
    products = _by_area(fft3_centred(first * mask), fft3_centred(second * mask), box)
    whole = _correlation(products.sum(axis=1))
    vectors = _centres(FINE_NSIDE)
    used = np.flatnonzero(products.any(axis=(0, 2)))
    within = np.abs(_centres(CONE_NSIDE) @ vectors[used].T) >= np.cos(np.radians(half_angle_deg))
    sums = np.stack([within.astype(np.float64) @ part[used] for part in products])
    curves = np.where(sums[3] >= FEWEST, _correlation(sums), whole)
    return ConicalFSC(curves[:, :n], box, pixel_size)


def outcome(result: ConicalFSC) -> str:
    """What came out, in sentences."""
    if not result.areas.max() > 0:
        return "The half-maps agree in no direction."
    found = result.resolutions()
    known = found[np.isfinite(found)]
    words = (f"Within cones of {HALF_ANGLE_DEG:g}° the half-maps agree to {known.min():.1f} to {known.max():.1f} Å "
             f"(FSC {THRESHOLD}), by direction; the areas under the weakest and the best curve are as "
             f"{result.area_ratio:.2f} (1 is isotropic, below {ANISOTROPIC:g} is not), the sphericity is "
             f"{result.sphericity:.2f}.")
    if len(known) < len(found):
        words += f" In {1 - len(known) / len(found):.0%} of the directions they do not agree at all."
    if result.area_ratio < ANISOTROPIC:
        words += (" The map is anisotropic: look at the view distribution, collect tilted images or other views, or "
                  "remove particles that do not belong.")
    return words


def _by_area(first, second, box):
    """(4, areas, box//2 + 1): product, both powers and number of coefficients on the areas of the sphere."""
    n = box // 2 + 1
    shell = shell_index_3d(box)
    inside = (shell > 0) & (shell < n)
    z, y, x = (axis[inside] for axis in np.meshgrid(*[np.rint(np.fft.fftfreq(box) * box)] * 2, np.arange(n),
                                                    indexing="ij"))
    place = healpix.vec2pix(FINE_NSIDE, x, y, z) * n + shell[inside]
    a, b = first[inside], second[inside]
    weights = np.broadcast_to(friedel_weights(box), shell.shape)[inside]
    sums = [np.bincount(place, weights=weights * values, minlength=12 * FINE_NSIDE**2 * n).reshape(-1, n)
            for values in (a.real * b.real + a.imag * b.imag, np.abs(a) ** 2, np.abs(b) ** 2, 1.0)]
    return np.stack(sums)


def _correlation(sums):
    power = sums[1] * sums[2]
    curve = np.divide(sums[0], np.sqrt(power), out=np.zeros(power.shape), where=power > 0)
    curve[..., 0] = 1.0
    return curve


def _centres(nside):
    return np.stack(healpix.pix2vec(nside, np.arange(12 * nside**2)), axis=-1)


def _sphericity(radii):
    """Of the star-shaped body whose surface lies at these radii along the cones' directions."""
    directions = _centres(CONE_NSIDE)
    corners = (directions * radii[:, None])[ConvexHull(directions).simplices]
    volume = np.abs(np.linalg.det(corners)).sum() / 6
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    return np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / area
