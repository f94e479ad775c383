"""What is said of each shell of a map, against simulations whose noise and signal are known."""
import numpy as np
import pytest

from cryosgd_plugin.core.fourier import fft3_centred
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.shells import shell_index_3d
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.refine.images import ImagePreparer
from cryosgd_plugin.engines.refine.maps import solve
from cryosgd_plugin.engines.refine.spectra import coefficients_per_shell, mean_noise, shell_spectra
from cryosgd_plugin.engines.validation.half_maps import half_map_curves
from cryosgd_plugin.ops.pose_insert import insert_poses
from cryosgd_plugin.ops.slicing import hermitian, slice_volume, to_half_volume
from cryosgd_plugin.ops.symmetrise import symmetrise, symmetry_envelope

BOX, RADIUS, N = 48, 20, 2000
SIGMA2 = np.full(BOX // 2 + 1, 3e6)
MASK = soft_sphere(BOX, 17, 2)


def halves_of(volume, kernel="trilinear", group="C1"):
    """(two unregularised half-maps, [weight], [numerator]) of images of a map at known poses, white noise of SIGMA2."""
    rng = np.random.default_rng(4)
    operators = point_group(group)
    points = ImagePreparer(RADIUS, RADIUS, box_size=BOX, pixel_size=1.0, mask_radius_a=17).points
    half, maps, weights = to_half_volume(volume, RADIUS), [], []
    for _ in (0, 1):
        rotations = random_rotations(N, rng)
        images = slice_volume(half, rotations.astype(np.float32), points.astype(np.float32))
        noise = rng.normal(size=images.shape) + 1j * rng.normal(size=images.shape)
        images = images + np.sqrt(SIGMA2[0] / 2) * noise
        sums = insert_poses((images / SIGMA2[0]).astype(np.complex64),
                            np.full(images.shape, 1 / SIGMA2[0], np.float32), points, rotations, np.zeros((N, 2)),
                            np.arange(N), np.ones(N), RADIUS, kernel=kernel)
        numerator, weight = (symmetrise(hermitian(one), operators, RADIUS) for one in sums)
        maps.append(solve(numerator, weight, RADIUS, BOX, kernel=kernel) / symmetry_envelope(BOX, operators))
        weights.append(weight)
    return maps, weights


def power(volume):
    """(shells,) mean |coefficient|²."""
    index = shell_index_3d(BOX).ravel()
    squares = np.abs(fft3_centred(volume)).ravel() ** 2
    return (np.bincount(index, squares) / np.bincount(index))[:RADIUS + 1]


@pytest.mark.parametrize("kernel, group", [("trilinear", "C1"), ("gaussian", "C1"), ("trilinear", "C4"),
                                           ("gaussian", "D2")])
def test_noise_of_the_half_maps_is_foretold(kernel, group):
    maps, weights = halves_of(np.zeros((BOX,) * 3, np.float32), kernel, group)
    spectra = shell_spectra(np.full(BOX // 2 + 1, 0.5), weights, SIGMA2, MASK, RADIUS, len(point_group(group)))
    measured = 0.5 * (power(maps[0] * MASK) + power(maps[1] * MASK))
    ratio = measured / np.maximum(spectra.map_noise, 1e-9)
    # groups of many operators have hardly any independent coefficients in the first shells
    assert ratio[5:19].mean() == pytest.approx(1, abs=0.1), np.round(ratio, 2)
    assert np.all(np.abs(ratio[5:19] - 1) < 0.3), np.round(ratio, 2)


@pytest.mark.parametrize("kernel", ["trilinear", "gaussian"])
def test_signal_and_ratio_are_those_of_the_truth(kernel):
    """A white density within the mask: τ² is the power of its coefficients, the SNR that over the map's noise."""
    truth = (np.random.default_rng(7).normal(size=(BOX,) * 3) * soft_sphere(BOX, 15, 2)).astype(np.float32)
    maps, weights = halves_of(truth, kernel)
    curve = half_map_curves(*maps, MASK, np.random.default_rng(0)).trusted
    spectra = shell_spectra(curve, weights, SIGMA2, MASK, RADIUS)
    noise = 0.5 * sum(power((one - truth) * MASK) for one in maps)
    # below, a masked shell has too few coefficients to tell its FSC by
    band = slice(8, 19)
    assert (spectra.signal[band] / power(truth)[band]).mean() == pytest.approx(1, abs=0.08)
    assert (spectra.snr[band] / (power(truth) / noise)[band]).mean() == pytest.approx(1, abs=0.08)
    assert np.all((spectra.snr[band] > 0.5) & (spectra.snr[band] < 20)), spectra.snr
    # of nearly equal weights in a shell the share is that of the Wiener filter
    assert spectra.data_share[band] == pytest.approx((spectra.snr / (1 + spectra.snr))[band], abs=0.03)
    assert np.all(spectra.completeness[band] > 0.9)
    assert spectra.signal[0] == spectra.snr[0] == spectra.data_share[0] == 0


def test_shares_follow_each_coefficients_weight():
    """Half of the nodes hold three times the weight of the prior, the others none."""
    _, weights = halves_of(np.zeros((BOX,) * 3, np.float32))
    weight = np.zeros_like(weights[0])
    weight[::2] = 2.0 / SIGMA2[0]
    curve = np.full(BOX // 2 + 1, 0.6)
    spectra = shell_spectra(curve, [weight, weight], SIGMA2, MASK, RADIUS)
    # the mean weight is 1, the SNR 1.5, so the prior is 2/3
    assert spectra.snr[5:] == pytest.approx(np.full(RADIUS - 4, 1.5))
    assert spectra.data_share[5:] == pytest.approx(np.full(RADIUS - 4, 0.5 * 2 / (2 + 2 / 3)), rel=0.05)
    assert spectra.completeness[5:] == pytest.approx(np.full(RADIUS - 4, 0.5), rel=0.05)


def test_coefficients_of_a_shell():
    counts = coefficients_per_shell(BOX)
    k = np.arange(-BOX // 2, BOX // 2)
    radius = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k ** 2)).ravel().astype(int)
    assert counts[1:24].tolist() == (np.bincount(radius)[1:24] // 2).tolist()
    assert counts[0] == 1


def test_mean_noise_counts_images_and_leaves_out_unknown_groups():
    noise = np.stack([np.stack([np.full(3, 1.0), np.full(3, np.nan)]), np.stack([np.full(3, 2.0), np.full(3, 6.0)])])
    assert mean_noise(noise, [[2, 0], [1, 1]]) == pytest.approx(np.full(3, 2.5))
