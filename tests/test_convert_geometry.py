"""Poses beyond the border with Scipion: its matrices and angles mean what ours mean."""
import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pwem.convert.transformations import euler_from_matrix, euler_matrix

from cryosgd_plugin.convert import poses_from_transforms, transforms_from_poses
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import euler_to_matrix


def test_transform_is_scipions_own_formula():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-180, 180, (20, 3))
    shifts_a, pixel_size = rng.uniform(-9, 9, (20, 2)), 1.7
    ours = transforms_from_poses(euler_to_matrix(*angles.T), shifts_a, pixel_size)
    for row in range(20):
        matrix = euler_matrix(*-np.radians(angles[row]), "szyz")
        matrix[:2, 3] = -shifts_a[row] / pixel_size
        np.testing.assert_allclose(ours[row], np.linalg.inv(matrix), atol=1e-12)


def test_transform_places_a_point_where_scipion_says():
    """image(x, y) = Σ_z V(R·(x, y, z) + t): a point p of the volume is seen at the x, y that R·(x, y, z) + t = p."""
    rotation = euler_to_matrix(20.0, 50.0, -70.0)
    shift_a, pixel_size, point = np.array([[3.0, -5.0]]), 2.0, np.array([4.0, -7.0, 9.0])
    matrix = transforms_from_poses(rotation, shift_a, pixel_size)[0]
    seen = np.linalg.solve(matrix[:3, :3], point - matrix[:3, 3])[:2]
    # the particle sits at minus the shift that centres it
    np.testing.assert_allclose(seen, (rotation[0] @ point)[:2] - shift_a[0] / pixel_size, atol=1e-12)


def test_transforms_round_trip():
    rng = np.random.default_rng(3)
    rotations = euler_to_matrix(*rng.uniform(-180, 180, (3, 50)))
    shifts = rng.uniform(-20, 20, (50, 2))
    again, shifts_again = poses_from_transforms(transforms_from_poses(rotations, shifts, 1.3), 1.3)
    np.testing.assert_allclose(again, rotations, atol=1e-14)
    np.testing.assert_allclose(shifts_again, shifts, atol=1e-12)


@pytest.mark.parametrize("matrix", [np.diag([-1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1]), np.zeros((4, 4))])
def test_transforms_that_are_no_rotation_are_refused(matrix):
    with pytest.raises(InputError, match="no rotation"):
        poses_from_transforms(matrix[None], 1.0)


def test_eulers_of_scipion_are_ours():
    """The way back, as other plugins go it: angles of inv(M)."""
    rotation = euler_to_matrix(33.0, 44.0, 55.0)
    matrix = np.linalg.inv(transforms_from_poses(rotation, np.array([[2.0, 3.0]]), 1.0)[0])
    np.testing.assert_allclose(-np.degrees(euler_from_matrix(matrix, axes="szyz")), [33.0, 44.0, 55.0], atol=1e-9)
    np.testing.assert_allclose(-matrix[:2, 3], [2.0, 3.0], atol=1e-12)
