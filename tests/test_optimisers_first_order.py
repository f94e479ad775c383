"""The algebra of the optimisers that need gradients alone: momentum, Nesterov, AdaGrad, TONGA."""
import numpy as np

from cryosgd_plugin.engines.optimisers import make_optimiser
from cryosgd_plugin.tests.optimiser_problems import Given


def test_momentum_is_equation_7():
    optimiser, gradients = make_optimiser("sgd-momentum", step_size=0.3, momentum=0.8), np.random.default_rng(0)
    d, x = np.zeros(4), np.ones(4)
    for _ in range(5):
        g = gradients.normal(size=4)
        d = 0.8 * d + 0.2 * 0.3 * -(g / 2)
        new = optimiser.step(x, Given(gradient=lambda x, g=g: g))
        np.testing.assert_allclose(new, x + d)
        x = new


def test_nesterov_looks_ahead():
    hessian, asked = np.array([3.0, 0.5]), []
    optimiser = make_optimiser("nesterov", step_size=0.2, momentum=0.9)
    v, x = np.zeros(2), np.array([1.0, -2.0])

    def gradient(x):
        asked.append(x)
        return hessian * x

    for _ in range(6):
        ahead = x + 0.9 * v
        v = 0.9 * v - 0.2 * hessian * ahead / 2
        new = optimiser.step(x, Given(gradient=gradient))
        np.testing.assert_allclose(asked[-1], ahead)
        np.testing.assert_allclose(new, x + v)
        x = new


def test_velocity_does_not_push_into_a_wall():
    for name in ("sgd-momentum", "nesterov"):
        problem = Given(gradient=lambda x: np.array([1.0, 1.0]), constrain=lambda x: np.maximum(x, 0))
        optimiser, x = make_optimiser(name), np.array([0.0, 10.0])
        for _ in range(10):
            x = optimiser.step(x, problem)
        assert optimiser.velocity[0] == 0 and optimiser.velocity[1] < 0


def test_adagrad_never_steps_beyond_the_preconditioned_step():
    rng, optimiser, x = np.random.default_rng(0), make_optimiser("adagrad", step_size=0.7), np.zeros(50)
    summed, scale = 0.0, None
    for _ in range(6):
        g = rng.normal(size=50) * np.geomspace(1e-3, 1e3, 50)
        u = g / 2
        scale = np.sqrt(np.mean(u ** 2)) if scale is None else scale
        summed = summed + u ** 2
        new = optimiser.step(x, Given(gradient=lambda x, g=g: g))
        np.testing.assert_allclose(x - new, 0.7 * scale * u / np.sqrt(scale ** 2 + summed), rtol=1e-10)
        assert np.all(np.abs(new - x) <= 0.7 * np.abs(u))
        x = new


def test_tonga_solves_as_with_the_dense_covariance():
    rng, size = np.random.default_rng(0), 40
    optimiser = make_optimiser("tonga", rank=4, refresh_every=100, discount=0.9, damping=0.3)
    covariance, total, x = np.zeros((size, size)), 0.0, np.zeros(size)
    for i in range(60):
        g = rng.normal(size=size) * np.geomspace(1, 0.1, size)
        new = optimiser.step(x, Given(gradient=lambda x, g=g: g))
        mean = covariance / max(total, 1)
        ridge = 0.3 * np.trace(mean)
        natural = ridge * np.linalg.solve(mean + ridge * np.eye(size), g / 2) if i else g / 2
        np.testing.assert_allclose(x - new, 0.4 * natural, rtol=1e-8, atol=1e-12)
        x = new
        covariance, total = 0.9 * covariance + np.outer(g, g) / 4, 0.9 * total + 1


def test_tonga_keeps_the_first_eigenvectors():
    rng, size = np.random.default_rng(0), 40
    optimiser = make_optimiser("tonga", rank=4, refresh_every=6, discount=0.9)
    gradients = [rng.normal(size=size) for _ in range(10)]
    for g in gradients:
        optimiser.step(np.zeros(size), Given(gradient=lambda x, g=g: g))
    covariance = sum(0.9 ** (9 - i) * np.outer(g, g) / 4 for i, g in enumerate(gradients))
    values, vectors = np.linalg.eigh(covariance)
    kept = (vectors[:, -4:] * values[-4:]) @ vectors[:, -4:].T
    assert len(optimiser.columns) == 4
    np.testing.assert_allclose(sum(np.outer(c, c) for c in optimiser.columns), kept, atol=1e-10)
    np.testing.assert_allclose(optimiser.gram, [[a @ b for a in optimiser.columns] for b in optimiser.columns],
                               atol=1e-10)
