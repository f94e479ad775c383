"""Alignment of maps, hands and symmetry axes, on blobs whose answer is known."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.core.symmetry import point_group, rotate_volume, symmetrise
from cryosgd_plugin.engines.align import Alignment, align_hands, align_to_group, align_volume, mirror
from cryosgd_plugin.engines.align_grid import onto_grid
from cryosgd_plugin.engines.align_symmetry import find_symmetry, is_subgroup
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density

BOX, PIXEL = 40, 5.0


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def noisy(volume, sd, seed=0):
    return volume + np.random.default_rng(seed).normal(0, sd, volume.shape).astype(np.float32)


def symmetric(group, box=BOX):
    """A map of a group, turned and moved away from its axes."""
    volume = symmetrise(density(BLOBS * 0.9 + 12, box=box, pixel=PIXEL * BOX / box), group)
    return rotate_volume(volume, Rotation.random(random_state=7).as_matrix(), (0.8, 0.5, -0.6))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", [40, 41])
def test_rotation_shift_and_hand_are_found(mirrored, box):
    reference = density(box=box, pixel=PIXEL)
    moved = rotate_volume(reference, Rotation.random(random_state=4).as_matrix(), (2.0, -1.5, 1.0))
    moved = mirror(moved) if mirrored else moved
    alignment = align_volume(noisy(moved, 0.1), reference, radius=10)
    assert alignment.mirrored == mirrored
    assert correlation(alignment.apply(moved), reference) > 0.98


@pytest.mark.parametrize("seed", range(5))
def test_the_pose_is_exact_without_noise_and_near_with_it(seed):
    rng = np.random.default_rng(seed)
    reference, rotation = density(box=BOX, pixel=PIXEL), Rotation.random(random_state=seed).as_matrix()
    shift = rng.uniform(-4, 4, 3)
    moved = rotate_volume(reference, rotation, shift)
    for sd, degrees, pixels in ((0.0, 0.3, 0.05), (0.3, 4.0, 0.5)):
        alignment = align_volume(noisy(moved, sd, seed), noisy(reference, sd, seed + 50), radius=10)
        assert not alignment.mirrored
        assert angular_distance_deg(alignment.rotation, rotation.T) < degrees
        assert np.linalg.norm(alignment.shift_px + rotation.T @ shift) < pixels


def test_a_shift_beyond_the_centre_of_mass_is_searched():
    """A second density far off draws the centre of mass away from the part that the maps share."""
    reference = density(box=BOX, pixel=PIXEL)
    far = density(np.array([[70.0, 60, -40]]), box=BOX, pixel=PIXEL)
    rotation = Rotation.random(random_state=11).as_matrix()
    alignment = align_volume(rotate_volume(reference, rotation) + 2 * far, reference, radius=10)
    assert angular_distance_deg(alignment.rotation, rotation.T) < 3


def test_both_hands_are_reported():
    reference = density(box=BOX, pixel=PIXEL)
    same, other = align_hands(reference, reference, radius=10)
    assert same.correlation > 0.999 and not same.mirrored and other.mirrored
    assert other.correlation < 0.95
    assert len(align_hands(reference, reference, radius=10, hands=False)) == 1


def test_alignments_chain_and_invert():
    volume = density(box=32, pixel=6.0)
    rng = np.random.default_rng(3)
    first, second = (Alignment(Rotation.random(random_state=k).as_matrix(), rng.uniform(-2, 2, 3), hand, 1.0)
                     for k, hand in ((1, True), (2, True)))
    third = Alignment(Rotation.random(random_state=5).as_matrix(), rng.uniform(-2, 2, 3), False, 0.5)
    for one, two in ((first, second), (first, third), (third, first)):
        assert correlation(one.then(two).apply(volume), two.apply(one.apply(volume))) > 0.995
        back = one.then(one.inverse())
        np.testing.assert_allclose(back.rotation, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(back.shift_px, 0, atol=1e-9)
        assert not back.mirrored


def test_mirror_keeps_the_centre():
    for box in (8, 9):
        volume = np.zeros((box,) * 3, np.float32)
        volume[box // 2 + 2, box // 2, box // 2] = 1
        assert mirror(volume)[box // 2 - 2, box // 2, box // 2] == 1


# ---- point groups

@pytest.mark.parametrize("group", ["C4", "C7", "D2", "D3", "T", "O", "I"])
def test_axes_are_found(group):
    turned = symmetric(group)
    alignment, score = align_to_group(turned, group, radius=12)
    assert score > 0.95
    back = alignment.apply(turned)
    assert correlation(back, symmetrise(back, group)) > 0.97


def test_asymmetric_map_scores_low():
    _, score = align_to_group(density(box=BOX, pixel=PIXEL), "O", radius=10)
    assert score < 0.5
    assert len(point_group("O")) == 24


@pytest.mark.parametrize("group, sd", [("C3", 0.0), ("C4", 0.1), ("D3", 0.0), ("T", 0.0), ("O", 0.0)])
def test_the_point_group_is_recognised(group, sd):
    volume = symmetric(group)
    report = find_symmetry(noisy(volume, sd * volume.max()), radius=11, max_fold=4)
    assert report.group == group, report.verdict
    fit = report.fit(group)
    assert fit.score > report.expected[group] + 0.2
    assert f"{group} fits" in report.verdict
    assert fit.weakest > (0.85 if sd == 0 else 0.5)


def test_an_asymmetric_map_is_c1():
    report = find_symmetry(density(box=BOX, pixel=PIXEL), radius=12, max_fold=4)
    assert report.group == "C1"
    assert "Use C1" in report.verdict
    assert "O" in report.left_out


def test_a_ball_is_too_round_to_tell():
    ball = density(np.zeros((1, 3)), box=BOX, pixel=PIXEL)
    report = find_symmetry(ball, radius=10, groups=["C2"])
    assert report.group == "C1" and "too round" in report.verdict


def test_nearly_symmetric_is_called_pseudo_symmetric():
    """A four-fold map with one copy weaker has no four-fold, and is not sold as one of full quality."""
    blob = np.array([[50.0, 10, 25], [30, 5, -35], [55, -30, 20], [15, 20, 0]])
    turns = point_group("C4")
    copies = [density(blob @ turn.T, box=BOX, pixel=PIXEL) for turn in turns]
    whole, doubtful, rough = (find_symmetry(sum(weight * copy for weight, copy in zip((1, odd, 1, odd), copies)),
                                            radius=10, max_fold=4) for odd in (1.0, 0.7, 0.5))
    assert whole.group == "C4" and "better" not in whole.verdict
    assert doubtful.group == "C4" and "C2 fits better" in doubtful.verdict
    assert rough.group == "C2" and "C4 fits only roughly" in rough.verdict


@pytest.mark.parametrize("small, large, inside", [
    ("C1", "C2", True), ("C2", "C4", True), ("C2", "D7", True), ("C3", "C4", False), ("D2", "D7", False),
    ("D2", "O", True), ("T", "O", True), ("T", "I", True), ("O", "I", False), ("C4", "C4", False), ("D2", "C4", False)])
def test_subgroups(small, large, inside):
    assert is_subgroup(small, large) is inside


# ---- grids and refusals

def test_a_map_comes_onto_another_grid():
    fine = density(box=60, pixel=4.0)
    moved, words = onto_grid(fine, 4.0, BOX, PIXEL)
    assert "resampled from 60 px at 4 Å/px to 5 Å/px" in words and "cropped to 40 px" in words
    assert np.abs(moved - density(box=BOX, pixel=PIXEL)).max() < 0.02
    same, words = onto_grid(fine, 4.0, 60, 4.0)
    assert words is None and np.array_equal(same, fine)
    with pytest.raises(InputError, match="more than 4-fold"):
        onto_grid(fine, 1.0, BOX, PIXEL)


def test_bad_maps_are_refused():
    good = density(box=24, pixel=8.0)
    with pytest.raises(InputError, match="resample"):
        align_volume(np.zeros((8,) * 3), np.zeros((10,) * 3), radius=3)
    with pytest.raises(InputError, match="the reference is empty: every voxel is 0"):
        align_volume(good, 0 * good, radius=5)
    with pytest.raises(InputError, match="the map to align holds 1 NaN"):
        broken = good.copy()
        broken[1, 2, 3] = np.nan
        align_volume(broken, good, radius=5)
    with pytest.raises(InputError, match="radius 13 can't be compared in a box of 24 px"):
        align_volume(good, good, radius=13)
    with pytest.raises(InputError, match="the map is empty"):
        align_to_group(0 * good, "C2", radius=5)
