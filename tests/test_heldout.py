"""Held-out particles: what counts as an improvement, when the run stops or marches on, and what is measured."""
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.heldout import HeldOut
from cryosgd_plugin.engines.abinitio.objective import Minibatch
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, particles

N = 64
# of standard deviation 1 and mean 0: the standard error over N particles is 1/8
EITHER_WAY = np.where(np.arange(N) % 2, 1.0, -1.0)


class Scripted:
    """As much of an engine as HeldOut asks for, whose held-out particles have the errors that a test gives."""

    def __init__(self, progress=0.9, march="iterations", iterations=200, early_stop=True, whole_set=False):
        self.config = SimpleNamespace(march=march, iterations=iterations, early_stop=early_stop, whole_set=whole_set)
        self.model, self.noise = SimpleNamespace(radius=8, volumes=None), SimpleNamespace(spectrum=np.ones(9))
        self.judged = []
        self.progress = SimpleNamespace(value=progress, judge=self.judged.append)
        self.iteration, self.stopped = 0, None
        self.held_out = HeldOut(self, np.arange(N))

    def teams(self, volumes):
        return None

    def expect(self, teams, rows, temperature, noise, accumulate):
        assert len(rows) == N and temperature == 1.0
        return SimpleNamespace(images=[SimpleNamespace(log_evidence=-error) for error in self.errors])

    def measure(self, errors):
        self.errors = np.broadcast_to(errors, N)
        return self.held_out.after_step()


def test_only_a_gain_beyond_its_standard_error_counts():
    """Against the best errors of this resolution, not the last ones."""
    engine = Scripted(progress=0.5)
    assert engine.measure(10.0) == dict(held_out_error=10.0) and engine.judged == []
    for gain in (0.12, -3.0, 0.13):
        record = engine.measure(10 - gain + EITHER_WAY)
        assert record == pytest.approx(dict(held_out_error=10 - gain, held_out_gain=gain))
    assert [bool(improved) for improved in engine.judged] == [False, False, True]
    # the last errors are the best now: the same again are no gain
    assert engine.measure(9.87 + EITHER_WAY)["held_out_gain"] == pytest.approx(0)


def test_two_evaluations_without_a_gain_end_the_last_rest():
    engine = Scripted()
    for error in (10, 11, 9, 9, 8, 8.5):
        engine.measure(error)
        assert engine.stopped is None
    engine.measure(9)
    assert engine.stopped == "the 64 held-out particles were explained no better for 2 evaluations"


@pytest.mark.parametrize("change", [dict(progress=0.84), dict(early_stop=False)], ids=str)
def test_nothing_ends_before_the_last_rest_or_against_the_users_wish(change):
    engine = Scripted(**change)
    for _ in range(10):
        engine.measure(10.0)
    assert engine.stopped is None and engine.held_out.idle == 9


def test_a_finer_resolution_begins_the_comparison_anew():
    engine = Scripted()
    for error in (10, 12):
        engine.measure(error)
    engine.model.radius = 9
    assert "held_out_gain" not in engine.measure(14)
    engine.measure(14)
    assert engine.stopped is None and engine.held_out.idle == 1
    resumed = Scripted()
    resumed.model.radius = 9
    resumed.held_out.restore({name: np.asarray(value) for name, value in engine.held_out.state().items()})
    resumed.measure(14)
    assert resumed.stopped


@pytest.mark.parametrize("change, expected", [
    (dict(iterations=60, progress=0.5), 10), (dict(iterations=240, progress=0.9), 6),
    (dict(iterations=200, progress=0.5, march="need"), 4), (dict(iterations=200, progress=0.9, march="need"), 5),
    (dict(whole_set=True), None), (dict(whole_set=True, march="need", progress=0.5), 4)], ids=str)
def test_evaluations_are_a_sixth_of_the_run_or_of_its_rest_apart(change, expected):
    """By need every 50th of the run; of the methods that see all particles only for a march by need."""
    engine, evaluated = Scripted(**change), []
    for engine.iteration in range(1, 31):
        if engine.measure(10.0):
            evaluated.append(engine.iteration)
    assert evaluated == (list(range(expected, 31, expected)) if expected else [])


@pytest.fixture(scope="module")
def sample():
    return particles(500, noise_sd=0.4, seed=8)


def make_engine(sample, **change):
    source, table = sample
    return AbInitio(AbInitioConfig(**{**dict(
        pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0, final_resolution_a=40.0,
        iterations=40, minibatch=(4, 8), shift_range_a=10.0), **change}), table, source)


def run(engine, monkeypatch, error):
    """The records of a run whose held-out particles all have the error that error(progress) gives."""
    def evaluate():
        return [SimpleNamespace(log_evidence=-error(engine.progress.value))] * len(engine.held_out.rows)

    monkeypatch.setattr(engine.held_out, "_evaluate", evaluate)
    return list(engine.steps())


def test_a_run_stops_when_held_out_particles_are_explained_no_better(sample, monkeypatch):
    """The rest begins with iteration 35 of 40; the error last falls at iteration 37, progress 36/39."""
    def error(progress):
        return 10 - min(progress, 0.9)

    engine = make_engine(sample)
    assert [record["iteration"] for record in run(engine, monkeypatch, error)] == list(range(1, 40))
    assert len(engine.held_out.rows) == 50 and "50 held-out particles" in engine.stopped
    resumed = make_engine(sample)
    resumed.restore({name: np.array(value) for name, value in engine.state().items()})
    assert resumed.stopped == engine.stopped and list(resumed.steps()) == []
    engine = make_engine(sample, early_stop=False)
    records = run(engine, monkeypatch, error)
    assert [record["n_images"] for record in records] == [round(4 + 4 * i / 39) for i in range(40)]
    assert engine.stopped is None


def test_by_need_the_march_follows_the_held_out_error(sample, monkeypatch):
    """16 stages of 1.8 iterations each, evaluated after every one: they last 4 while the error falls, and 1 once it
    has settled, but for the two that it takes to know so at the one further shell of this march."""
    counts, evaluations = [], itertools.count()
    for error in (lambda progress: -next(evaluations), lambda progress: 10.0):
        engine = make_engine(sample, march="need", early_stop=False)
        records = run(engine, monkeypatch, error)
        assert engine.progress.done and all("held_out_error" in record for record in records)
        counts.append(sum(0.1 <= record["progress"] < 0.85 for record in records))
    assert counts == [64, 17]


def test_another_estimate_of_the_noise_is_no_gain(sample):
    """The same maps under noise that is taken as less: nothing was gained at this resolution."""
    engine = make_engine(sample)
    first = engine.held_out.after_step()
    engine.noise.spectrum *= 0.95
    record = engine.held_out.after_step()
    assert record == dict(first, held_out_gain=0.0) and engine.progress.settled


def test_the_error_is_that_of_the_present_maps_without_inflation(sample):
    engine, inflated = make_engine(sample, iterations=12, minibatch=(20, 20)), []
    for record in engine.steps():
        assert not set(engine.queue) & set(engine.held_out.rows)
        if "held_out_error" in record:
            present, engine.noise.spectrum = engine.noise.spectrum, engine.held_out.noise
            judge = Minibatch(engine, engine.held_out.rows, 1.0, sampled=False)
            assert record["held_out_error"] == pytest.approx(judge.value(engine.model.volumes), rel=1e-5)
            engine.noise.spectrum = present
            inflated.append(record["noise_inflation"] > 1.5)
    assert len(inflated) >= 4 and any(inflated)
