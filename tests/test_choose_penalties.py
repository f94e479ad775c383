"""α and β by the part of a half's data that a map has not seen."""
import numpy as np
import pytest

from cryosgd_plugin.core.shells import fsc, shell_index_3d
from cryosgd_plugin.core.symmetry import point_group, symmetrise
from cryosgd_plugin.engines.sparse_tv import choose as choose_module
from cryosgd_plugin.engines.sparse_tv.choose import HeldOut, choose
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.problem import FourierData
from cryosgd_plugin.engines.sparse_tv.solver import sparse_tv_map
from cryosgd_plugin.engines.sparse_tv.weights import with_prior
from cryosgd_plugin.tests.test_sparse_tv import BOX, sample

CONFIG = SparseTVConfig(iterations=40)
EVERYWHERE = np.ones((BOX,) * 3, np.float32)


def half_of(noise=0.15, seed=0):
    """(truth, FourierData with Wiener's prior, difference to the other half)."""
    truth, data = sample(noise=noise, seed=seed)
    _, other = sample(noise=noise, seed=seed + 1)
    weight, prior = with_prior(data.weight, fsc(data.volume, other.volume))
    return truth, FourierData(data.volume, weight, prior), data.volume - other.volume


def held_out(data, difference, seed=0, **words):
    return HeldOut(data, EVERYWHERE, difference, np.random.default_rng(seed), **words)


def test_the_two_parts_hold_independent_noise():
    truth, data, difference = half_of()
    parts = held_out(data, difference)
    common, seen, unseen = 0.0, 0.0, 0.0
    for one, other in zip(parts._seen, parts._unseen):
        a, b = (parts._common(first - truth, second - truth)[2:BOX // 2] for first, second in (
            (one.volume, other), (one.volume, one.volume)))
        common, seen = common + a.sum(), seen + b.sum()
        unseen += parts._common(other - truth, other - truth)[2:BOX // 2].sum()
    assert abs(common) < 0.1 * np.sqrt(seen * unseen)
    # the first part is nearly the whole
    whole = 2 * parts._common(data.volume - truth, data.volume - truth)[2:BOX // 2].sum()
    assert seen == pytest.approx(1.09 * whole, rel=0.15)


def test_it_foretells_the_fsc_with_the_truth():
    """Of Wiener's map and of a penalised one, from one half alone."""
    truth, data, difference = half_of()
    parts = held_out(data, difference)
    assert parts.shells[1:7].all()
    for found, maps in ((parts.traditional, [one.quadratic() for one in parts._seen]),
                        (None, parts.maps(SparseTVConfig(alpha=0.2, beta=0.4, iterations=40), 0.4))):
        found = parts.curve(maps) if found is None else found
        true = np.mean([fsc(one, truth) for one in maps], axis=0)
        np.testing.assert_allclose(found[parts.shells], true[parts.shells], atol=0.12)


def test_without_a_signal_no_penalty_is_chosen():
    rng = np.random.default_rng(5)
    first, second = rng.standard_normal((2,) + (BOX,) * 3).astype(np.float32)
    weight = np.ones((BOX, BOX, BOX // 2 + 1), np.float32)
    data = FourierData(first, *with_prior(weight, np.zeros(BOX // 2 + 1)))
    found = choose(data, CONFIG, epsilon=1.0, mask=EVERYWHERE, difference=first - second,
                   rng=np.random.default_rng(1))
    assert (found.config.alpha, found.config.beta) == (0, 0)


def test_what_is_chosen_is_nearly_the_best_for_the_truth():
    truth, data, difference = half_of()
    found = choose(data, CONFIG, epsilon=0.4, mask=EVERYWHERE, difference=difference, rng=np.random.default_rng(1))
    shells = held_out(data, difference).shells

    def quality(alpha, beta):
        one = sparse_tv_map(data, SparseTVConfig(alpha=alpha, beta=beta, iterations=40), epsilon=0.4)
        return fsc(one.volume, truth)[shells].mean()

    qualities = [quality(alpha, beta) for alpha, beta, value in found.tried if np.isfinite(value)]
    chosen = quality(found.config.alpha, found.config.beta)
    assert chosen > max(qualities) - 0.02 and chosen > quality(0, 0) + 0.02


def test_noise_of_a_symmetric_map_is_symmetric():
    _, data, difference = half_of()
    group = point_group("O")
    parts = held_out(data, difference, operators=group)
    noise = parts._seen[0].volume - data.volume
    # the first planes of an even box have no mates
    inner = np.s_[2:-1, 2:-1, 2:-1]
    left = noise[inner] - symmetrise(noise, group)[inner]
    assert np.linalg.norm(left) < 0.15 * np.linalg.norm(noise[inner])


def test_penalties_that_empty_the_map_are_passed_over():
    _, data, difference = half_of()
    found = choose(data, CONFIG, epsilon=0.4, mask=EVERYWHERE, difference=difference, rng=np.random.default_rng(1),
                   alphas=(0.5, 5000.0), betas=(0.5,))
    assert found.config.alpha < 100
    assert np.isnan([value for alpha, _, value in found.tried if alpha > 100]).all()


def test_large_maps_are_chosen_by_their_low_frequencies(monkeypatch):
    """The same problem on a finer grid has the same answer: the high frequencies hold nothing."""
    _, data, difference = half_of()
    larger = 2 * BOX
    raw = np.zeros((larger, larger, BOX + 1), complex)
    line = np.fft.fftfreq(BOX, 1 / BOX).astype(int)
    kept = np.abs(line) < BOX // 2
    weight, prior = np.zeros((2,) + raw.shape, np.float32)
    at = np.ix_(line[kept], line[kept], np.arange(BOX // 2))
    within = np.ix_(kept, kept, np.arange(BOX // 2))
    raw[at] = np.fft.rfftn(data.volume)[within]
    weight[at], prior[at] = data.weight[within] * 8, data.prior[within] * 8
    fine = FourierData(np.fft.irfftn(raw, (larger,) * 3).astype(np.float32), weight, prior)
    monkeypatch.setattr(choose_module, "LARGEST_BOX", BOX)
    wide = np.ones((larger,) * 3, np.float32)
    small, mask, _, epsilon = choose_module._reduced(fine, wide, fine.volume, 0.05)
    assert small.box == BOX and epsilon == pytest.approx(0.4) and np.allclose(mask, 1)
    inner = shell_index_3d(BOX) < BOX // 2 - 2
    np.testing.assert_allclose(small.weight[inner], data.weight[inner], rtol=1e-4)
    np.testing.assert_allclose(small.prior[inner], data.prior[inner], rtol=1e-4)
    assert small.pull_rms == pytest.approx(data.pull_rms, rel=0.1)
