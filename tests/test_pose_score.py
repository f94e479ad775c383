"""Scores of single poses with their slopes, and back-projection at single poses."""
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.ops import pose_insert
from cryosgd_plugin.ops.pose_insert import insert_poses
from cryosgd_plugin.ops.pose_score import pose_terms, pose_terms_plain, shell_terms, shell_terms_plain
from cryosgd_plugin.ops.slicing import half_volume_shape, slice_volume, to_half_volume

BOX, RADIUS = 32, 12


@pytest.fixture(scope="module")
def sample():
    """(half volume, F, W, points, rotations, shifts in boxes, image of each pose) with noise for images."""
    rng = np.random.default_rng(0)
    volume = gaussian_filter(rng.normal(size=(BOX,) * 3), 2).astype(np.float32) * soft_sphere(BOX, 9, 3)
    kx, ky = np.meshgrid(np.arange(RADIUS + 1), np.arange(-RADIUS, RADIUS + 1))
    points = np.stack([kx.ravel(), ky.ravel()], 1)
    points = points[(np.hypot(*points.T) <= RADIUS) & ((points[:, 0] > 0) | (points[:, 1] > 0))]
    filtered = (rng.normal(size=(3, len(points))) + 1j * rng.normal(size=(3, len(points)))).astype(np.complex64)
    weight = rng.random((3, len(points))).astype(np.float32)
    return (to_half_volume(volume, RADIUS), filtered, weight, points, random_rotations(5, rng),
            rng.normal(size=(5, 2)) * 0.05, np.array([0, 1, 0, 2, 1]))


def test_score_is_minus_the_error_less_the_images_power(sample):
    """s = −½ Σ |C Y − S X|² / σ² + ½ Σ |X|² / σ² over the whole plane, with C = σ = 1."""
    half, filtered, _, points, rotations, shifts, image = sample
    ones = np.ones_like(filtered.real)
    scores, _, _ = pose_terms(half, filtered, ones, points, rotations, shifts, image)
    slices = slice_volume(half, rotations, points.astype(np.float32))
    moved = filtered[image] * np.exp(-2j * np.pi * shifts @ points.T)
    error = (np.abs(slices - moved) ** 2).sum(axis=1) - (np.abs(filtered[image]) ** 2).sum(axis=1)
    assert scores == pytest.approx(-error, rel=1e-4)


def test_kernel_equals_plain(sample):
    for fast, plain in zip(pose_terms(*sample), pose_terms_plain(*sample)):
        assert np.abs(fast - plain).max() < 1e-5 * np.abs(plain).max()


def test_shells_add_up_to_the_score(sample):
    half, filtered, weight, points, rotations, shifts, image = sample
    shells = np.rint(np.hypot(*points.T)).astype(int)
    arguments = half, filtered, weight, points, shells, rotations, shifts, image, RADIUS + 1
    cross, power = shell_terms(*arguments)
    assert (2 * cross - power).sum(axis=1) == pytest.approx(pose_terms(*sample)[0], rel=1e-5)
    for fast, plain in zip((cross, power), shell_terms_plain(*arguments)):
        assert np.abs(fast - plain).max() < 1e-5 * np.abs(plain).max()
    assert np.all(power[:, 1:] > 0) and not power[:, 0].any()


def test_slopes_against_finite_differences(sample):
    """In double precision: the steps have to be smaller than the distance to the next kink of the interpolation."""
    half, filtered, weight, points, rotations, shifts, image = sample
    slopes = pose_terms(*sample)[1]
    step = 1e-5
    for j, axis in enumerate(np.eye(5)):
        turn, move = Rotation.from_rotvec(step * axis[:3]).as_matrix(), step * axis[3:]
        ahead, back = (pose_terms_plain(half.astype(complex), filtered, weight, points, t @ rotations, shifts + m,
                                        image)[0] for t, m in ((turn, move), (turn.T, -move)))
        assert (ahead - back) / (2 * step) == pytest.approx(slopes[:, j], abs=1e-3 * np.abs(slopes[:, j]).max())


def test_curvature_is_that_of_an_image_of_the_slice_itself(sample):
    """At the pose whose slice the image is, −∂²s/∂² is Fisher's information."""
    half, _, weight, points, rotations, shifts, _ = sample
    slices = slice_volume(half, rotations, points.astype(np.float32)) * np.exp(2j * np.pi * shifts @ points.T)
    filtered = (weight[:1] * slices).astype(np.complex64)
    weights, image = np.repeat(weight[:1], 5, axis=0), np.arange(5)
    scores, slopes, curvatures = pose_terms(half, filtered, weights, points, rotations, shifts, image)
    assert np.abs(slopes).max() < 1e-3 * np.sqrt(np.abs(curvatures).max() * scores.max())
    step = 0.02 / RADIUS
    for j, axis in enumerate(np.eye(5)):
        turn = Rotation.from_rotvec(step * axis[:3]).as_matrix()
        ahead, back = (pose_terms(half, filtered, weights, points, t @ rotations, shifts + m, image)[0]
                       for t, m in ((turn, step * axis[3:]), (turn.T, -step * axis[3:])))
        assert (2 * scores - ahead - back) / step ** 2 == pytest.approx(curvatures[:, j, j], rel=0.1)


def test_insertion_kernel_equals_plain(sample, monkeypatch):
    _, filtered, weight, points, rotations, shifts, image = sample
    mass = np.array([1.0, 0.5, 0.3, 2.0, 0.1])
    fast = insert_poses(filtered, weight, points, rotations, shifts, image, mass, RADIUS)
    plain = [np.zeros(half_volume_shape(RADIUS), dtype) for dtype in (np.complex64, np.float32)]
    pose_insert.insert_poses_plain(filtered, weight, points, rotations, shifts, image, mass, 2, *plain)
    for a, b in zip(fast, plain):
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_insertion_is_the_adjoint_of_the_slices(sample):
    """Re Σ conj(F) Y' over the poses is Re Σ conj(numerator) V̂, and the weights sum up likewise."""
    half, filtered, weight, points, rotations, shifts, image = sample
    mass = np.array([1.0, 0.5, 0.3, 2.0, 0.1])
    numerator, total = insert_poses(filtered, weight, points, rotations, shifts, image, mass, RADIUS)
    slices = slice_volume(half, rotations, points.astype(np.float32)) * np.exp(2j * np.pi * shifts @ points.T)
    direct = (mass * (filtered[image].conj() * slices).real.sum(axis=1)).sum()
    assert np.vdot(numerator, half).real == pytest.approx(direct, rel=1e-4)
    assert total.sum() == pytest.approx((mass * weight[image].sum(axis=1)).sum(), rel=1e-4)


def test_no_poses_add_nothing(sample):
    _, filtered, weight, points, *_ = sample
    none = np.zeros((0, 3, 3)), np.zeros((0, 2)), np.zeros(0, int), np.zeros(0)
    numerator, total = insert_poses(filtered, weight, points, *none, RADIUS)
    assert not numerator.any() and not total.any()
