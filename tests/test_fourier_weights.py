"""What Fourier coefficients weigh, from sums or from two halves: one over the variance that noise really has."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred
from cryosgd_plugin.core.shells import shell_index_3d
from cryosgd_plugin.engines.sparse_tv.weights import weights_of_halves, weights_of_sums
from cryosgd_plugin.ops.slicing import half_volume_shape
from cryosgd_plugin.tests.test_spectra import BOX, RADIUS, halves_of


@pytest.mark.parametrize("kernel", ["trilinear", "gaussian"])
def test_noise_of_a_reconstruction_has_the_variance_that_its_weights_say(kernel):
    maps, weights = halves_of(np.zeros((BOX,) * 3, np.float32), kernel)
    shells = shell_index_3d(BOX)
    products = []
    for volume, weight in zip(maps, weights):
        power = np.abs(fft3_centred(volume)) ** 2 / BOX ** 3
        products.append(power * weights_of_sums(weight, BOX, RADIUS))
    mean = np.bincount(shells.ravel(), np.mean(products, axis=0).ravel()) / np.bincount(shells.ravel())
    assert mean[4:19].mean() == pytest.approx(1, abs=0.15), np.round(mean[:22], 2)


def test_sums_of_ones_and_of_one_node():
    shape = half_volume_shape(8)
    found = weights_of_sums(np.ones(shape, np.float32), 20, 8, n_operators=3)
    shells = shell_index_3d(20)
    assert np.allclose(found[shells < 8], 8 * 3 * 20 ** 3) and not found[shells > 8].any()
    one = np.zeros(shape, np.float32)
    centre = shape[0] // 2
    # node (z, y, x) = (4, −6, 2) in padded pixels is (2, −3, 1) in those of the box
    one[centre + 4, centre - 6, 2] = 1
    found = weights_of_sums(one, 20, 8)
    assert found[2, -3, 1] == 20 ** 3 and found.sum() == 20 ** 3
    # a node between two coefficients belongs to both by half, also across kx = 0
    one = np.zeros(shape, np.float32)
    one[centre + 4, centre, 1] = one[centre - 4, centre, 1] = 1
    found = weights_of_sums(one, 20, 8)
    assert found[2, 0, 0] == found[-2, 0, 0] == 20 ** 3 and found[2, 0, 1] == 0.5 * 20 ** 3


def test_halves_alone_tell_the_noise_of_each_shell():
    rng = np.random.default_rng(0)
    shells = np.minimum(shell_index_3d(BOX), BOX // 2)
    level = 1 + shells / 10
    halves = []
    signal = np.fft.rfftn(rng.standard_normal((BOX,) * 3))
    for _ in range(2):
        raw = signal + np.fft.rfftn(rng.standard_normal((BOX,) * 3)) * np.sqrt(level)
        halves.append(np.fft.fftshift(np.fft.irfftn(raw, (BOX,) * 3)).astype(np.float32))
    found = weights_of_halves(*halves)
    mean = np.bincount(shells.ravel(), found.ravel()) / np.bincount(shells.ravel())
    assert mean[4:-1] == pytest.approx(1 / (1 + np.arange(BOX // 2 + 1) / 10)[4:-1], rel=0.2)
    assert not found[shell_index_3d(BOX) >= BOX // 2].any()


def test_shells_that_maps_do_not_reach_weigh_nothing():
    """A refinement's maps end before the last shells, but for what a mask or rounding leaks there."""
    rng = np.random.default_rng(0)
    shells = shell_index_3d(BOX)
    halves = []
    for _ in range(2):
        raw = np.fft.rfftn(rng.standard_normal((BOX,) * 3)) * np.where(shells > 15, 1e-3, 1)
        halves.append(np.fft.irfftn(raw, (BOX,) * 3).astype(np.float32))
    found = weights_of_halves(*halves)
    assert not found[shells > 15].any() and np.all(found[shells <= 15] > 0.2)
    assert found.max() < 5


def test_equal_halves_are_refused():
    volume = np.random.default_rng(0).standard_normal((BOX,) * 3).astype(np.float32)
    with pytest.raises(InputError, match="half-maps are equal"):
        weights_of_halves(volume, volume)
