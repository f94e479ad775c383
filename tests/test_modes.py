"""From grid poses to peaks: climbing, widths, masses, and the poses that stand for a peak."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.refine.images import ImagePreparer
from cryosgd_plugin.engines.refine.modes import Modes, _met, climb, grid_modes, grid_rotations
from cryosgd_plugin.engines.refine.posing import cubature
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL
from cryosgd_plugin.tests.test_bounded_search import N, run, sample
from cryosgd_plugin.tests.test_expectation import noise

EXTENT = BOX * PIXEL


@pytest.fixture(scope="module")
def climbed():
    """(starts, modes, table, grid) of one mode each of strong images."""
    levels, images, table = sample(0.1)
    grid = levels[-1].grid
    found = run(levels, images, table)
    starts = started([one.rows[:1] for one in found], [one.angles[:1] for one in found],
                     [one.shifts[:1] for one in found], grid)
    return starts, climb_from(starts, levels, images, table, grid), table, grid


def started(rows, angles, shifts, grid):
    image = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    rows, angles, shifts = (np.concatenate(column) for column in (rows, angles, shifts))
    return Modes(image, grid_rotations(grid, rows, angles), grid.shifts_a[shifts], np.zeros(len(rows)), None, None,
                 rows // grid.n_directions)


def climb_from(starts, levels, images, table, grid, symmetry="C1"):
    radius = grid.polar.radius
    preparer = ImagePreparer(radius, radius, box_size=BOX, pixel_size=PIXEL, mask_radius_a=90.0)
    prepared = preparer.prepare(images, preparer.low_passed(images), table, np.arange(len(images)), noise())
    return climb(levels[-1].halves, prepared.masked, prepared.ctf_power, preparer.points, starts, extent_a=EXTENT,
                 angle_step=np.radians(grid.spacing_deg), shift_step_a=grid.shift_step_a, shift_sd_a=grid.shift_sd_a,
                 operators=point_group(symmetry))


def test_grid_rotations_are_those_of_the_grid(climbed):
    grid = climbed[3]
    rows, angles = np.array([3, 500, 767]), np.array([0, 7, 41])
    expected = np.stack([grid.rotation(row, angle) for row, angle in zip(rows, angles)])
    assert grid_rotations(grid, rows, angles) == pytest.approx(expected, abs=1e-6)


def test_peaks_lie_nearer_to_the_truth_than_grid_poses(climbed):
    starts, modes, table, _ = climbed
    before, after = (np.median(angular_distance_deg(one.rotations, table.rotations)) for one in (starts, modes))
    assert after < 0.7 * before
    before, after = (np.median(np.hypot(*(one.shifts_a - table.shifts_a).T)) for one in (starts, modes))
    assert after < 0.7 * before


def test_errors_are_as_wide_as_the_curvature_says(climbed):
    """The mean of the normalised squared error is about 1 in each of the five coordinates."""
    _, modes, table, _ = climbed
    turned = Rotation.from_matrix(table.rotations @ modes.rotations.transpose(0, 2, 1)).as_rotvec()
    error = np.concatenate([turned, table.shifts_a - modes.shifts_a], axis=1)
    chi2 = np.einsum("ni,nij,nj->n", error, np.linalg.inv(modes.covariances), error) / 5
    assert 0.4 < np.median(chi2) < 2.5


def test_every_image_shares_out_its_mass(climbed):
    modes = climbed[1]
    assert np.bincount(modes.image, modes.weights) == pytest.approx(np.ones(N))


def test_the_heavier_of_two_modes_is_the_true_one(climbed):
    levels, images, table = sample(0.1)
    grid = levels[-1].grid
    found = run(levels, images, table)
    other = [np.array([one.rows[0], (one.rows[0] + 300) % grid.n_directions]) for one in found]
    starts = started(other, [np.repeat(one.angles[0], 2) for one in found],
                     [np.repeat(one.shifts[0], 2) for one in found], grid)
    modes = climb_from(starts, levels, images, table, grid)
    # some false starts reach the true peak as well
    assert np.all(modes.weights.reshape(-1, 2).max(axis=1) > 0.99)
    right = np.argmax(modes.weights.reshape(-1, 2), axis=1)
    assert np.all(angular_distance_deg(modes.rotations.reshape(-1, 2, 3, 3)[np.arange(N), right], table.rotations) < 12)


def test_modes_that_meet_are_counted_once(climbed):
    starts, _, table, grid = climbed
    levels, images, table = sample(0.1)
    twice = Modes(np.repeat(starts.image, 2), np.repeat(starts.rotations, 2, axis=0),
                  np.repeat(starts.shifts_a, 2, axis=0), np.repeat(starts.scores, 2), None, None,
                  np.repeat(starts.structures, 2))
    weights = climb_from(twice, levels, images, table, grid).weights.reshape(-1, 2)
    assert np.sort(weights, axis=1) == pytest.approx(np.tile([0.0, 1.0], (N, 1)))


def test_symmetry_mates_are_one_mode(climbed):
    """A peak and its mate, as both sides of an asymmetric unit's rim show it."""
    starts, _, table, grid = climbed
    levels, images, table = sample(0.1)
    mate = point_group("C2")[1] if not np.allclose(point_group("C2")[1], np.eye(3)) else point_group("C2")[0]
    both = Modes(np.repeat(starts.image, 2), np.stack([starts.rotations, starts.rotations @ mate], 1).reshape(-1, 3, 3),
                 np.repeat(starts.shifts_a, 2, axis=0), np.repeat(starts.scores, 2), None, None,
                 np.repeat(starts.structures, 2))
    met = _met(both, both.rotations, both.shifts_a, both.scores, np.radians(grid.spacing_deg), grid.shift_step_a,
               point_group("C2"))
    assert np.array_equal(met, np.tile([False, True], N))
    alone = _met(both, both.rotations, both.shifts_a, both.scores, np.radians(grid.spacing_deg), grid.shift_step_a,
                 point_group("C1"))
    assert not alone.any()


def test_modes_are_apart_and_hold_the_mass():
    levels, images, table = sample(0.1)
    for one in run(levels, images, table):
        heads, mass = grid_modes(one, levels[-1].grid, point_group("C1"))
        assert heads[0] == 0 and mass > 0.99
    weak = run(*sample(1.5))
    assert np.mean([grid_modes(one, levels[-1].grid, point_group("C1"))[1] for one in weak]) < 0.5


def test_cubature_has_the_mean_and_the_covariance(climbed):
    modes = climbed[1]
    image, rotations, shifts, mass, _ = cubature(modes)
    assert np.bincount(image, mass) == pytest.approx(np.ones(N))
    for i in (0, 5):
        mine = image == i
        turned = Rotation.from_matrix(rotations[mine] @ modes.rotations[i].T).as_rotvec()
        offsets = np.concatenate([turned, shifts[mine] - modes.shifts_a[i]], axis=1)
        assert mass[mine] @ offsets == pytest.approx(np.zeros(5), abs=1e-9)
        assert (mass[mine][:, None] * offsets).T @ offsets == pytest.approx(modes.covariances[i], rel=1e-3, abs=1e-7)
