"""Centred transforms, mass-keeping resampling and shifts, for even and odd boxes."""
import numpy as np
import pytest

from cryosgd_plugin.core import fourier
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.shells import friedel_weights

BOXES = [(15, 16), (16, 18), (15, 19), (16, 17), (12, 24), (13, 27), (16, 16), (15, 15)]


def gaussian_image(box, pixel_size, at_a=(0.0, 0.0), width_a=12.0):
    y, x = (np.indices((box, box)) - box // 2) * pixel_size
    return np.exp(-((x - at_a[0]) ** 2 + (y - at_a[1]) ** 2) / (2 * width_a**2)).astype(np.float32)


@pytest.mark.parametrize("box", [16, 17])
def test_transforms_are_the_written_out_sums_about_the_centre(box):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(box, box)).astype(np.float32)
    at = np.arange(box) - box // 2
    frequency = np.fft.fftfreq(box)
    wave = np.exp(-2j * np.pi * np.outer(frequency, at))
    expected = wave @ image @ wave[: box // 2 + 1].T * 1.0
    if box % 2 == 0:  # fftfreq calls the last kx −1/2, the half transform +1/2: the same coefficient
        expected[:, -1] = wave @ image @ np.exp(-1j * np.pi * at)
    given = fourier.fft2_centred(image)
    assert given.shape == (box, box // 2 + 1) and given.dtype == np.complex64
    assert np.abs(given - expected).max() < 1e-4
    assert np.abs(fourier.ifft2_centred(given) - image).max() < 1e-5
    volume = rng.normal(size=(box,) * 3).astype(np.float32)
    third = np.einsum("az,zyx,by,cx->abc", wave, volume, wave, wave[: box // 2 + 1], optimize=True)
    given = fourier.fft3_centred(volume)
    assert np.abs(given - third)[..., : (box + 1) // 2].max() < 1e-3 and given.dtype == np.complex64
    back = fourier.ifft3_centred(given)
    assert np.abs(back - volume).max() < 1e-5 and back.dtype == np.float32


@pytest.mark.parametrize("box", [16, 17])
def test_a_centred_impulse_has_coefficients_of_one(box):
    image = np.zeros((3, box, box), np.float32)
    image[:, box // 2, box // 2] = 1
    assert np.abs(fourier.fft2_centred(image) - 1).max() < 1e-6
    volume = np.zeros((box,) * 3, np.float32)
    volume[(box // 2,) * 3] = 1
    assert np.abs(fourier.fft3_centred(volume) - 1).max() < 1e-6


@pytest.mark.parametrize("box", [16, 17])
def test_parseval_with_friedel_weights(box):
    images = np.random.default_rng(1).normal(size=(4, box, box)).astype(np.float32)
    power = (np.abs(fourier.fft2_centred(images)) ** 2 * friedel_weights(box)).sum(axis=(1, 2))
    assert power == pytest.approx(box * box * (images**2).sum(axis=(1, 2)), rel=1e-5)


def test_white_noise_has_the_spectrum_of_the_conventions():
    images = np.random.default_rng(2).normal(scale=0.7, size=(400, 24, 24)).astype(np.float32)
    power = (np.abs(fourier.fft2_centred(images)) ** 2).mean(axis=0)
    assert power.mean() == pytest.approx(24 * 24 * 0.49, rel=0.01)


@pytest.mark.parametrize("small, large", BOXES)
def test_crop_undoes_pad(small, large):
    rng = np.random.default_rng(3)
    images = fourier.fft2_centred(rng.normal(size=(2, small, small)).astype(np.float32))
    volume = fourier.fft3_centred(rng.normal(size=(small,) * 3).astype(np.float32))
    padded, padded_volume = fourier.pad_rfft2(images, large), fourier.pad_rfft3(volume, large)
    assert padded.shape == (2, large, large // 2 + 1) and padded_volume.shape == (large, large, large // 2 + 1)
    assert np.abs(fourier.crop_rfft2(padded, small) - images).max() < 1e-4
    assert np.abs(fourier.crop_rfft3(padded_volume, small) - volume).max() < 1e-3


@pytest.mark.parametrize("small, large", BOXES)
def test_padded_and_cropped_coefficients_are_of_real_images(small, large):
    """The inverse transform ignores what is not Hermitian, so transforming back and forth shows it."""
    rng = np.random.default_rng(4)
    little, big = (fourier.fft2_centred(rng.normal(size=(box, box)).astype(np.float32)) for box in (small, large))
    for coefficients in (fourier.pad_rfft2(little, large), fourier.crop_rfft2(big, small)):
        again = fourier.fft2_centred(fourier.ifft2_centred(coefficients))
        assert np.abs(again - coefficients).max() < 1e-4
    volume = fourier.crop_rfft3(fourier.fft3_centred(rng.normal(size=(large,) * 3).astype(np.float32)), small)
    assert np.abs(fourier.fft3_centred(fourier.ifft3_centred(volume)) - volume).max() < 1e-3


@pytest.mark.parametrize("small, large", [(32, 48), (33, 48), (32, 49), (33, 45)])
def test_resampling_keeps_mass_centre_and_shape(small, large):
    """A smooth image sampled coarsely and resampled equals the same image sampled finely, per Å²."""
    field = 200.0  # Å
    coarse, fine = gaussian_image(small, field / small, (10, -6)), gaussian_image(large, field / large, (10, -6))
    up = fourier.resample_images(coarse, large)
    density = (large / small) ** 2  # mass per pixel falls as pixels shrink
    assert up.dtype == np.float32 and np.abs(up * density - fine).max() < 2e-3
    down = fourier.resample_images(np.stack([fine, 2 * fine]), small)
    assert np.abs(down[1] / density - 2 * coarse).max() < 4e-3
    assert up.sum() == pytest.approx(coarse.sum(), rel=1e-5) and down[0].sum() == pytest.approx(fine.sum(), rel=1e-5)
    line = np.exp(-((np.arange(small) - small // 2) * field / small) ** 2 / 288)
    volume = (line[:, None, None] * line[:, None] * line).astype(np.float32)
    resampled = fourier.resample_volume(volume, large)
    assert resampled.shape == (large,) * 3 and resampled.sum() == pytest.approx(volume.sum(), rel=1e-5)
    assert np.unravel_index(resampled.argmax(), resampled.shape) == (large // 2,) * 3


def test_cropping_equals_sampling_a_band_limited_image_even_at_nyquist():
    """A cosine at exactly the Nyquist frequency of the small box, along x, y and the diagonal."""
    for along in ((1, 0), (0, 1), (1, 1), (1, -1)):
        y, x = np.indices((24, 24)) - 12
        fine = np.cos(2 * np.pi * 4 * (along[0] * x + along[1] * y) / 24).astype(np.float32)
        down = fourier.resample_images(fine, 8)
        assert np.abs(down / 9 - fine[::3, ::3]).max() < 1e-5


@pytest.mark.parametrize("box", [16, 17])
def test_frequencies_in_inverse_angstroms(box):
    kx, ky = fourier.frequencies_2d(box, 2.5)
    assert kx.shape == ky.shape == (box, box // 2 + 1) and kx.dtype == ky.dtype == np.float32
    assert kx[0, 3] == pytest.approx(3 / (box * 2.5)) and ky[3, 0] == pytest.approx(3 / (box * 2.5))
    assert ky[-1, 0] == pytest.approx(-1 / (box * 2.5)) and kx.min() == 0
    assert kx.max() == pytest.approx((box // 2) / (box * 2.5))


@pytest.mark.parametrize("box", [48, 49])
def test_shift_phases_move_an_image_by_the_shift(box):
    pixel_size, shift = 2.0, (13.0, -7.0)
    kx, ky = fourier.frequencies_2d(box, pixel_size)
    still = gaussian_image(box, pixel_size, width_a=6.0)
    moved = fourier.fft2_centred(still) * fourier.shift_phases(kx, ky, [shift, (0.0, 0.0)])
    images = fourier.ifft2_centred(moved, box)
    assert np.abs(images[0] - gaussian_image(box, pixel_size, shift, width_a=6.0)).max() < 1e-4
    assert np.abs(images[1] - still).max() < 1e-5
    far = fourier.shift_phases(kx, ky, np.array([[box * pixel_size * 1000.0, 0.0]]))
    assert far.dtype == np.complex64 and np.abs(far[0, :, 1] - 1).max() < 2e-3  # whole boxes are no shift


def test_wrong_shapes_and_directions_are_refused():
    images = fourier.fft2_centred(np.zeros((8, 8), np.float32))
    with pytest.raises(InputError, match="can't crop a box of 8 px to 10"):
        fourier.crop_rfft2(images, 10)
    with pytest.raises(InputError, match="can't pad a box of 8 px to 6"):
        fourier.pad_rfft2(images, 6)
    with pytest.raises(InputError, match="no half transform"):
        fourier.crop_rfft2(np.zeros((8, 8), np.complex64), 4)
    with pytest.raises(InputError, match="no equal sides"):
        fourier.resample_images(np.zeros((8, 6), np.float32), 4)
