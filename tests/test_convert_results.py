"""What a run found goes into Scipion's sets: poses of particles, maps and classes."""
from dataclasses import replace

import mrcfile
import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfClasses3D, SetOfParticles, SetOfVolumes, Volume
from pyworkflow.object import Pointer

from cryosgd_plugin.convert import (
    copy_particles,
    fill_classes,
    table_from_set,
    volume_object,
    volume_to_mrc,
    volumes_in,
)
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import euler_to_matrix
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.convert_samples import EXACT, reopened, to_scipion, write_star


@pytest.fixture
def star(tmp_path):
    return write_star(tmp_path)


# ---- particles
def test_copy_keeps_ids_and_foreign_attributes_and_writes_poses(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    table = table_from_set(particles, root=tmp_path)
    rng = np.random.default_rng(5)
    found = replace(table.take([3, 0]), rotations=euler_to_matrix(*rng.uniform(0, 90, (3, 2))),
                    shifts_a=rng.normal(size=(2, 2)), half_set=np.array([2, 1], np.int8))
    found.extra["cryosgdLogEvidence"] = np.array([0.5, 1.5])
    output = SetOfParticles(filename=str(tmp_path / "out.sqlite"))
    copy_particles(particles, output, found, carry=["cryosgdLogEvidence"])
    got = table_from_set(reopened(output), root=tmp_path)
    order = np.argsort(found.ids)
    np.testing.assert_array_equal(got.ids, found.ids[order])
    np.testing.assert_allclose(got.rotations, found.rotations[order], atol=EXACT)
    np.testing.assert_allclose(got.shifts_a, found.shifts_a[order], atol=EXACT)
    np.testing.assert_array_equal(got.half_set, found.half_set[order])
    np.testing.assert_array_equal(got.extra["cryosgdLogEvidence"], [1.5, 0.5])
    np.testing.assert_array_equal(got.extra["myText"], [b"two words", b"x"])
    assert got.optics == table.optics


def test_copy_refuses_particles_that_the_set_lacks(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    table = table_from_set(particles, root=tmp_path)
    foreign = replace(table, ids=table.ids + 1000)
    with pytest.raises(InputError, match="4 particles of the run are not in the input set"):
        copy_particles(particles, SetOfParticles(filename=str(tmp_path / "out.sqlite")), foreign)


def test_disabled_particles_are_left_out(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    item = particles.getItem("id", 12)
    item.setEnabled(False)
    particles.update(item)
    table = table_from_set(particles, root=tmp_path)
    assert table.ids.tolist() == [11, 20, 21]
    output = SetOfParticles(filename=str(tmp_path / "out.sqlite"))
    copy_particles(particles, output, table)
    assert output.getSize() == 3


# ---- maps and classes
def some_map(path, pixel_size, seed=0):
    density = np.random.default_rng(seed).normal(size=(8, 8, 8)).astype(np.float32)
    with mrcfile.new(path) as file:
        file.set_data(density)
        file.voxel_size = pixel_size
    return density


def test_a_map_goes_to_the_engine_with_scipions_pixel_size(tmp_path):
    density = some_map(tmp_path / "in.mrc", 0.0)
    for name in ("in.mrc", "in.mrc:mrc"):
        volume = Volume(location=str(tmp_path / name))
        volume.setSamplingRate(3.5)
        volume_to_mrc(volume, tmp_path / "out.mrc")
        written, pixel_size = read_volume(tmp_path / "out.mrc")
        np.testing.assert_array_equal(written, density)
        assert pixel_size == pytest.approx(3.5, rel=1e-6)
    volume.setLocation(2, str(tmp_path / "in.mrc"))
    with pytest.raises(InputError, match="number 2 of the stack"):
        volume_to_mrc(volume, tmp_path / "out.mrc")


def test_a_volume_object_survives_its_set(tmp_path):
    for name in ("a.mrc", "a1.mrc", "a2.mrc"):
        some_map(tmp_path / name, 2.5)
    volume = volume_object(tmp_path / "a.mrc", 2.5, (tmp_path / "a1.mrc", tmp_path / "a2.mrc"), label="class 1",
                           root=tmp_path)
    volumes = SetOfVolumes(filename=str(tmp_path / "volumes.sqlite"))
    volumes.setSamplingRate(2.5)
    volumes.append(volume)
    volumes.write()
    volumes.close()
    got = SetOfVolumes(filename=str(tmp_path / "volumes.sqlite")).getFirstItem()
    assert (got.getFileName(), got.getSamplingRate(), got.getHalfMaps()) == ("a.mrc", 2.5, "a1.mrc,a2.mrc")
    assert got.getObjLabel() == "class 1"
    assert not volume_object(tmp_path / "a.mrc", 2.5).hasHalfMaps()


def test_items_that_were_switched_off_can_be_left_out(tmp_path):
    volumes = SetOfVolumes(filename=str(tmp_path / "volumes.sqlite"))
    volumes.setSamplingRate(2.5)
    for name in ("a.mrc", "b.mrc"):
        some_map(tmp_path / name, 2.5)
        volume = volume_object(tmp_path / name, 2.5, label=name, root=tmp_path)
        volume.setEnabled(name == "b.mrc")
        volumes.append(volume)
    volumes.write()
    assert [label for label, _ in volumes_in(volumes)] == ["a.mrc", "b.mrc"]
    (label, volume), = volumes_in(volumes, disabled=False)
    assert (label, volume.getFileName(), volume.getSamplingRate()) == ("b.mrc", "b.mrc", 2.5)
    assert volumes_in(volume, disabled=False) == [("b.mrc", volume)]


def test_classes_are_filled_with_particles_poses_and_maps(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    table = table_from_set(particles, root=tmp_path)
    maps = {}
    for number in (1, 2, 3, 4):
        some_map(tmp_path / f"class{number}.mrc", 1.25, number)
        maps[number] = volume_object(tmp_path / f"class{number}.mrc", 1.25, root=tmp_path)
    classes = SetOfClasses3D(filename=str(tmp_path / "classes.sqlite"))
    classes.setImages(Pointer(particles))
    fill_classes(classes, maps)
    classes.write()
    classes.close()
    classes = SetOfClasses3D(filename=str(tmp_path / "classes.sqlite"))
    classes.setImages(Pointer(particles))
    assert {item.getObjId(): item.getSize() for item in classes} == {1: 2, 2: 1, 3: 1}, "no particle is of class 4"
    for item in classes:
        rows = np.flatnonzero(table.class_id == item.getObjId())
        got = table_from_set(item, root=tmp_path)
        assert item.hasAlignmentProj()
        np.testing.assert_array_equal(got.ids, table.ids[rows])
        np.testing.assert_allclose(got.rotations, table.rotations[rows], atol=EXACT)
        np.testing.assert_allclose(got.shifts_a, table.shifts_a[rows], atol=EXACT)
        volume = item.getRepresentative()
        assert (volume.getFileName(), volume.getSamplingRate()) == (f"class{item.getObjId()}.mrc", 1.25)
