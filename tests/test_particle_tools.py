"""Expanding, mirroring and thinning Scipion's sets is what the same does to a table."""
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfParticles, Transform

from cryosgd_plugin.convert import particle_tools as tools
from cryosgd_plugin.convert import table_from_set
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.expansion import MATE_TAG, PARENT_TAG, expand_symmetry
from cryosgd_plugin.core.hand import flip_poses
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.tests.convert_samples import EXACT, assert_same_tables, reopened, to_scipion, write_star


@pytest.fixture
def star(tmp_path):
    return write_star(tmp_path)


def written(folder, name, fill):
    """What `fill` makes of an empty set, written, closed and opened again."""
    output = SetOfParticles(filename=str(folder / name))
    result = fill(output)
    return reopened(output), result


def expanded(particles, folder, group, name="expanded.sqlite"):
    return written(folder, name, lambda output: tools.expand_set(particles, output, point_group(group),
                                                                 np.random.default_rng(0)))


# ---- expansion
@pytest.mark.parametrize("group", ["C3", "D2", "T"])
def test_an_expanded_set_is_the_expanded_table(star, tmp_path, group):
    particles = to_scipion(read_particles(star), tmp_path)
    table = table_from_set(particles, root=tmp_path)
    output, count = expanded(particles, tmp_path, group)
    got = table_from_set(output, root=tmp_path)
    wanted = expand_symmetry(table, point_group(group), np.random.default_rng(0))
    assert count == 4 and output.hasAlignmentProj() and output.getSize() == len(wanted)
    assert_same_tables(got, wanted)  # poses, shifts, half-sets, classes, CTF, every other column
    np.testing.assert_array_equal(got.ids, np.arange(1, len(wanted) + 1))
    assert set(got.extra[PARENT_TAG]) == {11, 12, 20, 21}
    # the set that was read is as it was
    assert_same_tables(table_from_set(particles, root=tmp_path), table)


def test_disabled_particles_are_not_expanded(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    item = particles.getItem("id", 12)
    item.setEnabled(False)
    particles.update(item)
    output, count = expanded(particles, tmp_path, "C2")
    assert count == 3 and output.getSize() == 6
    assert [item._cryosgdParentId.get() for item in output.iterItems()] == [11, 11, 20, 20, 21, 21]


@pytest.mark.parametrize("by_us", [True, False])
def test_half_sets_are_drawn_by_particle(star, tmp_path, by_us):
    table = read_particles(star)
    if by_us:
        particles = to_scipion(replace(table, half_set=None), tmp_path)
        particles, _ = expanded(particles, tmp_path, "C2", "first.sqlite")
        wanted = np.repeat([11, 12, 20, 21], 6)
    else:  # expanded by a program that leaves no column: the images tell
        twice = replace(table, half_set=None).take([0, 1, 2, 3, 0, 1, 2, 3])
        del twice.extra["rlnImageId"]
        particles = to_scipion(replace(twice, ids=np.arange(1, 9)), tmp_path)
        wanted = np.repeat(np.arange(1, 9), 3)
        assert tools.repeated_image_count(particles) == 4
    output, _ = expanded(particles, tmp_path, "C3")
    got = table_from_set(output, root=tmp_path)
    np.testing.assert_array_equal(got.extra[PARENT_TAG], wanted)
    images = got.stack_id * 100 + got.stack_index
    halves = {image: set(got.half_set[images == image]) for image in images}
    assert len(halves) == 4 and all(len(half) == 1 for half in halves.values())
    assert sorted(half for one in halves.values() for half in one) == [1, 1, 2, 2]
    if by_us:
        np.testing.assert_array_equal(got.extra[MATE_TAG], np.tile(np.arange(1, 7), 4))


def test_mirrored_transforms_are_named_by_their_id(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    item = particles.getItem("id", 20)
    item.setTransform(Transform(matrix=np.diag([-1.0, 1, 1, 1])))
    particles.update(item)
    for fill in (lambda output: tools.expand_set(particles, output, point_group("C2"), None),
                 lambda output: tools.mirror_set(particles, output)):
        with pytest.raises(InputError, match="transform of particle 20 is no rotation"):
            fill(SetOfParticles(filename=":memory:"))


# ---- hand
@pytest.mark.parametrize("axis", ["xyz", "x", "z"])
def test_a_mirrored_set_is_the_mirrored_table(star, tmp_path, axis):
    particles = to_scipion(read_particles(star), tmp_path)
    table = table_from_set(particles, root=tmp_path)
    output, _ = written(tmp_path, "mirrored.sqlite", lambda output: tools.mirror_set(particles, output, axis))
    got = table_from_set(output, root=tmp_path)
    assert_same_tables(got, flip_poses(table, axis))
    np.testing.assert_array_equal(got.ids, table.ids)
    assert np.abs(got.rotations - table.rotations).max() > 0.1
    back, _ = written(tmp_path, "back.sqlite", lambda out: tools.mirror_set(output, out, axis))
    np.testing.assert_allclose(table_from_set(back, root=tmp_path).rotations, table.rotations, atol=EXACT)


# ---- duplicates
def test_duplicates_by_distance_image_and_score(star, tmp_path):
    """Micrograph one: 11 at (101.25, 202.5) px less (1.11, −2.22) Å, 20 at (33, 44) px less (−3.5, 4.5) Å; the other:
    12 at (11, 22.75) px and 21 at (1, 2) px less (12.25, 0.005) Å."""
    particles = to_scipion(read_particles(star), tmp_path)

    def found(*arguments, **options):
        return tools.find_duplicates(particles, *arguments, **options)[0]

    one = np.hypot(2 * (101.25 - 33) - 1.11 - 3.5, 2 * (202.5 - 44) + 2.22 + 4.5)
    two = np.hypot(20.0 + 12.25, 2 * (22.75 - 2) + 0.005)
    assert found(two - 0.01, 2.0) == {} and found(0, None) == {}
    assert found(two + 0.01, 2.0) == {21: "distance"}
    assert found(one - 0.01, 2.0) == {21: "distance"} and set(found(one + 0.01, 2.0)) == {20, 21}
    assert found(two + 0.01, 2.0, score="_myWholeNumber") == {12: "distance"}, "-6 of 12, 123456789 of 21"
    assert set(found(one + 0.01, 2.0, score="_myNumber")) == {11, 21}
    with pytest.raises(InputError, match="no column best; they have .*myNumber"):
        found(1, 2.0, score="_best")
    with pytest.raises(InputError, match="pixel size of the micrographs.* is not given"):
        found(1, None)

    pairs, _ = expanded(particles, tmp_path, "C2")
    left_out, chosen_by = tools.find_duplicates(pairs, 0)
    assert left_out == dict.fromkeys((2, 4, 6, 8), "image") and chosen_by is None
    assert tools.find_duplicates(pairs, 0, same_image=False)[0] == {}
    output, _ = written(tmp_path, "thin.sqlite", lambda output: tools.copy_without(pairs, output, left_out))
    thin = table_from_set(output, root=tmp_path)
    np.testing.assert_array_equal(thin.ids, [1, 3, 5, 7])
    np.testing.assert_allclose(thin.rotations, table_from_set(particles, root=tmp_path).rotations, atol=EXACT)


def test_particles_without_coordinates_are_named(star, tmp_path):
    table = read_particles(star)
    del table.extra["rlnCoordinateX"], table.extra["rlnCoordinateY"]
    particles = to_scipion(table, tmp_path)
    with pytest.raises(InputError, match="particle 11 has no coordinates.*distance of 0"):
        tools.find_duplicates(particles, 10.0, 2.0)
    assert tools.find_duplicates(particles, 0)[0] == {}
