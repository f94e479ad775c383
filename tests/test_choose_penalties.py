"""α and β by the part of a half's data that a map has not seen."""
import numpy as np
import pytest

from cryosgd_plugin.core.shells import fsc, shell_index_3d
from cryosgd_plugin.core.symmetry import point_group, symmetrise
from cryosgd_plugin.engines.sparse_tv.choose import HeldOut, choose, shell_of_crossing
from cryosgd_plugin.engines.sparse_tv.coarse import coarse
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.problem import FourierData
from cryosgd_plugin.engines.sparse_tv.scan import box_of_scan, scanned
from cryosgd_plugin.engines.sparse_tv.solver import sparse_tv_map, step_after_wiener
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

    qualities = [quality(one.alpha, one.beta) for one in found.tried if np.isfinite(one.gain)]
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
    emptied = [one for one in found.tried if one.alpha > 100]
    assert emptied and np.isnan([(one.gain, one.shell) for one in emptied]).all()


def test_large_maps_are_chosen_by_their_low_frequencies():
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
    found = coarse(fine, CONFIG, 0.05, BOX)
    small, wide = found.data, np.ones((larger,) * 3, np.float32)
    assert small.box == BOX and found.epsilon == pytest.approx(0.4) and np.allclose(found.mask(wide), 1)
    assert found.settings(1, 2, 0).beta == 1 and found.config.epsilon_ratio == 2 * CONFIG.epsilon_ratio
    # γ in the mean weight, the same of it for a unit that both share
    gamma = found.settings(0, 0, 0.1).gamma
    assert gamma * small.mean_weight == pytest.approx(0.1 * fine.mean_weight / 8)
    inner = shell_index_3d(BOX) < BOX // 2 - 2
    np.testing.assert_allclose(small.weight[inner], data.weight[inner], rtol=1e-4)
    np.testing.assert_allclose(small.prior[inner], data.prior[inner], rtol=1e-4)
    assert small.pull_rms == pytest.approx(data.pull_rms, rel=0.1)


def test_it_foretells_where_the_fsc_with_the_truth_falls():
    """The shell of FSC 0.5 by one half alone, of Wiener's map and of a sparse one: grains, of one power at all
    frequencies, in noise that grows with the fourth power of the frequency."""
    rng = np.random.default_rng(7)
    truth = np.zeros((BOX,) * 3, np.float32)
    truth[tuple(rng.integers(6, 18, (3, 40)))] = 1
    variance = (truth ** 2).mean() * (np.maximum(shell_index_3d(BOX), 1.0) / 5) ** 4
    first, second = (truth + np.fft.irfftn(np.fft.rfftn(rng.standard_normal(truth.shape)) * np.sqrt(variance))
                     for _ in range(2))
    data = FourierData(first.astype(np.float32), *with_prior((1 / variance).astype(np.float32), fsc(first, second)))
    parts = held_out(data, first - second)
    sparse = SparseTVConfig(alpha=0.3, beta=0.0, iterations=40)
    shells = []
    for maps in ([one.quadratic() for one in parts._seen], parts.maps(sparse, 0.5)):
        foretold = parts.crossing(parts.curve(maps))
        true = np.mean([shell_of_crossing(fsc(one, truth), 0.5, BOX) for one in maps])
        # no farther than anything is foretold
        assert foretold == pytest.approx(min(true, parts.told.sum()), abs=0.7)
        shells.append(foretold)
    assert shells[1] > shells[0] + 0.5 and parts.told.sum() > parts.shells.sum()
    assert parts.trial(sparse, 0.5)[1] == shells[1]


def test_a_crossing_is_a_shell_or_the_last_one():
    assert shell_of_crossing(np.array([1, 1, 0.9, 0.1]), 0.5, 24) == pytest.approx(2.5)
    assert shell_of_crossing(np.array([1, 1, 0.9, 0.6]), 0.5, 24) == 3
    assert shell_of_crossing(np.array([1, 0.4, 0.9]), 0.5, 24) == 0


def test_a_scan_tells_how_far_regularised_halves_agree_and_chooses_nothing():
    truth, data, difference = half_of()
    other = data.of(data.volume - difference)
    grid = (0.1, 500.0), (0.2, 0.4), (0.1,)
    found = scanned([data, other], CONFIG, epsilon=0.4, largest_box=BOX, grid=grid)
    assert list(found) == [(a, b, 0.1) for a in grid[0] for b in grid[1]]
    assert np.isnan([shell for (a, _, _), shell in found.items() if a == 500]).all()
    config = SparseTVConfig(alpha=0.1, beta=0.4, gamma=0.1, iterations=40, tolerance=1e-3)
    maps = [step_after_wiener(one, config, epsilon=0.4).volume for one in (data, other)]
    assert found[0.1, 0.4, 0.1] == pytest.approx(shell_of_crossing(fsc(*maps), 0.143, BOX))


def test_a_grid_is_tried_in_the_papers_units_with_maps_held_to_wieners():
    truth, data, difference = half_of()
    common = dict(epsilon=0.4, mask=EVERYWHERE, difference=difference)
    grid = (0.2,), (0.3, 0.6), (0.05, 200.0)
    found = choose(data, CONFIG, rng=np.random.default_rng(1), grid=grid, hold=True, **common)
    assert {(one.alpha, one.beta, one.gamma) for one in found.tried} == {
        (0, 0, 0), (0.2, 0.3, 0.05), (0.2, 0.3, 200), (0.2, 0.6, 0.05), (0.2, 0.6, 200)}
    gains = {(one.beta, one.gamma): one.gain for one in found.tried}
    # what is held tightly to Wiener's map is hardly another
    assert abs(gains[0.3, 200]) < 0.4 * gains[0.3, 0.05]
    best = max(found.tried, key=lambda one: one.gain)
    assert (found.config.alpha, found.config.beta, found.config.gamma) == (best.alpha, best.beta, best.gamma)


def test_the_box_of_a_scan_reaches_beyond_the_resolution():
    curve = np.where(np.arange(129) < 80, 1.0, 0.0)
    assert 2 * 80 < box_of_scan(curve) <= 2 * 80 * 1.3
    assert box_of_scan(np.zeros(129)) == 96
