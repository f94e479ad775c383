"""Whether a low-passed reference tells orientations apart: the energy against direct slices, and the warning."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.shells import friedel_weights, shell_index_2d
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.roundness import orientation_energy, round_references
from cryosgd_plugin.ops.slicing import slice_volume, to_half_volume
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density, particles

RADIUS = 8


def test_energy_is_what_slices_at_random_orientations_differ_by():
    rng = np.random.default_rng(0)
    volume, shell = density(), shell_index_2d(BOX)
    noise, ctf2 = np.linspace(1, 3, BOX // 2 + 1), rng.random((BOX, BOX // 2 + 1))
    energy = orientation_energy(volume, RADIUS, noise, ctf2)
    used = (shell >= 1) & (shell <= RADIUS)
    ky = np.fft.fftfreq(BOX, 1 / BOX)
    kx = np.arange(BOX // 2 + 1)
    points = np.stack([np.broadcast_to(kx, shell.shape), np.broadcast_to(ky[:, None], shell.shape)],
                      axis=-1)[used].astype(np.float32)
    slices = slice_volume(to_half_volume(volume, RADIUS + 1), random_rotations(1000, rng), points)
    weight = (ctf2 * friedel_weights(BOX))[used] / noise[shell[used]]
    halves = 0.5 * (np.abs(slices[:500] - slices[500:]) ** 2 * weight).sum(axis=1)
    assert energy[-1] == pytest.approx(halves.mean(), rel=0.1)
    assert energy[0] == 0 and np.all(np.diff(energy) > 0) and len(energy) == RADIUS + 1


def doubts(reference, noise_sd=0.15, **settings):
    """What is said of a reference before the first iteration, its scale being found."""
    source, table = particles(60, noise_sd=noise_sd, seed=3)
    config = RefineConfig(**{**dict(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=45.0,
                                    shared_resolution_a=60.0, shift_range_a=12.0), **settings})
    engine = Refinement(config, table if config.search == "local" else replace(table, rotations=None, shifts_a=None),
                        source, [reference])
    engine.references = engine._scaled(engine._given)
    return round_references(engine)


def test_a_ball_is_doubted():
    sentence, = doubts(soft_sphere(BOX, BOX / 5, 4).astype(np.float32))
    assert "nearly round at 45 Å" in sentence and "at 22.5 Å" in sentence


def test_a_molecule_is_not_doubted_unless_its_images_say_too_little():
    assert not doubts(density())
    assert len(doubts(density(), noise_sd=8.0)) == 1


def test_poses_that_are_known_are_not_doubted():
    assert not doubts(soft_sphere(BOX, BOX / 5, 4).astype(np.float32), search="local")


def test_the_history_says_so():
    source, table = particles(60, noise_sd=0.15, seed=3)
    config = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=45.0,
                          shared_resolution_a=60.0, shift_range_a=12.0)
    engine = Refinement(config, replace(table, rotations=None, shifts_a=None), source,
                        [soft_sphere(BOX, BOX / 5, 4).astype(np.float32)])
    steps = engine.steps()
    assert "nearly round" in next(steps)["warnings"][0]
    assert not next(steps)["warnings"]
