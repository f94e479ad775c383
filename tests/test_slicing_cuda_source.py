"""The GPU's slicing kernels without a GPU: nvcc compiles them, and a host compiler runs them against plain numpy.

The Python side is tested too: `_slicing_cupy.py` itself runs here, with a module in the place of CuPy that holds numpy
arrays and launches the kernels on the host (tests/data/cuda_on_host.cpp).
"""
import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.ops import _slicing_numpy, slicing

OPS = Path(slicing.__file__).parent
SOURCE = OPS / "_slicing.cu"
HOST = Path(__file__).parent / "data" / "cuda_on_host.cpp"
SCALARS = {"int": np.int32, "long long": np.int64, "float": np.float32, "double": np.float64}
ELEMENTS = {"float2": np.complex64, "float": np.float32, "unsigned long long": np.uint64}
C_TYPES = {np.int32: ctypes.c_int, np.int64: ctypes.c_longlong, np.float32: ctypes.c_float, np.float64: ctypes.c_double}


def test_nvcc_compiles_the_source(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc of the CUDA toolkit is not on the PATH")
    ptx = tmp_path / "slicing.ptx"
    # the grid-stride loops, 64-bit atomics and rounding used are those of every GPU that CuPy 13 serves
    done = subprocess.run([nvcc, "-ptx", "-Werror", "all-warnings", "-o", ptx, SOURCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = ptx.read_text()
    for kernel in ("slice_points", "insert_points", "add_fixed"):
        assert f".entry {kernel}(" in text
    assert "atom.global.add.u64" in text or "red.global.add.u64" in text
    # sums of floats would depend on the order of the threads
    assert not re.search(r"(atom|red)\.\w+\.add\.f", text)


class HostKernel:
    """In the place of cupy.RawKernel: checks the arguments against the kernel's C signature, then runs every thread."""

    library = None
    shuffle = None

    def __init__(self, source, name):
        signature = re.search(rf"__global__ void {name}\((.*?)\)", source, re.S).group(1)
        self.types = [" ".join(re.sub(r"\bconst\b|\w+$", "", part.strip()).split()) for part in signature.split(",")]
        self.run = getattr(self.library, "host_" + name)

    def __call__(self, grid, block, arguments):
        assert len(arguments) == len(self.types)
        count = grid[0] * block[0]
        order = np.arange(count) if self.shuffle is None else np.random.default_rng(self.shuffle).permutation(count)
        passed = [self._convert(kind, value) for kind, value in zip(self.types, arguments)]
        self.run(ctypes.c_void_p(order.ctypes.data), ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]), *passed)

    @staticmethod
    def _convert(kind, value):
        if kind.endswith("*"):
            assert value.dtype == ELEMENTS[kind[:-1].strip()] and value.flags.c_contiguous
            return ctypes.c_void_p(value.ctypes.data)
        assert type(value) is SCALARS[kind], f"{value!r} for {kind}"
        return C_TYPES[SCALARS[kind]](value)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++ or clang++) is on the PATH")
    path = tmp_path_factory.mktemp("cuda") / "slicing.so"
    done = subprocess.run([compiler, "-std=c++11", "-O1", "-shared", "-fPIC", f"-I{OPS}", "-o", path, HOST],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(path))


@pytest.fixture
def kernels(library, monkeypatch):
    """`_slicing_cupy` with the host in the place of CuPy."""
    module = types.ModuleType("cupy")
    for name in ("empty", "zeros", "ascontiguousarray", "abs", "complex64", "float32", "float64", "uint64"):
        setattr(module, name, getattr(np, name))
    module.RawKernel = HostKernel
    module.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDevice=lambda: 0))
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(HostKernel, "library", library)
    spec = importlib.util.spec_from_file_location("slicing_cupy_on_host", OPS / "_slicing_cupy.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


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
        monkeypatch.setattr(HostKernel, "shuffle", seed)
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
    monkeypatch.setattr(kernels, "MAX_BLOCKS", 2)
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
