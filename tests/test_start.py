"""Starting maps: random ones, and a user's map brought to the working box."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred
from cryosgd_plugin.core.masks import distance_from_centre
from cryosgd_plugin.core.shells import radial_average, shell_index_3d
from cryosgd_plugin.engines.abinitio.start import map_start, perturbed_starts, random_start, random_starts

DIAMETER = 110.0
BLOBS = np.array([[0, 0, -30], [28, 0, -8], [-15, 24, 10], [5, -20, 28.0]])
WORK = dict(box_size=24, box_pixel_size=8.0, diameter_a=DIAMETER, resolution_a=30.0)


def blobs(box, pixel, width=9.0):
    axis = (np.arange(box) - box // 2) * pixel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return sum(np.exp(-((x - b[0]) ** 2 + (y - b[1]) ** 2 + (z - b[2]) ** 2) / (2 * width ** 2))
               for b in BLOBS).astype(np.float32)


def inside(box, pixel):
    return distance_from_centre(box, 3) * pixel <= DIAMETER / 2


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("kind", ["spheres", "noise"])
@pytest.mark.parametrize("box", [24, 25])
def test_random_starts_fill_the_particle(kind, box):
    starts = random_starts(kind, 3, box, 14.0, np.random.default_rng(0))
    ball = distance_from_centre(box, 3) <= 7
    assert starts.shape == (3, box, box, box) and starts.dtype == np.float32
    assert starts.min() >= 0 and not starts[:, ~ball].any()
    assert starts[:, ball].mean(axis=1) == pytest.approx(np.ones(3), rel=1e-4)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert correlation(starts[a][ball], starts[b][ball]) < 0.7
    # one class begins as ever: the seed alone settles the map
    assert np.array_equal(starts[0], random_start(kind, box, 14.0, np.random.default_rng(0)))
    with pytest.raises(InputError, match="start 'cube' is unknown"):
        random_start("cube", box, 14.0, np.random.default_rng(0))


@pytest.mark.parametrize("box, pixel", [(96, 2.0), (60, 3.0), (61, 2.5), (50, 5.5), (24, 8.0)])
def test_a_map_of_any_box_and_pixel_size_gives_the_same_start(box, pixel):
    """The blobs blurred by the low-pass, as the finest sampling has them, whatever was cut off or is missing."""
    reference = map_start(blobs(128, 1.5), 1.5, **WORK)
    start = map_start(7.5 + 40 * blobs(box, pixel), pixel, **WORK)
    assert start.shape == (24,) * 3 and start.dtype == np.float32
    assert start.min() >= 0 and start[inside(24, 8.0)].mean() == pytest.approx(1, rel=1e-4)
    assert not start[distance_from_centre(24, 3) * 8.0 > DIAMETER / 2 * 1.1 + 8].any()
    np.testing.assert_allclose(start, reference, atol=0.05 * reference.max())
    # in place: the blobs themselves, nearly
    assert correlation(start, blobs(24, 8.0)) > 0.95


def test_odd_working_boxes_keep_the_centre():
    start = map_start(blobs(64, 3.0), 3.0, **{**WORK, "box_size": 25})
    assert correlation(start, blobs(25, 8.0)) > 0.95


def test_the_map_is_low_passed():
    """Power beyond the resolution is gone but for what non-negativity and the mask put back."""
    noisy = blobs(48, 4.0) + np.random.default_rng(1).normal(0, 0.3, (48,) * 3).astype(np.float32)
    power = {}
    for resolution in (40.0, 16.0):
        start = map_start(noisy, 4.0, box_size=48, box_pixel_size=4.0, diameter_a=DIAMETER, resolution_a=resolution)
        power[resolution] = radial_average(np.abs(fft3_centred(start)) ** 2, shell_index_3d(48), 25)
    # 40 Å is shell 4.8, 16 Å shell 12
    assert power[40.0][9:12].mean() < 0.05 * power[16.0][9:12].mean()
    np.testing.assert_allclose(power[40.0][1:4], power[16.0][1:4], rtol=0.3)
    assert power[16.0][15:].mean() < 1e-3 * power[16.0][1:4].mean()


def test_classes_begin_apart_from_a_users_map():
    start = map_start(blobs(64, 3.0), 3.0, **WORK)
    starts = perturbed_starts(start, 3, DIAMETER / 8.0, np.random.default_rng(2))
    ball = inside(24, 8.0)
    assert starts.shape == (3, 24, 24, 24) and starts.dtype == np.float32 and starts.min() >= 0
    assert starts[:, ball].mean(axis=1) == pytest.approx(np.ones(3), rel=1e-4)
    for one in starts:
        assert correlation(one, start) > 0.98
    relative = (starts - start)[:, start > 0.1] / start[start > 0.1]
    assert 0.05 < relative.std() < 0.2
    assert correlation(relative[0], relative[1]) < 0.2
    # smooth: little of the difference lies beyond 30 Å (shell 6.4)
    power = radial_average(np.abs(fft3_centred(starts[0] - start)) ** 2, shell_index_3d(24), 13)
    assert power[9:].mean() < 0.01 * power[1:4].mean()
    assert np.array_equal(perturbed_starts(start, 1, 14.0, np.random.default_rng(2))[0], start)


def spoilt(value):
    volume = blobs(32, 6.0)
    volume[3, 4, 5] = value
    return volume


@pytest.mark.parametrize("volume, pixel, change, message", [
    (spoilt(np.nan), 6.0, {}, "1 voxels that are not numbers"),
    (spoilt(np.inf), 6.0, {}, "make the map again"),
    (np.full((32,) * 3, 2.0), 6.0, {}, r"constant \(2 everywhere\)"),
    (blobs(32, 6.0)[:30], 6.0, {}, "30 × 32 × 32 px is not a cube"),
    (blobs(32, 6.0)[0], 6.0, {}, "not a cube"),
    (blobs(32, 1.0), 1.0, {}, "32 Å .32 px of 1 Å/px. is far smaller than the particle of 110 Å"),
    (blobs(32, 6.0), 0.0, {}, "pixel size 0.0 Å/px is not positive"),
    (-blobs(32, 6.0), 6.0, {}, "no brighter inside the particle"),
    (blobs(32, 6.0), 6.0, dict(resolution_a=150.0), "give a resolution between 0 and 96 Å"),
    (blobs(32, 6.0), 6.0, dict(resolution_a=0.0), "low-passed to 0 Å"),
])
def test_bad_maps_are_refused(volume, pixel, change, message):
    with pytest.raises(InputError, match=message):
        map_start(volume, pixel, **{**WORK, **change})
