"""Which poses survive a search: what decides it, and what a search loses against the sum over all poses."""
import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio import selection
from cryosgd_plugin.engines.abinitio.expectation import expect
from cryosgd_plugin.engines.abinitio.selection import CELL_LOSS, LEAST_FLATTENING, LOST_MASS, flattening, heaviest
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, density, particles
from cryosgd_plugin.tests.test_expectation import levels_at, noise


def test_a_cell_that_lost_its_share_of_the_range_still_counts():
    scores = np.zeros((4, 50, 5), np.float32)
    scores[1, 7, 2] = 300.0
    temperature = flattening(scores, 1.0)
    loss = CELL_LOSS * (scores.max() - scores.mean())
    assert np.exp(-loss / temperature) == pytest.approx(LOST_MASS)


def test_weak_images_are_hardly_flattened_and_inflated_noise_flattens_by_itself():
    scores = np.random.default_rng(0).normal(0, 1, (4, 50, 5)).astype(np.float32)
    assert flattening(scores, 1.0) == LEAST_FLATTENING
    assert flattening(scores, 7.0) == 7.0


def test_the_heaviest_hold_all_but_what_may_be_lost():
    mass = np.array([0.02, 0.5, 0.08, 0.4])
    assert heaviest(mass, 0.05).tolist() == [1, 2, 3]
    assert heaviest(mass, 0.05, limit=2).tolist() == [1, 3]


@pytest.mark.parametrize("noise_sd", [0.05, 0.15])
def test_images_keep_their_modes(noise_sd):
    """Mean |Δ log p| of the search against the full sum within 0.02 nat."""
    error = searched_error(noise_sd)
    assert np.abs(error).mean() < 0.02, np.round(error, 3)


def test_weak_images_lose_only_to_the_limit_of_directions(monkeypatch):
    """Their posterior spreads over more cells than MAX_DIRECTIONS lets through: 0.3 nat here, and nothing without."""
    assert 0.02 < np.abs(searched_error(0.5)).mean() < 0.5
    monkeypatch.setattr(selection, "MAX_DIRECTIONS", 10 ** 6)
    assert np.abs(searched_error(0.5)).mean() < 0.02


def test_without_flattening_strong_images_lose_theirs(monkeypatch):
    """What the flattening is for; if this no longer holds it can go."""
    monkeypatch.setattr(selection, "CELL_LOSS", 0.0)
    monkeypatch.setattr(selection, "LEAST_FLATTENING", 1.0)
    assert np.abs(searched_error(0.05)).mean() > 0.02


def searched_error(noise_sd):
    source, table = particles(12, noise_sd=noise_sd, seed=3)
    volume = density() / noise_sd * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH)
    levels = levels_at(volume, 17.0, oversampling=3.0)
    assert len(levels) == 2
    rows = np.arange(12)
    log_p = [[image.log_evidence for image in expect(chosen, source.images(rows, BOX), table, rows, noise(),
                                                     temperature=1.0, accumulate=False).images]
             for chosen in (levels, levels[1:])]
    return np.subtract(*log_p)
