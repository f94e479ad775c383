"""The objective as an optimiser sees it: values, gradients, curvature, preconditioner, packing."""
import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio import objective
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.objective import Minibatch
from cryosgd_plugin.engines.abinitio.priors import make_prior
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density, particles

ROWS = np.arange(8)


def make_engine(classes=1, coloured=False, **change):
    source, table = particles(40, noise_sd=0.4, seed=6)
    engine = AbInitio(AbInitioConfig(
        pixel_size=PIXEL, box_size=BOX, diameter_a=130.0, initial_resolution_a=40.0, final_resolution_a=30.0,
        shift_range_a=10.0, classes=classes, held_out=0, **change), table, source)
    blunt = 0.3 * density() / 0.4 * PIXEL / ((2 * np.pi) ** 0.5 * 11.0)
    other = np.roll(blunt[::-1], 1, axis=1)
    # blunt models keep many poses in play, so that the gradient of the marginal is tested and not that of one pose
    engine.model.volumes = np.stack([blunt, other])[:classes].astype(np.float32)
    engine.set_resolution(40.0)
    if coloured:
        engine.noise.spectrum = BOX ** 2 * (0.5 + 2 / (1 + np.arange(BOX // 2 + 1)))
    return engine


@pytest.mark.parametrize("classes, coloured, temperature, prior", [
    (1, False, 1.0, None), (1, True, 1.0, None), (2, False, 1.0, None), (3 - 1, True, 3.0, "exponential"),
    (1, False, 1.0, "car")])
def test_gradient_is_the_derivative_of_the_value(classes, coloured, temperature, prior):
    """White and coloured noise, one and two structures, inflated noise, priors: finite differences along directions
    that the data see."""
    engine = make_engine(classes, coloured)
    x = engine.model.volumes.copy()
    rule = None if prior is None else make_prior(prior, 3.0, scale=float(x.mean()))
    # a prior that counts as much as the data: with the sign of its slope wrong, or without it, nothing would fit
    plain = Minibatch(engine, ROWS, temperature, sampled=False)
    of_data = plain.gradient(x)
    weight = 1.0 if prior is None else 0.5 * np.linalg.norm(of_data) / np.linalg.norm(
        rule.gradient(x[0])) * len(engine.rows)
    problem = Minibatch(engine, ROWS, temperature, prior=rule, prior_weight=weight, sampled=False)
    gradient = problem.gradient(x)
    assert np.median([image.effective_poses for image in problem.images]) > 10
    if classes == 2:
        masses = np.array([image.class_mass for image in problem.images])
        np.testing.assert_allclose(masses.sum(axis=1), 1, atol=1e-5)
        assert (masses.min(axis=1) > 0.01).any(), "one structure takes all: no test of the mixture"
    rng = np.random.default_rng(0)
    downhill = problem.precondition(of_data)
    for direction in [downhill] + [d * np.abs(downhill) for d in rng.normal(size=(3,) + x.shape)]:
        direction = (direction * 0.02 * np.linalg.norm(x) / np.linalg.norm(direction)).astype(np.float32)
        numeric = (problem.value(x + direction) - problem.value(x - direction)) / 2
        exact = float(np.vdot(gradient.astype(float), direction))
        steepest = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert exact == pytest.approx(numeric, rel=2e-3, abs=1e-4 * steepest)


@pytest.mark.parametrize("change, group", [(dict(quadrature="saff-kuijlaars"), "C1"), (dict(symmetry="C2"), "C2"),
                                           (dict(symmetry="D2", quadrature="saff-kuijlaars"), "D2")])
def test_gradient_of_other_quadratures_and_of_a_symmetry(change, group):
    """Gauss-Hermite shifts weigh unequally; under a group, along directions that have its symmetry."""
    engine = make_engine(**change)
    engine.symmetriser.current = group

    def symmetric(v):
        # about z by 180°, and about y; without the planes at −d/2, which have no mates
        v = engine.model.constrain(v, positivity=False)
        for axes in {"C1": (), "C2": ((1, 2),), "D2": ((1, 2), (0, 2))}[group]:
            v = 0.5 * (v + np.roll(np.flip(v, axes), 1, axes))
        return v

    x = np.stack([symmetric(v) for v in engine.model.volumes])
    problem = Minibatch(engine, ROWS, 1.0, sampled=False)
    gradient = problem.gradient(x)
    downhill = np.stack([symmetric(v) for v in problem.precondition(gradient)])
    noise = np.stack([symmetric(v) for v in np.random.default_rng(0).normal(size=x.shape)])
    for direction in (downhill, noise * np.abs(downhill)):
        direction = (direction * 0.02 * np.linalg.norm(x) / np.linalg.norm(direction)).astype(np.float32)
        numeric = (problem.value(x + direction) - problem.value(x - direction)) / 2
        exact = float(np.vdot(gradient.astype(float), direction))
        steepest = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert exact == pytest.approx(numeric, rel=2e-3, abs=1e-4 * steepest)


def test_curvature_bounds_the_objective():
    """EM's majoriser: f(x + v) ≤ f(x) + g·v + ½ v·Hv, H symmetric and positive."""
    engine = make_engine()
    x = engine.model.volumes.copy()
    problem = Minibatch(engine, ROWS, 1.0, sampled=False)
    gradient = problem.gradient(x)
    value = problem.value(x)
    rng = np.random.default_rng(1)
    first, second = (problem.constrain(v.astype(np.float32)) for v in rng.normal(size=(2,) + x.shape))
    a, b = problem.curvature(x, first), problem.curvature(x, second)
    assert np.vdot(a, second) == pytest.approx(np.vdot(first, b), rel=1e-3, abs=1e-3 * np.vdot(a, first))
    assert np.vdot(a, first) > 0
    step = -problem.precondition(gradient)
    for size in (0.1, 0.5, 1.0):
        v = (size * step).astype(np.float32)
        bound = value + np.vdot(gradient, v) + 0.5 * np.vdot(v, problem.curvature(x, v))
        assert problem.value(x + v) <= bound + 0.02 * abs(np.vdot(gradient, v))
    assert problem.value(x + step) < value


@pytest.mark.parametrize("preconditioned", [True, False])
def test_preconditioner_is_symmetric_positive_and_a_newton_step(preconditioned):
    engine = make_engine(classes=2, preconditioner=preconditioned)
    x = engine.model.volumes.copy()
    problem = Minibatch(engine, np.arange(40), 1.0, sampled=False)
    with pytest.raises(ValueError, match="gradient"):
        problem.precondition(x)
    gradient = problem.gradient(x)
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2,) + x.shape).astype(np.float32)
    left, right = np.vdot(problem.precondition(a), b), np.vdot(a, problem.precondition(b))
    assert left == pytest.approx(right, rel=1e-3, abs=1e-5 * np.linalg.norm(problem.precondition(a)) * 50)
    assert np.vdot(problem.precondition(a), a) > 0
    # along the step the majoriser's curvature is at most about that of the preconditioner
    step = problem.precondition(gradient)
    ratio = np.vdot(step, problem.curvature(x, step)) / np.vdot(step, gradient)
    assert (0.3 if preconditioned else 0.02) < ratio < 1.5


def test_chunks_change_nothing(monkeypatch):
    engine = make_engine()
    x = engine.model.volumes.copy()
    whole = Minibatch(engine, np.arange(20), 1.0, sampled=False)
    expected = whole.gradient(x)
    engine = make_engine()
    monkeypatch.setattr(objective, "CHUNK", 7)
    parts = Minibatch(engine, np.arange(20), 1.0, sampled=False)
    np.testing.assert_allclose(parts.gradient(x), expected, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_allclose(parts.residual, whole.residual, rtol=1e-4)
    assert parts.value(x) == pytest.approx(whole.value(x), rel=1e-5)
    assert [i.structure for i in parts.images] == [i.structure for i in whole.images]


def test_the_curvature_of_many_images_is_that_of_the_first(monkeypatch):
    engine = make_engine()
    x = engine.model.volumes.copy()
    few = Minibatch(engine, np.arange(7), 1.0, sampled=False)
    many = Minibatch(engine, np.arange(20), 1.0, sampled=False)
    with pytest.raises(ValueError, match="gradient first"):
        many.curvature(x, x)
    few.gradient(x)
    monkeypatch.setattr(objective, "CHUNK", 7)
    many.gradient(x)
    expected = few.curvature(x, x)
    np.testing.assert_allclose(many.curvature(x, x), expected, atol=1e-4 * np.abs(expected).max())


def test_packed_gradients_outlive_the_box():
    """A gradient packed at one box and radius is the same derivative by Fourier coefficients at another."""
    engine = make_engine(classes=2)
    problem = Minibatch(engine, ROWS, 1.0, sampled=False)
    gradient = problem.gradient(engine.model.volumes)
    packed = problem.pack(gradient)
    assert packed.nbytes < gradient.nbytes
    back = problem.unpack(packed)
    # what lies beyond the radius is rim of the interpolation
    assert np.linalg.norm(back - gradient) < 0.1 * np.linalg.norm(gradient)
    model, small = engine.model, engine.model.volumes
    derivative = np.vdot(back.astype(float), small)
    resample = model.set_radius(model.radius + 1, BOX)
    again = problem.unpack(packed)
    assert again.shape[-1] == BOX
    # a direction of few shells, so that both boxes hold all of it
    assert np.vdot(again.astype(float), resample(small)) == pytest.approx(derivative, rel=0.02)


def test_class_similarity_brings_the_posteriors_together():
    engine = make_engine(classes=2)
    x = engine.model.volumes.copy()
    # the second structure explains nothing
    x[1] *= -1
    weights = {}
    for similarity in (0.0, 0.5):
        batch = engine.expect(engine.teams(x), ROWS, 1.0, similarity=similarity)
        weight = batch.rings()[1]
        rows = batch.sums.rows if batch.sums.rows is not None else np.arange(len(weight))
        second = rows >= batch.grid.n_directions
        weights[similarity] = weight[second].sum() / weight.sum()
    assert weights[0.0] < 0.3
    assert weights[0.5] == pytest.approx(0.5 * weights[0.0] + 0.25, abs=0.06)
