"""What summary.json says of the classes and the end of a run, of maps and posteriors that a test has made."""
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.finish import Assignment, draw_halves
from cryosgd_plugin.job.summary import summarise
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, density, particles

N, NOISE = 60, 0.25


@pytest.fixture(scope="module")
def finished():
    """(engine, Assignment) of a run without steps from the true map and, as the second class, 30 times it: it explains
    every image worse than no map at all."""
    source, table = particles(N, noise_sd=NOISE, seed=7)
    engine = AbInitio(AbInitioConfig(
        pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0, final_resolution_a=30.0,
        shift_range_a=10.0, classes=2, held_out=0), table, source)
    engine.set_resolution(30.0)
    truth = density() * np.float32(PIXEL / NOISE / ((2 * np.pi) ** 0.5 * WIDTH))
    engine.model.volumes = np.stack([truth, 30 * truth])
    assignment = Assignment(engine, halves=draw_halves(N, None, np.random.default_rng(0)))
    for _ in assignment.chunks():
        pass
    return engine, assignment


def summary_of(engine, assignment, history=()):
    # what a summary asks of its job
    files = SimpleNamespace(invert=False, box_size=BOX, pixel_size=PIXEL, statistics=dict)
    job = SimpleNamespace(config=engine.config, source=files, contrast="", warnings=[], seconds={}, started=0.0,
                          memory_gb=1.0, device="cpu", threads=1, xp=np, lanes=4)
    return summarise(job, engine, assignment, assignment.reconstruct(), list(history))


def test_a_starved_class_is_named(finished):
    summary = summary_of(*finished)
    assert summary["starved_classes"] == [2] and summary["class_sizes"] == [N, 0]
    assert summary["class_shares"] == pytest.approx([1, 0], abs=1e-3)
    assert "Class 2 won hardly any particles" in summary["outcome"] and "consider a single class" in summary["outcome"]
    assert "class 1 with 60 particles (100%)" in summary["outcome"]


def test_less_than_a_fifth_of_an_even_share_is_starving(finished):
    """By the posteriors' mean, not by the number of particles whose best class it is."""
    engine, assignment = finished
    before = assignment.class_mass.copy()
    try:
        for share, starved in ((0.11, []), (0.09, [2])):
            assignment.class_mass[:] = 1 - share, share
            summary = summary_of(engine, assignment)
            assert summary["class_shares"] == pytest.approx([1 - share, share])
            assert summary["starved_classes"] == starved and summary["class_sizes"] == [N, 0]
            assert ("hardly any" in summary["outcome"]) == bool(starved)
    finally:
        assignment.class_mass[:] = before


def test_an_early_end_is_told(finished, monkeypatch):
    engine, assignment = finished
    monkeypatch.setattr(engine, "stopped", "the 50 held-out particles were explained no better for 2 evaluations")
    summary = summary_of(engine, assignment)
    assert summary["stopped"] == engine.stopped
    assert "ended early: the 50 held-out particles were explained no better" in summary["outcome"]


def test_sagds_measure_of_convergence_is_that_of_all_minibatches(finished, monkeypatch):
    engine, assignment = finished
    assert summary_of(engine, assignment)["gradient_norm"] is None
    monkeypatch.setattr(engine, "partition", [np.arange(30), np.arange(30, 60)])
    history = [dict(gradient_norm=norm, resolution_a=resolution, batches_seen=seen) for norm, resolution, seen in (
        (9.0, 60.0, 1), (8.0, 60.0, 2), (5.0, 30.0, 2), (7.0, 30.0, 2), (2.5, 30.0, 2))]
    assert summary_of(engine, assignment, history)["gradient_norm"] == dict(first=5.0, last=2.5)
    assert summary_of(engine, assignment, history[:1])["gradient_norm"] is None
