"""Every setting of ab initio reaches the steps: what each changes in a few iterations, and what their records hold."""
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio.config import OPTIMISERS, AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.io.convergence_pictures import draw_convergence
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, particles
from cryosgd_plugin.tests.run_samples import new_figure

CONFIG = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=40.0,
                        final_resolution_a=40.0, iterations=10, minibatch=(20, 20), shift_range_a=10.0, held_out=0,
                        seed=3)
N = 120


@lru_cache
def sample():
    return particles(N, noise_sd=0.4, seed=5)


def engine_of(**change):
    source, table = sample()
    return AbInitio(replace(CONFIG, **change), table, source)


@lru_cache(maxsize=None)
def ended(**change):
    """(engine after its iterations, their records)"""
    engine = engine_of(**change)
    return engine, list(engine.steps())


def alike(first, second):
    return float(np.corrcoef(first.model.volumes.ravel(), second.model.volumes.ravel())[0, 1])


def change_of(**change):
    """By how much the maps change, over their norm."""
    start, (after, _) = engine_of(**change).model.volumes, ended(**change)
    return float(np.linalg.norm(after.model.volumes - start) / np.linalg.norm(start))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_step_rule_begins_at_the_same_map(optimiser):
    np.testing.assert_array_equal(engine_of(optimiser=optimiser, sagd_minibatch=20).model.volumes,
                                  engine_of().model.volumes)


def test_large_minibatches_suit_every_step_rule():
    """Hessian-free keeps the curvature of a part of them."""
    engine = engine_of(optimiser="hessian-free", minibatch=(N, N))
    start = engine.model.volumes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cryosgd_plugin.engines.abinitio.objective.CHUNK", 50)
        list(engine.steps())
    assert np.isfinite(engine.model.volumes).all() and np.any(engine.model.volumes != start)


def test_records_hold_what_the_pictures_show():
    _, records = ended(optimiser="sagd", sagd_minibatch=20, classes=2, iterations=12)
    last = records[-1]
    for name in ("log_likelihood", "evaluated_share", "sampled_share", "scores", "significant_share", "kl_directions",
                 "gradient_norm", "step_size", "noise_inflation", "n_images", "class_shares", "resolution_a", "seconds",
                 "cpu_seconds"):
        assert last.get(name) is not None, name
    assert 0 < last["evaluated_share"] <= 1 and last["kl_directions"] >= 0 and last["gradient_norm"] > 0
    figure = new_figure()
    draw_convergence(figure, records)
    missing = [axes.get_title() for axes in figure.axes if "not recorded" in [text.get_text() for text in axes.texts]]
    assert missing == []


def test_starts_differ():
    spheres, noise = engine_of(), engine_of(start="noise")
    assert abs(alike(spheres, noise)) < 0.9


def test_white_noise_has_one_variance():
    white, coloured = (ended(noise=kind)[0].noise.spectrum for kind in ("white", "coloured"))
    assert np.ptp(white) == pytest.approx(0, abs=1e-6 * white.max()) and np.ptp(coloured) > 0.01 * coloured.max()


def test_positivity_is_a_choice():
    with_it, without = (ended(positivity=chosen)[0].model.volumes for chosen in (True, False))
    assert with_it.min() >= 0 and without.min() < -0.01 * without.max()


def test_a_strong_prior_holds_the_map_down():
    plain, held = (np.linalg.norm(ended(**change)[0].model.volumes) for change in (
        {}, dict(prior="exponential", prior_strength=100.0)))
    assert held < 0.8 * plain


def test_the_step_size_and_its_schedule_reach_the_steps():
    # nothing else moves the map here
    plain = dict(optimiser="sgd", centring=False, positivity=False)
    assert change_of(**plain, step_size=(0.01, 0.01)) < 0.2 * change_of(**plain, step_size=(0.5, 0.5))
    sizes = [record["step_size"] for record in ended(step_size=(0.5, 0.1))[1]]
    assert sizes[0] == pytest.approx(0.5) and sizes[-1] == pytest.approx(0.1)
    assert np.all(np.diff(sizes) <= 0)


def test_momentum_reaches_its_rules():
    for rule in ("sgd-momentum", "nesterov"):
        assert alike(ended(optimiser=rule, momentum=0.0)[0], ended(optimiser="sgd")[0]) == pytest.approx(1, abs=1e-4)
        assert alike(ended(optimiser=rule, momentum=0.9)[0], ended(optimiser="sgd")[0]) < 0.9999


def test_similar_classes_take_the_same_particles():
    """At a similarity of nearly 1 every class takes the same part of each particle, and the maps grow alike."""
    likeness = []
    for similarity in (0.0, 0.99):
        engine = engine_of(classes=2, class_similarity=similarity, significant_poses=1e-9)
        engine.inflation = 1.0
        list(engine.steps())
        likeness.append(np.corrcoef(*engine.model.volumes.reshape(2, -1))[0, 1])
    apart, together = likeness
    assert together > apart + 0.003
