"""Posterior weights: numba against plain numpy, and against textbook softmax."""
import numpy as np
import pytest

from cryosgd_plugin.ops.posterior import exponentiate, exponentiate_plain, pick_poses, pick_poses_plain


@pytest.mark.parametrize("temperature", [1.0, 7.5])
def test_numba_equals_numpy(temperature):
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 30, (12, 7, 5)).astype(np.float32)
    fast, plain = scores.copy(), scores.copy()
    first, second = exponentiate(fast, temperature), exponentiate_plain(plain, temperature)
    np.testing.assert_allclose(fast, plain, rtol=2e-5, atol=1e-12)
    assert first.best == second.best == scores.argmax()
    assert first.log_evidence == pytest.approx(second.log_evidence, abs=1e-3)
    assert first.effective_poses == pytest.approx(second.effective_poses, rel=1e-4)
    np.testing.assert_allclose(first.direction_mass, second.direction_mass, atol=1e-6)
    np.testing.assert_allclose(first.shift_mass, second.shift_mass, atol=1e-6)
    np.testing.assert_allclose(first.angle_mass, second.angle_mass, atol=1e-6)
    np.testing.assert_allclose(plain.sum(axis=(1, 2)) / second.total, second.angle_mass, atol=1e-6)


def test_softmax_of_huge_scores():
    scores = np.float32([[[1e6, 1e6 - 1]], [[1e6 - 2, -1e6]]])
    weights = np.exp([0.0, -1, -2, -2e6])
    result = exponentiate(scores, 1.0)
    np.testing.assert_allclose(scores.ravel() / result.total, weights / weights.sum(), atol=1e-6)
    assert result.log_evidence == pytest.approx(1e6 + np.log(weights.sum()), abs=0.1)
    assert result.effective_poses == pytest.approx(weights.sum() ** 2 / (weights ** 2).sum(), rel=1e-4)


def test_picked_poses_equals_numpy():
    rng = np.random.default_rng(1)
    weights, factor = rng.random((8, 6, 5), dtype=np.float32), rng.random(3, dtype=np.float32)
    chosen = np.array([1, 2, 7]), np.array([0, 4, 5]), np.array([2, 4])
    fast, plain = pick_poses(weights, *chosen, factor), pick_poses_plain(weights, *chosen, factor)
    np.testing.assert_array_equal(fast[0], plain[0])
    np.testing.assert_allclose(fast[1], plain[1], rtol=1e-6)
    assert plain[0][2, 1, 0] == weights[7, 4, 2] * factor[1]
