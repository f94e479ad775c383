"""Total variation, its smoothed gradient and the soft threshold: numba against numpy, and against differences."""
import numpy as np
import pytest

from cryosgd_plugin.ops import total_variation as tv

SHAPE = (7, 7, 7)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    x, slope = rng.standard_normal((2,) + SHAPE).astype(np.float32)
    weight, limit = rng.random((2,) + SHAPE).astype(np.float32)
    return x, slope, weight, limit


@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_agree_with_numpy(arrays, threads):
    x, slope, weight, limit = arrays
    scale = tv.flux_scale_plain(x, weight, 0.5)
    np.testing.assert_allclose(tv.gradient_norm(x, threads), tv.gradient_norm_plain(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tv.flux_scale(x, weight, 0.5, threads), scale, rtol=1e-5)
    np.testing.assert_allclose(tv.proximal_step(x, slope, scale, 0.3, limit, threads),
                               tv.proximal_step_plain(x, slope, scale, 0.3, limit), rtol=1e-4, atol=1e-5)


def test_products_and_extrapolation_are_those_of_whole_arrays(arrays):
    x, y, z = arrays[0], arrays[1], arrays[2]
    expected = ((x - y) ** 2).sum(), (x ** 2).sum(), ((x - y) * (x - z)).sum()
    for threads in (1, 3):
        np.testing.assert_allclose(tv.step_products(x, y, z, threads), expected, rtol=1e-4)
        out = np.empty_like(x)
        assert tv.extrapolate(x, z, 0.3, threads, out) is out
        np.testing.assert_allclose(out, x + 0.3 * (x - z), atol=1e-6)


@pytest.mark.parametrize("mu", [0.1, 1.0, 10.0])
def test_the_step_goes_down_the_gradient_of_the_weighted_variation(arrays, mu):
    """The weight lies inside the divergence: paper 3's eq. 20 would fail here."""
    x, _, weight, _ = (array.astype(np.float64) for array in arrays)
    nothing = np.zeros_like(x)
    gradient = x - tv.proximal_step_plain(x, nothing, tv.flux_scale_plain(x, weight, mu), 1.0, nothing)
    rng = np.random.default_rng(1)
    for _ in range(5):
        way = rng.standard_normal(x.shape)
        ahead, behind = (tv.smoothed_variation(x + sign * 1e-5 * way, weight, mu) for sign in (1, -1))
        assert (gradient * way).sum() == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)


def test_a_constant_map_has_no_variation():
    assert tv.smoothed_variation(np.full(SHAPE, 3, np.float32), np.ones(SHAPE, np.float32), 0.1) == 0
    assert not tv.gradient_norm(np.full(SHAPE, 3, np.float32)).any()


def test_smoothing_takes_half_of_mu_from_steep_places():
    x = np.zeros(SHAPE, np.float32)
    x[:, :, 3:] = 5
    assert tv.smoothed_variation(x, np.ones(SHAPE), 0.2) == pytest.approx(49 * (5 - 0.1))


def test_the_threshold_shrinks_and_cuts():
    x = np.array([-2, -0.3, 0, 0.3, 2], np.float32)
    x = np.broadcast_to(x, (5, 5, 5)).copy()
    nothing, ones = np.zeros_like(x), np.ones_like(x)
    found = tv.proximal_step(x, nothing, nothing, 0.5, ones)
    np.testing.assert_allclose(found[0, 0], [-1.5, 0, 0, 0, 1.5])
