"""How evenly a set of views samples Fourier space: the sampling compensation factor.

A view measures the central slice across its direction. Baldwin and Lyumkis (2020), Prog. Biophys. Mol. Biol. 150, 160,
showed that the signal-to-noise ratio of a shell falls, against even views, by SCF = 1 / (⟨S⟩ ⟨1/S⟩), S being how often
a direction of Fourier space was measured; and (2021), ibid. 160, 53, what to make of those never measured (SCF*).
"""
from __future__ import annotations

from dataclasses import dataclass

import healpix
import numpy as np

from ...core.errors import InputError

# directions of Fourier space that are looked at: half of HEALPix's areas of 3.7°
NSIDE = 16
# more views than these say nothing new; so many are drawn
MOST_VIEWS = 100_000
# an SCF* below this, that of views from all sides of one axis, flags preferred views (8 / π² = 0.811)
EVEN_ENOUGH = 0.81
BLOCK = 4000


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
        """1 / (⟨S⟩ ⟨1/S⟩) over the directions that were measured: 1 for even views."""
        measured = self.counts[self.counts > 0]
        return float(1 / (self.counts.mean() * np.mean(1 / measured)))

    @property
    def scf_star(self) -> float:
        """SCF with every unmeasured direction counted as if two views had measured it: as the authors' program."""
        empty = self.unsampled
        return float(1 / (1 / self.scf + self.counts.mean() * empty / (1 - empty) / 2))


def fourier_sampling(view_directions, operators, *, radius: int, rng) -> Sampling:
    """Count how often each direction of Fourier space was measured.

    Parameters
    ----------
    view_directions : (n, 3) unit vectors, the viewing axes in the map's frame
    operators : (g, 3, 3) rotations of the point group that was imposed: each view counts in all its mates
    radius : Fourier px: a slice passes through a direction k where |k·view| · radius < 1/2
    rng : numpy Generator, which draws MOST_VIEWS of more views

    Notes
    -----
    Where few views pass through each direction, their scatter alone lowers SCF by about 1 / ⟨S⟩.
    """
    views = np.asarray(view_directions, float)
    if not len(views):
        raise InputError("there are no views to count; give particles with poses")
    if radius < 1:
        raise InputError(f"a Fourier radius of {radius} px is below 1; give 1 or more")
    if len(views) > MOST_VIEWS:
        views = views[rng.choice(len(views), MOST_VIEWS, replace=False)]
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
    words += f"; {result.unsampled:.1%} of the directions were never measured." if result.unsampled else "."
    if result.scf_star < EVEN_ENOUGH:
        words += " Views are missing: tilt the specimen or change the grid before you blame the particles."
    return words
