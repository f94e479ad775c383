"""A point group imposed on sums: against insertion under every operator."""
import numpy as np
import pytest

from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.refine.images import ImagePreparer
from cryosgd_plugin.ops.pose_insert import insert_poses
from cryosgd_plugin.ops.slicing import from_half_volume, hermitian, slice_volume, to_half_volume
from cryosgd_plugin.ops.symmetrise import symmetrise, symmetrise_plain, symmetry_envelope
from cryosgd_plugin.tests.abinitio_samples import density

BOX, RADIUS = 24, 10


def sums(operators, n=400, kernel="trilinear"):
    """(numerator, weight) of exact slices of a density at random poses, inserted under each operator."""
    preparer = ImagePreparer(RADIUS, RADIUS, box_size=BOX, pixel_size=8.0, mask_radius_a=90.0)
    half = to_half_volume(density(), RADIUS)
    rotations = random_rotations(n, np.random.default_rng(0))
    values = slice_volume(half, rotations.astype(np.float32), preparer.points.astype(np.float32))
    total = [0, 0]
    for operator in operators:
        part = insert_poses(values, np.ones(values.shape, np.float32), preparer.points, rotations @ operator,
                            np.zeros((n, 2)), np.arange(n), np.full(n, 1 / len(operators)), RADIUS, kernel=kernel)
        total = [a + b for a, b in zip(total, part)]
    return [hermitian(one) for one in total]


def density_of(numerator, weight, kernel="trilinear"):
    return from_half_volume((numerator / np.maximum(weight, 1e-3 * weight.mean())).astype(np.complex64), BOX,
                            kernel=kernel)


@pytest.mark.parametrize("group", ["C2", "D2", "O", "C3", "D7", "I1"])
def test_equals_insertion_under_every_operator(group):
    operators = point_group(group)
    direct = density_of(*sums(operators))
    numerator, weight = (symmetrise(one, operators, RADIUS) for one in sums(operators[:1]))
    mean = density_of(numerator, weight) / symmetry_envelope(BOX, operators)
    inside = soft_sphere(BOX, 8, 1) > 0.5
    error = np.linalg.norm((mean - direct)[inside]) / np.linalg.norm(direct[inside])
    assert error < (5e-3 if group in ("C2", "D2", "O") else 0.05)


@pytest.mark.parametrize("group", ["C2", "C3"])
def test_the_second_envelope_is_that_of_gaussian_sums_too(group):
    operators = point_group(group)
    direct = density_of(*sums(operators, kernel="gaussian"), "gaussian")
    numerator, weight = (symmetrise(one, operators, RADIUS) for one in sums(operators[:1], kernel="gaussian"))
    mean = density_of(numerator, weight, "gaussian") / symmetry_envelope(BOX, operators)
    inside = soft_sphere(BOX, 8, 1) > 0.5
    error = np.linalg.norm((mean - direct)[inside]) / np.linalg.norm(direct[inside])
    assert error < (5e-3 if group == "C2" else 0.05), error


def test_kernel_equals_plain():
    operators = point_group("D3")
    for half in sums(operators[:1], n=30):
        fast, plain = symmetrise(half, operators, RADIUS), symmetrise_plain(half, operators, RADIUS)
        assert np.abs(fast - plain).max() < 1e-4 * np.abs(plain).max()


def test_one_operator_changes_nothing():
    half = sums(point_group("C1"), n=3)[0]
    assert symmetrise(half, point_group("C1"), RADIUS) is half
    assert symmetry_envelope(BOX, point_group("O")) == pytest.approx(np.ones((BOX,) * 3))
