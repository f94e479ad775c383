"""α and β by the coefficients that a map has not seen."""
import numpy as np
import pytest

from cryosgd_plugin.core.shells import shell_index_3d
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.sparse_tv import choose as choose_module
from cryosgd_plugin.engines.sparse_tv.choose import choose, held_out
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.problem import FourierData
from cryosgd_plugin.engines.sparse_tv.solver import sparse_tv_map
from cryosgd_plugin.tests.test_sparse_tv import BOX, error, sample

CONFIG = SparseTVConfig(iterations=40)


def test_a_tenth_is_left_out_with_its_mates():
    _, data = sample()
    left, scored = held_out(data, np.random.default_rng(0))
    assert np.array_equal(left, scored)
    assert left.mean() == pytest.approx(0.1, abs=0.03)
    mate = (-np.arange(BOX)) % BOX
    assert np.array_equal(left[:, :, 0], left[mate][:, mate][:, :, 0])
    assert data.without(left).weight[left].max() == 0


@pytest.mark.parametrize("group", ["D2", "C4", "O"])
def test_symmetry_mates_are_left_out_together(group):
    _, data = sample()
    operators = np.rint(point_group(group)).astype(int)
    left, scored = held_out(data, np.random.default_rng(0), point_group(group))
    assert scored.sum() > 0.95 * left.sum()
    assert left.mean() == pytest.approx(0.1, abs=0.04)
    rng = np.random.default_rng(1)
    for k in rng.integers(1, BOX // 2 - 1, (200, 3)):
        mates = operators @ k
        # (x, y, z) with x < 0 lies at its Friedel mate
        mates = np.where(mates[:, :1] < 0, -mates, mates)
        assert len({bool(left[z, y, x]) for x, y, z in mates}) == 1, (k, mates)


def test_mates_that_lie_between_coefficients_are_not_scored_where_they_are_seen():
    _, data = sample()
    operators = point_group("C3")
    left, scored = held_out(data, np.random.default_rng(0), operators)
    assert 0.5 * left.sum() < scored.sum() < left.sum()
    z, y, x = np.nonzero(scored)
    points = np.stack([x, y, np.where(z < BOX / 2, z, z - BOX)], axis=1)
    points[:, 1] = np.where(y < BOX / 2, y, y - BOX)
    for operator in operators[1:]:
        mate = np.rint(points @ operator.T).astype(int)
        mate = np.where(mate[:, :1] < 0, -mate, mate)
        assert left[mate[:, 2], mate[:, 1], mate[:, 0]].all()


def test_what_is_chosen_is_nearly_the_best_for_the_truth():
    truth, data = sample(noise=0.15)
    found = choose(data, CONFIG, epsilon=0.4, rng=np.random.default_rng(1))
    errors = {(a, b): error(sparse_tv_map(data, SparseTVConfig(alpha=a, beta=b, iterations=40), epsilon=0.4).volume,
                            truth) for a, b, value in found.tried if np.isfinite(value)}
    chosen = errors[found.config.alpha, found.config.beta]
    assert chosen < 1.5 * min(errors.values()) < 0.5 * max(errors.values()), errors
    assert min(value for _, _, value in found.tried) < 0


def test_a_start_that_has_seen_everything_is_no_help():
    """Where nothing is penalised the coefficients that are left out stay what they were at the start: unknown."""
    _, data = sample()
    found = choose(data, CONFIG, epsilon=0.4, rng=np.random.default_rng(1), start=data.volume, alphas=(0.0,),
                   betas=(0.0,))
    assert found.tried[0][2] == pytest.approx(0, abs=1e-3)


def test_penalties_that_empty_the_map_are_passed_over():
    _, data = sample()
    found = choose(data, CONFIG, epsilon=0.4, rng=np.random.default_rng(1), alphas=(0.1, 500.0), betas=(0.1,))
    assert found.config.alpha == 0.1
    assert np.isnan([value for alpha, _, value in found.tried if alpha == 500])


def test_large_maps_are_chosen_by_their_low_frequencies(monkeypatch):
    """The same problem on a finer grid has the same answer: the high frequencies hold nothing."""
    truth, data = sample()
    larger = 2 * BOX
    raw = np.zeros((larger, larger, BOX + 1), complex)
    line = np.fft.fftfreq(BOX, 1 / BOX).astype(int)
    kept = np.abs(line) < BOX // 2
    weight = np.zeros(raw.shape, np.float32)
    at = np.ix_(line[kept], line[kept], np.arange(BOX // 2))
    raw[at] = np.fft.rfftn(data.volume)[np.ix_(kept, kept, np.arange(BOX // 2))]
    weight[at] = data.weight[np.ix_(kept, kept, np.arange(BOX // 2))] * 8
    fine = FourierData(np.fft.irfftn(raw, (larger,) * 3).astype(np.float32), weight)
    monkeypatch.setattr(choose_module, "LARGEST_BOX", BOX)
    small, _, epsilon = choose_module._reduced(fine, None, 0.05)
    assert small.box == BOX and epsilon == pytest.approx(0.4)
    inner = shell_index_3d(BOX) < BOX // 2 - 2
    np.testing.assert_allclose(small.weight[inner], data.weight[inner], rtol=1e-4)
    assert small.pull_rms == pytest.approx(data.pull_rms, rel=0.1)
