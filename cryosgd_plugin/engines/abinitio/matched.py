"""Images as the scores need them: masked, matched-filtered (C·X/σ²), windowed, and sampled on rings.

What surrounds a particle is no noise of known spectrum: neighbours, carbon, the edge of a hole. Without a mask they
win over weak features of a crowded particle (apoferritin's map grew subunits of inverted contrast), at the price of
the signal that the CTF spreads beyond the mask. The model lies inside the particle's disc, so ⟨X, C·S·Y⟩/σ² depends on
C·X/σ² only within that disc widened by the largest shift: the window after the CTF leaves the likelihood as it is, and
gives the polar quadrature the bounded support that it needs.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.backend import to_host
from ...core.ctf import aberration_phase, ctf_for
from ...core.fourier import crop_rfft2, fft2_centred, frequencies_2d, ifft2_centred
from ...core.masks import soft_circle
from ...ops.polar import PolarGrid

# soft edge of the particle's mask, as a share of its diameter
MASK_EDGE = 0.1
# numbers of the sampling matrix that are made at a time, in double precision
SAMPLED_NUMBERS = 1e7


def mask_radius_a(diameter_a: float, shift_range_a: float) -> float:
    """Radius of the images' mask, Å: an off-centre particle lies within the mask's soft edge, or the mask is wider."""
    return diameter_a / 2 + max(0.0, shift_range_a - MASK_EDGE * diameter_a)


@dataclass(frozen=True)
class MatchedImages:
    """n images on the rings of one PolarGrid.

    filtered : (n, radius, n_angles / 2) complex64, C·X/σ²
    ctf_power : (n, radius, n_angles / 2) float32, C²/σ²
    power : (n, radius) float64, mean |X|² of each ring (raw coefficients of the masked image, not windowed); None where
    it was not asked for
    noise_share : mean square of the mask: noise of spectrum σ² has this share of it left in `power`
    """

    filtered: object
    ctf_power: object
    power: np.ndarray
    noise_share: float


class ImageMatcher:
    """Prepares images for one PolarGrid.

    box_size, pixel_size : of the particles (not of the crop). window_radius_a : particle radius + largest shift.
    mask_radius_a : particle radius, outside which images are masked with a soft edge; None leaves them as they are.
    """

    def __init__(self, polar: PolarGrid, *, box_size: int, pixel_size: float, window_radius_a: float,
                 mask_radius_a: float = None, xp=np):
        self.polar, self.xp = polar, xp
        self.mask_radius_a = mask_radius_a
        self.extent = box_size * pixel_size
        self.crop_box = min(box_size, 2 * polar.radius + 4)
        crop_pixel = self.extent / self.crop_box
        edge = 0.05 * self.crop_box
        radius = min(window_radius_a / crop_pixel, self.crop_box / 2 - edge - 0.5)
        self._window = soft_circle(self.crop_box, radius, edge)
        self._inside = xp.asarray(np.flatnonzero(self._window))
        self._kx, self._ky = frequencies_2d(self.crop_box, crop_pixel, xp)
        kx, ky = frequencies_2d(self.crop_box, crop_pixel)
        self._shell = np.sqrt(kx ** 2 + ky ** 2) * self.extent
        self._points = polar.points() / self.extent
        self._samplers = {}

    def prepare(self, images, table, rows, noise, with_power: bool = True) -> MatchedImages:
        """The images of the given table rows.

        images : (n, b, b) float32, b ≥ crop_box, all of the particles' extent
        noise : (≥ radius + 1,) σ² per raw coefficient by Fourier radius; with_power : whether `power` is wanted
        """
        xp = self.xp
        mask = self._mask(images.shape[-1])
        spectrum = crop_rfft2(fft2_centred(xp.asarray(images) * mask), self.crop_box)
        sigma2 = np.asarray(noise, np.float32)
        per_pixel = xp.asarray(np.interp(self._shell, np.arange(len(sigma2)), sigma2).astype(np.float32))
        ctf = ctf_for(table, rows, self._kx, self._ky, xp=xp)
        filtered = spectrum * (ctf / per_pixel)
        shape = (len(rows), self.polar.radius, self.polar.n_angles // 2)
        rings, ring_ctf = xp.empty(shape, xp.complex64), xp.empty(shape, xp.float32)
        for group in np.unique(table.optics_id[rows]):
            of_group = np.nonzero(table.optics_id[rows] == group)[0]
            members = xp.asarray(of_group)
            kernel, points = self._sampler(table.optics[group])
            phase = aberration_phase(table.optics[group], self._kx, self._ky, xp=xp)
            part = filtered[members] * xp.exp(-1j * phase).astype(xp.complex64)
            flat = ifft2_centred(part, self.crop_box).reshape(len(part), -1)[:, self._inside] @ kernel
            half = flat.shape[1] // 2
            rings[members] = self.polar.unfold(flat[:, :half] + 1j * flat[:, half:])
            ring_ctf[members] = self.polar.unfold(ctf_for(table, rows[of_group], points[:, 0], points[:, 1], xp=xp))
        ctf_power = ring_ctf ** 2 / xp.asarray(sigma2[1:self.polar.radius + 1, None])
        return MatchedImages(rings, ctf_power.astype(xp.float32), self._ring_power(spectrum) if with_power else None,
                             float((mask ** 2).mean()))

    def _sampler(self, optics):
        """(kernel, points): the Fourier sum that samples the rings, and where it samples them (1/Å).

        Anisotropic magnification is undone here: the ring at κ is read from the distorted image at M⁻¹ κ.
        """
        key = None if optics.magnification is None else tuple(np.ravel(optics.magnification))
        if key not in self._samplers:
            points = self._points
            if key is not None:
                points = (points @ np.linalg.inv(np.asarray(optics.magnification)).T).astype(np.float32)
            y, x = np.nonzero(self._window > 0)
            centre, pixel = self.crop_box // 2, self.extent / self.crop_box
            window, xp, n = self._window[self._window > 0], self.xp, len(points)
            # real and imaginary parts apart: the images are real, so this halves the product
            stacked, step = xp.empty((len(x), 2 * n), np.float32), max(1, int(SAMPLED_NUMBERS // n))
            x, y, window, points = (xp.asarray(one) for one in (x - centre, y - centre, window, points))
            for part in (slice(first, first + step) for first in range(0, len(x), step)):
                phase = (xp.outer(x[part], points[:, 0]) + xp.outer(y[part], points[:, 1])) * pixel
                kernel = window[part, None] * xp.exp(-2j * np.pi * phase)
                stacked[part, :n], stacked[part, n:] = kernel.real, kernel.imag
            self._samplers[key] = stacked, points
        return self._samplers[key]

    def shift_phases(self, shifts_a):
        """(s, radius, n_angles / 2) complex64: what applying each shift multiplies the rings with."""
        xp = self.xp
        phase = xp.asarray(np.asarray(shifts_a, np.float32)) @ xp.asarray(self._points).T
        return self.polar.unfold(xp.exp(-2j * np.pi * phase).astype(xp.complex64))

    def _mask(self, box):
        if self.mask_radius_a is None:
            return self.xp.ones((box, box), np.float32)
        pixel = self.extent / box
        return soft_circle(box, self.mask_radius_a / pixel, MASK_EDGE * 2 * self.mask_radius_a / pixel, self.xp)

    def _ring_power(self, spectrum):
        shell = np.rint(self._shell).astype(int)
        weight = np.full(self._shell.shape, 2.0)
        weight[:, 0] = 1.0
        inside = np.flatnonzero((shell >= 1) & (shell <= self.polar.radius))
        shell, weight = shell.ravel()[inside], weight.ravel()[inside]
        counts = np.bincount(shell, weights=weight, minlength=self.polar.radius + 1)
        # summed on the host: CuPy's bincount adds in no fixed order, and a run must repeat to the bit
        xp = self.xp
        power = to_host(xp.abs(spectrum.reshape(len(spectrum), -1)[:, xp.asarray(inside)]) ** 2) * weight
        sums = np.stack([np.bincount(shell, weights=row, minlength=self.polar.radius + 1) for row in power])
        return (sums / np.maximum(counts, 1))[:, 1:]
