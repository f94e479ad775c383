"""Every optimiser on every problem of known answer, on the CPU and on a GPU."""
import numpy as np
import pytest

from cryosgd_plugin.core.backend import get_array_module, gpu_report, to_host
from cryosgd_plugin.engines.optimisers import OPTIMISERS, make_optimiser
from cryosgd_plugin.tests.optimiser_problems import BOLD, EVERY, KINDS, MINIBATCHES, SIZE, SLOW, error, make, run

USABLE, REASON = gpu_report()


@EVERY
@pytest.mark.parametrize("kind", KINDS)
def test_whole_data_lead_to_the_answer(name, kind):
    """All images in one minibatch: no noise, so that the answer is met to the accuracy it is known with."""
    problem = make(kind, 1)
    steps = {"scalar": 12000 if name in SLOW else 1500}.get(kind, 600)
    x = run(make_optimiser(name, **BOLD.get(name, {})), problem, np.zeros(SIZE), steps)
    assert error(x, problem) < 1e-6


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != "whole-step"])
@pytest.mark.parametrize("kind", KINDS)
def test_minibatches_lead_to_the_answer(name, kind):
    """The answers of the single minibatches lie well apart: who only follows the last one is told from who averages.

    SAGD needs no falling step size and gets none; ε = 2 with old gradients in the table only costs time.
    """
    problem = make(kind)
    alone = [error(part.answer(), problem) for part in problem.parts()]
    decay = None if name == "sagd" or (name, kind) == ("adagrad", "scalar") else 200
    settings = dict(step_size=0.5) if name == "sagd" else BOLD.get(name, {})
    x = run(make_optimiser(name, **settings), problem, np.zeros(SIZE), 1600, decay=decay)
    # with the curvature of a minibatch, Newton's step has a mean that vanishes a little beside the answer
    assert error(x, problem) < (0.25 if name in ("hessian-free", "olbfgs") else 0.2) * np.mean(alone)
    if name == "sagd" and kind != "scalar":
        assert error(x, problem) < 1e-6


@EVERY
def test_units_of_x_do_not_matter(name):
    """x in units of 1/1000 takes the same way: no setting hides a length."""
    ends = [run(make_optimiser(name), make("logistic", unit=unit), np.full(SIZE, 0.1 * unit), 40) / unit
            for unit in (1.0, 1000.0)]
    assert np.abs(ends[0]).max() > 0.2
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-6)


@EVERY
def test_steps_leave_x_alone_and_call_for_few_gradients(name):
    problem = make("non-negative")
    optimiser, x = make_optimiser(name), np.zeros(SIZE, np.float32)
    problem.rows, problem.targets = problem.rows.astype(np.float32), problem.targets.astype(np.float32)
    for i in range(25):
        problem.batch, before = i % MINIBATCHES, x.copy()
        new = optimiser.step(x, problem)
        assert np.array_equal(x, before) and new.dtype == np.float32 and new.min() >= 0
        assert {"step_norm", "gradient_norm"} <= set(optimiser.info)
        assert all(type(figure) is float for figure in optimiser.info.values())
        assert optimiser.info["step_norm"] == pytest.approx(
            np.linalg.norm(new - x) / max(np.linalg.norm(new), np.linalg.norm(x)), rel=1e-4)
        x = new
    assert problem.gradients == 25 * (2 if name == "olbfgs" else 1)
    wide = [key for key, array in optimiser.state().items() if array.shape == x.shape and array.dtype != np.float32]
    assert wide == (["total"] if name == "sagd" else [])


@EVERY
@pytest.mark.gpu
@pytest.mark.skipif(not USABLE, reason=REASON)
def test_gpu_takes_the_same_steps(name):
    xp, host = get_array_module("cuda:0"), make("non-negative")
    device = make("non-negative")
    device.rows, device.targets = xp.asarray(host.rows), xp.asarray(host.targets)
    device.weight = xp.asarray(host.weight)
    here, there = make_optimiser(name), make_optimiser(name)
    x = run(here, host, np.zeros(SIZE), 30)
    y = run(there, device, xp.zeros(SIZE), 30)
    again = make_optimiser(name)
    again.restore(there.state(), xp)
    for optimiser, problem in ((here, host), (again, device)):
        optimiser.transform(lambda x: 1 * x)
        problem.batch = 0
    np.testing.assert_allclose(to_host(again.step(y, device)), here.step(x, host), rtol=1e-6, atol=1e-12)
