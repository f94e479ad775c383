"""Point groups: group axioms, RELION's orientation, asymmetric units, and what symmetry does to projections."""
from pathlib import Path

import numpy as np
import pytest

from cryosgd_plugin.core import poses, symmetry
from cryosgd_plugin.core.errors import InputError

GROUPS = {"C1": 1, "C2": 2, "C4": 4, "C7": 7, "D1": 2, "D2": 4, "D7": 14, "T": 12, "O": 24, "I": 60, "I1": 60, "I2": 60,
          "I3": 60, "I4": 60}


def relion_operators():
    groups = {}
    for line in (Path(__file__).parent / "data" / "relion_symmetry.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, *numbers = line.split()
            groups.setdefault(name, []).append(np.array(numbers, dtype=float).reshape(3, 3))
    return groups


def smooth_map(box, seed=0):
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((box,) * 3) - box // 2
    volume = np.zeros((box,) * 3)
    for _ in range(6):
        at = rng.uniform(-0.22, 0.22, 3) * box
        volume += rng.uniform(0.5, 1) * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / 8)
    return volume.astype(np.float32)


@pytest.mark.parametrize("name", GROUPS)
def test_is_a_group_of_rotations(name):
    group = symmetry.point_group(name.lower())
    assert group.shape == (GROUPS[name], 3, 3) and np.abs(group[0] - np.eye(3)).max() < 1e-12
    assert np.abs(group @ np.swapaxes(group, 1, 2) - np.eye(3)).max() < 1e-12
    assert np.linalg.det(group) == pytest.approx(1.0)
    products = (group[:, None] @ group[None]).reshape(-1, 3, 3)
    distance = np.abs(products[:, None] - group[None]).max(axis=(2, 3))
    assert distance.min(axis=1).max() < 1e-9  # closed
    assert (np.abs(group[:, None] - group[None]).max(axis=(2, 3)) < 1e-6).sum() == len(group)  # no operator twice


@pytest.mark.parametrize("name", sorted(relion_operators()))
def test_orientation_is_relions(name):
    """The sets of operators are equal to the five digits that RELION 3.1.3 prints; I is I2 there."""
    relions, ours = np.array(relion_operators()[name]), symmetry.point_group(name)
    assert len(relions) == len(ours)
    distance = np.abs(relions[:, None] - ours[None]).max(axis=(2, 3))
    assert distance.min(axis=0).max() < 1e-5 and distance.min(axis=1).max() < 1e-5


def test_icosahedral_settings_differ():
    def same(a, b):
        distance = np.abs(symmetry.point_group(a)[:, None] - symmetry.point_group(b)[None]).max(axis=(2, 3))
        return distance.min(axis=0).max() < 1e-6
    names = ["I1", "I2", "I3", "I4"]
    assert all(same(a, b) == (a == b) for a in names for b in names) and same("I", "I2")


@pytest.mark.parametrize("name", ["", "X3", "C0", "D", "I5", "C-2", "OH"])
def test_unknown_groups_are_named_with_what_is_allowed(name):
    with pytest.raises(InputError, match="C1, C2, .*T, O, I"):
        symmetry.point_group(name)


@pytest.mark.parametrize("name", GROUPS)
def test_asymmetric_unit_holds_one_mate_of_every_direction(name):
    group = symmetry.point_group(name)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mates = np.einsum("gij,nj->ngi", group, vectors).reshape(-1, 3)
    rot, tilt = np.degrees(np.arctan2(mates[:, 1], mates[:, 0])), np.degrees(np.arccos(np.clip(mates[:, 2], -1, 1)))
    inside = symmetry.asymmetric_unit(np.stack([rot, tilt], axis=1), name).reshape(400, -1)
    assert np.all(inside.sum(axis=1) == 1)


@pytest.mark.parametrize("name", ["C4", "D7", "O", "I1"])
def test_asymmetric_unit_of_a_grid_covers_the_sphere_and_holds_its_boundary(name):
    group = symmetry.point_group(name)
    grid = poses.healpix_directions(8)
    inside = symmetry.asymmetric_unit(grid, group)
    assert inside.sum() == pytest.approx(len(grid) / len(group), rel=0.35)
    kept = np.einsum("gij,nj->gni", group, poses.directions_to_vectors(grid[inside])).reshape(-1, 3)
    nearest = np.degrees(np.arccos(np.clip((poses.directions_to_vectors(grid) @ kept.T).max(axis=1), -1, 1)))
    assert nearest.max() < 8  # no direction of the sphere is further than a grid cell from a mate of the unit
    axes = {"C4": [0, 0], "D7": [0, 0], "O": [0, 0], "I1": [0, 90]}[name]
    axis = np.array([axes], dtype=float)
    mates = np.einsum("gij,nj->gni", group, poses.directions_to_vectors(axis)).reshape(-1, 3)
    rot, tilt = np.degrees(np.arctan2(mates[:, 1], mates[:, 0])), np.degrees(np.arccos(np.clip(mates[:, 2], -1, 1)))
    # a symmetry axis lies on the boundary, which is included
    assert symmetry.asymmetric_unit(np.stack([rot, tilt], axis=1), group).any()


def test_c1_keeps_every_direction():
    assert symmetry.asymmetric_unit(poses.healpix_directions(2), "C1").all()


@pytest.mark.parametrize("name", ["C3", "D2", "T", "O"])
def test_mates_give_the_same_projection_of_a_symmetric_map(name):
    volume = symmetry.symmetrise(smooth_map(41), name)
    pose = poses.random_rotations(1, np.random.default_rng(1))
    mates = symmetry.symmetry_mates(pose, name)
    assert mates.shape == (1, GROUPS.get(name, 3), 3, 3) and np.array_equal(mates[0, 0], pose[0])
    images = [symmetry.rotate_volume(volume, mate).sum(axis=0) for mate in mates[0, :5]]
    for image in images[1:]:
        assert np.abs(image - images[0]).max() < 0.02 * images[0].max()
    # a turn that is none of the group's gives another image
    other = symmetry.rotate_volume(volume, pose[0] @ poses.euler_to_matrix(10, 20, 30)[0]).sum(axis=0)
    assert np.abs(other - images[0]).max() > 0.1 * images[0].max()


@pytest.mark.parametrize("box", [32, 33])
def test_symmetrise_makes_a_map_symmetric_and_leaves_a_symmetric_one(box):
    once = symmetry.symmetrise(smooth_map(box), "O")
    twice = symmetry.symmetrise(once, "O")
    assert np.linalg.norm(twice - once) < 1e-5 * np.linalg.norm(once)
    quarter = once[1:, 1:, 1:] if box % 2 == 0 else once  # the planes that a turn about n//2 keeps in an even box
    assert np.abs(np.rot90(quarter, axes=(1, 2)) - quarter).max() < 1e-5 * once.max()
    assert np.array_equal(symmetry.symmetrise(once, "C1"), once)
    three = symmetry.symmetrise(smooth_map(box), "T")  # by splines
    assert np.linalg.norm(symmetry.symmetrise(three, "T") - three) < 2e-2 * np.linalg.norm(three)


@pytest.mark.parametrize("box", [24, 25])
def test_symmetrise_is_the_mean_of_the_turned_maps(box):
    """Where voxels move without interpolation and where they don't; rotate_volume is by splines always."""
    volume = smooth_map(box)
    inner = (slice(2, -2),) * 3  # the spline drops faces of the box that rounding puts outside it
    for name in ("O", "D3", "D4"):
        mean = np.mean([symmetry.rotate_volume(volume, s) for s in symmetry.point_group(name)], axis=0)
        assert np.abs(symmetry.symmetrise(volume, name) - mean)[inner].max() < 1e-5


@pytest.mark.parametrize("box", [32, 33])
def test_rotate_volume_by_quarter_turns_is_exact(box):
    volume = smooth_map(box)
    volume[0], volume[:, 0], volume[:, :, 0] = 0, 0, 0
    turn = poses.in_plane_rotation(90.0)[0]  # takes y to x, x to −y
    turned = symmetry.rotate_volume(volume, turn)
    z, y, x = np.indices(volume.shape) - box // 2
    # V'(p) = V(Rᵀ p)
    sx, sy, sz = np.einsum("ij,j...->i...", turn.T, np.stack([x, y, z]))
    source = [np.rint(s).astype(int) + box // 2 for s in (sz, sy, sx)]
    inside = np.all([(s >= 0) & (s < box) for s in source], axis=0)
    expected = np.where(inside, volume[tuple(np.clip(s, 0, box - 1) for s in source)], 0)
    assert np.abs(turned - expected).max() < 1e-5


def test_rotate_then_shift_moves_a_blob_to_rq_plus_shift():
    z, y, x = np.indices((40,) * 3) - 20
    at, shift = np.array([5.0, -3.0, 4.0]), np.array([2.5, 1.0, -3.5])
    volume = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / 6)
    rotation = poses.euler_to_matrix(40.0, 65.0, 10.0)[0]
    moved = symmetry.rotate_volume(volume, rotation, shift)
    centre = np.array([(moved * axis).sum() for axis in (x, y, z)]) / moved.sum()
    assert centre == pytest.approx(rotation @ at + shift, abs=0.02)
    back = symmetry.rotate_volume(symmetry.rotate_volume(volume, rotation), rotation.T)
    assert np.abs(back - volume).max() < 0.02


def test_rotate_volume_wants_a_cube():
    with pytest.raises(InputError, match="not a cube"):
        symmetry.rotate_volume(np.zeros((4, 5, 6)), np.eye(3))
