"""The algebra of the optimisers that need curvature: online L-BFGS, conjugate gradients, Hessian-free steps."""
import numpy as np
import pytest

from cryosgd_plugin.engines.optimisers import make_optimiser
from cryosgd_plugin.engines.optimisers.arrays import near_walls
from cryosgd_plugin.engines.optimisers.conjugate_gradients import solve
from cryosgd_plugin.engines.optimisers.olbfgs import two_loop
from cryosgd_plugin.tests.optimiser_problems import SIZE, Given, spd


def test_two_loops_equal_the_dense_bfgs_product():
    rng = np.random.default_rng(0)
    hessian, inverse, g = spd(rng), np.diag(rng.uniform(0.5, 2, SIZE)), rng.normal(size=SIZE)
    steps = [rng.normal(size=SIZE) for _ in range(5)]
    changes = [hessian @ s for s in steps]
    found = two_loop(g, steps, changes, lambda q, h0=inverse: h0 @ q)
    for s, y in zip(steps, changes):
        left = np.eye(SIZE) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    np.testing.assert_allclose(found, inverse @ g, rtol=1e-10)


def test_olbfgs_pairs():
    """y is of one minibatch plus λκs, with the pairs of the last steps only; negative curvature is left out."""
    rng = np.random.default_rng(0)
    hessian = spd(rng)
    optimiser, x = make_optimiser("olbfgs", memory=3, regularisation=0.2), rng.normal(size=SIZE)
    for _ in range(5):
        # each minibatch has its own slope, which must not enter y
        slope = rng.normal(size=SIZE)
        new = optimiser.step(x, Given(gradient=lambda x, slope=slope: hessian @ x + slope))
        # P = 2, so κ = 2
        np.testing.assert_allclose(optimiser.changes[-1], hessian @ (new - x) + 0.2 * 2 * (new - x), rtol=1e-8)
        x = new
    assert len(optimiser.steps) == len(optimiser.changes) == len(optimiser.scales) == 3
    slope, inverse, scale = rng.normal(size=SIZE), np.eye(SIZE) / 2, optimiser.scales.mean()
    assert scale == pytest.approx(np.mean([2 * s @ y / (y @ y) for s, y in zip(optimiser.steps, optimiser.changes)]))
    newton = two_loop(hessian @ x + slope, optimiser.steps, optimiser.changes, lambda q: scale * inverse @ q)
    new = optimiser.step(x, Given(gradient=lambda x: hessian @ x + slope))
    np.testing.assert_allclose(x - new, 0.4 * newton)
    bent = Given(gradient=lambda x: -x)
    last = optimiser.steps[-1]
    optimiser.step(x, bent)
    assert optimiser.info["pair_kept"] == 0 and optimiser.steps[-1] is last


@pytest.mark.parametrize("warm", [False, True])
def test_conjugate_gradients_equal_the_dense_solve(warm):
    rng = np.random.default_rng(0)
    curvature, metric, g = spd(rng, smallest=0), spd(rng), rng.normal(size=SIZE)
    dense = np.linalg.solve(curvature + 0.3 * metric, -g)
    found = solve(lambda v: curvature @ v, g, lambda v: np.linalg.solve(metric, v), damping=0.3, iterations=50,
                  tolerance=0, start=rng.normal(size=SIZE) if warm else None)
    np.testing.assert_allclose(found.step, dense, rtol=1e-7)
    np.testing.assert_allclose(found.dual, metric @ dense, rtol=1e-7)
    assert found.model == pytest.approx(g @ dense + 0.5 * dense @ curvature @ dense)
    short = solve(lambda v: curvature @ v, g, lambda v: np.linalg.solve(metric, v), damping=0.3, iterations=50,
                  tolerance=0.02)
    assert short.iterations < found.iterations and short.model < 0.8 * found.model < 0


def test_conjugate_gradients_stop_at_negative_curvature():
    found = solve(lambda v: -v, np.ones(3), lambda v: v, damping=0.5, iterations=9, tolerance=0)
    assert found.iterations == 0 and not found.step.any()


def test_hessian_free_damping_follows_the_models_honesty():
    """ρ = 1 lowers λ; a model that promises a hundred times too much raises it, and the step is halved or not made."""
    hessian, x = np.array([1.0, 3.0]), np.array([1.0, 1.0])
    for trust in (1.0, 0.01):
        problem = Given(value=lambda x: 0.5 * float(hessian @ x ** 2), gradient=lambda x: hessian * x,
                        curvature=lambda x, v, trust=trust: trust * hessian * v)
        optimiser = make_optimiser("hessian-free", damping=0.02, damping_range=(0.001, 10))
        new = optimiser.step(x, problem)
        assert problem.value(new) < problem.value(x)
        if trust == 1:
            assert optimiser.info["reduction_ratio"] == pytest.approx(1)
            assert optimiser.damping == pytest.approx(0.02 / 1.5) and optimiser.info["step_share"] == 1
        else:
            assert optimiser.info["reduction_ratio"] < 0
            assert optimiser.damping == pytest.approx(0.03) and 0 < optimiser.info["step_share"] < 1
    uphill = Given(value=lambda x: -float(x.sum()), gradient=lambda x: np.ones(2), curvature=lambda x, v: v)
    assert np.array_equal(make_optimiser("hessian-free").step(x, uphill), x)


def test_walls_are_found_from_both_sides():
    problem = Given(constrain=lambda x: np.maximum(x, 0) * np.array([1, 1, 1, 1, 0.0]))
    x, step = np.array([0.0, 0.0, 0.1, 3.0, 0.0]), np.array([1.0, -1.0, 1.0, 1.0, 1.0])
    assert near_walls(x, step, problem).tolist() == [True, True, True, False, True]
