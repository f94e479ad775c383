"""Fourier shells: indices, radial means, the Fourier shell correlation and the resolution read from it.

Shell s holds the coefficients whose Fourier radius rounds to s (half up); shells run from 0 to box//2, the corners
beyond belong to none.
"""
from __future__ import annotations

import numpy as np

from .backend import array_module, to_host
from .errors import InputError
from .fourier import fft2_centred, fft3_centred


def shell_index_3d(box, xp=np):
    """Shell of each coefficient of `fft3_centred`: (box, box, box//2 + 1) int32; corners carry box//2 + 1."""
    return _shell(_squared_radius_3d(box, xp), box, xp)


def fourier_radius_3d(box, xp=np):
    """Fourier radius, px, of each coefficient of `fft3_centred`: (box, box, box//2 + 1) float32."""
    return xp.sqrt(_squared_radius_3d(box, xp)).astype(xp.float32)


def shell_index_2d(box, xp=np):
    """Shell of each coefficient of `fft2_centred`: (box, box//2 + 1) int32; corners carry box//2 + 1."""
    full, half = _frequencies(box, xp)
    return _shell(full[:, None] ** 2 + half[None, :] ** 2, box, xp)


def friedel_weights(box, xp=np):
    """How many coefficients of the full transform each kx of the half transform stands for: (box//2 + 1,) float32.

    2, and 1 for kx = 0 and for the Nyquist line of an even box.
    """
    weights = xp.full(box // 2 + 1, 2.0, dtype=xp.float32)
    weights[0] = 1.0
    if box % 2 == 0:
        weights[-1] = 1.0
    return weights


def radial_average(values, index, n):
    """Mean of `values` in each of the shells 0 … n − 1.

    values : (…, *index.shape), real; index : shells of the last axes, from `shell_index_2d` or `_3d`; every stored
    coefficient counts once. Returns (…, n) float64 on the values' device; 0 for an empty shell.
    """
    xp = array_module(values)
    flat = xp.asarray(index).ravel()
    rows = values.reshape(-1, flat.size)
    counts = xp.bincount(flat, minlength=n)[:n]
    sums = xp.stack([xp.bincount(flat, weights=row, minlength=n)[:n] for row in rows])
    return (sums / xp.maximum(counts, 1)).reshape(values.shape[:values.ndim - index.ndim] + (n,))


def power_spectrum(images):
    """Mean power of the raw Fourier coefficients in each shell: (box//2 + 1,) float64, of images or of maps.

    images : (n, d, d) or (n, d, d, d); the mean is over all n.
    """
    box, xp = images.shape[-1], array_module(images)
    transform, index = ((fft2_centred, shell_index_2d) if images.ndim == 3 else (fft3_centred, shell_index_3d))
    power = sum(_power(transform(image)) for image in images) / len(images)
    return to_host(radial_average(power, index(box, xp), box // 2 + 1))


def fsc(a, b, mask=None, half_plane=False):
    """Fourier shell correlation of two maps: (box//2 + 1,) float64, shells 0 … box//2.

    a, b : (d, d, d) maps; mask : (d, d, d) in [0, 1], multiplied into both, or None.
    half_plane : count each stored coefficient of the half transform once, as RELION does, where the default counts
    both Friedel mates of the full transform; the two differ where the plane kx = 0 weighs (small shells).
    A shell without power in either map gives 0.
    Harauz and van Heel (1986), Optik 73, 146. Raises InputError for maps or a mask of different boxes.
    """
    a, b = to_host(a), to_host(b)
    if a.ndim != 3 or len(set(a.shape)) != 1 or a.shape != b.shape:
        raise InputError(f"the maps have the shapes {a.shape} and {b.shape}; give two cubes of one box")
    box = a.shape[0]
    if mask is not None:
        mask = to_host(mask)
        if mask.shape != a.shape:
            raise InputError(f"mask box {mask.shape} differs from map box {a.shape}; resample the mask to {box} px")
        a, b = a * mask, b * mask
    first, second = fft3_centred(a), fft3_centred(b)
    weights = np.ones(box // 2 + 1) if half_plane else friedel_weights(box)
    index, n = shell_index_3d(box).ravel(), box // 2 + 1

    def summed(values):
        # in double precision: a shell adds up to 10⁶ products that span the whole dynamic range of the maps
        return np.bincount(index, weights=(values * weights).ravel(), minlength=n)[:n]

    cross = summed((first.real * second.real + first.imag * second.imag).astype(np.float64))
    power = summed(_power(first)) * summed(_power(second))
    return np.divide(cross, np.sqrt(power), out=np.zeros(n), where=power > 0)


def shell_resolution(box, pixel):
    """Resolution in Å of the shells 0 … box//2: (box//2 + 1,) float64, infinity for shell 0."""
    shells = np.arange(box // 2 + 1, dtype=np.float64)
    return np.divide(box * pixel, shells, out=np.full(len(shells), np.inf), where=shells > 0)


def crossing_resolution(curve, threshold, box_size, pixel_size):
    """Resolution in Å at which a curve over shells first falls below a threshold, from low frequency on.

    curve : (box//2 + 1,) values of the shells 0 …; shell 0 is ignored. The crossing is interpolated linearly between
    the last shell at or above the threshold and the first one below.
    Returns infinity if shell 1 lies below already, and the last shell's resolution (2·pixel_size for an even box,
    Nyquist) if the curve never falls below.
    """
    curve = np.asarray(curve, dtype=np.float64)
    below = np.flatnonzero(curve[1:] < threshold) + 1
    if len(below) == 0:
        return 2.0 * float(pixel_size) if len(curve) > box_size // 2 else box_size * pixel_size / (len(curve) - 1.0)
    first = below[0]
    if first == 1:
        return float("inf")
    fraction = (curve[first - 1] - threshold) / (curve[first - 1] - curve[first])
    return float(box_size * pixel_size / (first - 1 + fraction))


def _squared_radius_3d(box, xp):
    full, half = _frequencies(box, xp)
    return full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2


def _frequencies(box, xp):
    full = xp.rint(xp.fft.fftfreq(box) * box)
    return full, xp.arange(box // 2 + 1, dtype=full.dtype)


def _shell(squared, box, xp):
    # integers under the root never fall on a half, so rounding is the same everywhere
    return xp.minimum(xp.rint(xp.sqrt(squared)), box // 2 + 1).astype(xp.int32)


def _power(coefficients):
    return coefficients.real.astype(np.float64) ** 2 + coefficients.imag.astype(np.float64) ** 2
