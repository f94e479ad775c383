"""The overfitting test: a refinement of the same particles, whose phases are random beyond a resolution.

Whatever two halves agree on there is noise that was aligned in both alike. Chen et al. (2013), Ultramicroscopy 135, 24,
who call it high-resolution noise substitution. The second refinement follows its own FSC, as the first one did: it
looks hardly beyond the resolution of the random phases, and so tests the procedure as a whole, not what poses at the
first one's last resolution would make of noise.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.fourier import fft2_centred, frequencies_2d, ifft2_centred
from ...core.shells import crossing_resolution, fsc
from ..validation.half_maps import RANDOMISED_BELOW, THRESHOLD, without_noise

# the low-pass of a mask's edge: what true shells leak into random ones is in these
LEAKAGE = 2


class RandomisedPhases:
    """A source of the same images with random phases from a Fourier radius on, the same at every reading.

    source : `images(rows, box)`; table : ParticleTable of the rows; first_shell : in Fourier px of the full box;
    box_size : px; seed : of the phases
    """

    def __init__(self, source, table, first_shell: int, box_size: int, seed: int):
        self.source, self.first_shell, self.box_size, self.seed = source, first_shell, box_size, seed
        # an image that is there twice has the same phases each time: what it makes two halves agree on must show
        self._places = np.stack([table.stack_id, table.stack_index], axis=1).astype(int)
        kx, ky = frequencies_2d(box_size, 1.0)
        self._beyond = np.hypot(kx, ky) * box_size >= first_shell - 0.5

    def images(self, rows, box: int) -> np.ndarray:
        """(n, box, box) float32; the box must be the full one."""
        if box != self.box_size:
            raise ValueError(f"images of {box} px were asked for where phases are randomised at {self.box_size} px")
        images = self.source.images(rows, box)
        # the transform of real noise has the symmetry that keeps the images real
        noise = np.stack([np.random.default_rng([self.seed, 1, *self._places[row]]).standard_normal((box, box))
                          for row in rows]).astype(np.float32)
        phases = fft2_centred(noise)
        phases /= np.maximum(np.abs(phases), 1e-30)
        coefficients = fft2_centred(images)
        return ifft2_centred(np.where(self._beyond, np.abs(coefficients) * phases, coefficients), box)


def first_random_shell(engine) -> int:
    """The shell from which on phases are randomised: where the halves of every class agree less than well, and finer
    than the references' low-pass."""
    shells = []
    for curves in engine.curves:
        below = np.flatnonzero(curves.trusted[1:engine.radius + 1] < RANDOMISED_BELOW) + 1
        shells.append(int(below[0]) if len(below) else engine.radius)
    # some shells that maps hold must be left beyond those that true ones leak into
    return min(max(engine.first_radius + 1, *shells), engine.config.box_size // 2 - LEAKAGE - 3)


@dataclass(frozen=True)
class OverfittingCurves:
    """FSC of two half-maps within one mask, (shells,) each.

    measured : of the particles; random : of those whose phases are random from shell `first` on; true : what is left
    """

    measured: np.ndarray
    random: np.ndarray
    first: int

    @property
    def true(self) -> np.ndarray:
        return np.where(np.arange(len(self.random)) < self.first, self.measured,
                        without_noise(self.measured, self.random))

    @property
    def noise_correlation(self) -> float:
        """Mean FSC of the random phases beyond what true shells leak, up to where the measured curve ends."""
        # the last shell is Nyquist's, which no map holds
        below = np.flatnonzero(self.measured[self.first:-1] < THRESHOLD)
        end = self.first + int(below[0]) if len(below) else len(self.measured) - 1
        return float(np.mean(self.random[self.first + LEAKAGE:max(end, self.first + LEAKAGE + 1)]))

    def resolution(self, box_size: int, pixel_size: float) -> float:
        """Å at which the true curve falls below 0.143."""
        return crossing_resolution(self.true, THRESHOLD, box_size, pixel_size)


def overfitting_curves(engine, again, first: int) -> list:
    """[OverfittingCurves] of the classes of two finished Refinements, within the first one's mask.

    engine : of the particles; again : of the same with random phases from shell `first` on
    """
    mask = engine.curve_mask
    return [OverfittingCurves(fsc(*engine.halves[:, k], mask=mask), fsc(*again.halves[:, k], mask=mask), first)
            for k in range(engine.config.classes)]
