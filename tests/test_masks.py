"""Soft masks: their radii, edges and centres; the spherical average; what is wrong with a user's mask."""
import numpy as np
import pytest

from cryosgd_plugin.core import masks
from cryosgd_plugin.core.errors import InputError


@pytest.mark.parametrize("box", [40, 41])
def test_soft_sphere_and_circle(box):
    sphere, circle = masks.soft_sphere(box, 10, 5), masks.soft_circle(box, 10, 5)
    c = box // 2
    assert sphere.dtype == circle.dtype == np.float32 and sphere.shape == (box,) * 3
    assert np.array_equal(sphere[c], circle)
    assert circle[c, c] == 1 and circle[c, c + 10] == 1 and circle[c + 15, c] == 0
    assert circle[c, c + 12] == pytest.approx(0.5 + 0.5 * np.cos(np.pi * 2 / 5))
    assert np.all(np.diff(circle[c, c:]) <= 0)
    assert circle[c, c - 12] == circle[c, c + 12] == circle[c + 12, c]  # centred at n//2
    # volume of a ball with an edge that averages to half: between those of radius 10 and 15
    assert 4 / 3 * np.pi * 10**3 < sphere.sum() < 4 / 3 * np.pi * 15**3
    hard = masks.soft_sphere(box, 10, 0)
    assert set(np.unique(hard)) == {0.0, 1.0} and hard.sum() == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)


def test_negative_radii_are_refused():
    with pytest.raises(InputError, match="must not be negative"):
        masks.soft_circle(16, -1, 2)


@pytest.mark.parametrize("box", [32, 33])
def test_spherical_average(box):
    rng = np.random.default_rng(0)
    radius = masks.distance_from_centre(box, 3)
    radial = np.exp(-((radius - 8) ** 2) / 18).astype(np.float32)
    # a radial density is its own average, up to the curvature between radii one voxel apart (1/8 · 1/9)
    assert np.abs(masks.spherical_average(radial) - radial).max() < 0.014
    averaged = masks.spherical_average(rng.normal(size=(box,) * 3).astype(np.float32))
    assert averaged.dtype == np.float32
    for turned in (averaged.transpose(1, 0, 2), averaged.transpose(2, 1, 0)):
        assert np.array_equal(turned, averaged)
    assert np.abs(masks.spherical_average(averaged) - averaged).max() < 1e-5
    # nothing radial is left after the subtraction, whatever the map
    volume = radial * (1 + 0.3 * rng.normal(size=radial.shape)).astype(np.float32)
    left = volume - masks.spherical_average(volume)
    shell = (radius > 7.5) & (radius < 8.5)
    assert abs(left[shell].mean()) < 0.02


def test_check_mask_says_what_is_wrong():
    good = masks.soft_sphere(16, 5, 2)
    assert np.array_equal(masks.check_mask(good, 16), good)
    nearly = good - np.float32(2e-4)
    assert masks.check_mask(nearly, 16).min() == 0
    with pytest.raises(InputError, match=r"16 × 16 × 16 px differs from the map of 24 .* resample the mask to 24"):
        masks.check_mask(good, 24)
    with pytest.raises(InputError, match="1 voxels that are not numbers"):
        bad = good.copy()
        bad[0, 0, 0] = np.nan
        masks.check_mask(bad, 16)
    with pytest.raises(InputError, match="run from 0 to 3 where 0 to 1"):
        masks.check_mask(3 * good, 16)
    with pytest.raises(InputError, match="empty"):
        masks.check_mask(0 * good, 16)


def test_soft_mask_from_volume():
    ball = masks.soft_sphere(48, 8, 0)
    mask = masks.soft_mask_from_volume(ball, 0.5, extend_px=3, edge_px=4)
    radius = masks.distance_from_centre(48, 3)
    assert mask[radius <= 10.5].min() == 1 and mask[radius > 15.5].max() == 0  # 8 + 3, and 8 + 3 + 4
    middle = mask[24, 24, 24 + 13]  # 13 px from the centre is 5 px outside: half way along the edge
    assert middle == pytest.approx(0.5, abs=1e-6)
    with pytest.raises(InputError, match="no voxel inside .*between 0 and 1"):
        masks.soft_mask_from_volume(ball, 5.0, 3, 4)
    with pytest.raises(InputError, match="every voxel"):
        masks.soft_mask_from_volume(ball, -5.0, 3, 4)
