"""Optimisers that go on: from their saved state, in a larger box, in other coordinates."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.engines.optimisers import make_optimiser
from cryosgd_plugin.tests.optimiser_problems import BOLD, EVERY, SIZE, SLOW, error, make, padded, run


@EVERY
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_restored_run_goes_on_to_the_bit(name, dtype, tmp_path):
    problem, settings = make("non-negative"), dict(warm_start=0.9) if name == "hessian-free" else {}
    unbroken = make_optimiser(name, **settings)
    halfway = run(unbroken, problem, np.zeros(SIZE, dtype), 33)
    unbroken.step_size *= 0.5
    np.savez(tmp_path / "state.npz", **unbroken.state())
    end = run(unbroken, problem, halfway, 30, first=33)
    with np.load(tmp_path / "state.npz") as state:
        restored = make_optimiser(name, **settings)
        restored.restore(dict(state))
    assert np.array_equal(run(restored, problem, halfway, 30, first=33), end)
    assert restored.info == pytest.approx(unbroken.info, rel=0, abs=0, nan_ok=True)


def test_another_optimisers_state_is_refused():
    with pytest.raises(InputError, match="written by optimiser 'sgd', not by 'tonga'"):
        make_optimiser("tonga").restore(make_optimiser("sgd").state())


@EVERY
def test_a_run_goes_on_in_a_larger_box(name):
    small, large = make("diagonal", 1, size=SIZE // 2), make("diagonal", 1)
    settings = dict(warm_start=0.9) if name == "hessian-free" else BOLD.get(name, {})
    optimiser = make_optimiser(name, **settings)
    x = run(optimiser, small, np.zeros(SIZE // 2), 60)
    optimiser.transform(padded)
    assert error(run(optimiser, large, padded(x), 2000 if name in SLOW else 600), large) < 1e-6


@EVERY
@pytest.mark.parametrize("change", ["shift", "unit"])
def test_transform_is_a_change_of_coordinates(name, change):
    """A run whose x is rolled, or rescaled, half-way takes the same steps in the new coordinates."""
    problem, other = make("logistic"), make("logistic", unit=0.7 if change == "unit" else 1.0)
    if change == "shift":
        other.rows, other.weight = np.roll(problem.rows, 5, axis=1), np.roll(problem.weight, 5)
    elif name == "sagd":
        # f, right for steps, takes gradients the wrong way: packed in units of their own they are left alone
        problem.pack, problem.unpack = lambda g: g[None], lambda packed: packed[0]
        other.pack, other.unpack = lambda g: 0.7 * g[None], lambda packed: packed[0] / 0.7

    def f(x):
        return np.roll(x, 5) if change == "shift" else 0.7 * x

    plain, changed = make_optimiser(name), make_optimiser(name)
    x = run(plain, problem, np.zeros(SIZE), 30)
    assert np.array_equal(run(changed, problem, np.zeros(SIZE), 30), x)
    changed.transform(f)
    expected = f(run(plain, problem, x, 40, first=30))
    np.testing.assert_allclose(run(changed, other, f(x), 40, first=30), expected, rtol=1e-7)
