"""The bound on what a pose can gain: that it holds as often as it says, and that it needs its corrections."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio.grids import make_pose_grid
from cryosgd_plugin.engines.abinitio.levels import Level
from cryosgd_plugin.engines.abinitio.matched import ImageMatcher
from cryosgd_plugin.engines.abinitio.selection import Selection
from cryosgd_plugin.engines.refine.bounds import BOUNDS, LevelBound, _circle_features, _nearest
from cryosgd_plugin.ops.polar import harmonics
from cryosgd_plugin.ops.slicing import slice_volume, to_half_volume
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, density, particles
from cryosgd_plugin.tests.test_expectation import CONFIG, noise

EXTENT = BOX * PIXEL
N = 150


@pytest.fixture(scope="module")
def searched():
    """(levels, images on the rings of the finest, table) of strong images of the model itself."""
    source, table = particles(N, noise_sd=0.1, seed=5)
    model = density() / 0.1 * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH)
    levels = two_levels(model, 45.0, 2.0)
    matched = [level.matcher.prepare(source.images(np.arange(N), BOX), table, np.arange(N), noise())
               for level in levels]
    return levels, matched, table


def two_levels(model, coarse_a, oversampling):
    """[Level] at a coarser resolution and at 17 Å."""
    coarse = make_pose_grid(coarse_a, CONFIG, symmetry="C1", oversampling=oversampling, search=True)
    fine = make_pose_grid(17.0, CONFIG, symmetry="C1", within=coarse)
    half = to_half_volume(model, fine.polar.radius)
    return [Level(grid, [half], ImageMatcher(grid.polar, box_size=BOX, pixel_size=PIXEL, window_radius_a=67.0))
            for grid in (coarse, fine)]


def bound_of(levels, shrinkage=1.0, halves=None, kind="own"):
    finest = levels[-1].grid.polar
    return LevelBound(levels[0].grid, levels[1].grid, halves or levels[-1].halves, finest.radius, finest.n_angles,
                      np.full((1, finest.radius + 1), shrinkage), EXTENT, np.random.default_rng(0), kind)


def cells_of(levels, table):
    """The coarse level's direction in whose cell each image's true pose lies."""
    nearest = _nearest(levels[0].grid, table.rotations)
    frames = levels[0].grid.frames[:, 2]
    return np.argmax(nearest[:, 2] @ frames.T, axis=1)


def split_scores(levels, matched, table, scale=1.0):
    """(score at the true pose within the coarse level's radius, beyond it, the best of the coarse grid) of each image,
    for the model times `scale`."""
    coarse, fine = levels
    inner = coarse.grid.polar.radius
    polar = fine.grid.polar
    values = scale * polar.unfold(slice_volume(fine.halves[0], table.rotations.astype(np.float32), polar.points()))
    moved = matched[1].filtered * fine.matcher.shift_phases(table.shifts_a)
    per_ring = (2 * (moved.conj() * values).real - matched[1].ctf_power * np.abs(values) ** 2).sum(axis=2) \
        * polar.ring_weights()
    best = np.empty(N)
    for i in range(N):
        scores = coarse.scores(coarse.bank(), coarse.image_harmonics(matched[0].filtered[i]),
                               harmonics(matched[0].ctf_power[i]).T.copy(), Selection())
        best[i] = (scores - coarse.grid.log_shift_weights).max()
    return per_ring[:, :inner].sum(axis=1), per_ring[:, inner:].sum(axis=1), best


def test_products_of_ring_functions_are_bounded_at_any_angle():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 3, 24)) ** 3
    most = (_circle_features(a) * _circle_features(b)).sum(axis=-1)
    for turn in range(24):
        assert np.all((a * np.roll(b, turn, axis=-1)).mean(axis=-1) <= most * (1 + 1e-6))
    # and nothing is given away where one of them is constant
    flat = np.ones((3, 24))
    assert (_circle_features(flat) * _circle_features(b)).sum(axis=-1) == pytest.approx(b.mean(axis=-1), rel=1e-5)


@pytest.mark.parametrize("kind", BOUNDS)
def test_the_tail_of_the_true_pose_is_within_the_bound_of_its_cell(searched, kind):
    levels, matched, table = searched
    limit = bound_of(levels, kind=kind).of(matched[1].ctf_power)
    _, tail, _ = split_scores(levels, matched, table)
    cell = np.arange(N), cells_of(levels, table)
    assert np.all(tail <= limit.tail[cell] + 4 * np.sqrt(limit.tail_power[cell]))
    # without the allowance for noise about half of the images lie beyond their own expectation
    assert tail.mean() == pytest.approx(0.5 * limit.tail_power.max(axis=1).mean(), rel=0.5)


def test_a_pose_bounded_by_its_own_view_needs_less_than_by_the_strongest(searched):
    levels, matched, _ = searched
    own, strongest = (bound_of(levels, 0.8, kind=kind).of(matched[1].ctf_power) for kind in BOUNDS)
    np.testing.assert_array_equal(own.tail_power, strongest.tail_power)
    assert np.all(own.tail <= strongest.tail * (1 + 1e-5))
    # the strongest cell is its own strongest: Σ p²/s and p √(Σ p²/s²) are one there, as s is
    np.testing.assert_allclose(own.tail.max(axis=1), strongest.tail.max(axis=1), rtol=0.02)
    assert np.median(own.tail) < 0.9 * np.median(strongest.tail)


@pytest.mark.parametrize("kind", BOUNDS)
def test_a_weak_model_needs_its_shrinkage(searched, kind):
    """The model halved: with s = 0.5 the bound holds, with s = 1 it fails for many (paper 0 eq. 16-17)."""
    levels, matched, table = searched
    halves = [0.5 * half for half in levels[-1].halves]
    _, tail, _ = split_scores(levels, matched, table, scale=0.5)

    cell = np.arange(N), cells_of(levels, table)

    def violated(shrinkage, deviations):
        limit = bound_of(levels, shrinkage, halves, kind).of(matched[1].ctf_power)
        return np.mean(tail > limit.tail[cell] + deviations * np.sqrt(limit.tail_power[cell]))

    assert violated(0.5, 4.0) == 0
    assert violated(1.0, 1.0) > 0.2


def test_cells_hold_their_slack(searched):
    """No image scores more at its true pose than the best grid pose and the slack of a cell together."""
    levels, matched, table = searched
    limit = bound_of(levels).of(matched[1].ctf_power)
    true, _, best = split_scores(levels, matched, table)
    slack = limit.cell[:, 0] + 4 * np.sqrt(limit.cell_power[:, 0])
    assert np.all(true <= best + slack)
    assert np.mean(true > best) > 0.5, "a test of nothing: grid poses are as good as true ones here"


def test_a_cell_loses_no_more_than_it_says(searched):
    """Within the level, from the true pose to the grid pose of its own cell: less than `lost` in all but a few images,
    and that is less than what the bound allows for by its two extremes."""
    levels, matched, table = searched
    limit = bound_of(levels).of(matched[1].ctf_power)
    coarse, fine = levels[0].grid, levels[1]
    true, _, _ = split_scores(levels, matched, table)
    nearest = np.abs(coarse.shifts_a[:, None] - table.shifts_a).max(axis=2).argmin(axis=0)
    on_grid, _, _ = split_scores(levels, matched, replace(table, rotations=_nearest(coarse, table.rotations),
                                                          shifts_a=coarse.shifts_a[nearest]))
    loss = true - on_grid
    # shifts beyond the circle of the grid have no cell
    inside = np.abs(coarse.shifts_a[nearest] - table.shifts_a).max(axis=1) <= coarse.shift_step_a / 2 + 1e-6
    assert inside.mean() > 0.9 and fine.grid.polar.radius > coarse.polar.radius
    assert np.mean(loss[inside] <= limit.lost[inside]) > 0.98
    assert np.quantile(loss[inside] / limit.lost[inside], 0.95) > 0.2
    assert np.all(limit.lost < limit.cell[:, 0] + 4 * np.sqrt(limit.cell_power[:, 0]))


def test_noise_has_twice_the_variance_of_equation_21(searched):
    """⟨C Y, noise⟩ / σ² varies by Σ C² |Y|² / σ², which the bound's tail power is."""
    levels, matched, table = searched
    limit = bound_of(levels).of(matched[1].ctf_power)
    source, _ = particles(N, noise_sd=1.0, seed=6, blobs=np.zeros((0, 3)))
    fine = levels[1]
    polar = fine.grid.polar
    inner = levels[0].grid.polar.radius
    empty = fine.matcher.prepare(source.images(np.arange(N), BOX), table, np.arange(N), noise())
    values = polar.unfold(slice_volume(fine.halves[0], table.rotations.astype(np.float32), polar.points()))
    linear = (2 * (empty.filtered.conj() * values).real).sum(axis=2) * polar.ring_weights()
    power = ((empty.ctf_power * np.abs(values) ** 2).sum(axis=2) * polar.ring_weights() * 2)[:, inner:].sum(axis=1)
    spread = linear[:, inner:].sum(axis=1) / np.sqrt(power)
    assert np.var(spread) == pytest.approx(1.0, abs=0.35)
    assert np.all(power <= limit.tail_power.max(axis=1) * 1.05)
