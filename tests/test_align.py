"""Alignment of maps, hands and symmetry axes, on blobs whose answer is known."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.symmetry import point_group, rotate_volume, symmetrise
from cryosgd_plugin.engines.align import align_to_group, align_volume, mirror
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density

BOX, PIXEL = 40, 5.0


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", [40, 41])
def test_rotation_shift_and_hand_are_found(mirrored, box):
    reference = density(box=box, pixel=PIXEL)
    moved = rotate_volume(reference, Rotation.random(random_state=4).as_matrix(), (2.0, -1.5, 1.0))
    moved = mirror(moved) if mirrored else moved
    noise = np.random.default_rng(0).normal(0, 0.1, moved.shape).astype(np.float32)
    alignment = align_volume(moved + noise, reference, radius=10)
    assert alignment.mirrored == mirrored
    assert correlation(alignment.apply(moved), reference) > 0.98


def test_mirror_keeps_the_centre():
    for box in (8, 9):
        volume = np.zeros((box,) * 3, np.float32)
        volume[box // 2 + 2, box // 2, box // 2] = 1
        assert mirror(volume)[box // 2 - 2, box // 2, box // 2] == 1


@pytest.mark.parametrize("group", ["C4", "D2", "O"])
def test_axes_are_found(group):
    symmetric = symmetrise(density(BLOBS * 0.9 + 12, box=BOX, pixel=PIXEL), group)
    turned = rotate_volume(symmetric, Rotation.random(random_state=7).as_matrix(), (0.8, 0.5, -0.6))
    alignment, score = align_to_group(turned, group, radius=12)
    assert score > 0.97
    back = alignment.apply(turned)
    assert correlation(back, symmetrise(back, group)) > 0.98


def test_asymmetric_map_scores_low():
    _, score = align_to_group(density(box=BOX, pixel=PIXEL), "O", radius=10)
    assert score < 0.5
    assert len(point_group("O")) == 24


def test_boxes_that_differ_are_refused():
    with pytest.raises(InputError, match="resample"):
        align_volume(np.zeros((8,) * 3), np.zeros((10,) * 3), radius=3)
