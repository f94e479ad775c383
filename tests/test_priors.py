"""Priors: derivatives, what each calls likely, and that a strength means the same at every sampling."""
import argparse

import numpy as np
import pytest
from scipy import ndimage

from cryosgd_plugin.cli.abinitio import add_parser
from cryosgd_plugin.core.backend import gpu_report
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import resample_volume
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.priors import (
    NEIGHBOURS,
    PRIORS,
    CarPrior,
    ExponentialPrior,
    UniformPrior,
    make_prior,
)
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, particles


def particle(box):
    """(box,)*3 float32: blobs well sampled even in half the box, non-negative."""
    z, y, x = np.indices((box,) * 3) / box - 0.5
    spots = [(0.0, 0.1, -0.12), (0.15, -0.05, 0.05), (-0.12, -0.1, 0.1)]
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 0.07 ** 2))
               for a, b, c in spots).astype(np.float32)


def mean_inside(volume):
    box = len(volume)
    squared = ((np.indices(volume.shape) - box // 2) ** 2).sum(axis=0)
    return float(volume[squared <= (0.3 * box) ** 2].mean())


@pytest.mark.parametrize("name", PRIORS)
def test_gradients_against_finite_differences(name):
    rng = np.random.default_rng(0)
    prior = make_prior(name, 0.7, scale=1.3, voxel=2.0)
    volume, direction = rng.exponential(size=(2, 7, 7, 7))
    numeric = (prior.value(volume + 1e-4 * direction) - prior.value(volume - 1e-4 * direction)) / 2e-4
    assert np.vdot(prior.gradient(volume), direction) == pytest.approx(numeric, rel=1e-7)
    single = volume.astype(np.float32)
    assert prior.gradient(single).dtype == np.float32
    assert prior.value(single) == pytest.approx(prior.value(volume), rel=1e-5)


def test_car_gradient_against_the_dense_matrix():
    """Each voxel's conditional written out with its 26 neighbours, in a box with a wrap on each side."""
    box, sigma = 4, 0.4
    rows = np.arange(box ** 3).reshape((box,) * 3)
    mean = np.zeros((box ** 3, box ** 3))
    for offset in np.ndindex(3, 3, 3):
        if offset != (1, 1, 1):
            mean[rows.ravel(), np.roll(rows, np.array(offset) - 1, (0, 1, 2)).ravel()] += 1 / NEIGHBOURS
    assert np.allclose(mean.sum(axis=1), 1) and np.all(np.diag(mean) == 0)
    volume = np.random.default_rng(1).normal(size=box ** 3)
    residual = volume - mean @ volume
    prior, cube = CarPrior(sigma), volume.reshape((box,) * 3)
    assert prior.value(cube) == pytest.approx(0.5 * residual @ residual / sigma ** 2)
    dense = (np.eye(box ** 3) - mean).T @ residual / sigma ** 2
    np.testing.assert_allclose(prior.gradient(cube).ravel(), dense, atol=1e-12)


def test_car_likes_smooth_maps():
    prior = make_prior("car", 1.0, scale=1.0)
    noise = np.random.default_rng(2).normal(size=(24,) * 3).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, 3, mode="wrap")
    smooth *= noise.std() / smooth.std()
    assert prior.value(np.full((8, 8, 8), 3.5, np.float32)) == pytest.approx(0, abs=1e-9)
    assert np.abs(prior.gradient(np.full((8, 8, 8), 3.5, np.float32))).max() < 1e-5
    assert prior.value(noise) > 50 * prior.value(smooth) > 0
    # a step down the gradient smooths
    assert prior.value(noise - 0.1 * prior.gradient(noise)) < prior.value(noise)


def test_exponential_prior_weighs_mass():
    prior = make_prior("exponential", 0.5, scale=2.0)
    volume = particle(16)
    assert prior.rate == 0.25
    assert prior.value(volume) == pytest.approx(0.25 * volume.sum(dtype=float), rel=1e-6)
    assert prior.value(np.roll(volume, 5, 1)) == pytest.approx(prior.value(volume), rel=1e-6)
    # the exact density, up to its constant: differences of −log λ exp(−λ v)
    density = -np.log(0.25 * np.exp(-0.25 * volume.astype(float))).sum()
    assert density - prior.value(volume) == pytest.approx(-volume.size * np.log(0.25), rel=1e-6)


def test_uniform_prior_says_nothing():
    prior = make_prior("uniform", 0.0, scale=0.0)
    assert prior.value(particle(8)) == 0 and not prior.gradient(particle(8)).any()


@pytest.mark.parametrize("name, tolerance", [("exponential", 0.01), ("car", 0.15)])
def test_a_map_feels_the_same_prior_in_a_coarser_box(name, tolerance):
    """64 → 32 px keeps the mass: voxels are 8 times as dense and 8 times fewer."""
    fine = particle(64)
    coarse = resample_volume(fine, 32)
    assert mean_inside(coarse) == pytest.approx(8 * mean_inside(fine), rel=0.05)
    here = make_prior(name, 0.3, scale=mean_inside(fine)).value(fine)
    there = make_prior(name, 0.3, scale=8 * mean_inside(fine), voxel=2.0).value(coarse)
    assert there == pytest.approx(here, rel=tolerance)
    # without the voxel it would not, and the scale's own error is no larger than that of the mean inside
    assert abs(make_prior(name, 0.3, scale=8 * mean_inside(fine)).value(coarse) / here - 1) > 0.5
    measured = make_prior(name, 0.3, scale=mean_inside(coarse), voxel=2.0).value(coarse)
    assert measured == pytest.approx(here, rel=tolerance + 0.1)


@pytest.mark.parametrize("name", ["exponential", "car"])
def test_grey_scale_does_not_matter(name):
    volume = particle(16)
    first = make_prior(name, 0.3, scale=mean_inside(volume)).value(volume)
    second = make_prior(name, 0.3, scale=mean_inside(100 * volume)).value(100 * volume)
    assert second == pytest.approx(first, rel=1e-4)


@pytest.mark.parametrize("arguments, message", [
    (("flat", 1.0, 1.0, 1.0), "prior 'flat' is unknown; choose of uniform, car, exponential"),
    (("car", 0.0, 1.0, 1.0), "or the prior 'uniform' for none"),
    (("exponential", -1.0, 1.0, 1.0), "strength -1.0 of the exponential prior is not positive"),
    (("exponential", 1.0, 0.0, 1.0), "typical density 0.0"),
    (("car", 1.0, np.nan, 1.0), "typical density nan"),
    (("car", 1.0, 1.0, 0.0), "box size / working box"),
])
def test_bad_settings_are_refused(arguments, message):
    name, strength, scale, voxel = arguments
    with pytest.raises(InputError, match=message):
        make_prior(name, strength, scale=scale, voxel=voxel)


def test_maps_without_neighbours_are_refused():
    with pytest.raises(InputError, match="at least 3 px"):
        CarPrior(1.0).value(np.ones((2, 2, 2), np.float32))
    with pytest.raises(InputError, match="26 neighbours"):
        CarPrior(1.0).gradient(np.ones((8, 8), np.float32))
    assert ExponentialPrior(1.0).value(np.ones((2, 2, 2), np.float32)) == 8


@pytest.mark.gpu
@pytest.mark.parametrize("name", PRIORS)
def test_priors_on_a_gpu(name):
    usable, why = gpu_report()
    if not usable:
        pytest.skip(why)
    import cupy
    prior, volume = make_prior(name, 0.3, scale=1.0), particle(20)
    there = cupy.asarray(volume)
    assert prior.value(there) == pytest.approx(prior.value(volume), rel=1e-4)
    np.testing.assert_allclose(cupy.asnumpy(prior.gradient(there)), prior.gradient(volume), atol=1e-5)


class Pull(UniformPrior):
    """Towards no density at all: ½ (strength / scale)² Σ v²."""

    def __init__(self, weight=0.0):
        self.weight = weight

    @classmethod
    def of_strength(cls, strength, scale, voxel):
        return cls((strength / scale) ** 2)

    def value(self, volume):
        return 0.5 * self.weight * float((volume.astype(float) ** 2).sum())

    def gradient(self, volume):
        return np.float32(self.weight) * volume


def test_a_prior_is_added_by_its_class_and_its_name(monkeypatch):
    """It is then a choice of the engine and of the command line, and acts on the steps."""
    monkeypatch.setitem(PRIORS, "pull", Pull)
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    assert parser.parse_args(["abinitio", "x.star", "-o", "run", "--prior", "pull"]).prior == "pull"
    source, table = particles(60, noise_sd=0.4, seed=6)
    norms = []
    for strength in (1e-6, 30.0):
        engine = AbInitio(AbInitioConfig(
            pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=40.0, final_resolution_a=40.0,
            iterations=10, minibatch=(20, 20), shift_range_a=10.0, held_out=0, prior="pull", prior_strength=strength),
            table, source)
        for _, _ in zip(engine.steps(), range(3)):
            pass
        norms.append(np.linalg.norm(engine.model.volumes))
    assert norms[1] < 0.9 * norms[0]
