"""Polar slices: scores over all in-plane angles at once, and their adjoint.

A real image's transform F obeys F(θ + π) = conj F(θ), so the real function G(θ) = Re F + Im F over the full circle (a
Hartley transform) carries all of it, and Σ_θ Re(conj F · F') = Σ_θ G · G' over the full circle (the mixed terms are
products of even and odd harmonics and vanish). Correlating rings over the in-plane angle is then a product of angular
harmonics of *real* functions: one small matrix product per harmonic over (directions × rings) · (rings × shifts) and
one real FFT per direction and shift.

The sum over the Fourier plane becomes a sum over rings r = 1 … R, one Fourier pixel apart, with weight r · 2π/M. With
densities and images confined to discs whose radii add up to less than the box, that quadrature has no aliasing but for
the measure itself.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from ..core.backend import array_module


@dataclass(frozen=True)
class PolarGrid:
    """Rings 1 … radius (Fourier px) with n_angles samples on the full circle; n_angles is a multiple of 4."""

    radius: int
    n_angles: int

    @classmethod
    def for_support(cls, radius: int, support_px: float, box_size: int) -> "PolarGrid":
        """The grid whose angular sampling holds the product of two discs whose radii sum to support_px."""
        needed = 2 * np.pi * radius * min(1.0, support_px / box_size) * 1.1
        return cls(radius, 4 * fft.next_fast_len(max(4, int(np.ceil(needed / 4))), real=True))

    @property
    def angles(self):
        """(n_angles,) radians."""
        return 2 * np.pi * np.arange(self.n_angles) / self.n_angles

    def points(self):
        """(radius · n_angles / 2, 2) float32: (kx, ky) in Fourier px of the half circle θ < π, ring by ring."""
        half = self.angles[: self.n_angles // 2]
        rings = np.arange(1, self.radius + 1)
        return np.stack([np.outer(rings, np.cos(half)), np.outer(rings, np.sin(half))], -1).reshape(-1, 2).astype(
            np.float32)

    def ring_weights(self):
        """(radius,) float32: area of the Fourier plane that one sample of the full circle stands for."""
        return (np.arange(1, self.radius + 1) * 2 * np.pi / self.n_angles).astype(np.float32)

    def unfold(self, values):
        """(…, radius · n_angles / 2) half-circle samples → (…, radius, n_angles / 2)."""
        return values.reshape(values.shape[:-1] + (self.radius, self.n_angles // 2))


def harmonics(values):
    """Angular harmonics of half-circle samples.

    values : (…, radius, n_angles / 2), complex (a Hermitian function) or real (a function of period π).
    Returns (…, radius, n_angles / 2 + 1) complex64 for complex, (…, radius, n_angles / 4 + 1) for real input.
    """
    xp = array_module(values)
    if values.dtype.kind == "c":
        full = xp.concatenate([values.real + values.imag, values.real - values.imag], axis=-1)
        return _rfft(full, -1, xp)
    return _rfft(values, -1, xp)


def shifted_harmonics(image, phases, shifts=None):
    """(n_angles / 2 + 1, radius, s) complex64 harmonics of one image on the host under some shifts, as the matrix
    products read them: those of `harmonics(image · phases)` without its temporary arrays.

    image : (radius, n_angles / 2) complex64; phases : (n_angles / 2, radius, all shifts) complex64, what applying each
    shift multiplies the rings with; shifts : (s,) numbers of those wanted, all where None
    """
    from ._polar_numba import shifted_hartley
    return fft.rfft(shifted_hartley(image, phases, np.arange(phases.shape[2]) if shifts is None else shifts), axis=0)


def from_harmonics(spectrum, n_angles: int):
    """Half-circle samples of a Hermitian function from its harmonics: (…, n_angles / 2 + 1) → (…, n_angles / 2)."""
    xp = array_module(spectrum)
    full = _irfft(spectrum, n_angles, -1, xp)
    first, second = full[..., : n_angles // 2], full[..., n_angles // 2:]
    return 0.5 * (first + second) + 0.5j * (first - second)


def correlate(images, directions, n_angles: int, *, power=None, offset=None, angles=None, turns=None, pairs=None):
    """Scores of images against directions at every in-plane angle, or at chosen ones.

    images : (m, rings, s) complex64 harmonics; directions : (m, d, rings) complex64 harmonics, weighted by ring.
    n_angles : length of the circle, m = n_angles // 2 + 1.
    power : (n_angles // 4 + 1, d) complex64 harmonics of a function of period π to subtract from every score
    offset : broadcastable to (d, s), float32, to add to every score
    angles : (a,) steps of the circle to evaluate; all where None. turns : (d,) steps by which each direction's circle
    is turned beforehand; 0 where None. pairs : (p,) numbers direction · s + shift of those wanted; all where None.
    Returns (a or n_angles, d, s) float32, or (…, p) of pairs: at step k, Σ image(θ) · direction(θ + 2π (k + turn) /
    n_angles) − power + offset.
    """
    xp = array_module(images)
    product = xp.matmul(directions, xp.conj(images))
    # both are cheaper here than on the scores: a function of period π has only even harmonics, a constant only one
    if power is not None and xp is np:
        from ._polar_numba import subtract_power
        subtract_power(product, power)
    elif power is not None:
        product[::2] -= 2 * power[:, :, None]
    if turns is not None:
        product *= turn_phases(turns, n_angles, xp)[:, :, None]
    if offset is not None:
        product[0] += n_angles * offset
    if pairs is not None:
        product = xp.take(product.reshape(len(product), -1), xp.asarray(pairs), axis=1)
    if angles is None:
        return _irfft(product, n_angles, 0, xp)
    # the few rows of an inverse transform that are asked for, as a matrix product
    inverse = _fourier_rows(angles, n_angles, xp) / n_angles
    inverse[:, 1:(n_angles + 1) // 2] *= 2
    return xp.ascontiguousarray((inverse @ product.reshape(len(product), -1)).real).reshape(
        (len(angles),) + product.shape[1:])


def posterior_harmonics(posterior, n_angles: int, *, angles=None, turns=None):
    """(m, d, s) complex64 harmonics over the in-plane angle of (a or n_angles, d, s) float32 posterior weights.

    angles, turns : as in `correlate`, whose adjoint begins here.
    """
    xp = array_module(posterior)
    if angles is None:
        spectrum = _rfft(posterior, 0, xp)
    else:
        forward = xp.conj(_fourier_rows(angles, n_angles, xp)).T
        spectrum = (forward @ posterior.reshape(len(angles), -1)).reshape((-1,) + posterior.shape[1:])
    if turns is not None:
        spectrum = spectrum * xp.conj(turn_phases(turns, n_angles, xp))[:, :, None]
    return spectrum


def spread(spectrum, images):
    """Adjoint of `correlate` in the directions: where each image's rings go, summed over angle and shift.

    spectrum : (m, d, s) complex64 of `posterior_harmonics`; images : (m, rings, s) complex64.
    Returns (m, d, rings) complex64.
    """
    return array_module(images).matmul(spectrum, images.transpose(0, 2, 1))


def spread_power(spectrum, power):
    """Adjoint of `correlate` in its `power`: where each image's ring function of period π goes.

    spectrum : (m, d) complex64 of `posterior_harmonics`, of the posterior summed over shifts; power : (m', rings)
    complex64, m' = n_angles // 4 + 1. Returns (m', d, rings) complex64.
    """
    return spectrum[::2, :, None] * power[:, None, :]


def turn_phases(turns, n_angles: int, xp=np):
    """(m, d) complex64: what turning circles by (d,) steps multiplies their harmonics with."""
    steps = np.outer(np.arange(n_angles // 2 + 1), np.asarray(turns)) % n_angles
    return xp.asarray(_circle(n_angles)[steps])


def _fourier_rows(angles, n_angles, xp):
    """(a, m) complex64: exp(2πi a m / n_angles)."""
    return turn_phases(angles, n_angles, xp).T.copy()


@lru_cache(maxsize=64)
def _circle(n_angles):
    return np.exp(2j * np.pi * np.arange(n_angles) / n_angles).astype(np.complex64)


def _rfft(array, axis, xp):
    if xp is np:
        return fft.rfft(array, axis=axis)
    return xp.fft.rfft(array, axis=axis).astype(xp.complex64)


def _irfft(array, n, axis, xp):
    if xp is np:
        return fft.irfft(array, n=n, axis=axis)
    return xp.fft.irfft(array, n=n, axis=axis).astype(xp.float32)
