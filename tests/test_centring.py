"""The map's centre follows the particles' shifts, which are searched about zero."""
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.engines.abinitio.centring import FURTHEST, Centring
from cryosgd_plugin.engines.abinitio.model import Model

DIAMETER = 100.0


def images_of(centre, spread, rng, structure=0, count=60):
    """Posteriors of particles that were picked `spread` Å about their true centre, seen by a map whose content lies
    `centre` (x, y, z in Å) off it: the particle sits at minus its shift."""
    made = []
    for rotation in random_rotations(count, rng):
        shift = (rotation @ centre)[:2] + rng.normal(0, spread, 2)
        marginals = SimpleNamespace(shifts_a=shift + np.array([[-2.0, 0.0], [2.0, 0.0]]),
                                    shift_mass=np.array([0.4, 0.4]))
        made.append(SimpleNamespace(structure=structure, rotation=rotation, marginals=marginals))
    return made


def test_the_shifts_are_brought_to_zero_mean():
    rng = np.random.default_rng(0)
    off = np.array([[3.0, -5.0, 2.0], [0.0, 1.0, -4.0]])
    centring = Centring(2, DIAMETER)
    for _ in range(40):
        centring.follow(sum([images_of(off[k] + centring.targets[k], 3.0, rng, k) for k in range(2)], []))
    assert centring.targets == pytest.approx(-off, abs=0.7)


def test_a_structure_without_particles_stays():
    centring = Centring(2, DIAMETER)
    centring.follow(images_of(np.array([5.0, 0.0, 0.0]), 1.0, np.random.default_rng(1)))
    assert np.linalg.norm(centring.targets[0]) > 0.5 and not centring.targets[1].any()


def test_one_direction_leaves_the_beam_axis_alone():
    rng = np.random.default_rng(2)
    images = images_of(np.array([4.0, 0.0, 30.0]), 1.0, rng)
    for image in images:
        image.rotation = np.eye(3)
        image.marginals.shifts_a = image.marginals.shifts_a * 0 + np.array([4.0, 0.0])
    centring = Centring(1, DIAMETER)
    centring.follow(images)
    assert centring.targets[0, 0] < -0.5 and centring.targets[0, 2] == 0


def test_targets_stay_near_the_box_centre():
    rng = np.random.default_rng(3)
    centring = Centring(1, DIAMETER)
    for _ in range(50):
        centring.follow(images_of(np.array([60.0, 0.0, 0.0]), 1.0, rng))
    assert np.linalg.norm(centring.targets[0]) == pytest.approx(FURTHEST * DIAMETER)


def test_the_model_is_moved_to_its_target():
    """x, y, z in Å against the volume's z, y, x voxels."""
    box, extent = 32, 160.0
    grid = np.arange(box) - box // 2
    z, y, x = np.meshgrid(grid, grid, grid, indexing="ij")
    model = Model(np.exp(-(x ** 2 + y ** 2 + z ** 2) / 18.0)[None].astype(np.float32), extent_a=extent,
                  diameter_a=DIAMETER)
    target = np.array([[10.0, -5.0, 15.0]])
    assert model.centre(target) is not None
    volume = np.maximum(model.volumes[0], 0)
    found = [float((volume * axis).sum() / volume.sum()) * extent / box for axis in (x, y, z)]
    assert found == pytest.approx(target[0], abs=0.3)
    assert model.centre(target) is None
