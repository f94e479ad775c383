"""Shells, FSC and the resolutions read from it."""
import numpy as np
import pytest

from cryosgd_plugin.core import fourier, shells
from cryosgd_plugin.core.errors import InputError


@pytest.mark.parametrize("box", [16, 17])
def test_shell_indices(box):
    index = shells.shell_index_3d(box)
    assert index.shape == (box, box, box // 2 + 1) and index.dtype == np.int32
    assert index[0, 0, 0] == 0 and index[0, 0, 3] == 3 and index[-2, 0, 0] == 2 and index[2, -2, 1] == 3
    assert index.max() == box // 2 + 1  # corners belong to no shell
    flat = shells.shell_index_2d(box)
    assert np.array_equal(flat, index[0]) and flat.shape == (box, box // 2 + 1)
    full = np.hypot(*np.meshgrid(np.fft.fftfreq(box) * box, np.fft.fftfreq(box) * box))
    counts = np.bincount(np.rint(full).astype(int).ravel())[: box // 2 + 1]
    weighted = np.bincount(flat.ravel(), weights=np.tile(shells.friedel_weights(box), (box, 1)).ravel())[: box // 2 + 1]
    assert np.array_equal(counts, weighted)  # half transform with Friedel weights = full transform


def test_radial_average_of_a_radial_function():
    index = shells.shell_index_2d(32)
    values = np.stack([index.astype(float) ** 2, 3.0 + 0 * index])
    means = shells.radial_average(values, index, 17)
    assert means.shape == (2, 17) and means[0] == pytest.approx(np.arange(17.0) ** 2) and means[1] == pytest.approx(3.0)
    assert shells.radial_average(values[0], index, 17) == pytest.approx(means[0])
    assert shells.radial_average(index.astype(float), index, 40)[30] == 0  # an empty shell


def test_power_spectrum_of_white_noise_and_of_a_wave():
    rng = np.random.default_rng(2)
    images = 0.5 * rng.normal(size=(200, 16, 16))
    # σ² per raw coefficient is the variance times the number of pixels
    assert shells.power_spectrum(images) == pytest.approx(0.25 * 16 ** 2, rel=0.15)
    wave = np.broadcast_to(np.cos(2 * np.pi * 3 * np.arange(12) / 12), (1, 12, 12, 12))
    power = shells.power_spectrum(wave)
    assert np.argmax(power) == 3 and power[3] > 1e6 * max(power[2], power[4])
    np.testing.assert_allclose(shells.power_spectrum(images[:2]), (shells.power_spectrum(images[:1]) +
                                                                  shells.power_spectrum(images[1:2])) / 2)


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("half_plane", [False, True])
def test_fsc_of_known_signal_and_noise(box, half_plane):
    """Two copies of a map of power S with noise of power N: FSC = S / (S + N) in every shell."""
    rng = np.random.default_rng(0)
    index = shells.shell_index_3d(box)
    ratio = np.linspace(4.0, 0.1, box // 2 + 2)
    white = fourier.fft3_centred(rng.normal(size=(box,) * 3))
    signal = fourier.ifft3_centred(white * np.sqrt(ratio)[index].astype(np.float32))
    first, second = (signal + rng.normal(size=signal.shape) for _ in range(2))
    curve = shells.fsc(first, second, half_plane=half_plane)
    assert curve.shape == (box // 2 + 1,)
    expected = (ratio / (ratio + 1))[: box // 2 + 1]
    counts = np.bincount(index.ravel())[: box // 2 + 1]
    assert np.all(np.abs(curve - expected)[2:] < 5 / np.sqrt(counts[2:]))
    assert np.abs(curve - expected)[8:].max() < 0.1


def test_fsc_limits():
    rng = np.random.default_rng(1)
    volume = rng.normal(size=(24, 24, 24)).astype(np.float32)
    assert shells.fsc(volume, volume) == pytest.approx(1.0) and shells.fsc(volume, -3 * volume) == pytest.approx(-1.0)
    noise = shells.fsc(volume, rng.normal(size=volume.shape))
    assert np.abs(noise[4:]).max() < 0.2  # thousands of independent coefficients
    assert np.array_equal(shells.fsc(volume, 0 * volume), np.zeros(13))


def test_fsc_counts_the_full_plane_as_a_full_transform_does():
    rng = np.random.default_rng(2)
    signal = rng.normal(size=(15, 15, 15))
    a, b = signal + rng.normal(size=signal.shape), signal + rng.normal(size=signal.shape)
    centred_a, centred_b = (np.fft.fftn(np.fft.ifftshift(v)) for v in (a, b))
    axis = np.fft.fftfreq(15) * 15
    shell = np.rint(np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)).astype(int)
    cross, power_a, power_b = centred_a * centred_b.conj(), np.abs(centred_a) ** 2, np.abs(centred_b) ** 2
    full = [cross[shell == s].sum().real / np.sqrt(power_a[shell == s].sum() * power_b[shell == s].sum())
            for s in range(8)]
    assert shells.fsc(a, b) == pytest.approx(full, abs=1e-6)
    assert np.abs(shells.fsc(a, b, half_plane=True) - full)[1:3].max() > 1e-4


def test_fsc_mask_and_shapes():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 16, 16, 16))
    inside = np.zeros((16, 16, 16), np.float32)
    inside[4:12, 4:12, 4:12] = 1
    common = np.where(inside, a, b)
    assert shells.fsc(a, common, mask=inside) == pytest.approx(1.0)
    assert shells.fsc(a, common)[3:].max() < 0.9
    with pytest.raises(InputError, match="give two cubes of one box"):
        shells.fsc(a, b[:8, :8, :8])
    with pytest.raises(InputError, match="resample the mask to 16 px"):
        shells.fsc(a, b, mask=inside[:8])


def test_shell_resolution():
    resolution = shells.shell_resolution(64, 2.0)
    assert np.isinf(resolution[0]) and resolution[1] == 128.0 and resolution[-1] == 4.0 and len(resolution) == 33
    assert shells.shell_resolution(65, 2.0)[-1] == pytest.approx(130 / 32)


def test_crossing_resolution():
    curve = np.array([0.0, 1.0, 0.9, 0.8, 0.6, 0.4, 0.1, 0.6, 0.0])  # shell 0 is ignored, the later bump too
    assert shells.crossing_resolution(curve, 0.5, 16, 2.0) == pytest.approx(32 / 4.5)
    assert shells.crossing_resolution(curve, 0.143, 16, 2.0) == pytest.approx(32 / (5 + (0.4 - 0.143) / 0.3))
    assert shells.crossing_resolution(np.ones(9), 0.143, 16, 2.0) == 4.0  # never below: Nyquist
    assert np.isinf(shells.crossing_resolution(np.full(9, 0.1), 0.143, 16, 2.0))  # never above
    exact = np.array([1, 1, 0.5, 0.2, 0.1, 0, 0, 0, 0])
    assert shells.crossing_resolution(exact, 0.5, 16, 2.0) == pytest.approx(16.0)
    assert shells.crossing_resolution(np.ones(9), 0.5, 17, 2.0) == 4.0
