"""Local resolution: a map whose parts are known to different resolutions."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred, ifft3_centred
from cryosgd_plugin.core.shells import fourier_radius_3d
from cryosgd_plugin.engines.validation.local import LocalConfig, local_resolution, outcome, usual_window

BOX, PIXEL = 64, 2.0
FINE_A, COARSE_A = 6.0, 12.0


def low_passed(volume, resolution_a):
    """Nothing beyond a resolution."""
    limit = BOX * PIXEL / resolution_a
    return ifft3_centred(np.where(fourier_radius_3d(BOX) <= limit, fft3_centred(volume), 0), BOX)


@pytest.fixture(scope="module")
def halves():
    """Two noisy copies of random density that ends at 6 Å in the half x < 0 of the box, at 12 Å in the other."""
    rng = np.random.default_rng(0)
    density = rng.standard_normal((BOX,) * 3).astype(np.float32)
    left = (np.arange(BOX) < BOX // 2).astype(np.float32)
    signal = left * low_passed(density, FINE_A) + (1 - left) * low_passed(density, COARSE_A)
    return [signal + 0.3 * rng.standard_normal((BOX,) * 3).astype(np.float32) for _ in range(2)]


def test_each_part_has_its_own_resolution(halves):
    found = local_resolution(*halves, np.ones((BOX,) * 3), LocalConfig(window_a=32.0), pixel_size=PIXEL,
                             resolution_a=6.4)
    inner = found.volume[16:48, 16:48]
    assert np.median(inner[..., 8:22]) == pytest.approx(FINE_A, rel=0.08)
    assert np.median(inner[..., 42:56]) == pytest.approx(COARSE_A, rel=0.12)
    # and it is so everywhere, not on average
    assert np.mean(inner[..., 8:22] < 7.5) > 0.98 and np.mean(inner[..., 42:56] > 9.5) > 0.98


def test_noise_agrees_nowhere():
    rng = np.random.default_rng(1)
    noise = [rng.standard_normal((BOX,) * 3).astype(np.float32) for _ in range(2)]
    found = local_resolution(*noise, np.ones((BOX,) * 3), LocalConfig(), pixel_size=PIXEL, resolution_a=6.4)
    assert np.mean(found.values >= 0.999 * found.coarsest_a) > 0.9


def test_the_same_map_is_resolved_to_the_end():
    density = np.random.default_rng(2).standard_normal((BOX,) * 3).astype(np.float32)
    found = local_resolution(density, density, np.ones((BOX,) * 3), LocalConfig(), pixel_size=PIXEL, resolution_a=6.4)
    assert found.volume == pytest.approx(np.full((BOX,) * 3, found.finest_a), rel=1e-5)
    assert found.finest_a < 2.2 * PIXEL


def test_outside_the_mask_nothing_is_claimed_and_nothing_leaks_in(halves):
    mask = np.zeros((BOX,) * 3, np.float32)
    mask[..., :20] = 1
    found = local_resolution(*halves, mask, LocalConfig(window_a=32.0), pixel_size=PIXEL, resolution_a=6.4)
    assert (found.volume[..., 20:] == np.float32(found.coarsest_a)).all()
    # the noisy part beyond the mask does not blur the border
    assert np.median(found.volume[16:48, 16:48, 17:20]) == pytest.approx(FINE_A, rel=0.1)


@pytest.mark.parametrize("window_a", [4.0, 100.0])
def test_a_window_that_does_not_fit_is_refused(halves, window_a):
    with pytest.raises(InputError, match="give one between 8.0 and 64.0 Å"):
        local_resolution(*halves, np.ones((BOX,) * 3), LocalConfig(window_a=window_a), pixel_size=PIXEL,
                         resolution_a=6.4)


# ---- boxes without room for the usual window
def test_the_usual_window_is_half_the_box_at_most():
    assert usual_window(BOX, PIXEL, 8.0) == 40.0
    assert usual_window(BOX, PIXEL, 24.0) == 64.0
    assert usual_window(BOX, PIXEL, 32.0) == 64.0 and usual_window(BOX, PIXEL, 32.1) is None


def test_a_window_that_the_box_shortened_is_named(halves):
    coarse = [low_passed(half, 16.0) for half in halves]
    mask = np.ones((BOX,) * 3)
    found = local_resolution(*coarse, mask, LocalConfig(), pixel_size=PIXEL, resolution_a=16.0)
    assert found.window_a == 64.0 and found.shortened
    assert np.percentile(found.values, (5, 95)) == pytest.approx(16, abs=1.5)
    assert "no room for 5 times the resolution" in outcome(found, 0.5, 16.0)
    asked = local_resolution(*coarse, mask, LocalConfig(window_a=64.0), pixel_size=PIXEL, resolution_a=16.0)
    assert not asked.shortened and "no room" not in outcome(asked, 0.5, 16.0)
    with pytest.raises(InputError, match="agree to 40.0 Å, of which half the box of 64 px × 2 Å/px, 64 Å, holds less"):
        local_resolution(*coarse, mask, LocalConfig(), pixel_size=PIXEL, resolution_a=40.0)
