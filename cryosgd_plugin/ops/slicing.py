"""Central slices of a padded Fourier volume, and their exact adjoint: one operator for every engine.

A `half volume` is the centred, cropped half of the padded volume's transform: complex64 of shape
(2r + 3, 2r + 3, r + 2), element [kz + r + 1, ky + r + 1, kx] with kx ≥ 0, where r = ceil(padding · radius).
It holds only what slices up to `radius` (in Fourier pixels of the unpadded box) can touch, so that it stays in the
processor's cache as long as the resolution in use is low.
"""
from __future__ import annotations

import numpy as np
from scipy import fft

from ..core.backend import array_module
from .gaussian import gaussian_envelope

PADDING = 2
# what back-projection may spread a coefficient by; slices are always trilinear
KERNELS = ("trilinear", "gaussian")


def half_volume_shape(radius: int, padding: int = PADDING) -> tuple:
    """Shape of the half volume that serves slices up to `radius` Fourier pixels."""
    reach = int(np.ceil(padding * radius)) + 1
    return 2 * reach + 1, 2 * reach + 1, reach + 1


def gridding_correction(box_size: int, padding: int = PADDING, xp=np):
    """sinc² of each voxel's position: what trilinear interpolation in Fourier space multiplies the density with.

    Returns (box_size,) float32, the factor along one axis; the volume's factor is the outer product of three.
    """
    position = (xp.arange(box_size) - box_size // 2) / (box_size * padding)
    return (xp.sinc(position) ** 2).astype(xp.float32)


def to_half_volume(volume, radius: int, padding: int = PADDING):
    """The half volume of a real density, gridding-corrected.

    Parameters
    ----------
    volume : (d, d, d) float32, [z, y, x], centre d // 2
    radius : largest Fourier radius that slices will ask for, at most d // 2

    Returns
    -------
    half volume, complex64, raw DFT coefficients about the centre (core/CONVENTIONS.md)
    """
    xp = array_module(volume)
    box = volume.shape[0]
    if 2 * radius > box:
        raise ValueError(f"radius {radius} reaches beyond Nyquist of the {box} px volume; resample it first")
    line = gridding_correction(box, padding, xp)
    corrected = volume / (line[:, None, None] * line[None, :, None] * line[None, None, :])
    padded = _place(corrected, _padded_box(box, padding), xp)
    spectrum = _rfftn(padded, xp)
    return _crop(spectrum, radius, padding, xp)


def from_half_volume(half, box_size: int, padding: int = PADDING, kernel: str = "trilinear"):
    """The real density of a back-projected half volume (numerator / weight), gridding-corrected.

    Insertion by a kernel spreads each value over its neighbours, which multiplies the density with the kernel's
    transform, sinc² for trilinear and `gaussian_envelope` for Gaussian; this divides by it. (So it is no inverse of
    `to_half_volume`, whose own division anticipates the interpolation of the slices to come.) `half` must be Hermitian.
    Returns (box_size,)*3 float32.
    """
    check_kernel(kernel)
    xp = array_module(half)
    density = _density(half, box_size, padding, xp)
    line = (gaussian_envelope if kernel == "gaussian" else gridding_correction)(box_size, padding, xp)
    return density / (line[:, None, None] * line[None, :, None] * line[None, None, :])


def check_kernel(kernel: str) -> None:
    """Raise ValueError for a back-projection kernel that there isn't."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel '{kernel}' is unknown; choose of {', '.join(KERNELS)}")


def adjoint_half_volume(half, box_size: int, padding: int = PADDING):
    """The exact adjoint of `to_half_volume` for inner products Re Σ conj(a)·b over the *stored* half.

    (box_size,)*3 float32. `half` must not have been made Hermitian (see `hermitian`).
    """
    xp = array_module(half)
    weighted = half.copy()
    weighted[:, :, 1:] *= 0.5
    density = _density(weighted, box_size, padding, xp) * _padded_box(box_size, padding) ** 3
    line = gridding_correction(box_size, padding, xp)
    return density / (line[:, None, None] * line[None, :, None] * line[None, None, :])


def hermitian(half):
    """Add to the plane kx = 0 of an accumulator what its Friedel mates have put there; in place."""
    xp = array_module(half)
    plane = half[:, :, 0]
    half[:, :, 0] = plane + xp.conj(plane[::-1, ::-1])
    return half


def slice_volume(half, rotations, points, padding: int = PADDING):
    """Values of a half volume on central planes, trilinear.

    Parameters
    ----------
    half : half volume (complex64)
    rotations : (n, 3, 3) float32, A of core/CONVENTIONS.md
    points : (p, 2) float32, in-plane frequencies (kx, ky) in Fourier pixels of the unpadded box

    Returns
    -------
    (n, p) complex64: V̂(Aᵀ (kx, ky, 0))

    Raises
    ------
    ValueError : a point lies beyond what the half volume holds
    """
    check_reach(half, points, padding)
    return _kernels(half).slice_points(half, _float32(rotations), _float32(points * padding))


def insert_slices(values, weights, rotations, points, radius: int, padding: int = PADDING):
    """Back-project: the exact adjoint of `slice_volume`, for values and real weights at once.

    Parameters
    ----------
    values : (n, p) complex64; weights : (n, p) float32
    rotations, points : as in `slice_volume`; radius : of the half volume to build

    Returns
    -------
    numerator (half volume, complex64) and weight (same shape, float32), neither made Hermitian
    """
    xp = array_module(values)
    shape = half_volume_shape(radius, padding)
    numerator, weight = xp.zeros(shape, xp.complex64), xp.zeros(shape, xp.float32)
    check_reach(numerator, points, padding)
    _kernels(values).insert_points(values, weights, _float32(rotations), _float32(points * padding), numerator, weight)
    return numerator, weight


def half_volume_radius(radius: int, padding: int = PADDING, xp=np):
    """Distance of each element of a half volume from the origin, in unpadded Fourier pixels; float32."""
    size, _, half = half_volume_shape(radius, padding)
    full = (xp.arange(size) - size // 2).astype(xp.float32) / padding
    positive = xp.arange(half).astype(xp.float32) / padding
    return xp.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + positive[None, None, :] ** 2)


def _kernels(array):
    if array_module(array) is np:
        from . import _slicing_numba
        return _slicing_numba
    from . import _slicing_cupy
    return _slicing_cupy


def _float32(array):
    return array_module(array).ascontiguousarray(array, dtype=np.float32)


def check_reach(half, points, padding):
    """Raise ValueError where a point (p, 2) lies beyond what a half volume holds, its kernel's nodes included."""
    reach = half.shape[2] - 2
    farthest = float((points ** 2).sum(axis=1).max()) ** 0.5 * padding if len(points) else 0.0
    if farthest > reach + 1e-3:
        raise ValueError(f"points reach {farthest / padding:.2f} Fourier px, the half volume {reach / padding:.2f}; "
                         "build it with a larger radius")


def _padded_box(box, padding):
    if box * padding % 2:
        # an odd padded box has its centre elsewhere; rounding it up would change the scale of the frequencies
        raise ValueError(f"padding {padding} of a {box} px box gives an odd box; use an even padding")
    return box * padding


def _place(volume, padded_box, xp):
    """The volume in a larger zero box, rolled so that its centre lies at [0, 0, 0]."""
    box = volume.shape[0]
    padded = xp.zeros((padded_box,) * 3, xp.float32)
    start = padded_box // 2 - box // 2
    padded[start:start + box, start:start + box, start:start + box] = volume
    return xp.fft.ifftshift(padded)


def _crop(spectrum, radius, padding, xp):
    size, _, half = half_volume_shape(radius, padding)
    centre = size // 2
    cropped = xp.zeros((size, size, half), xp.complex64)
    reach = min(centre, spectrum.shape[2] - 1)
    index = xp.arange(-reach, reach + 1)
    wrapped = index % spectrum.shape[0]
    block = spectrum[wrapped[:, None], wrapped[None, :], :reach + 1]
    cropped[centre - reach:centre + reach + 1, centre - reach:centre + reach + 1, :reach + 1] = block
    return cropped


def _density(half, box, padding, xp):
    padded_box = _padded_box(box, padding)
    spectrum = xp.zeros((padded_box, padded_box, padded_box // 2 + 1), xp.complex64)
    centre = half.shape[0] // 2
    # Nyquist planes of the padded box carry no sign: a slice never needs them, they stay zero
    reach = min(centre, padded_box // 2 - 1)
    index = xp.arange(-reach, reach + 1)
    wrapped = index % padded_box
    spectrum[wrapped[:, None], wrapped[None, :], :reach + 1] = half[
        centre - reach:centre + reach + 1, centre - reach:centre + reach + 1, :reach + 1]
    padded = xp.fft.fftshift(_irfftn(spectrum, padded_box, xp))
    start = padded_box // 2 - box // 2
    return xp.ascontiguousarray(padded[start:start + box, start:start + box, start:start + box])


def _rfftn(array, xp):
    return fft.rfftn(array) if xp is np else xp.fft.rfftn(array).astype(xp.complex64)


def _irfftn(array, box, xp):
    if xp is np:
        return fft.irfftn(array, s=(box,) * 3)
    return xp.fft.irfftn(array, s=(box,) * 3).astype(xp.float32)
