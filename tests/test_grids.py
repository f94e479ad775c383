"""Quadrature schemes: how many poses, how they nest, and that both integrate."""
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import iv, logsumexp

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import directions_to_vectors, healpix_directions
from cryosgd_plugin.core.symmetry import asymmetric_unit, point_group
from cryosgd_plugin.engines.abinitio.grids import (
    FULL_SUM_DIRECTIONS,
    LOST_SHIFT_MASS,
    QUADRATURES,
    level_resolutions,
    make_levels,
    make_pose_grid,
    spiral_counts,
)


def settings(quadrature="saff-kuijlaars", **changes):
    return SimpleNamespace(**{**dict(pixel_size=4.0, box_size=96, diameter_a=200.0, shift_range=12.0,
                                     initial_resolution_a=40.0, quadrature=quadrature), **changes})


def vectors(grid):
    return directions_to_vectors(grid.directions)


def test_the_default_is_healpix_in_nested_order():
    """The grids and children of a search by the arithmetic of nested pixels, with no word of a scheme."""
    config = settings()
    del config.quadrature
    coarse, fine = make_levels(14.0, config, symmetry="D2")[-2:]
    assert fine.nside == 2 * coarse.nside and fine.n_sphere == 12 * fine.nside ** 2
    assert (fine.spacing_deg / coarse.spacing_deg) ** 2 == (coarse.nside / fine.nside) ** 2
    np.testing.assert_array_equal(fine.directions, healpix_directions(fine.nside)[fine.pixels])
    picked = np.array([0, 3, 4, coarse.n_directions - 1])
    expected = (4 * coarse.pixels[picked][:, None] + np.arange(4)).ravel()
    np.testing.assert_array_equal(fine.pixels[coarse.children(fine, picked)], expected)
    np.testing.assert_array_equal(fine.parents, np.searchsorted(coarse.pixels, fine.pixels // 4))


@pytest.mark.parametrize("radius", [3, 8, 20])
def test_counts_are_the_papers(radius):
    alpha = 0.5 * np.arccos((radius ** 2 - 1) / (radius ** 2 + 1))
    assert alpha == pytest.approx(np.arctan(1 / radius))  # one Fourier pixel, seen from the centre
    directions, angles, axis = spiral_counts(radius)
    assert directions - 1 < (3.6 / alpha) ** 2 <= directions
    assert angles - 1 < 2 * np.pi / alpha <= angles
    assert axis ** 2 == radius ** 2
    config = settings(diameter_a=120.0)
    grid = make_pose_grid(384.0 / radius, config, symmetry="C1")
    assert grid.polar.radius == radius and grid.n_directions == grid.n_sphere == directions
    assert angles <= grid.polar.n_angles <= 1.25 * angles + 4 and grid.polar.n_angles % 4 == 0
    assert grid.n_poses == grid.n_directions * grid.polar.n_angles * len(grid.shifts_a)
    # a particle that fills the box needs more samples on the rings than the paper's count of angles
    full = make_pose_grid(384.0 / radius, settings(diameter_a=380.0), symmetry="C1")
    assert full.polar.n_angles >= 1.1 * 2 * np.pi * radius


def test_oversampling_divides_every_step():
    config = settings(diameter_a=100.0)
    grid, finer = (make_pose_grid(32.0, config, symmetry="C1", oversampling=o) for o in (1.0, 2.0))
    assert finer.polar.radius == grid.polar.radius == 12
    assert finer.spacing_deg == pytest.approx(grid.spacing_deg / 2, rel=0.01)
    assert finer.polar.n_angles >= 1.9 * grid.polar.n_angles
    assert finer.shift_step_a < 0.8 * grid.shift_step_a


@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("symmetry", ["C1", "C5", "D2", "O"])
def test_every_direction_has_one_near_parent(quadrature, symmetry):
    grids = make_levels(12.0, settings(quadrature), symmetry=symmetry)
    assert len(grids) > 1 and grids[0].parents is None
    for coarse, fine in zip(grids, grids[1:]):
        families = [coarse.children(fine, [row]) for row in range(coarse.n_directions)]
        np.testing.assert_array_equal(np.sort(np.concatenate(families)), np.arange(fine.n_directions))
        some = np.array([1, 5, 6])
        np.testing.assert_array_equal(coarse.children(fine, some), np.sort(np.concatenate([families[i] for i in some])))
        # the parent, or the mate of it that shows the same projection
        mates = np.einsum("gij,nj->gni", point_group(symmetry), vectors(coarse)[fine.parents])
        distance = np.degrees(np.arccos(np.clip(np.einsum("gni,ni->gn", mates, vectors(fine)), -1, 1))).min(axis=0)
        # along the rim of the unit a spiral and its mates leave wider gaps
        assert distance.max() < (0.95 if quadrature == "healpix" or symmetry == "C1" else 1.3) * coarse.spacing_deg
        assert distance.mean() < 0.45 * coarse.spacing_deg
        # each coarse cell holds its share of the finer directions
        sizes = np.array([len(family) for family in families])
        assert sizes.mean() == pytest.approx((coarse.spacing_deg / fine.spacing_deg) ** 2, rel=0.25)


def test_levels_of_a_spiral_march_from_a_small_grid():
    config = settings()
    for resolution in (40.0, 20.0, 12.0, 8.0):
        wanted = level_resolutions(resolution, config)
        assert wanted[-1] == resolution and max(wanted) <= 40.0
        assert all(1 < coarse / fine <= 2 + 1e-9 for coarse, fine in zip(wanted, wanted[1:]))
    assert level_resolutions(40.0, config) == [40.0]
    # small enough to be summed in full, unless that were coarser than where the run began
    first = make_levels(20.0, settings(initial_resolution_a=100.0), symmetry="C1")[0]
    assert 0.6 * FULL_SUM_DIRECTIONS < first.n_directions <= FULL_SUM_DIRECTIONS


@pytest.mark.parametrize("symmetry", ["C2", "C7", "D3", "D7", "T", "O", "I1", "I2", "I3", "I4"])
@pytest.mark.parametrize("resolution", [384.0 / 3, 24.0])
def test_spirals_keep_to_the_asymmetric_unit(symmetry, resolution):
    grid = make_pose_grid(resolution, settings(initial_resolution_a=128.0), symmetry=symmetry)
    order = len(point_group(symmetry))
    assert asymmetric_unit(grid.directions, symmetry).all()
    assert grid.n_directions == pytest.approx(grid.n_sphere / order, rel=0.3, abs=2) and grid.n_directions > 0
    assert grid.spacing_deg == pytest.approx(np.degrees(np.sqrt(4 * np.pi / grid.n_sphere)))


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_taking_directions_keeps_the_family_relations(quadrature):
    coarse, fine = make_levels(14.0, settings(quadrature), symmetry="C1")[-2:]
    rows = np.arange(2, coarse.n_directions, 3)
    part = coarse.take(rows)
    assert part.n_directions == len(rows) and part.n_poses * coarse.n_directions == coarse.n_poses * len(rows)
    np.testing.assert_array_equal(part.rows, rows)
    np.testing.assert_array_equal(part.rotation(4, 3), coarse.rotation(rows[4], 3))
    np.testing.assert_array_equal(part.frames, coarse.frames[rows])
    assert part.shifts_a is coarse.shifts_a and part.spacing_deg == coarse.spacing_deg
    np.testing.assert_array_equal(part.children(fine, [1, 7]), coarse.children(fine, rows[[1, 7]]))
    # of a restricted finer grid, too: its rows are counted anew; a mask serves as well as numbers
    kept = np.arange(fine.n_directions) % 2 == 0
    some = fine.take(kept)
    children = part.children(some, [1, 7])
    np.testing.assert_array_equal(some.rows[children], [r for r in coarse.children(fine, rows[[1, 7]]) if kept[r]])
    again = some.take([5, 2])
    np.testing.assert_array_equal(again.rows, [10, 4])
    np.testing.assert_array_equal(again.parents, fine.parents[[10, 4]])


def test_a_grid_without_a_coarser_one_has_no_parents():
    coarse, fine = (make_pose_grid(resolution, settings(), symmetry="C1") for resolution in (40.0, 30.0))
    with pytest.raises(ValueError, match="knows no parents"):
        coarse.children(fine, [0])


@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("shift_range", [0.0, 1.0, 12.0])
def test_shift_weights_are_a_normalised_prior(quadrature, shift_range):
    grid = make_pose_grid(20.0, settings(quadrature, shift_range=shift_range), symmetry="C1")
    assert grid.log_shift_weights.dtype == np.float64 and grid.log_shift_weights.shape == (len(grid.shifts_a),)
    assert logsumexp(grid.log_shift_weights) == pytest.approx(0, abs=1e-12)
    assert grid.shift_sd_a == max(shift_range / 2, 1.0)
    assert np.abs(np.exp(grid.log_shift_weights) @ grid.shifts_a).max() < 1e-9
    if quadrature == "healpix":
        squared = (grid.shifts_a ** 2).sum(axis=1)
        np.testing.assert_allclose(grid.log_shift_weights - grid.log_shift_weights[0],
                                   -0.5 * squared / grid.shift_sd_a ** 2, atol=1e-12)
        assert grid.largest_shift_a <= shift_range
    if shift_range == 0:
        np.testing.assert_array_equal(grid.shifts_a, [[0, 0]])


def test_gauss_hermite_shifts_average_what_the_images_hold():
    """E cos 2πt/λ under the prior, down to the finest period in use."""
    grid = make_pose_grid(20.0, settings(), symmetry="C1")
    weights, sd = np.exp(grid.log_shift_weights), grid.shift_sd_a
    assert len(weights) < grid.polar.radius ** 2 / 2
    for period in (80.0, 40.0, 20.0):
        k = 2 * np.pi / period * np.array([0.8, 0.6])
        assert weights @ np.cos(grid.shifts_a @ k) == pytest.approx(np.exp(-0.5 * k @ k * sd ** 2),
                                                                  abs=2 * LOST_SHIFT_MASS)
    # nothing within the range is dropped, and beyond it only what weighs nothing
    inside = np.hypot(*grid.shifts_a.T) <= 12.0
    assert 0.8 < weights[inside].sum() < 0.93 and grid.largest_shift_a < 24.0
    assert np.all(np.diff(np.unique(grid.shifts_a[:, 0])) <= grid.shift_step_a + 1e-9)


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_grids_integrate_over_rotations(quadrature):
    """The mean of exp(κ tr(A0ᵀ A)) over all poses: I0(2κ) − I1(2κ), times exp(κ)."""
    grid = make_pose_grid(30.0, settings(quadrature), symmetry="C1")
    reference, kappa = Rotation.random(random_state=1).as_matrix(), 3.0
    angles = np.degrees(grid.polar.angles)
    turn = Rotation.from_euler("z", -angles, degrees=True).as_matrix()
    np.testing.assert_allclose(turn[5] @ grid.frames[7], grid.rotation(7, 5), atol=1e-6)
    traces = np.einsum("aij,djk,ik->ad", turn, grid.frames, reference)
    assert np.exp(kappa * traces).mean() == pytest.approx(np.exp(kappa) * (iv(0, 2 * kappa) - iv(1, 2 * kappa)),
                                                          rel=0.02)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="quadrature 'lebedev' is unknown; choose of healpix, saff-kuijlaars"):
        make_pose_grid(20.0, settings("lebedev"), symmetry="C1")
