"""Noise spectra σ²(shell): per raw Fourier coefficient, as CONVENTIONS.md defines them."""
from __future__ import annotations

import numpy as np
from scipy import fft

from .backend import array_module, to_host
from .errors import InputError
from .fourier import fft2_centred, frequencies_2d
from .masks import distance_from_centre, soft_circle
from .shells import radial_average, shell_index_2d

# pixels outside the particle that an estimate can rest on, as a share of the box
_LEAST_BACKGROUND = 0.02
_CORRECTIONS = 8


def border_noise_spectrum(images, radius_px):
    """Noise spectrum from the background around the particles: (d//2 + 1,) float64, σ² per raw coefficient.

    images : (n, d, d), numpy or cupy; radius_px : circle that holds the particle.

    Each image's background mean is removed and the circle (with a soft edge) set to zero. What that window does to a
    spectrum, on average and for stationary noise, is a matrix between shells which is computed exactly, shell by
    shell; the estimate is the positive spectrum whose windowed image matches the measured one, found by a few ratio
    corrections from the white-noise answer (the pseudo-spectrum method: Hivon et al. (2002), Astrophys. J. 567, 2).
    Shell 0 tells only about the mean that was removed: it repeats shell 1.

    Bias: signal that the CTF spreads beyond the circle, and neighbouring particles, count as noise. Detail of the
    spectrum finer than the window resolves (a few shells where only the corners are left) is smoothed.

    Raises InputError where the circle leaves less than 2 % of the box, or the background is constant.
    """
    xp = array_module(images)
    box = images.shape[-1]
    background = 1.0 - soft_circle(box, radius_px, min(4.0, 0.05 * box))
    _check_background(background, radius_px)
    window = xp.asarray(background, dtype=xp.float32)
    means = (images * window).sum(axis=(-2, -1)) / window.sum()
    coefficients = fft2_centred((images - means[:, None, None]) * window)
    power = (coefficients.real**2 + coefficients.imag**2).mean(axis=0)
    n = box // 2 + 1
    measured = to_host(radial_average(power, shell_index_2d(box, xp), n))
    if not np.all(measured[1:] > 0):
        raise InputError("the background of the images is constant, so it tells nothing of the noise; "
                         "give particles that were not masked")

    response = _window_response(background, remove_mean=True)
    density = measured / np.sum(background.astype(np.float64) ** 2)  # per pixel and coefficient, as if it were white
    for _ in range(_CORRECTIONS):
        density[0] = density[1]
        density[1:] *= measured[1:] / (response @ density)[1:]
    density[0] = density[1]
    spectrum = _window_response(np.ones((box, box)), remove_mean=False) @ density
    spectrum[0] = spectrum[1]
    return spectrum


def white_noise_variance(images, radius_px):
    """Variance s² of the pixels outside the circle of radius_px, over all images: a float.

    images : (n, d, d); each image's own background mean is removed (and the lost degree of freedom counted).
    White noise of this variance has σ² = d² s². Raises InputError where the circle leaves less than 2 % of the box.
    """
    xp = array_module(images)
    outside = to_host(distance_from_centre(images.shape[-1], 2)) > radius_px
    _check_background(outside, radius_px)
    pixels = images[..., xp.asarray(outside)].astype(xp.float64)
    return float(xp.var(pixels, axis=-1, ddof=1).mean())


def _check_background(window, radius_px):
    share = float(np.mean(window))
    if share < _LEAST_BACKGROUND:
        raise InputError(f"a circle of radius {radius_px:g} px leaves {100 * share:.1f} % of the {len(window)} px box "
                         "as background; give a smaller particle diameter, or extract in a larger box")


def _window_response(window, remove_mean):
    """(n, n): mean windowed power in shell i of noise whose spectrum is 1 in shell j (the corners go with the last).

    The noise is a cut from a larger field, so its spectrum lives on a grid of twice the box, where opposite edges are
    no neighbours. For noise of covariance c the window w and the removal of the mean m = Σ w n / Σ w give
    E|F(w(n − m))|² = F(c · (w ⋆ w)) − 2 Re[conj(F w) · F(w · (c ∗ w))] / Σw + |F w|² · Σ w (c ∗ w) / (Σ w)².
    """
    box = len(window)
    n, field = box // 2 + 1, 2 * box
    padded = np.zeros((field, field))
    padded[:box, :box] = window
    fx, fy = frequencies_2d(field, 1.0 / box)  # in periods per box
    shells = np.minimum(np.rint(np.hypot(fx, fy)), n - 1).astype(np.int32)
    index = shell_index_2d(box)
    transform = fft.rfft2(padded)
    overlap = fft.irfft2(np.abs(transform) ** 2, s=padded.shape)  # w ⋆ w
    total = padded.sum()
    response = np.empty((n, n))
    for shell in range(n):
        unit = (shells == shell).astype(np.float64)
        covariance = fft.irfft2(unit, s=padded.shape)
        power = fft.rfft2(covariance * overlap).real
        if remove_mean:
            smeared = fft.irfft2(unit * transform, s=padded.shape)  # c ∗ w
            power -= 2.0 * np.real(np.conj(transform) * fft.rfft2(padded * smeared)) / total
            power += np.abs(transform) ** 2 * np.sum(padded * smeared) / total**2
        response[:, shell] = radial_average(power[::2, ::2], index, n)  # every second frequency is one of the box
    return response
