"""Noise spectra from image borders and residuals, against noise whose spectrum is known."""
import numpy as np
import pytest

from cryosgd_plugin.core import fourier, noise, shells
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.masks import soft_circle
from cryosgd_plugin.engines.abinitio.noise import NOISES, NoiseModel

BOX = 64


def cut_from_a_larger_field(power, n, box, rng):
    """n images of stationary noise with density `power(cycles per px)`, cut from fields of twice the box as particles
    are from a micrograph, and the spectrum of uncut images of that kind."""
    white = rng.normal(size=(n, 2 * box, 2 * box)).astype(np.float32)
    kx, ky = fourier.frequencies_2d(2 * box, 1.0)
    field = fourier.ifft2_centred(fourier.fft2_centred(white) * np.sqrt(power(np.hypot(kx, ky))).astype(np.float32))
    images = np.ascontiguousarray(field[:, :box, :box])
    power = (np.abs(fourier.fft2_centred(images)) ** 2).mean(axis=0)
    return images, shells.radial_average(power, shells.shell_index_2d(box), box // 2 + 1)


SPECTRA = {"low-pass": lambda k: 1 + 8 * np.exp(-((k / 0.1) ** 2)), "steep": lambda k: 1 / (1 + (k / 0.05) ** 2) + 0.05,
           "peak": lambda k: 1 + 3 * np.exp(-(((k - 0.25) / 0.03) ** 2))}


@pytest.mark.parametrize("box", [64, 65])
def test_white_noise_spectrum_is_flat_at_d2_s2(box):
    images = np.random.default_rng(0).normal(loc=3.0, scale=0.5, size=(1500, box, box)).astype(np.float32)
    spectrum = noise.border_noise_spectrum(images, 22)
    assert spectrum.shape == (box // 2 + 1,) and spectrum.dtype == np.float64
    assert spectrum[2:] == pytest.approx(box * box * 0.25, rel=0.05)
    assert spectrum[0] == spectrum[1]
    assert noise.white_noise_variance(images, 22) == pytest.approx(0.25, rel=0.005)


@pytest.mark.parametrize("radius", [20, 27])
@pytest.mark.parametrize("name", SPECTRA)
def test_coloured_noise_spectrum(name, radius):
    images, truth = cut_from_a_larger_field(SPECTRA[name], 800, BOX, np.random.default_rng(1))
    estimate = noise.border_noise_spectrum(images, radius)
    assert np.abs(estimate / truth - 1)[2:].max() < 0.15
    assert np.sqrt(np.mean((estimate / truth - 1)[1:] ** 2)) < 0.05


def test_the_response_matrix_removes_the_windows_bias():
    """Noise with a narrow peak: dividing by the window's power alone flattens it."""
    images, truth = cut_from_a_larger_field(SPECTRA["peak"], 800, BOX, np.random.default_rng(2))
    window = 1 - soft_circle(BOX, 27, 3)
    power = (np.abs(fourier.fft2_centred(images * window)) ** 2).mean(axis=0)
    naive = shells.radial_average(power, shells.shell_index_2d(BOX), BOX // 2 + 1) / np.mean(window**2)
    error = np.abs(naive / truth - 1)[12:21].max()
    corrected = np.abs(noise.border_noise_spectrum(images, 27) / truth - 1)[12:21].max()
    print(error, corrected)
    assert error > 0.2 and corrected < 0.5 * error


def test_what_lies_inside_the_circle_does_not_count():
    rng = np.random.default_rng(3)
    images = rng.normal(size=(50, BOX, BOX)).astype(np.float32)
    with_particle = images + 20 * soft_circle(BOX, 12, 6)
    for estimate, rel in ((noise.border_noise_spectrum, 1e-4), (noise.white_noise_variance, 1e-6)):
        assert estimate(with_particle, 20) == pytest.approx(estimate(images, 20), rel=rel)


def test_each_images_own_background_level_is_removed():
    rng = np.random.default_rng(4)
    images = rng.normal(size=(200, BOX, BOX)).astype(np.float32)
    raised = images + rng.normal(scale=50, size=(200, 1, 1)).astype(np.float32)
    assert noise.border_noise_spectrum(raised, 20) == pytest.approx(noise.border_noise_spectrum(images, 20), rel=1e-3)


def test_too_little_background_is_refused():
    images = np.random.default_rng(5).normal(size=(3, 32, 32)).astype(np.float32)
    for estimate in (noise.border_noise_spectrum, noise.white_noise_variance):
        with pytest.raises(InputError, match="leaves 0.* % of the 32 px box as background"):
            estimate(images, 22)
    masked = images * (1 - (soft_circle(32, 0, 0) == 0)).astype(np.float32)
    with pytest.raises(InputError, match="background of the images is constant"):
        noise.border_noise_spectrum(masked, 10)


@pytest.mark.parametrize("kind", NOISES)
def test_the_engines_noise_follows_borders_and_then_residuals(kind):
    images, truth = cut_from_a_larger_field(SPECTRA["low-pass"], 400, BOX, np.random.default_rng(6))
    model = NoiseModel.from_borders(images, 22, kind)
    assert model.spectrum.shape == (BOX // 2 + 1,)
    if kind == "white":
        assert model.spectrum == pytest.approx(np.full(BOX // 2 + 1, BOX ** 2 * images.var()), rel=0.05)
    else:
        assert np.abs(model.spectrum / truth - 1)[2:].max() < 0.2
    residual, before = 3.0 * truth[1:11], model.spectrum.copy()
    for _ in range(200):
        model.update(residual, 200)
    if kind == "white":
        # the mean over the coefficients of ten rings, whose number goes with the radius, at all frequencies
        mean = (residual * np.arange(1, 11)).sum() / 55
        assert model.spectrum == pytest.approx(np.full(BOX // 2 + 1, mean), rel=1e-3)
    else:
        assert model.spectrum[1:11] == pytest.approx(residual, rel=1e-3)
        assert np.array_equal(model.spectrum[11:], before[11:])
