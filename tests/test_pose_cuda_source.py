"""The GPU's kernels for single poses without a GPU: nvcc compiles them, a host compiler runs them against numpy."""
import numpy as np
import pytest

from cryosgd_plugin.ops import _pose_cupy, pose_insert
from cryosgd_plugin.ops.pose_insert import insert_poses
from cryosgd_plugin.ops.pose_score import (
    pose_terms,
    pose_terms_plain,
    shell_power,
    shell_power_plain,
    shell_terms,
    shell_terms_plain,
)
from cryosgd_plugin.ops.slicing import KERNELS, half_volume_shape, hermitian
from cryosgd_plugin.tests import host_cuda
from cryosgd_plugin.tests.test_pose_score import RADIUS, sample  # noqa: F401  (a fixture)
from cryosgd_plugin.tests.test_slicing_cuda_source import ptx

MASS = np.array([1.0, 0.5, 0.3, 2.0, 0.1])
SHUFFLES = (None, 1, 2)


@pytest.fixture
def xp(monkeypatch):
    return host_cuda.install(monkeypatch)


@pytest.fixture
def posed(sample):  # noqa: F811
    """The sample with two poses onto the axes, where points meet nodes and the plane kx = 0, and some points unseen."""
    half, filtered, weight, points, rotations, shifts, image = sample
    onto = np.array([np.eye(3), [[0, 0, -1.0], [0, 1, 0], [1, 0, 0]]])
    filtered, weight = filtered.copy(), weight.copy()
    filtered[:, ::7], weight[:, ::7] = 0, 0
    return half, filtered, weight, points, np.concatenate([onto, rotations[2:]]), shifts, image


def test_nvcc_compiles_the_source(tmp_path):
    text = ptx(tmp_path, _pose_cupy.SOURCES)
    for kernel in ("pose_terms", "shell_terms", "shell_power", "insert_poses", "node_sums"):
        assert f".entry {kernel}(" in text
    # arrays that are indexed at run time would lie in slow memory
    assert ".local" not in text


def on(xp, arguments):
    """The half volume and the images on the GPU, the rest on the host."""
    return (*map(xp.asarray, arguments[:3]), *arguments[3:])


def close(found, expected, share=1e-5):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.abs(found - expected).max() < share * np.abs(expected).max()


def test_terms_equal_plain(xp, posed, monkeypatch):
    exact = pose_terms_plain(*posed)
    for found, expected in zip(pose_terms(*on(xp, posed)), exact):
        close(found, expected)
    # poses in several parts, as where there are many
    monkeypatch.setattr(_pose_cupy, "PARTIAL_NUMBERS", 2 * 21 * _pose_cupy.LANES)
    for found, expected in zip(pose_terms(*on(xp, posed)), exact):
        close(found, expected)


def test_shells_equal_plain(xp, posed, monkeypatch):
    shells = np.rint(np.hypot(*posed[3].T)).astype(int)
    arguments = (*posed[:4], shells, *posed[4:], RADIUS + 1)
    exact = shell_terms_plain(*arguments)
    for found, expected in zip(shell_terms(*on(xp, arguments)), exact):
        close(found, expected)
    monkeypatch.setattr(_pose_cupy, "PARTIAL_NUMBERS", 1)
    for found, expected in zip(shell_terms(*on(xp, arguments)), exact):
        close(found, expected)
    close(shell_power(xp.asarray(posed[1]), shells, RADIUS + 2), shell_power_plain(posed[1], shells, RADIUS + 2))


@pytest.mark.parametrize("kernel", KERNELS)
def test_insertion_equals_plain_and_repeats(xp, posed, kernel, monkeypatch):
    _, filtered, weight, points, rotations, shifts, image = posed
    plain = [np.zeros(half_volume_shape(RADIUS), kind) for kind in (np.complex64, np.float32)]
    pose_insert.insert_poses_plain(filtered, weight, points, rotations, shifts, image, MASS, 2, *plain, kernel)
    sums = []
    for seed in SHUFFLES:
        monkeypatch.setattr(host_cuda.RawKernel, "shuffle", seed)
        sums.append(insert_poses(xp.asarray(filtered), xp.asarray(weight), points, rotations, shifts, image, MASS,
                                 RADIUS, kernel=kernel))
    for part in (0, 1):
        for other in sums[1:]:
            np.testing.assert_array_equal(other[part].get(), sums[0][part].get())
        # rounding decides which of two Friedel mates on the plane kx = 0 a point falls to; together they agree
        close(hermitian(sums[0][part].get()), hermitian(plain[part]))


def test_terms_do_not_depend_on_the_order_of_the_threads(xp, posed, monkeypatch):
    found = []
    for seed in SHUFFLES:
        monkeypatch.setattr(host_cuda.RawKernel, "shuffle", seed)
        found.append(pose_terms(*on(xp, posed)))
    for other in found[1:]:
        for a, b in zip(other, found[0]):
            np.testing.assert_array_equal(a, b)


def test_no_poses(xp, posed):
    half, filtered, weight, points, *_ = posed
    none = np.zeros((0, 3, 3)), np.zeros((0, 2)), np.zeros(0, int)
    scores, slopes, curvatures = pose_terms(*on(xp, (half, filtered, weight, points, *none)))
    assert scores.shape == (0,) and slopes.shape == (0, 5) and curvatures.shape == (0, 5, 5)
    numerator, total = insert_poses(xp.asarray(filtered), xp.asarray(weight), points, *none, np.zeros(0), RADIUS)
    assert not numerator.get().any() and not total.get().any()


def test_images_that_are_not_finite_are_refused(xp, posed):
    _, filtered, weight, points, rotations, shifts, image = posed
    filtered[1, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        insert_poses(xp.asarray(filtered), xp.asarray(weight), points, rotations, shifts, image, MASS, RADIUS)
