"""The GPU's slicing kernels without a GPU: nvcc compiles them, and a host compiler runs them against plain numpy.

The Python side is tested too: `_slicing_cupy.py` itself runs here, with the stand-in for CuPy of host_cuda.py.
"""
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.ops import _cuda, _slicing_cupy, _slicing_numpy, slicing
from cryosgd_plugin.tests import host_cuda


def test_nvcc_compiles_the_source(tmp_path):
    text = ptx(tmp_path, _slicing_cupy.SOURCES)
    for kernel in ("slice_points", "insert_points", "add_fixed"):
        assert f".entry {kernel}(" in text
    assert "atom.global.add.u64" in text or "red.global.add.u64" in text


def ptx(folder, sources) -> str:
    """What nvcc makes of some .cu files; no kernel may add floats in the order in which threads happen to come."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc of the CUDA toolkit is not on the PATH")
    source, target = folder / "kernels.cu", folder / "kernels.ptx"
    source.write_text(_cuda.source_of(sources), encoding="utf-8")
    # the grid-stride loops, 64-bit atomics and rounding used are those of every GPU that CuPy 13 serves
    done = subprocess.run([nvcc, "-ptx", "-Werror", "all-warnings", "-o", target, source], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    text = target.read_text()
    assert not re.search(r"(atom|red)\.\w+\.add\.f", text)
    return text


@pytest.fixture
def kernels(monkeypatch):
    """`_slicing_cupy` with the host in the place of CuPy, for numpy arrays; insertion adds to them in place."""
    xp = host_cuda.install(monkeypatch)

    def slice_points(*arrays):
        return _slicing_cupy.slice_points(*map(xp.asarray, arrays)).get()

    def insert_points(values, weights, rotations, points, numerator, weight_volume):
        total, weight_total = xp.asarray(numerator), xp.asarray(weight_volume)
        _slicing_cupy.insert_points(*map(xp.asarray, (values, weights, rotations, points)), total, weight_total)
        numerator[...], weight_volume[...] = total.get(), weight_total.get()

    return SimpleNamespace(slice_points=slice_points, insert_points=insert_points)


def hermitian_half(rng, radius=4):
    """A half volume whose plane kx = 0 obeys Friedel, as that of every real density."""
    volume = rng.normal(size=(2 * radius + 4,) * 3).astype(np.float32)
    return slicing.to_half_volume(volume, radius)


def grid_of_cases(radius=4):
    """Rotations onto and off the axes, and points on the axes, on both sides of kx = 0 and on the rim."""
    onto_axes = Rotation.from_euler("zyz", [[0, 0, 0], [90, 0, 0], [0, 180, 0], [180, 90, 90], [0, 90, 0]],
                                    degrees=True).as_matrix().round()
    rotations = np.concatenate([onto_axes, Rotation.random(40, random_state=1).as_matrix()]).astype(np.float32)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = 2 * radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    rng = np.random.default_rng(2)
    inner = rng.uniform(-radius, radius, (60, 2))
    axes = [[0, 0], [0, 1], [0, -3], [0, 2 * radius], [0, -2 * radius], [2 * radius, 0], [-2 * radius, 0], [-1, 0]]
    # 1e-6 inside the rim: rotated in single precision, a point on it may come out beyond
    return rotations, np.concatenate([axes, rim * (1 - 1e-6), inner]).astype(np.float32)


def close(values, expected):
    np.testing.assert_allclose(values, expected, atol=1e-4 * np.abs(expected).max())


def test_slices_equal_numpy(kernels):
    half = hermitian_half(np.random.default_rng(0))
    rotations, points = grid_of_cases()
    values = kernels.slice_points(half, rotations, points)
    assert values.dtype == np.complex64
    close(values, _slicing_numpy.slice_points(half, rotations, points))
    # both signs of kx, and kx exactly 0, came up
    kx = np.einsum("pi,ni->np", points, rotations[:, :2, 0])
    assert (kx < 0).any() and (kx == 0).any() and (kx > 0).any()


def test_insertion_equals_numpy(kernels):
    rng = np.random.default_rng(3)
    half = hermitian_half(rng)
    rotations, points = grid_of_cases()
    shape = len(rotations), len(points)
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    weights = rng.random(shape).astype(np.float32)
    weights[:, ::7], values[:, ::7] = 0, 0
    sums = []
    for insert in (kernels.insert_points, _slicing_numpy.insert_points):
        # into what is there already, not in its place
        numerator, weight = half.copy(), np.ones(half.shape, np.float32)
        insert(values, weights, rotations, points, numerator, weight)
        # rounding decides which of two Friedel mates on the plane kx = 0 a point falls to; together they agree
        sums.append((slicing.hermitian(numerator), slicing.hermitian(weight)))
    close(sums[0][0], sums[1][0])
    close(sums[0][1], sums[1][1])


def test_insertion_is_the_adjoint_of_slicing(kernels):
    rng = np.random.default_rng(4)
    half = hermitian_half(rng)
    rotations, points = grid_of_cases()
    shape = len(rotations), len(points)
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    numerator, weight = np.zeros_like(half), np.zeros(half.shape, np.float32)
    kernels.insert_points(values, np.zeros(shape, np.float32), rotations, points, numerator, weight)
    left = np.vdot(values.astype(complex), kernels.slice_points(half, rotations, points)).real
    assert left == pytest.approx(np.vdot(numerator.astype(complex), half).real, rel=1e-4)
    assert not weight.any()


def test_insertion_does_not_depend_on_the_order_of_the_threads(kernels, monkeypatch):
    rng = np.random.default_rng(5)
    rotations, points = grid_of_cases()
    shape = len(rotations), len(points)
    # seven decades, so that sums of floats would differ
    size = 10.0 ** rng.uniform(-4, 3, shape)
    values = ((rng.normal(size=shape) + 1j * rng.normal(size=shape)) * size).astype(np.complex64)
    sums = []
    for seed in (None, 1, 2):
        monkeypatch.setattr(host_cuda.RawKernel, "shuffle", seed)
        numerator = np.zeros(slicing.half_volume_shape(4), np.complex64)
        weight = np.zeros(numerator.shape, np.float32)
        kernels.insert_points(values, size.astype(np.float32), rotations, points, numerator, weight)
        sums.append((numerator, weight))
    for numerator, weight in sums[1:]:
        np.testing.assert_array_equal(numerator, sums[0][0])
        np.testing.assert_array_equal(weight, sums[0][1])


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_fixed_point_neither_overflows_nor_vanishes(kernels, size):
    """All points on one voxel: the largest sum there can be."""
    rotations = np.repeat(np.eye(3, dtype=np.float32)[None], 500, axis=0)
    points = np.float32([[2, 1]])
    values = np.full((500, 1), (1 - 2j) * size, np.complex64)
    numerator = np.zeros(slicing.half_volume_shape(4), np.complex64)
    weight = np.zeros(numerator.shape, np.float32)
    kernels.insert_points(values, np.full((500, 1), 3 * size, np.float32), rotations, points, numerator, weight)
    voxel = numerator.shape[0] // 2, numerator.shape[1] // 2 + 1, 2
    # 1e-30 is so small that the scale is held within float32
    assert numerator[voxel] == pytest.approx(500 * (1 - 2j) * size, rel=1e-6)
    assert weight[voxel] == pytest.approx(1500 * size, rel=1e-6)
    assert np.count_nonzero(weight) == np.count_nonzero(numerator) == 1


def test_more_points_than_threads(kernels, monkeypatch):
    """Each thread strides on to the points beyond the grid."""
    half = hermitian_half(np.random.default_rng(0))
    rotations, points = grid_of_cases()
    expected = kernels.slice_points(half, rotations, points)
    monkeypatch.setattr(_cuda, "MAX_BLOCKS", 2)
    np.testing.assert_array_equal(kernels.slice_points(half, rotations, points), expected)


def test_nothing_to_insert_changes_nothing(kernels):
    numerator = np.ones(slicing.half_volume_shape(4), np.complex64)
    weight = np.ones(numerator.shape, np.float32)
    rotations, points = grid_of_cases()
    zeros = np.zeros((len(rotations), len(points)), np.complex64)
    kernels.insert_points(zeros, zeros.real.copy(), rotations, points, numerator, weight)
    assert (numerator == 1).all() and (weight == 1).all()


def test_values_that_are_not_finite_are_refused(kernels):
    values = np.full((1, 1), np.nan, np.complex64)
    numerator = np.zeros(slicing.half_volume_shape(4), np.complex64)
    with pytest.raises(ValueError, match="NaN or infinity"):
        kernels.insert_points(values, np.ones((1, 1), np.float32), np.eye(3, dtype=np.float32)[None],
                              np.float32([[1, 0]]), numerator, np.zeros(numerator.shape, np.float32))
