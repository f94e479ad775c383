"""A local search stays near the poses that it is given, and finds what an exhaustive one finds there."""
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.cli import main
from cryosgd_plugin.core.poses import angular_distance_deg, distance_to_mates_deg, random_rotations
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.local import LocalSearch
from cryosgd_plugin.engines.refine.modes import grid_rotations
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.tests.abinitio_samples import PIXEL, density, particles
from cryosgd_plugin.tests.test_bounded_search import best, run, sample
from cryosgd_plugin.tests.test_expectation import noise
from cryosgd_plugin.tests.test_refine import CONFIG
from cryosgd_plugin.tests.test_refine_job import OPTIONS, data  # noqa: F401  (a fixture)

C1 = point_group("C1")


def local(levels, images, table, rotations, shifts, operators=C1, angle=25.0, shift=9.0):
    search = LocalSearch(levels, rotations, shifts, operators, angle_deg=angle, shift_a=shift,
                         rng=np.random.default_rng(0))
    return search.run(images, table, np.arange(len(images)), noise())


def test_near_the_truth_it_finds_the_optimum_of_all_poses():
    levels, images, table = sample(0.1)
    found = local(levels, images, table, table.rotations, table.shifts_a)
    exact = run(levels, images, table, exhaustive=True)
    assert best(found) == best(exact)
    assert sum(one.scored for one in found) < 0.2 * sum(one.scored for one in exact)


def test_it_stays_within_its_range():
    levels, images, table = sample(0.4)
    grid = levels[-1].grid
    rotations, shifts = random_rotations(len(images), np.random.default_rng(1)), np.zeros((len(images), 2))
    reach = 25.0
    for i, one in enumerate(local(levels, images, table, rotations, shifts, angle=reach, shift=6.0)):
        poses = grid_rotations(grid, one.rows, one.angles)
        assert angular_distance_deg(poses, rotations[i]).max() <= reach + 0.1
        assert np.hypot(*grid.shifts_a[one.shifts].T).max() <= 6.0 + 1e-6
        assert len(one.rows) > 1


def test_a_range_finer_than_the_grid_still_has_a_pose():
    levels, images, table = sample(0.1)
    grid = levels[-1].grid
    far = np.full((len(images), 2), 500.0)
    for i, one in enumerate(local(levels, images, table, table.rotations, far, angle=0.01, shift=0.01)):
        pose = grid_rotations(grid, one.rows[:1], one.angles[:1])[0]
        assert angular_distance_deg(pose, table.rotations[i]) < 1.5 * max(grid.spacing_deg, 360 / grid.polar.n_angles)
        # the shift nearest to what no shift of the grid is near
        assert np.all(grid.shifts_a[one.shifts[0]] > 0)


def test_symmetry_mates_are_as_near():
    levels, images, table = sample(0.1)
    operators = point_group("C4")
    turned = table.rotations @ operators[1]
    found = local(levels, images, table, turned, table.shifts_a, operators)
    plain = local(levels, images, table, table.rotations, table.shifts_a)
    for i, (one, other) in enumerate(zip(found, plain)):
        # all four neighbourhoods are searched (near the axis they overlap), the one without the turn among them
        assert one.scores[0] >= other.scores[0] - 1e-3 and one.scored > 1.5 * other.scored
        pose = grid_rotations(levels[-1].grid, one.rows[:1], one.angles[:1])
        assert distance_to_mates_deg(pose, turned[i], operators)[0] <= 25.1


# ---- in a refinement
def test_a_refinement_from_poses_near_the_truth():
    config = replace(CONFIG, search="local", local_angle_deg=20.0, local_shift_a=6.0, iterations=4)
    source, table = particles(160, noise_sd=0.15, seed=3)
    turns = Rotation.from_rotvec(np.radians(10) * np.random.default_rng(0).choice([-1, 1], (160, 3)) / np.sqrt(3))
    near = replace(table, rotations=turns.as_matrix() @ table.rotations)
    engine = Refinement(config, near, source, [density()])
    records = list(engine.steps())
    assert np.median(angular_distance_deg(near.rotations, table.rotations)) == pytest.approx(10, abs=0.1)
    assert np.median(angular_distance_deg(engine.results.rotations, table.rotations)) < 5
    assert records[0]["change_deg"] is not None and records[0]["pruned"] == []
    assert records[-1]["scored"] < 3e5


def test_it_needs_poses(data, tmp_path, capsys):  # noqa: F811
    words = ["refine", str(data / "particles.star"), "--reference", str(data / "map.mrc"), "-o", str(tmp_path / "out"),
             *OPTIONS, "--search", "local"]
    assert main(words) == 1
    assert "has none" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_command_begins_at_the_poses_of_the_file(data, tmp_path):  # noqa: F811
    table = read_particles(data / "particles.star")
    rotations = random_rotations(len(table), np.random.default_rng(2))
    shifts = np.tile([20.0, 0.0], (len(table), 1))
    write_particles(data / "posed.star", replace(table, rotations=rotations, shifts_a=shifts))
    without = OPTIONS[:OPTIONS.index("--shift-range")] + OPTIONS[OPTIONS.index("--shift-range") + 2:]
    assert main(["refine", str(data / "posed.star"), "--reference", str(data / "map.mrc"), "-o", str(tmp_path / "out"),
                 *without, "--iterations", "1", "--search", "local", "--local-angle", "5", "--local-shift", "4"]) == 0
    found = read_particles(tmp_path / "out" / "particles.star")
    # wrong poses stay wrong: from where each is, two iterations go so far and no farther
    assert np.median(angular_distance_deg(found.rotations, rotations)) < 40
    assert np.abs(found.shifts_a - shifts).max() < 3 * (4 + PIXEL)
    job = json.loads((tmp_path / "out" / "job.json").read_text(encoding="utf-8"))
    assert job["parameters"]["shift_range_a"] == pytest.approx(24.0) and job["poses"] != "none"
