"""SAGD: its table of gradients, its Lipschitz constant, its ε, and the one partition it needs."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.schedule import Progress
from cryosgd_plugin.engines.abinitio.step_rule import FEWEST_VISITS, on_rare_minibatches
from cryosgd_plugin.engines.abinitio.symmetry import Symmetriser
from cryosgd_plugin.engines.optimisers import make_optimiser
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, particles
from cryosgd_plugin.tests.optimiser_problems import KINDS, MINIBATCHES, SIZE, Given, make, padded, run


def test_sagd_table_gives_the_whole_gradient():
    problem, whole = make("logistic"), make("logistic", 1)
    optimiser, x = make_optimiser("sagd"), np.random.default_rng(0).normal(size=SIZE)
    for problem.batch in (3, 1, 0, 2, 7, 4, 6, 5, 2):
        optimiser.step(x, problem)
    g = whole.gradient(x)
    np.testing.assert_allclose(optimiser.total / MINIBATCHES, g, rtol=1e-12)
    assert optimiser.info["gradient_norm"] == pytest.approx(np.sqrt(g @ whole.precondition(g)))
    assert optimiser.info["batches_seen"] == MINIBATCHES


def test_sagd_step_divides_by_the_minibatches_seen():
    problem, optimiser, x = make("diagonal"), make_optimiser("sagd"), np.zeros(SIZE)
    for problem.batch in (0, 1, 2):
        new = optimiser.step(x, problem)
        mean = sum(optimiser.table.values()) / (problem.batch + 1)
        np.testing.assert_allclose(x - new, 2 / optimiser.lipschitz * problem.precondition(mean))
        x = new


@pytest.mark.parametrize("n", [9, 40])
def test_sagd_steps_along_old_gradients_do_not_swing_wider(n):
    """n minibatches alike, each once an epoch in random order, and ε = 2 all the time: 2 / L along gradients of an
    epoch ago would lead ever further away."""
    rng, x = np.random.default_rng(0), np.ones(3)
    hessian = np.array([1.0, 0.5, 0.1])
    problem = Given(value=lambda x: 0.5 * float(hessian @ x ** 2), gradient=lambda x: hessian * x, n_batches=n)
    optimiser, furthest = make_optimiser("sagd", halving_steps=10 ** 6), []
    for _ in range(20):
        furthest.append(0.0)
        for problem.batch in rng.permutation(n):
            x = optimiser.step(x, problem)
            furthest[-1] = max(furthest[-1], np.abs(x).max())
    assert optimiser.epsilon == 2 and max(furthest) < 2 and max(furthest[-3:]) < 0.1


def test_sagd_may_step_without_a_bound():
    """reach None: ε = 2 over L along the mean of the whole table too, as Algorithm 1 has it."""
    shares = []
    for reach in (4.0, None):
        problem, optimiser, x = make("diagonal"), make_optimiser("sagd", reach=reach), np.zeros(SIZE)
        for problem.batch in range(MINIBATCHES):
            new = optimiser.step(x, problem)
            direction = problem.precondition(optimiser.total / (problem.batch + 1))
            shares.append(float(np.linalg.norm(x - new) / np.linalg.norm(direction) * optimiser.lipschitz))
            x = new
    bounded, free = np.split(np.array(shares), 2)
    np.testing.assert_allclose(bounded, [2.0] * (MINIBATCHES - 1) + [4 / MINIBATCHES])
    np.testing.assert_allclose(free, 2.0)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_sagd_lipschitz_constant(kind):
    """L meets f(x) − f(x − P⁻¹g/L) ≥ gᵀP⁻¹g/2L on the fresh minibatch, and is not twice too large."""
    def holds(problem, x, lipschitz):
        g = problem.gradient(x)
        u = problem.precondition(g)
        return problem.value(x) - problem.value(x - u / lipschitz) >= g @ u / (2 * lipschitz) * (1 - 1e-6)

    for guess in (1e-3, 1.0, 300.0):
        problem, x = make(kind), np.full(SIZE, 0.3)
        optimiser, searched = make_optimiser("sagd", lipschitz=guess, step_size=0.2), []
        for tau in range(1, 61):
            problem.batch = tau * 3 % MINIBATCHES
            if tau == 40:
                optimiser.lipschitz = 1e-2
            before = optimiser.lipschitz
            new = optimiser.step(x, problem)
            if not np.isnan(optimiser.info["lipschitz_holds"]):
                searched.append(tau)
                assert optimiser.info["lipschitz_holds"] == 1 and holds(problem, x, optimiser.lipschitz)
                # bisected in powers of 2^(1/8) at first, doubled later
                closest = {1: 2 ** 0.125, 40: 2.0}.get(tau)
                assert closest is None or not holds(problem, x, optimiser.lipschitz / closest / 1.001)
            else:
                assert optimiser.lipschitz == pytest.approx(before * 2 ** (-1 / 150))
            x = new
        assert searched == [1, 20, 40, 60]


def test_sagd_searches_at_once_where_gradients_grow():
    hessian, x = np.array([1.0, 100.0]), np.array([1.0, 1e-9])
    problem = Given(value=lambda x: 0.5 * float(hessian @ x ** 2), gradient=lambda x: hessian * x)
    optimiser, furthest = make_optimiser("sagd", value_rounding=1e-14), 0.0
    for _ in range(100):
        x = optimiser.step(x, problem)
        furthest = max(furthest, np.abs(x).max())
    # L was found along the flat axis: without a search before step 20 the steep one would grow by 199 a step
    assert furthest < 100


def test_sagd_sum_forgets_the_rounding_of_large_gradients():
    optimiser, problem = make_optimiser("sagd"), make("diagonal")
    for size in (1e12, 1.0, 1.0):
        x = np.full(SIZE, size)
        for problem.batch in range(MINIBATCHES):
            optimiser.step(x, problem)
    whole = make("diagonal", 1).gradient(np.ones(SIZE))
    np.testing.assert_allclose(optimiser.total / MINIBATCHES, whole, rtol=1e-12)


def test_sagd_epsilon_is_the_papers():
    optimiser, expected = make_optimiser("sagd"), {1: 2, 149: 2, 150: 1, 299: 1, 300: 0.5, 749: 0.125, 750: 1 / 16,
                                                   5000: 1 / 16}
    for optimiser.tau, epsilon in expected.items():
        assert optimiser.epsilon == epsilon


def test_sagd_keeps_l_where_no_value_agrees_with_the_gradient():
    optimiser = make_optimiser("sagd", lipschitz=3.0)
    optimiser.step(np.zeros(2), Given(value=lambda x: float(x.sum()), gradient=lambda x: -np.ones(2)))
    assert optimiser.info["lipschitz_holds"] == 0 and optimiser.lipschitz == 3


def test_sagd_packed_gradients_wait_for_a_larger_box():
    """Entries that are not of x's shape are left to `unpack`; the sum is made of them anew."""
    def small(size):
        problem = make("diagonal", size=size)
        problem.pack, problem.unpack = lambda g: g[:4].astype(np.float16), lambda packed: np.append(
            packed.astype(float), np.zeros(size - 4))
        return problem

    optimiser, old, new = make_optimiser("sagd"), small(SIZE // 2), small(SIZE)
    x = run(optimiser, old, np.zeros(SIZE // 2), MINIBATCHES)
    optimiser.transform(padded)
    optimiser.step(padded(x), new)
    assert all(packed.dtype == np.float16 and packed.shape == (4,) for packed in optimiser.table.values())
    np.testing.assert_array_equal(optimiser.total, sum(new.unpack(packed) for packed in optimiser.table.values()))


def test_sagd_needs_one_partition():
    optimiser = make_optimiser("sagd")
    optimiser.step(np.zeros(SIZE), make("diagonal", 8))
    with pytest.raises(InputError, match="began with 8 minibatches and now meets 6"):
        optimiser.step(np.zeros(SIZE), make("diagonal", 6))
    problem = make("diagonal", 8)
    problem.batch = 8
    with pytest.raises(InputError, match="minibatch 8 does not exist; they are 0 to 7"):
        optimiser.step(np.zeros(SIZE), problem)


def sagd_engine(n, table_gb, **change):
    source, table = particles(n, noise_sd=0.5, seed=3)
    return AbInitio(AbInitioConfig(**{**dict(
        pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=32.0, final_resolution_a=32.0,
        iterations=10, shift_range_a=10.0, held_out=0, optimiser="sagd", sagd_minibatch=8), **change}), table, source,
        table_gb=table_gb)


# shells 0 to 6 and a margin of three: half of 18 cubed coefficients, complex64
ENTRY = 8 * 18 * 18 * 10


@pytest.mark.parametrize("classes", [1, 2])
def test_sagd_table_fits_its_memory(classes):
    """A budget of 3.9 gradients makes three minibatches of whatever size that takes, of all particles, each once."""
    budget = 3.9 * ENTRY * classes
    engine = sagd_engine(80, budget / 1e9, classes=classes)
    assert [len(part) for part in engine.partition] == [27, 27, 26]
    np.testing.assert_array_equal(np.sort(np.concatenate(engine.partition)), np.arange(80))
    for _, _ in zip(engine.steps(), range(3)):
        pass
    kept = [packed.nbytes for packed in engine.optimiser.table.values()]
    assert kept == [ENTRY * classes] * 3 and sum(kept) <= budget
    # of 30 gradients: minibatches of two would be 40, of three they are 27
    assert len(sagd_engine(80, 30.5 * ENTRY * classes / 1e9, classes=classes, sagd_minibatch=1).partition) == 27
    # with room for all the minibatches are as small as was asked for
    assert [len(part) for part in sagd_engine(80, 1.0, classes=classes).partition] == [8] * 10


def test_minibatches_come_in_epochs_or_are_drawn_with_replacement():
    epochs, replacement = (sagd_engine(80, 1.0, sagd_drawing=drawing) for drawing in ("epochs", "replacement"))
    assert epochs.optimiser.settings.reach == 4 and replacement.optimiser.settings.reach is None
    parts = len(epochs.partition)
    drawn = np.array([[engine._next_rows(8)[1] for _ in range(200 * parts)] for engine in (epochs, replacement)])
    each_once = [(np.sort(row.reshape(-1, parts)) == np.arange(parts)).all() for row in drawn]
    assert each_once == [True, False]
    # binomial: 200 expected of each, standard deviation 13
    counts = np.bincount(drawn[1], minlength=parts)
    assert counts.min() > 140 and counts.max() < 260 and counts.std() > 4


def test_sagd_table_that_holds_no_two_gradients_is_refused():
    assert len(sagd_engine(80, 2.01 * ENTRY / 1e9).partition) == 2
    with pytest.raises(InputError, match=r"hold fewer than two; raise --memory, or choose another optimiser"):
        sagd_engine(80, 1.99 * ENTRY / 1e9)
    with pytest.raises(InputError, match="hold fewer than two"):
        sagd_engine(80, 2.01 * ENTRY / 1e9, classes=2)


@pytest.mark.parametrize("n, change", [(80, dict(sagd_minibatch=5)), (80, dict(sagd_minibatch=3)),
                                       (80, dict(sagd_minibatch=3, max_particles=60)),
                                       (600, dict(sagd_minibatch=20, held_out=200))])
def test_minibatches_that_are_warned_of_are_those_of_the_run(n, change):
    """Iterations that see each often enough are enough, one less is warned of; held-out particles are in none."""
    engine = sagd_engine(n, 1.0, **change)
    parts = len(engine.partition)
    enough = FEWEST_VISITS * parts
    for table_gb in (1.0, None):
        none, some, fewer = (on_rare_minibatches(replace(engine.config, iterations=iterations), n, table_gb)
                             for iterations in (enough, enough - 1, parts - 1))
        assert none is None
        assert f"{parts} minibatches here, of which {enough - 1} iterations see each less than 2 times" in some
        assert f"{parts} minibatches here, of which {parts - 1} iterations do not even see each once" in fewer


@pytest.mark.parametrize("start", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_a_symmetry_that_is_imposed_empties_the_table(start):
    """Counted by the schedule's own clock: neither the iterations before nor those after see all."""
    iterations = 21
    progress, symmetriser, before = Progress(iterations, False), Symmetriser("C2", start), 0
    while not symmetriser.is_due(progress.value):
        progress.advance()
        before += 1
    after = iterations - before
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=32.0,
                            final_resolution_a=32.0, iterations=iterations, symmetry="C2", symmetry_start=start,
                            held_out=0, optimiser="sagd", sagd_minibatch=10)
    most = max(before, after) // FEWEST_VISITS
    assert on_rare_minibatches(config, 10 * most) is None
    words = on_rare_minibatches(config, 10 * (most + 1))
    wanted = f"the {before} iterations before the symmetry is imposed and the {after} after it" if before else "21 it"
    assert wanted in words
