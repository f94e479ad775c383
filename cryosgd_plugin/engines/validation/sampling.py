"""How evenly a set of views samples Fourier space: the sampling compensation factor.

A view measures the central slice across its direction. Baldwin and Lyumkis (2020), Prog. Biophys. Mol. Biol. 150, 160,
showed that the signal-to-noise ratio of a shell falls, against even views, by SCF = 1 / (⟨S⟩ ⟨1/S⟩), S being how often
a direction of Fourier space was measured; and (2021), ibid. 160, 53, what to make of those never measured (SCF*).
Naydenova and Russo (2017), Nat. Commun. 8, 629, ask instead how round the point-spread function of the views is.
"""
from __future__ import annotations

from dataclasses import dataclass

import healpix
import numpy as np
from scipy import ndimage

from ...core.errors import InputError

# directions of Fourier space that are looked at: half of HEALPix's areas of 3.7°
NSIDE = 16
# more views than these, symmetry mates included, say nothing new; so many are drawn
MOST_VIEWS = 100_000
# an SCF* below this, that of views from all sides of one axis, flags preferred views (8 / π² = 0.811)
EVEN_ENOUGH = 0.81
BLOCK = 4000
# the point-spread function: box of its transform in px, B-factor in px², finer sampling in real space, and the share of
# its maximum at which its surface lies, as their program cryoEF has them
PSF_BOX, PSF_B, PSF_FINER, PSF_SURFACE = 64, 160.0, 2, np.exp(-2)


@dataclass(frozen=True)
class Sampling:
    """counts : (12·NSIDE²,) views that measured each direction of Fourier space, HEALPix ring order, antipodes alike;
    views : how many were counted, symmetry mates included; radius : Fourier px at which a slice is 1 px thick."""

    counts: np.ndarray
    views: int
    radius: int

    @property
    def unsampled(self) -> float:
        """Share of the directions that no view measured."""
        return float(np.mean(self.counts == 0))

    @property
    def scf(self) -> float:
        """1 / (⟨S⟩ ⟨1/S⟩): 1 for even views, 0 where a direction was never measured."""
        return 0.0 if self.unsampled else 1 / self._loss

    @property
    def scf_star(self) -> float:
        """SCF with every unmeasured direction counted as if two views had measured it: as the authors' program."""
        empty = self.unsampled
        return 1 / (self._loss + float(self.counts.mean()) * empty / (1 - empty) / 2)

    @property
    def _loss(self) -> float:
        """⟨S⟩ ⟨1/S⟩, the latter over the directions that were measured."""
        return float(self.counts.mean() * np.mean(1 / self.counts[self.counts > 0]))


def point_spread_radii(sampling: Sampling) -> np.ndarray:
    """(12·8²,) distance from the centre, px, at which the views' point-spread function falls to PSF_SURFACE.

    By direction, HEALPix ring order, nside 8. The amplitude transferred at k is √(S(k/|k|) / |k| · exp(−B k² / 2)): the
    slices of n views lie n / |k| dense. A function that doesn't fall within the box ends at its edge.
    """
    line = np.arange(PSF_BOX) - PSF_BOX // 2
    z, y, x = np.meshgrid(line, line, line, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    inside = (radius > 0) & (radius < PSF_BOX / 2 - 2)
    power = np.zeros(radius.shape)
    counts = sampling.counts[healpix.vec2pix(NSIDE, x[inside], y[inside], z[inside])]
    power[inside] = counts / radius[inside] * np.exp(-PSF_B / PSF_BOX**2 * radius[inside] ** 2 / 2)
    # the centre, which every view measures
    power[radius == 0] = power[radius == 1].max()
    fine = PSF_FINER * PSF_BOX
    spread = np.abs(np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(np.pad(np.sqrt(power), (fine - PSF_BOX) // 2)))))
    steps = np.arange(0, PSF_BOX / 2, 0.1)
    rays = np.stack(healpix.pix2vec(8, np.arange(12 * 8**2)), axis=-1)[:, ::-1, None] * steps * PSF_FINER + fine // 2
    along = ndimage.map_coordinates(spread, np.moveaxis(rays, 1, 0), order=1)
    below = along < PSF_SURFACE * spread.max()
    return np.where(below.any(axis=1), steps[below.argmax(axis=1)], steps[-1])


def efficiency(sampling: Sampling) -> float:
    """E_od = 1 − 2 σ(R) / ⟨R⟩ of the radii of the point-spread function: 1 for even views, below 0.5 poor ones."""
    radii = point_spread_radii(sampling)
    return float(1 - 2 * radii.std() / radii.mean())


def fourier_sampling(view_directions, operators, *, radius: int, rng) -> Sampling:
    """Count how often each direction of Fourier space was measured.

    Parameters
    ----------
    view_directions : (n, 3) unit vectors, the viewing axes in the map's frame
    operators : (g, 3, 3) rotations of the point group that was imposed: each view counts in all its mates
    radius : Fourier px: a slice passes through a direction k where |k·view| · radius < 1/2
    rng : numpy Generator, which draws some where there are more than MOST_VIEWS

    Notes
    -----
    Where few views pass through each direction, their scatter alone lowers SCF by about 1 / ⟨S⟩.
    """
    views = np.asarray(view_directions, float)
    if not len(views):
        raise InputError("there are no views to count; give particles with poses")
    if radius < 1:
        raise InputError(f"a Fourier radius of {radius} px is below 1; give 1 or more")
    most = MOST_VIEWS // len(operators)
    if len(views) > most:
        views = views[rng.choice(len(views), most, replace=False)]
    directions = np.stack(healpix.pix2vec(NSIDE, np.arange(12 * NSIDE**2)), axis=-1)
    half = np.flatnonzero((directions[:, 2] > 1e-9) | (np.abs(directions[:, 2]) <= 1e-9) & (directions[:, 1] >= 0))
    counts = np.zeros(len(half), np.int64)
    for operator in operators:
        turned = (directions[half] @ operator).astype(np.float32)
        for first in range(0, len(views), BLOCK):
            across = np.abs(views[first:first + BLOCK].astype(np.float32) @ turned.T)
            counts += np.count_nonzero(across * radius < 0.5, axis=0)
    everywhere = np.zeros(len(directions), np.int64)
    everywhere[healpix.vec2pix(NSIDE, *-directions[half].T)] = counts
    everywhere[half] = counts
    return Sampling(everywhere, len(views) * len(operators), radius)


def outcome(result: Sampling) -> str:
    """What came out, in sentences."""
    words = (f"The views sample Fourier space with SCF* {result.scf_star:.2f} at shell {result.radius} (1 is even, "
             f"below {EVEN_ENOUGH} uneven); of {result.views:,} views {result.counts.mean():.0f} pass through a "
             f"direction on average, {result.counts.min()} at least")
    words += f"; efficiency of the orientations E_od {efficiency(result):.2f}"
    words += f"; {result.unsampled:.1%} of the directions were never measured." if result.unsampled else "."
    if result.scf_star < EVEN_ENOUGH:
        words += " Views are missing: tilt the specimen or change the grid before you blame the particles."
    return words
