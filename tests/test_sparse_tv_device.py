"""The sparse + total-variation map on a GPU's arrays, without a GPU, and the memory that its solver takes as foretold.

The array operations are those that CuPy would run, with a module in its place that is as strict (host_cuda.py).
"""
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.backend import array_module, to_host
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.engines.sparse_tv.config import METHODS, SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.memory import FFT_HALVES, check_gpu_memory, solver_memory_gb
from cryosgd_plugin.engines.sparse_tv.of_halves import regularise_halves
from cryosgd_plugin.engines.sparse_tv.problem import FourierData
from cryosgd_plugin.engines.sparse_tv.solver import objective, sparse_tv_map, step_after_wiener
from cryosgd_plugin.ops import _total_variation_numba
from cryosgd_plugin.ops import total_variation as tv
from cryosgd_plugin.tests import host_cuda
from cryosgd_plugin.tests.abinitio_samples import PIXEL, density
from cryosgd_plugin.tests.test_sparse_tv import error, sample

CONFIG = SparseTVConfig(alpha=0.2, beta=0.4, gamma=0.1, iterations=10, reweightings=2)


@pytest.fixture
def cupy(monkeypatch):
    return host_cuda.install(monkeypatch)


def on_device(data, xp):
    return FourierData(*(xp.asarray(one) for one in (data.volume, data.weight, data.prior)))


def test_the_stand_in_refuses_what_cupy_refuses(cupy):
    x = cupy.asarray(np.ones((4, 4, 4), np.float32))
    assert array_module(x) is cupy and array_module(to_host(x)) is np
    for wrong in (lambda: np.asarray(x), lambda: x + np.ones((4, 4, 4), np.float32), lambda: np.linalg.norm(x),
                  lambda: np.add.reduce(x), lambda: cupy.sqrt(to_host(x)), lambda: x * np.float64(2),
                  lambda: x.__setitem__(0, np.ones((4, 4), np.float32)),
                  lambda: _total_variation_numba.gradient_norm(x, 1)):
        with pytest.raises(TypeError):
            wrong()
    assert type(x.sum()) is host_cuda.Array and float((2 * x + np.float32(1)).sum()) == 192


def test_its_steps_equal_the_kernels(cupy):
    rng = np.random.default_rng(0)
    x, slope, before = rng.standard_normal((3, 9, 9, 9)).astype(np.float32)
    weight, limit = rng.random((2, 9, 9, 9)).astype(np.float32)
    dx, dslope, dbefore, dweight, dlimit = (cupy.asarray(one) for one in (x, slope, before, weight, limit))
    scale, dscale = tv.flux_scale(x, weight, 0.5), tv.flux_scale(dx, dweight, 0.5)
    for found, expected in ((tv.gradient_norm(dx), tv.gradient_norm(x)), (dscale, scale),
                            (tv.proximal_step(dx, dslope, dscale, 0.3, dlimit),
                             tv.proximal_step(x, slope, scale, 0.3, limit)),
                            (tv.extrapolate(dx, dbefore, 0.3), tv.extrapolate(x, before, 0.3))):
        assert type(found) is host_cuda.Array and found.dtype == np.float32
        np.testing.assert_allclose(found.get(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tv.step_products(dx, dslope, dbefore), tv.step_products(x, slope, before), rtol=1e-4)
    assert tv.smoothed_variation(dx, dweight, 0.5) == pytest.approx(tv.smoothed_variation(x, weight, 0.5), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("convex", [False, True])
def test_its_map_equals_the_cpus(cupy, method, convex):
    _, data = sample()
    config = replace(CONFIG, method=method, convex=convex)
    on_cpu = step_after_wiener(data, config, epsilon=0.3)
    there = on_device(data, cupy)
    found = step_after_wiener(there, config, epsilon=0.3)
    assert type(found.volume) is host_cuda.Array and found.volume.dtype == np.float32
    assert error(found.volume.get(), on_cpu.volume) < 1e-4
    assert found.gap == pytest.approx(on_cpu.gap, rel=1e-2) and found.zeros == pytest.approx(on_cpu.zeros, abs=1e-3)
    assert found.variation == pytest.approx(on_cpu.variation, rel=1e-3)
    assert objective(there, found.strengths, found.volume) == pytest.approx(
        objective(data, on_cpu.strengths, on_cpu.volume), rel=1e-4)


def test_halves_may_be_solved_for_on_a_device(cupy):
    rng = np.random.default_rng(0)
    halves = [(density() + 0.1 * rng.standard_normal((24,) * 3)).astype(np.float32) for _ in range(2)]
    common = dict(pixel_size=PIXEL, diameter_a=140.0, chosen=False)
    on_cpu, found = (regularise_halves(*halves, CONFIG, xp=xp, **common) for xp in (np, cupy))
    for one, other in zip([*on_cpu.halves, on_cpu.both], [*found.halves, found.both]):
        assert isinstance(other.volume, np.ndarray)
        assert error(other.volume, one.volume) < 1e-3
    np.testing.assert_allclose(found.regularised, on_cpu.regularised, atol=1e-3)


# ---- memory
@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_solver_takes_the_memory_that_is_foretold(cupy, on_gpu):
    """At its most, what numpy allocates; cuFFT's own is foretold, and not measured here."""
    box = 48
    _, data = sample(box=box)
    prior = np.full_like(data.weight, 0.1)
    # kernels and modules first
    sparse_tv_map(data, CONFIG, epsilon=0.3)
    given = [np.copy(one) for one in (data.volume, data.weight, prior)]
    del data
    tracemalloc.start()
    try:
        arrays = [cupy.asarray(one) if on_gpu else np.copy(one) for one in given]
        step_after_wiener(FourierData(*arrays), CONFIG, epsilon=0.3)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    foretold = 1e9 * solver_memory_gb(box, on_gpu) - 8 * FFT_HALVES * on_gpu * box ** 2 * (box // 2 + 1)
    assert taken == pytest.approx(foretold, rel=0.03)


def test_maps_of_512_px_fit_a_gpu_of_16_gb():
    # the driver and CuPy keep half a GB for themselves
    assert 8 < solver_memory_gb(512, on_gpu=True) < 15
    assert solver_memory_gb(512) < solver_memory_gb(512, on_gpu=True)


def test_a_gpu_with_too_little_free_memory_is_refused_before_it_is_used(monkeypatch):
    check_gpu_memory(512, host_cuda.install(monkeypatch, memory_gb=15))
    with pytest.raises(InputError, match="a sparse and smooth map of 512 px takes about .* GB of a GPU, and 8.0 GB of "
                                         "this one are free"):
        check_gpu_memory(512, host_cuda.install(monkeypatch, memory_gb=8))
