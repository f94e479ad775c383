"""The sparse + total-variation map: known solutions, both methods, its objective, and what it refuses."""
from dataclasses import replace

import numpy as np
import pytest
from scipy import fft, optimize

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.shells import fsc, shell_index_3d
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.problem import FourierData
from cryosgd_plugin.engines.sparse_tv.solver import (
    EmptyMap,
    check_left,
    density_left,
    objective,
    sparse_tv_map,
    step_after_wiener,
    strengths_for,
)
from cryosgd_plugin.tests.abinitio_samples import density

BOX = 24


def sample(noise=0.3, seed=0, box=BOX):
    """(truth, FourierData): blobs with noise that grows towards high frequency and differs from voxel to voxel."""
    rng = np.random.default_rng(seed)
    truth = density(box=box)
    shells = shell_index_3d(box)
    variance = noise ** 2 * (0.2 + (shells / box * 2) ** 2) / rng.gamma(4, 0.25, shells.shape)
    raw = fft.rfftn(rng.standard_normal(truth.shape)) * np.sqrt(variance)
    return truth, FourierData((truth + fft.irfftn(raw, truth.shape)).astype(np.float32),
                              (1 / variance).astype(np.float32))


def error(x, truth):
    return np.linalg.norm(x - truth) / np.linalg.norm(truth)


def test_without_penalties_the_data_come_back():
    _, data = sample()
    found = sparse_tv_map(data, SparseTVConfig(alpha=0, beta=0), epsilon=0.1, start=np.zeros_like(data.volume))
    assert found.gap < 1e-3
    np.testing.assert_allclose(found.volume, data.volume, atol=0.02 * data.volume.std())


def test_of_white_weights_sparsity_is_a_soft_threshold():
    """N constant and β = 0: each voxel by itself, whose solution is known."""
    _, data = sample()
    data = FourierData(data.volume, np.full_like(data.weight, 4.0))
    found = sparse_tv_map(data, SparseTVConfig(alpha=0.5, beta=0, convex=True), epsilon=0.2)
    limit = found.strengths.alpha / 0.2 / 4
    np.testing.assert_allclose(found.volume, np.sign(data.volume) * np.maximum(np.abs(data.volume) - limit, 0),
                               atol=1e-4)
    assert found.zeros == pytest.approx((np.abs(data.volume) < limit).mean(), abs=1e-3)


def test_the_previous_map_pulls():
    _, data = sample()
    data = FourierData(data.volume, np.full_like(data.weight, 4.0))
    other = np.roll(data.volume, 3, axis=0)
    found = sparse_tv_map(data, SparseTVConfig(alpha=0, beta=0, gamma=0.5), epsilon=0.2, previous=other)
    # ½ · 4 (x − y)² + ½ · 4 (x − z)² · 2 · 0.5 … its minimum: (N y + 2γ z) / (N + 2γ), γ half the mean of N
    np.testing.assert_allclose(found.volume, (data.volume + other) / 2, atol=1e-3)


def test_both_methods_find_the_same_map_and_the_fast_one_sooner():
    _, data = sample()
    config = SparseTVConfig(alpha=0.2, beta=0.2, convex=True, iterations=2000, tolerance=1e-3)
    fast = sparse_tv_map(data, config, epsilon=0.3)
    plain = sparse_tv_map(data, replace(config, method="proximal-gradient"), epsilon=0.3)
    assert fast.gap < 1e-3 and plain.gap < 1e-3
    assert error(fast.volume, plain.volume) < 0.01
    assert len(fast.gaps[0]) < 0.5 * len(plain.gaps[0])


def test_reweighting_lowers_the_objective_of_the_logarithms():
    _, data = sample()
    config = SparseTVConfig(alpha=0.2, beta=0.2, iterations=500, tolerance=1e-4)
    strengths = strengths_for(data, config, 0.3)
    values = [objective(data, strengths, sparse_tv_map(data, replace(config, reweightings=n), epsilon=0.3).volume)
              for n in (1, 2, 4)]
    assert values[0] > values[1] > values[2]


def test_the_objectives_data_term_is_the_sum_over_all_coefficients():
    truth, data = sample()
    full = np.abs(np.fft.fftn(truth - data.volume, norm="ortho")) ** 2
    half = data.weight
    # N of the other half by its mates
    weight = np.zeros(full.shape)
    weight[:, :, :BOX // 2 + 1] = half
    mate = (-np.arange(BOX)) % BOX
    weight[:, :, BOX // 2 + 1:] = half[mate][:, mate][:, :, 1:BOX // 2][:, :, ::-1]
    assert data.misfit(truth) == pytest.approx(0.5 * (weight * full).sum(), rel=1e-4)


def test_a_small_problem_agrees_with_a_general_minimiser():
    """Smoothed TV alone is smooth: scipy's L-BFGS finds the same."""
    _, data = sample(box=8)
    config = SparseTVConfig(alpha=0, beta=1.0, convex=True, iterations=3000, tolerance=1e-6)
    found = sparse_tv_map(data, config, epsilon=0.5)
    s = found.strengths

    def value(flat):
        x = flat.reshape((8,) * 3)
        g = np.stack([np.diff(x, axis=a, prepend=np.take(x, [0], axis=a)) for a in range(3)])
        norm = np.sqrt((g ** 2).sum(axis=0))
        tv = np.where(norm < s.mu, norm ** 2 / (2 * s.mu), norm - s.mu / 2).sum() * s.beta / s.epsilon_tv
        u = s.beta / s.epsilon_tv * g / np.maximum(norm, s.mu)
        slope = np.zeros_like(x)
        for a in range(3):
            moved = np.moveaxis(u[a], a, 0)
            part = moved.copy()
            part[:-1] -= moved[1:]
            slope += np.moveaxis(part, 0, a)
        pull = np.fft.irfftn(data.weight * np.fft.rfftn(x - data.volume.astype(float)), x.shape)
        return 0.5 * ((x - data.volume) * pull).sum() + tv, (slope + pull).ravel()

    best = optimize.minimize(value, np.zeros(512), jac=True, method="L-BFGS-B",
                             options=dict(maxiter=5000, ftol=1e-14, gtol=1e-8))
    assert value(found.volume.astype(float).ravel())[0] == pytest.approx(best.fun, rel=1e-4)
    assert error(found.volume.ravel(), best.x) < 0.01


def test_it_is_nearer_to_the_truth_than_the_data():
    truth, data = sample(noise=0.1)
    found = sparse_tv_map(data, SparseTVConfig(alpha=0.5, beta=0.5), epsilon=0.4)
    assert error(found.volume, truth) < 0.3 * error(data.volume, truth)
    assert np.mean(fsc(found.volume, truth)[3:9] - fsc(data.volume, truth)[3:9]) > 0.1
    assert 0.3 < found.zeros < 0.99 and found.variation < 0.5


@pytest.mark.parametrize("change, words", [
    (dict(epsilon=0.0), "is not positive"), (dict(epsilon=np.inf), "is not positive, or not finite"),
    (dict(alpha=-1.0), "alpha -1 is negative"), (dict(beta=np.inf), "beta inf is no finite number"),
    (dict(gamma=np.nan), "gamma nan is no finite number"), (dict(tolerance=-1.0), "must be 0 or more"),
    (dict(epsilon_ratio=20.0), "out of bounds"), (dict(method="admm"), "unknown"), (dict(iterations=0), "too few"),
    (dict(smoothing=0.0), "must be positive")])
def test_settings_refuse_nonsense(change, words):
    with pytest.raises(InputError, match=words):
        SparseTVConfig(**change)


def test_data_refuse_nonsense():
    _, data = sample()
    broken = data.volume.copy()
    broken[0, 0, :3] = np.nan
    with pytest.raises(InputError, match="3 values of the map are not finite"):
        FourierData(broken, data.weight)
    with pytest.raises(InputError, match="below 0"):
        FourierData(data.volume, -data.weight)
    with pytest.raises(InputError, match="do not belong to a map of 24 px"):
        FourierData(data.volume, data.weight[:-2])
    with pytest.raises(InputError, match="no Fourier coefficient has any data"):
        FourierData(data.volume, 0 * data.weight)


def test_penalties_that_empty_the_map_are_named():
    _, data = sample()
    with pytest.raises(EmptyMap, match="leave nothing of the map"):
        sparse_tv_map(data, SparseTVConfig(alpha=100.0), epsilon=0.3)


def test_a_map_of_a_tenth_of_the_density_is_as_good_as_empty():
    _, data = sample()
    mask = (data.volume > 0.5).astype(np.float32)
    wiener, usual = data.quadratic(), SparseTVConfig(alpha=0.2, beta=0.2)
    found = sparse_tv_map(data, usual, epsilon=0.3)
    assert density_left(wiener, wiener, mask) == pytest.approx(1) and density_left(-wiener, wiener, mask) < 0
    assert 0.5 < density_left(found.volume, wiener, mask) < 1.2
    check_left(found, usual, wiener, mask)
    with pytest.raises(EmptyMap, match="α 0.2 and β 0.2 leave 5.0% of the density that Wiener's map has"):
        check_left(replace(found, volume=0.05 * wiener), usual, wiener, mask)


def test_settings_far_from_the_papers_are_told():
    assert SparseTVConfig().unusual() == []
    said = SparseTVConfig(alpha=50.0, beta=0.0, gamma=3.0, epsilon_ratio=10.0).unusual()
    assert [sentence.split(" is far")[0] for sentence in said] == ["α 50", "γ 3", "ε' / ε 10"]


def test_the_step_after_wieners_map_is_held_to_it():
    _, data = sample()
    data = FourierData(data.volume, np.full_like(data.weight, 4.0), np.full_like(data.weight, 4.0))
    config = SparseTVConfig(alpha=0.5, beta=0.0, convex=True, gamma=1.0)
    free, held = (step_after_wiener(data, replace(config, gamma=gamma), epsilon=0.2) for gamma in (0.0, 1.0))
    assert error(held.volume, data.quadratic()) < 0.6 * error(free.volume, data.quadratic())
    # of white weights each voxel by itself: ½ · 8 (x − y / 2)² + 4 (x − y / 2)² + limit |x|
    wiener, limit = data.quadratic(), held.strengths.alpha / 0.2 / 16
    np.testing.assert_allclose(held.volume, np.sign(wiener) * np.maximum(np.abs(wiener) - limit, 0), atol=1e-3)
