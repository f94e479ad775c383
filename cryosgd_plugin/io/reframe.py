"""Images of one pixel size and box on the frequency grid of another: exact for band-limited images."""
from __future__ import annotations

import numpy as np

from ..core.fourier import ifft2_centred


class Reframe:
    """Resamples images to `box` px over a field of extent_a Å, keeping the centre pixel (d // 2) in the centre.

    old_box px of pixel_size Å/px → box px of extent_a / box Å/px. Pixels outside the new field are cut off, missing
    ones are 0 (so the background should be); frequencies beyond the old Nyquist are 0. factor multiplies the result.

    Fourier cropping needs fields of equal extent; here the transform is summed at the new field's frequencies k /
    extent directly, F(k) = Σ image(x) exp(−2πi k·x / extent), as two small matrix products, so no interpolation enters.
    """

    def __init__(self, old_box, pixel_size, box, extent_a, factor=1.0):
        self.box = int(box)
        x = (np.arange(old_box) - old_box // 2) * pixel_size
        kx = np.arange(box // 2 + 1)
        ky = np.fft.fftfreq(box, 1.0 / box)
        self._rows = _matrix(ky, x, pixel_size, box, extent_a)
        self._columns = np.ascontiguousarray(factor * _matrix(kx, x, pixel_size, box, extent_a).T, dtype=np.complex64)

    def __call__(self, images):
        """(n, old_box, old_box) float32 → (n, box, box) float32."""
        half = images @ self._columns.real + 1j * (images @ self._columns.imag)
        return ifft2_centred(np.matmul(self._rows, half), self.box)


def _matrix(k, x, pixel_size, box, extent_a):
    """(k, x) complex64: the transform along one axis, with what lies outside the field or beyond Nyquist set to 0."""
    matrix = np.exp(-2j * np.pi / extent_a * np.outer(k, x))
    matrix[:, np.abs(x) > 0.5 * extent_a] = 0
    # a bit of slack: the same Nyquist in both, written with other digits
    matrix[np.abs(k) > 0.5 * extent_a / pixel_size * (1 + 1e-6)] = 0
    if box % 2 == 0:
        matrix[np.abs(k) == box // 2] = 0  # the line that stands for two frequencies at once
    return matrix.astype(np.complex64)
