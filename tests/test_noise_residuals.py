"""The noise of a run: what a minibatch's residuals say of it, and how they are blended into what the borders said."""
import numpy as np
import pytest

from cryosgd_plugin.core.fourier import fft2_centred, frequencies_2d, ifft2_centred
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.noise import NoiseModel
from cryosgd_plugin.engines.abinitio.objective import Minibatch
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, Source, density, particles

NOISE_SD = 0.25


def spectrum(radius):
    """σ² of coloured noise at a Fourier radius."""
    return BOX ** 2 * (0.5 + 2 / (1 + radius))


def noisy_engine(n):
    """An engine of n particles in coloured noise, at 22 Å, with the map and the noise of truth."""
    source, table = particles(n, noise_sd=1e-6, seed=6)
    clean = source.stack * (1e-6 / NOISE_SD)
    white = np.random.default_rng(1).normal(size=clean.shape).astype(np.float32)
    kx, ky = frequencies_2d(BOX, 1.0)
    noise = fft2_centred(white) * np.sqrt(spectrum(BOX * np.hypot(kx, ky)) / BOX ** 2)
    engine = AbInitio(AbInitioConfig(
        pixel_size=PIXEL, box_size=BOX, diameter_a=150.0, initial_resolution_a=60.0, final_resolution_a=22.0,
        shift_range_a=12.0, held_out=0), table, Source((clean + ifft2_centred(noise, BOX)).astype(np.float32)))
    engine.set_resolution(22.0)
    engine.model.volumes = (density() / NOISE_SD * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH))[None].astype(np.float32)
    engine.noise.spectrum = spectrum(np.arange(BOX // 2 + 1))
    return engine


def test_residuals_of_the_true_map_are_the_noise():
    """σ² of each ring although the images hold up to 2.6 times as much, and are masked."""
    engine = noisy_engine(200)
    problem = Minibatch(engine, np.arange(200), 1.0, sampled=False)
    problem.gradient(engine.model.volumes)
    radius = len(problem.residual)
    truth = spectrum(np.arange(1, radius + 1))
    ratio = problem.residual / truth
    assert radius == engine.model.radius == 8
    assert np.abs(ratio - 1).max() < 0.2 and ratio.mean() == pytest.approx(1, abs=0.03)
    # without a map all of the images is noise
    problem.gradient(1e-6 * engine.model.volumes)
    assert (problem.residual[:6] / truth[:6]).min() > 1.4


def test_updates_are_a_running_mean_in_which_the_borders_count_as_200_images():
    model = NoiseModel(np.full(9, 8.0))
    residuals, n = np.random.default_rng(0).uniform(2.0, 9.0, (20, 3)), 50
    for number, residual in enumerate(residuals, start=1):
        model.update(residual, n)
        mean = (200 * 8.0 + n * residuals[:number].sum(axis=0)) / (200 + n * number)
        np.testing.assert_allclose(model.spectrum, [8.0, *mean, *[8.0] * 5])
    # of more than 1500 images the older ones are forgotten
    for _ in range(200):
        model.update(np.full(3, 5.0), n)
    np.testing.assert_allclose(model.spectrum[1:4], 5.0, atol=0.02)
    model.update(np.full(3, 6.0), n)
    np.testing.assert_allclose(model.spectrum[1:4], 5 + 50 / 1700, atol=0.02)


def test_a_ring_that_was_not_looked_at_begins_with_the_borders():
    model = NoiseModel(np.full(9, 8.0))
    for _ in range(40):
        model.update(np.full(3, 4.0), 50)
    model.update(np.full(5, 4.0), 50)
    assert model.spectrum[1:4] == pytest.approx(4.0, abs=0.5)
    np.testing.assert_allclose(model.spectrum[4:], [8 - 4 * 50 / 250] * 2 + [8.0] * 3)


def test_residuals_near_zero_do_not_take_the_noise_away():
    """An over-fitted minibatch counts as a fifth of the noise at least."""
    model = NoiseModel(np.full(5, 10.0))
    model.update(np.array([-3.0, 0.0, 2.5]), 100)
    np.testing.assert_allclose(model.spectrum, [10, *(10 - np.array([8, 8, 7.5]) / 3), 10])
