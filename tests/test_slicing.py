"""The slicing operator: its adjoint, its centre, its accuracy, and numba against plain numpy."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.ops import _slicing_numba, _slicing_numpy, slicing


def random_rotations(n, rng):
    return Rotation.random(n, random_state=int(rng.integers(1 << 30))).as_matrix()


def disc_points(radius):
    kx, ky = np.meshgrid(np.arange(0, radius + 1), np.arange(-radius, radius + 1))
    inside = (kx ** 2 + ky ** 2 <= radius ** 2) & ((kx > 0) | (ky >= 0))
    return np.stack([kx[inside], ky[inside]], axis=1).astype(np.float32)


@pytest.mark.parametrize("box", [16, 17])
def test_adjoint(box):
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(box,) * 3).astype(np.float32)
    rotations, points, radius = random_rotations(7, rng), disc_points(box // 2 - 1), box // 2 - 1
    values = (rng.normal(size=(7, len(points))) + 1j * rng.normal(size=(7, len(points)))).astype(np.complex64)
    forward = slicing.slice_volume(slicing.to_half_volume(volume, radius), rotations, points)
    numerator, _ = slicing.insert_slices(values, np.zeros(values.shape, np.float32), rotations, points, radius)
    backward = slicing.adjoint_half_volume(numerator, box)
    left = np.vdot(values.astype(complex), forward).real
    right = np.vdot(backward.astype(float), volume)
    assert left == pytest.approx(right, rel=2e-5)


@pytest.mark.parametrize("box", [32, 33])
def test_slices_of_gaussian_are_exact(box):
    """An off-centre Gaussian's slice is known in closed form; padding 2 with gridding correction is good to 2 %."""
    rng = np.random.default_rng(1)
    centre, width = np.array([3.0, -2.0, 1.5]), 1.6
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * width ** 2))
    rotations, points = random_rotations(20, rng), disc_points(10)
    values = slicing.slice_volume(slicing.to_half_volume(volume.astype(np.float32), 10), rotations, points)
    frequency = np.einsum("pi,nij->npj", points, rotations[:, :2, :]) / box
    expected = (2 * np.pi * width ** 2) ** 1.5 * np.exp(-2 * np.pi ** 2 * width ** 2 * (frequency ** 2).sum(-1)) \
        * np.exp(-2j * np.pi * frequency @ centre)
    error = np.linalg.norm(values - expected) / np.linalg.norm(expected)
    assert error < 0.02
    # a wrong centre or a mirrored axis is far outside that
    wrong = np.linalg.norm(np.conj(values) - expected) / np.linalg.norm(expected)
    assert wrong > 0.5


@pytest.mark.parametrize("box", [24, 25])
def test_reconstruction_from_known_poses(box):
    """Slices of a blobby density, back-projected and divided by their weights, give the density back."""
    rng = np.random.default_rng(2)
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = sum(np.exp(-((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) / 4)
                 for c in rng.uniform(-box / 6, box / 6, (6, 3))).astype(np.float32)
    radius = box // 2 - 1
    rotations, points = random_rotations(1500, rng), disc_points(radius)
    values = slicing.slice_volume(slicing.to_half_volume(volume, radius), rotations, points)
    numerator, weight = slicing.insert_slices(values, np.ones(values.shape, np.float32), rotations, points, radius)
    numerator, weight = slicing.hermitian(numerator), slicing.hermitian(weight)
    back = slicing.from_half_volume(numerator / np.maximum(weight, 1e-3), box)
    assert np.linalg.norm(back - volume) / np.linalg.norm(volume) < 0.05


def test_numba_equals_numpy(monkeypatch):
    rng = np.random.default_rng(3)
    half = (rng.normal(size=(19, 19, 10)) + 1j * rng.normal(size=(19, 19, 10))).astype(np.complex64)
    rotations = random_rotations(11, rng).astype(np.float32)
    points = disc_points(4) * np.float32(2)
    expected = _slicing_numpy.slice_points(half, rotations, points)
    for few in (0, 10 ** 9):
        monkeypatch.setattr(_slicing_numba, "FEW_POINTS", few)
        np.testing.assert_allclose(_slicing_numba.slice_points(half, rotations, points), expected, atol=2e-5)
    weights = rng.random(expected.shape).astype(np.float32)
    results = []
    for kernels in (_slicing_numpy, _slicing_numba):
        numerator, weight = np.zeros(half.shape, np.complex64), np.zeros(half.shape, np.float32)
        kernels.insert_points(expected, weights, rotations, points, numerator, weight)
        results.append((numerator, weight))
    np.testing.assert_allclose(results[1][0], results[0][0], atol=1e-4)
    np.testing.assert_allclose(results[1][1], results[0][1], atol=1e-4)


def test_point_beyond_the_half_volume_is_refused():
    half = np.zeros(slicing.half_volume_shape(4), np.complex64)
    with pytest.raises(ValueError, match="larger radius"):
        slicing.slice_volume(half, np.eye(3)[None], np.array([[5.0, 0.0]], np.float32))
