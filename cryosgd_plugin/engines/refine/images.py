"""Images on the Fourier grid at the full resolution: as the peaks of posteriors, the maps and the noise need them.

A mask mixes neighbouring shells. Poses must not depend on what lies beyond the resolution in use, or noise there would
be aligned as well, in both halves alike where they began with one reference, and their FSC would rise beyond it without
any signal. So images are low-passed to the resolution in use before they are masked for the search.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.ctf import aberration_phase, ctf_for
from ...core.fourier import crop_rfft2, fft2_centred, frequencies_2d, ifft2_centred
from ...core.masks import soft_circle
from ...ops.pose_score import shell_power
from ..abinitio.matched import MASK_EDGE


@dataclass(frozen=True)
class PreparedImages:
    """n images at p coefficients, one of each Friedel pair, from low frequency to high; by the preparer's xp.

    masked, whole : (n, p) complex64, C X / σ² of the image masked to the particle (see below), and as it is
    ctf_power : (n, p) float32, C² / σ²
    power : (n, shells) Σ |X|² over each shell's coefficients, of the masked image; on the host
    """

    masked: object
    whole: object
    ctf_power: object
    power: np.ndarray


class ImagePreparer:
    """Prepares images up to a Fourier radius, those for poses up to `pose_radius`.

    points : (p, 2) int64, (kx, ky) in Fourier px, by their distance; shells : (p,) their shell
    counts : (radius + 1,) coefficients a shell
    noise_share : mean square of the particle's mask, the share of the noise that it leaves in `power`
    xp : numpy, or cupy to prepare them on the GPU; all of the above stays on the host
    """

    def __init__(self, radius: int, pose_radius: int, *, box_size: int, pixel_size: float, mask_radius_a: float,
                 xp=np):
        self.radius, self.pose_radius, self.xp = radius, pose_radius, xp
        self.extent_a, self.mask_radius_a = box_size * pixel_size, mask_radius_a
        half = (box_size - 1) // 2
        x, y = (k.ravel() for k in np.meshgrid(np.arange(half + 1), np.arange(-half, half + 1)))
        distance = np.hypot(x, y)
        # the Nyquist lines of an even box can't be shifted, and are left out; of kx = 0 one half stands for both
        inside = np.flatnonzero((distance <= radius) & ((x > 0) | (y > 0)))
        inside = inside[np.argsort(distance[inside], kind="stable")]
        self.points, self._distance = np.stack([x, y], axis=-1)[inside], distance[inside]
        self._kx, self._ky = (self.points / self.extent_a).astype(np.float32).T
        self.shells = np.rint(self._distance).astype(int)
        self.counts = np.bincount(self.shells, minlength=radius + 1)
        self.noise_share = float((self._mask(box_size) ** 2).mean())

    def within(self, radius: int) -> int:
        """How many of the points, the first ones, lie within a radius."""
        return int(np.searchsorted(self._distance, radius, side="right"))

    def low_passed(self, images):
        """(n, b, b) float32 images without what lies beyond pose_radius, in the smallest box that holds it well."""
        box = min(images.shape[-1], 2 * self.pose_radius + 4)
        coefficients = crop_rfft2(fft2_centred(self.xp.asarray(images)), box)
        kx, ky = frequencies_2d(box, self.extent_a / box)
        coefficients *= self.xp.asarray(np.hypot(kx, ky) * self.extent_a <= self.pose_radius + 0.5)
        return ifft2_centred(coefficients, box)

    def prepare(self, images, low, table, rows, noise) -> PreparedImages:
        """images : (n, b, b) float32 of the given table rows; low : of `low_passed`; noise : σ² by Fourier radius."""
        xp, images = self.xp, self.xp.asarray(images)
        used = self.within(self.pose_radius)
        masked = self._coefficients(low * xp.asarray(self._mask(low.shape[-1])), used)
        whole = self._coefficients(images)
        seen = self._coefficients(images * xp.asarray(self._mask(images.shape[-1])))
        ctf = ctf_for(table, rows, self._kx, self._ky, xp=xp)
        sigma2 = xp.asarray(np.asarray(noise, np.float32)[self.shells])
        factor = ctf / sigma2
        for group in np.unique(table.optics_id[rows]):
            phase = aberration_phase(table.optics[group], self._kx, self._ky, xp=xp)
            if bool(xp.any(phase)):
                factor = factor.astype(np.complex64, copy=False)
                factor[xp.asarray(np.flatnonzero(table.optics_id[rows] == group))] *= xp.exp(-1j * phase)
        return PreparedImages((masked * factor[:, :used]).astype(np.complex64), (whole * factor).astype(np.complex64),
                              (ctf ** 2 / sigma2).astype(np.float32),
                              shell_power(seen, self.shells, self.radius + 1))

    def _coefficients(self, images, count=None):
        """The coefficients at the first `count` points; the images' box holds these."""
        x, y = self.points[:count].T
        return fft2_centred(images)[:, self.xp.asarray(y % images.shape[-1]), self.xp.asarray(x)]

    def _mask(self, box):
        pixel = self.extent_a / box
        return soft_circle(box, self.mask_radius_a / pixel, MASK_EDGE * 2 * self.mask_radius_a / pixel)
