"""The bounded search against the exhaustive one on the same grid: the same answer for a fraction of the scores."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from cryosgd_plugin.engines.abinitio.grids import make_levels
from cryosgd_plugin.engines.abinitio.levels import LevelBuilder
from cryosgd_plugin.engines.refine import search as search_module
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.search import BoundedSearch, shares
from cryosgd_plugin.tests.abinitio_samples import BLOBS, BOX, PIXEL, WIDTH, density, particles
from cryosgd_plugin.tests.test_asymmetry import RING
from cryosgd_plugin.tests.test_bounds import two_levels
from cryosgd_plugin.tests.test_expectation import noise

N = 24
# the coarser level's resolution in Å, and how much finer than usual its grid is
COARSE = 24.0, 1.4


def sample(noise_sd):
    source, table = particles(N, noise_sd=noise_sd, seed=5)
    levels = two_levels(density() / noise_sd * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH), *COARSE)
    return levels, source.images(np.arange(N), BOX), table


def run(levels, images, table, **options):
    radius = levels[-1].grid.polar.radius
    made = BoundedSearch(levels, shrinkage=np.ones((len(levels[-1].halves), radius + 1)),
                         rng=np.random.default_rng(0), **options)
    return made.run(images, table, np.arange(len(images)), noise())


def best(found):
    return [(one.rows[0], one.shifts[0], one.angles[0]) for one in found]


@pytest.mark.parametrize("noise_sd, lost", [(0.1, 1e-3), (0.4, 0.05), (1.5, 0.6)])
def test_the_same_optimum_as_an_exhaustive_search(noise_sd, lost):
    """Weak images lose evidence (nats) to the limit of pairs, not their best pose."""
    levels, images, table = sample(noise_sd)
    found, exact = run(levels, images, table), run(levels, images, table, exhaustive=True)
    assert best(found) == best(exact)
    for one, other in zip(found, exact):
        assert one.scores[0] == pytest.approx(other.scores[0], abs=1e-3)
        assert one.log_evidence == pytest.approx(other.log_evidence, abs=lost)
        assert one.weights.sum() <= 1 + 1e-6
        assert np.all(np.diff(one.scores) <= 0)


def test_strong_images_are_found_for_a_fraction_of_the_scores():
    levels, images, table = sample(0.1)
    found, exact = run(levels, images, table), run(levels, images, table, exhaustive=True)
    assert np.mean([one.pruned for one in found]) > 0.95
    # the two levels hold 1 and 2 million poses: more could not be saved
    assert 2 * sum(one.scored for one in found) < sum(one.scored for one in exact)
    assert not any(one.capped for one in found)
    assert all(one.pruned == [] for one in exact)


def test_what_is_too_unlikely_by_what_is_seen_already_is_given_up(monkeypatch):
    """Fewer poses than by the bound alone, and the same answer."""
    levels, images, table = sample(0.1)
    found = run(levels, images, table)
    monkeypatch.setattr(BoundedSearch, "_least", lambda self, depth, best, lost: -np.inf)
    bounded = run(levels, images, table)
    assert best(found) == best(bounded)
    assert 1 - np.mean([one.pruned for one in found]) < 0.7 * (1 - np.mean([one.pruned for one in bounded]))
    for one, other in zip(found, bounded):
        assert one.log_evidence == pytest.approx(other.log_evidence, abs=1e-3)


@pytest.mark.parametrize("deviations", [2.0, 4.0])
def test_the_posterior_given_up_is_that_beyond_the_deviations(deviations):
    """If all cells were as likely as the limit allows at most, they would hold Φ(−k) of the posterior together."""
    levels, _, _ = sample(0.4)
    search = BoundedSearch(levels, shrinkage=np.ones((1, levels[-1].grid.polar.radius + 1)),
                           rng=np.random.default_rng(0), deviations=deviations)
    coarse = levels[0].grid
    cells = coarse.n_directions * len(coarse.shifts_a) * coarse.polar.n_angles
    least = search._least(0, 100.0, 7.0)
    assert cells * np.exp(least + 7.0 - 100.0) == pytest.approx(norm.sf(deviations))


def test_images_that_say_little_are_hardly_pruned(monkeypatch):
    monkeypatch.setattr(search_module, "MAX_CHILDREN", 10 ** 8)
    assert np.mean([one.pruned for one in run(*sample(1.5))]) < 0.2


def test_a_limit_of_pairs_is_said(monkeypatch):
    monkeypatch.setattr(search_module, "MAX_CHILDREN", 60)
    found = run(*sample(1.5))
    assert any(one.capped for one in found)
    # what the limit took is not counted as the bound's
    assert np.mean([one.pruned for one in found]) < 0.2 and np.mean([one.cut for one in found]) > 0.7


def test_what_the_bound_gave_up_and_what_a_limit_took():
    pruned, cut = shares(80, 50, 100, 0.0)
    assert (pruned, cut) == (pytest.approx(0.2), pytest.approx(0.3))
    # half of the grid is left on the next level: the bound leaves 100 of 1,000 cells, all of which are kept
    assert shares(100, 100, 1000, cut) == (pytest.approx(0.6), pytest.approx(0.3))
    # the incumbent's own cell, where the bound leaves none
    assert shares(0, 1, 100, 0.0) == (pytest.approx(0.99), 0)


def test_a_limit_keeps_what_the_image_says_and_not_what_noise_might_hide():
    levels, images, table = sample(1.5)
    search = BoundedSearch(levels, shrinkage=np.ones((1, levels[-1].grid.polar.radius + 1)),
                           rng=np.random.default_rng(0), most_children=300)
    coarse, cells = levels[0].grid, search._cells[0]
    n = coarse.n_directions * len(coarse.shifts_a)
    top = np.random.default_rng(1).permutation(n).astype(np.float32)
    # the worse a direction scores the more room its bound has
    room = np.float32(10 * n) - 9 * top.reshape(coarse.n_directions, -1).max(axis=1)
    found = search_module._Found()
    children = search._survivors(0, (np.arange(n), top), room, 0.0, 0.0, found)
    kept = np.sort(np.argsort(-top)[:int(300 / cells.children_each)])
    assert found.capped and len(kept) > 5
    np.testing.assert_array_equal(children, cells.children(kept))


def test_the_incumbent_is_a_pose_of_the_grid():
    """The bound is held against a score that was found, mostly the best one."""
    levels, images, table = sample(0.1)
    incumbents, best_scores = zip(*((one.incumbent, one.scores[0]) for one in run(levels, images, table)))
    assert np.all(np.array(incumbents) <= np.array(best_scores) + 1e-3)
    assert np.mean(np.array(incumbents) > np.array(best_scores) - 1e-3) > 0.8


def test_the_descent_tries_what_is_seen_and_what_is_promised():
    """A direction that promises much beyond the level, whatever the image, must not hide the one whose cell has the
    best score; nor does a cell's score where all directions look alike below the level."""
    levels, images, table = sample(0.1)
    search = BoundedSearch(levels, shrinkage=np.ones((1, levels[-1].grid.polar.radius + 1)),
                           rng=np.random.default_rng(0))
    matched, limits = search._prepare(images, table, np.arange(N), noise())
    tops = search._tops(0, matched[0], [None] * N)
    found = run(levels, images, table)
    right = search._cells[0].parents(np.array([one.rows[0] * len(levels[-1].grid.shifts_a) + one.shifts[0]
                                               for one in found])) // len(levels[0].grid.shifts_a)
    exact = np.array([one.scores[0] for one in found])

    def share_found(tops, promise):
        return np.mean(search._descend(matched, tops, [SimpleNamespace(tail_power=promise)]) > exact - 1e-3)

    nothing = np.zeros_like(limits[0].tail_power)
    loud = nothing.copy()
    loud[:, 0] = 1e6
    assert share_found(tops, loud) > 0.8
    # every direction's best shift scores as much
    n_shifts = len(levels[0].grid.shifts_a)
    alike = [(pairs, (top.reshape(-1, n_shifts) - top.reshape(-1, n_shifts).max(axis=1)[:, None]).ravel())
             for pairs, top in tops]
    promised = nothing.copy()
    promised[np.arange(N), right] = 1e6
    assert share_found(alike, nothing) < 0.3 and share_found(alike, promised) > 0.8


def test_threads_and_pieces_of_the_bank_do_not_change_the_result(monkeypatch):
    levels, images, table = sample(0.4)
    one = run(levels, images, table)
    monkeypatch.setattr(search_module, "BANK_NUMBERS", 3e4)
    other = run(levels, images, table, threads=2)
    assert best(one) == best(other)
    assert [x.log_evidence for x in one] == pytest.approx([x.log_evidence for x in other], abs=0.01)


def test_several_structures_are_searched_as_one():
    levels, images, table = sample(0.1)
    other = two_levels(density(0.8 * BLOBS[:, ::-1]) / 0.1 * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH), *COARSE)
    for level in levels:
        level.halves.insert(0, other[-1].halves[0])
        level._whole = None
    found = run(levels, images, table)
    assert all(one.rows[0] // levels[-1].grid.n_directions == 1 for one in found)


def test_the_entropy_is_that_of_all_poses(monkeypatch):
    """Also of a posterior of which only the best poses are listed."""
    levels, images, table = sample(1.5)
    found = run(levels, images, table)
    monkeypatch.setattr(search_module, "MAX_POSES", 10)
    listed = run(levels, images, table)
    assert [one.entropy for one in listed] == pytest.approx([one.entropy for one in found])
    assert np.mean([one.entropy for one in found]) > np.log(1000)
    assert np.mean([one.entropy for one in run(*sample(0.1))]) < 2


def test_what_is_held_of_an_image_is_limited(monkeypatch):
    levels, images, table = sample(1.5)
    whole = run(levels, images, table)
    monkeypatch.setattr(search_module, "MAX_HELD", 2000)
    monkeypatch.setattr(search_module, "BANK_NUMBERS", 3e4)
    thinned = run(levels, images, table)
    assert best(thinned) == best(whole) and all(one.capped for one in thinned)


def test_levels_that_only_cut_shifts_lose_nothing():
    """With symmetry the fine shifts are cut out of coarse ones at the same directions."""
    config = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, symmetry="C4", initial_resolution_a=40.0,
                          shift_range_a=20.0)
    assert len(config.shift_steps) == 2 and len(replace(config, symmetry="C1").shift_steps) == 1
    source, table = particles(N, noise_sd=0.3, seed=5, blobs=RING)
    images = source.images(np.arange(N), BOX)
    builder = LevelBuilder(config, np, (None,))
    builder.prepare(10, "C4")
    levels = builder.teams([density(RING) / 0.3 * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH)])[0]
    coarse, fine = (level.grid for level in levels[-2:])
    assert coarse.nside == fine.nside and len(coarse.shifts_a) < len(fine.shifts_a) / 2
    # no fine shift lies beyond the cells
    gaps = np.abs(fine.shifts_a[:, None] - coarse.shifts_a).max(axis=2).min(axis=1)
    assert gaps.max() <= coarse.shift_step_a / 2 + 1e-6
    found, exact = run(levels, images, table), run(levels, images, table, exhaustive=True)
    assert np.mean([one.scores[0] > best.scores[0] - 0.1 for one, best in zip(found, exact)]) > 0.95
    assert np.mean([one.pruned[-1] for one in found]) > 0.3
    bounded = BoundedSearch(levels, shrinkage=np.ones((1, fine.polar.radius + 1)), rng=np.random.default_rng(0))
    rows = np.arange(N)
    ceilings = bounded.ceilings(images, table, rows, noise(), np.array([
        one.rows[0] * len(fine.shifts_a) + one.shifts[0] for one in exact]))
    assert np.mean(np.array([one.scores[0] for one in exact])[:, None] <= ceilings) > 0.98


def test_every_cell_of_shifts_holds_one_of_a_finer_level():
    """Also where that circle is a step smaller: a beam that kept such a cell alone had nothing to go on with."""
    def level(step, radius):
        line = np.arange(-5, 6) * step
        shifts = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        shifts = shifts[np.hypot(*shifts.T) <= radius]
        return SimpleNamespace(grid=SimpleNamespace(parents=np.zeros(1, int), n_directions=1, shifts_a=shifts,
                                                    shift_step_a=step, log_shift_weights=np.zeros(len(shifts))))

    coarse, fine = level(3.8, 13.8), level(3.66, 11.0)
    cells = search_module._Cells(coarse, fine)
    children = [cells.children(np.array([pair])) for pair in range(len(coarse.grid.shifts_a))]
    assert min(map(len, children)) >= 1
    assert set(np.concatenate(children)) == set(range(len(fine.grid.shifts_a)))


def test_several_levels_have_a_cheaper_one_ahead():
    """At the directions of the coarsest that is needed, and 1.6 times its resolution; one level stays alone."""
    config = RefineConfig(pixel_size=4.0, box_size=64, diameter_a=190.0, initial_resolution_a=30.0, shift_range_a=12.0)
    ahead, first, *_, last = make_levels(8.5, config, symmetry="C1")
    assert ahead.nside == first.nside < last.nside and ahead.n_directions == first.n_directions
    assert ahead.resolution_a == pytest.approx(config.look_ahead * first.resolution_a)
    assert len(ahead.shifts_a) < len(first.shifts_a) and ahead.polar.radius < first.polar.radius
    assert len(make_levels(20.0, config, symmetry="C1")) == 1
