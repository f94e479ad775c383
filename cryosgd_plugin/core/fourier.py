"""Centred discrete Fourier transforms, resampling by crop and pad, and frequency grids (CONVENTIONS.md).

Coefficients are raw sums about the centre n//2, in the half plane of real transforms (last axis kx ≥ 0, DC at the
corner), so cropping or padding them keeps the integral of a density. numpy and cupy alike, float32 in, complex64 out.

The Nyquist line of an even box stands for +N/2 and −N/2 together. Cropping *to* an even box adds the two lines of the
larger one that fall on it, as sampling the finer image does; padding *from* an even box gives each of them half.
So real images stay real and crop(pad(x)) = x for every pair of boxes; white noise doubles its power on that one line.
"""
from __future__ import annotations

import numpy as np
from scipy import fft as scipy_fft

from .backend import array_module
from .errors import InputError


def fft2_centred(images):
    """Images (…, d, d) → (…, d, d//2 + 1) complex64, raw DFT about the pixel (d//2, d//2), DC at the corner."""
    xp = array_module(images)
    centred = xp.fft.ifftshift(xp.asarray(images, dtype=xp.float32), axes=(-2, -1))
    return _rfft(centred, (-2, -1), xp)


def ifft2_centred(coefficients, box=None):
    """The inverse of `fft2_centred`: (…, d, d//2 + 1) → (…, d, d) float32. box : d, read off the rows if None."""
    xp = array_module(coefficients)
    box = coefficients.shape[-2] if box is None else box
    return xp.ascontiguousarray(xp.fft.fftshift(_irfft(coefficients, (box, box), (-2, -1), xp), axes=(-2, -1)))


def fft3_centred(volume):
    """A volume (d, d, d) → (d, d, d//2 + 1) complex64, raw DFT about the voxel d//2, DC at the corner."""
    xp = array_module(volume)
    centred = xp.fft.ifftshift(xp.asarray(volume, dtype=xp.float32), axes=(-3, -2, -1))
    return _rfft(centred, (-3, -2, -1), xp)


def ifft3_centred(coefficients, box=None):
    """The inverse of `fft3_centred`: (d, d, d//2 + 1) → (d, d, d) float32. box : d, read off the rows if None."""
    xp = array_module(coefficients)
    axes = (-3, -2, -1)
    box = coefficients.shape[-2] if box is None else box
    return xp.ascontiguousarray(xp.fft.fftshift(_irfft(coefficients, (box,) * 3, axes, xp), axes=axes))


def crop_rfft2(coefficients, box):
    """Coefficients (…, d, d//2 + 1) of images → those of a box of `box` ≤ d px of the same extent in Å."""
    return _resize(coefficients, box, 2, "crop")


def pad_rfft2(coefficients, box):
    """Coefficients (…, d, d//2 + 1) of images → those of a box of `box` ≥ d px of the same extent in Å."""
    return _resize(coefficients, box, 2, "pad")


def crop_rfft3(coefficients, box):
    """Coefficients (d, d, d//2 + 1) of a volume → those of a box of `box` ≤ d px of the same extent in Å."""
    return _resize(coefficients, box, 3, "crop")


def pad_rfft3(coefficients, box):
    """Coefficients (d, d, d//2 + 1) of a volume → those of a box of `box` ≥ d px of the same extent in Å."""
    return _resize(coefficients, box, 3, "pad")


def resample_images(images, box):
    """Images (…, d, d) on a grid of `box` px over the same field: the sum of the pixels stays (mass), float32."""
    return _resample(images, box, 2)


def resample_volume(volume, box):
    """A volume (d, d, d) on a grid of `box` px over the same extent: the sum of the voxels stays (mass), float32."""
    return _resample(volume, box, 3)


def frequencies_2d(box, pixel_size, xp=np):
    """kx, ky in 1/Å of the coefficients of `fft2_centred`: two (box, box//2 + 1) float32 arrays.

    On the Nyquist lines of an even box kx is +1/(2·pixel) and ky −1/(2·pixel), as numpy counts them.
    """
    grid_y, grid_x = xp.meshgrid(xp.fft.fftfreq(box, d=pixel_size), xp.fft.rfftfreq(box, d=pixel_size), indexing="ij")
    return grid_x.astype(xp.float32), grid_y.astype(xp.float32)


def shift_phases(kx, ky, shifts_a):
    """exp(−2πi k·shift), which moves an image by `shift` (x, y) in Å: (n,) + kx.shape complex64.

    kx, ky : 1/Å; shifts_a : (n, 2). On the Nyquist line of an even box a fraction of a pixel can't be moved exactly.
    """
    xp = array_module(kx)
    shifts = xp.asarray(shifts_a, dtype=xp.float32).reshape((-1, 2) + (1,) * kx.ndim)
    turns = kx * shifts[:, 0] + ky * shifts[:, 1]
    angle = (-2.0 * np.pi) * (turns - xp.rint(turns))  # whole turns dropped, so that float32 keeps its digits
    phases = xp.empty(angle.shape, dtype=xp.complex64)
    phases.real, phases.imag = xp.cos(angle), xp.sin(angle)
    return phases


def _rfft(array, axes, xp):
    if xp is np:
        return scipy_fft.rfftn(array, axes=axes)  # scipy keeps float32, numpy 1.x would compute in double
    return xp.fft.rfftn(array, axes=axes).astype(xp.complex64)


def _irfft(coefficients, shape, axes, xp):
    coefficients = xp.asarray(coefficients, dtype=xp.complex64)
    if xp is np:
        return scipy_fft.irfftn(coefficients, s=shape, axes=axes)
    return xp.fft.irfftn(coefficients, s=shape, axes=axes).astype(xp.float32)


def _resample(array, box, dimensions):
    forward, inverse = (fft2_centred, ifft2_centred) if dimensions == 2 else (fft3_centred, ifft3_centred)
    old = array.shape[-1]
    if array.shape[-dimensions:] != (old,) * dimensions:
        raise InputError(f"an array of shape {array.shape} has no equal sides; cut it to a square or a cube")
    coefficients = forward(array)
    if box != old:
        coefficients = _resize(coefficients, box, dimensions, "crop" if box < old else "pad")
    return inverse(coefficients, box)


def _resize(coefficients, box, dimensions, direction):
    xp = array_module(coefficients)
    old = coefficients.shape[-2]
    if coefficients.shape[-1] != old // 2 + 1 or any(side != old for side in coefficients.shape[-dimensions:-1]):
        raise InputError(f"coefficients of shape {coefficients.shape} are no half transform of a square or cubic box; "
                         "make them with fft2_centred or fft3_centred")
    if box < 1 or (direction == "crop" and box > old) or (direction == "pad" and box < old):
        raise InputError(f"can't {direction} a box of {old} px to {box} px; use the other direction")
    if box != old:
        for axis in range(-dimensions, -1):
            coefficients = _resize_full_axis(coefficients, axis, box, xp)
        coefficients = _resize_half_axis(coefficients, box, old, dimensions, xp)
    return xp.ascontiguousarray(coefficients, dtype=xp.complex64)


def _resize_full_axis(values, axis, box, xp):
    """An axis that holds frequencies of both signs."""
    values = xp.moveaxis(values, axis, 0)
    old, small = values.shape[0], min(values.shape[0], box)
    result = xp.zeros((box,) + values.shape[1:], dtype=values.dtype)
    paired = (small - 1) // 2  # the highest frequency with its own negative mate in the smaller box
    result[:paired + 1] = values[:paired + 1]
    if paired:
        result[-paired:] = values[-paired:]
    if small % 2 == 0:
        nyquist = small // 2
        if old > box:
            result[nyquist] = values[nyquist] + values[-nyquist]
        else:
            result[nyquist] = 0.5 * values[nyquist]
            result[-nyquist] = 0.5 * values[nyquist]
    return xp.moveaxis(result, 0, axis)


def _resize_half_axis(values, box, old, dimensions, xp):
    """The last axis, kx ≥ 0, after all others; −Nyquist is the Friedel mate of +Nyquist."""
    kept = min(values.shape[-1], box // 2 + 1)
    result = xp.zeros(values.shape[:-1] + (box // 2 + 1,), dtype=values.dtype)
    result[..., :kept] = values[..., :kept]
    if min(old, box) % 2 == 0:
        line = result[..., kept - 1]
        if box < old:
            mate = xp.conj(line)
            for axis in range(1 - dimensions, 0):  # k → −k: reversed, with DC kept at the start
                mate = xp.roll(xp.flip(mate, axis), 1, axis)
            result[..., kept - 1] = line + mate
        else:
            result[..., kept - 1] = 0.5 * line
    return result
