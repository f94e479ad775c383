"""The border with Scipion: nothing is lost on the way there and back, and the geometry is the one Scipion means."""
import os
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pwem.convert.transformations import euler_from_matrix, euler_matrix
from pwem.objects import CTFModel, Particle, SetOfClasses3D, SetOfParticles, SetOfVolumes, Transform, Volume
from pyworkflow.object import Float, Integer, Pointer, String

from cryosgd_plugin.convert import (
    ID_TAG,
    copy_particles,
    fill_classes,
    poses_from_transforms,
    set_from_table,
    table_from_set,
    table_from_star,
    table_to_star,
    transforms_from_poses,
    volume_object,
    volume_to_mrc,
)
from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import frequencies_2d
from cryosgd_plugin.core.poses import euler_to_matrix
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.io.volumes import read_volume

DATA = Path(os.environ.get("CRYOSGD_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
EXACT = 1e-6

STAR = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
_rlnBeamTiltX #9
_rlnBeamTiltY #10
_rlnEvenZernike #11
_rlnMtfFileName #12
first 1 300.0 2.7 0.1 1.25 20 2 0.12 -0.34 [0.1,0.2,0.3] mtf_k2.star
second 2 200.0 1.4 0.07 1.25 20 2 0.0 0.0 [0,0,0] mtf_k2.star

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnCoordinateX #3
_rlnCoordinateY #4
_rlnOpticsGroup #5
_rlnDefocusU #6
_rlnDefocusV #7
_rlnDefocusAngle #8
_rlnPhaseShift #9
_rlnCtfBfactor #10
_rlnCtfScalefactor #11
_rlnCtfMaxResolution #12
_rlnCtfFigureOfMerit #13
_rlnAngleRot #14
_rlnAngleTilt #15
_rlnAnglePsi #16
_rlnOriginXAngst #17
_rlnOriginYAngst #18
_rlnRandomSubset #19
_rlnClassNumber #20
_rlnImageId #21
_rlnGroupName #22
_myWholeNumber #23
_myNumber #24
_myText #25
_myCode #26
"""
# image, micrograph, x, y, group | defocus U, V, angle, phase, B, scale | CTF quality | pose | half, class, id | others
ROWS = [
    '2@{a} "mics/mic one.mrc" 101.25 202.5 1 15000.5 14500.25 12.5 3.5 1.5 0.9 '
    '3.9 0.12 10.1 20.2 30.3 1.11 -2.22 1 3 11 g1 5 0.123456789 "two words" 007',
    '1@{b} mics/two.mrc 11 22.75 2 14000 14800.5 170.25 0 0 1.0 '
    '4.2 0.1 -170.5 90.0 -0.25 0 0 2 1 12 g1 -6 1e-5 plain 008',
    '1@{a} "mics/mic one.mrc" 33 44 1 20000 19000 -45 0 0 1.1 '
    '3.5 0.2 0 0 77.7 -3.5 4.5 1 1 20 g2 0 2.5 None 010',
    '3@{a} mics/two.mrc 1 2 2 10000 10000 0 90 2 1.0 '
    '3.7 0.3 120 179.5 -120 12.25 0.005 2 2 21 g2 123456789 -1.5 x 011',
]


@pytest.fixture
def star(tmp_path):
    """Two stacks of noise in 20 px boxes and a STAR file with all that RELION and others put into one."""
    rng = np.random.default_rng(1)
    for name, count in (("stacks/a.mrcs", 3), ("b.mrcs", 1)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with mrcfile.new(path) as stack:
            stack.set_data(rng.normal(size=(count, 20, 20)).astype(np.float32))
            stack.set_image_stack()
    path = tmp_path / "in.star"
    path.write_text(STAR + "\n".join(ROWS).format(a="stacks/a.mrcs", b="b.mrcs") + "\n")
    return path


def to_scipion(table, folder, name="set.sqlite"):
    """The table as a Scipion set, written, closed and opened again."""
    particles = SetOfParticles(filename=str(folder / name))
    set_from_table(table, particles, root=folder)
    return reopened(particles)


def reopened(particles):
    path = particles.getFileName()
    particles.write()
    particles.close()
    again = SetOfParticles(filename=path)
    again.loadAllProperties()
    return again


def assert_same_tables(got, wanted, *, ctf_as_numbers=True):
    """Equal to 1e-6, with ids apart; text may have gained or lost quotes."""
    columns, wanted_columns = dict(got._columns()), dict(wanted._columns())
    assert set(columns) - {"ids"} == set(wanted_columns) - {"ids"}
    skipped = {"ids", "stack_id"} | (set() if ctf_as_numbers else {"defocus_u", "defocus_v", "defocus_angle_deg"})
    for name in set(columns) - skipped:
        one, other = columns[name], wanted_columns[name]
        if one.dtype.kind == "S" or other.dtype.kind == "S":
            try:
                one, other = one.astype(float), other.astype(float)
            except ValueError:
                assert [t.strip(b'"') for t in one.tolist()] == [t.strip(b'"') for t in other.tolist()], name
                continue
        np.testing.assert_allclose(one, other, rtol=0, atol=EXACT, err_msg=name)
    paths = [[os.path.realpath(table.stack_paths[i]) for i in table.stack_id] for table in (got, wanted)]
    assert paths[0] == paths[1]
    assert [replace(g, extra={}) for g in got.optics] == [replace(g, extra={}) for g in wanted.optics]
    assert [g.extra for g in got.optics] == [g.extra for g in wanted.optics]


# ---- geometry
def test_transform_is_scipions_own_formula():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-180, 180, (20, 3))
    shifts_a, pixel_size = rng.uniform(-9, 9, (20, 2)), 1.7
    ours = transforms_from_poses(euler_to_matrix(*angles.T), shifts_a, pixel_size)
    for row in range(20):
        matrix = euler_matrix(*-np.radians(angles[row]), "szyz")
        matrix[:2, 3] = -shifts_a[row] / pixel_size
        np.testing.assert_allclose(ours[row], np.linalg.inv(matrix), atol=1e-12)


def test_transform_places_a_point_where_scipion_says():
    """image(x, y) = Σ_z V(R·(x, y, z) + t): a point p of the volume is seen at the x, y that R·(x, y, z) + t = p."""
    rotation = euler_to_matrix(20.0, 50.0, -70.0)
    shift_a, pixel_size, point = np.array([[3.0, -5.0]]), 2.0, np.array([4.0, -7.0, 9.0])
    matrix = transforms_from_poses(rotation, shift_a, pixel_size)[0]
    seen = np.linalg.solve(matrix[:3, :3], point - matrix[:3, 3])[:2]
    # the particle sits at minus the shift that centres it
    np.testing.assert_allclose(seen, (rotation[0] @ point)[:2] - shift_a[0] / pixel_size, atol=1e-12)


def test_transforms_round_trip():
    rng = np.random.default_rng(3)
    rotations = euler_to_matrix(*rng.uniform(-180, 180, (3, 50)))
    shifts = rng.uniform(-20, 20, (50, 2))
    again, shifts_again = poses_from_transforms(transforms_from_poses(rotations, shifts, 1.3), 1.3)
    np.testing.assert_allclose(again, rotations, atol=1e-14)
    np.testing.assert_allclose(shifts_again, shifts, atol=1e-12)


@pytest.mark.parametrize("matrix", [np.diag([-1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1]), np.zeros((4, 4))])
def test_transforms_that_are_no_rotation_are_refused(matrix):
    with pytest.raises(InputError, match="no rotation"):
        poses_from_transforms(matrix[None], 1.0)


# ---- there and back
def test_star_to_scipion_to_table_to_star_is_the_identity(star, tmp_path):
    wanted = read_particles(star)
    particles = to_scipion(wanted, tmp_path)
    got = table_from_set(particles, root=tmp_path)
    # row 2 has U < V: Scipion exchanges them and turns the angle, which is the same CTF
    assert_same_tables(got, wanted, ctf_as_numbers=False)
    kx, ky = frequencies_2d(20, 1.25)
    rows = np.arange(len(wanted))
    np.testing.assert_allclose(ctf_for(got, rows, kx, ky), ctf_for(wanted, rows, kx, ky), atol=EXACT)
    write_particles(tmp_path / "out.star", got)
    assert_same_tables(read_particles(tmp_path / "out.star"), wanted, ctf_as_numbers=False)
    # and through Scipion once more, now without anything left to exchange
    twice = to_scipion(read_particles(tmp_path / "out.star"), tmp_path, "again.sqlite")
    once_more = table_from_set(twice, root=tmp_path)
    assert_same_tables(once_more, got)


def test_what_a_scipion_user_sees_of_an_imported_star(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    assert particles.getSize() == 4 and particles.getXDim() == 20 and particles.getSamplingRate() == 1.25
    assert particles.hasCTF() and particles.hasAlignmentProj() and not particles.isPhaseFlipped()
    assert particles.getAcquisition().getVoltage() == 300.0
    first = particles.getItem("id", 11)  # rlnImageId
    assert first.getLocation() == (2, "stacks/a.mrcs")
    assert first.getCoordinate().getPosition() == (101, 202)
    assert first.getCoordinate().getMicName() == "mic one.mrc"
    assert first.getCTF().getResolution() == pytest.approx(3.9) and first.getCTF().getPhaseShift() == 3.5
    assert first.getClassId() == 3 and first._rlnRandomSubset.get() == 1 and first._rlnOpticsGroup.get() == 1
    assert isinstance(first._myWholeNumber, Integer) and isinstance(first._myNumber, Float)
    assert isinstance(first._myText, String) and first._myText.get() == "two words"
    assert first._myCode.get() == "007"  # a code, not the number 7
    mics = {item.getObjId(): item.getMicId() for item in particles}
    assert mics[11] == mics[20] != mics[12]


def test_a_set_without_ctf_poses_and_optics_text(star, tmp_path):
    table = read_particles(star)
    bare = replace(table, rotations=None, shifts_a=None, has_ctf=False, half_set=None, class_id=None, extra={},
                   optics=table.optics[:1], optics_id=np.zeros(4, np.int32))
    particles = to_scipion(bare, tmp_path)
    particles.getAcquisition().opticsGroupInfo.set(None)
    got = table_from_set(particles, root=tmp_path)
    assert got.rotations is None and got.half_set is None and got.class_id is None and not got.has_ctf
    assert got.optics[0].voltage_kv == 300.0 and got.pixel_size == 1.25 and got.box_size == 20
    np.testing.assert_array_equal(got.stack_index, table.stack_index)


def test_scaled_sets_bring_their_own_pixel_size(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    particles.setSamplingRate(2.5)  # as a protocol does that bins the images and leaves the optics text behind
    for item in [item.clone() for item in particles]:
        item.setSamplingRate(2.5)
        particles.update(item)
    table = table_from_set(particles, root=tmp_path)
    assert {group.pixel_size for group in table.optics} == {2.5}


def test_real_star_file(tmp_path):
    path = DATA / "apoferritin" / "particles_72.star"
    if not path.exists():
        pytest.skip(f"the apoferritin set is not at {path}; set CRYOSGD_TEST_DATA to the folder of test data")
    wanted = read_particles(path).take(np.arange(0, 2563, 10))
    assert_same_tables(table_from_set(to_scipion(wanted, tmp_path), root=tmp_path), wanted, ctf_as_numbers=False)


# ---- results into Scipion
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


def test_ids_travel_through_the_engines_star(star, tmp_path):
    table = table_from_set(to_scipion(read_particles(star), tmp_path), root=tmp_path)
    table_to_star(table, tmp_path / "engine.star")
    again = table_from_star(tmp_path / "engine.star")
    np.testing.assert_array_equal(again.ids, table.ids)
    assert ID_TAG not in again.extra
    with pytest.raises(InputError, match=ID_TAG):
        table_from_star(star)


# ---- what can't be converted says so
def test_groups_of_several_pixel_sizes_are_refused(star, tmp_path):
    table = read_particles(star)
    mixed = replace(table, optics=[table.optics[0], replace(table.optics[1], pixel_size=1.5)])
    with pytest.raises(InputError, match="20 px at 1.25 Å/px; 20 px at 1.5 Å/px"):
        to_scipion(mixed, tmp_path)


def test_a_promised_ctf_that_is_missing_is_named(star, tmp_path):
    particles = to_scipion(replace(read_particles(star), has_ctf=False), tmp_path)
    particles.setHasCTF(True)
    with pytest.raises(InputError, match="4 of 4 particles have no CTF"):
        table_from_set(particles, root=tmp_path)


def test_mixed_pixel_sizes_in_a_set_are_named(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    item = particles.getItem("id", 12)
    item.setSamplingRate(3.0)
    particles.update(item)
    with pytest.raises(InputError, match=r"mixes pixel sizes \(1.25 and 3 Å/px\)"):
        table_from_set(particles, root=tmp_path)


def test_unknown_optics_group_is_named(star, tmp_path):
    particles = to_scipion(read_particles(star), tmp_path)
    item = particles.getItem("id", 12)
    item._rlnOpticsGroup.set(7)
    particles.update(item)
    with pytest.raises(InputError, match="optics group 7"):
        table_from_set(particles, root=tmp_path)


def test_ctf_without_microscope_is_named(tmp_path, star):
    particles = SetOfParticles(filename=str(tmp_path / "set.sqlite"))
    particles.setSamplingRate(1.25)
    particles.setHasCTF(True)
    item = Particle(location=(1, str(tmp_path / "b.mrcs")))
    item.setCTF(CTFModel(defocusU=1e4, defocusV=1e4, defocusAngle=0.0))
    item.setTransform(Transform())
    particles.append(item)
    with pytest.raises(InputError, match="no voltage"):
        table_from_set(particles, root=tmp_path)


def test_empty_set_is_named(tmp_path):
    particles = SetOfParticles(filename=str(tmp_path / "set.sqlite"))
    particles.write()
    with pytest.raises(InputError, match="no particles"):
        table_from_set(particles)


# ---- beside the converter of scipion-em-relion
def test_relions_converter_writes_what_we_mean(star, tmp_path, monkeypatch):
    relion = pytest.importorskip("relion.convert", reason="scipion-em-relion is not installed here")
    monkeypatch.chdir(tmp_path)
    wanted = read_particles(star)
    particles = to_scipion(wanted, tmp_path)
    relion.writeSetOfParticles(particles, "relion.star", extraLabels=["rlnRandomSubset", "rlnCtfBfactor",
                                                                      "rlnCtfScalefactor", "rlnGroupName"])
    got = read_particles(tmp_path / "relion.star")
    np.testing.assert_allclose(got.rotations, wanted.rotations, atol=EXACT)
    np.testing.assert_allclose(got.shifts_a, wanted.shifts_a, atol=EXACT)
    np.testing.assert_array_equal(got.half_set, wanted.half_set)
    np.testing.assert_array_equal(got.stack_index, wanted.stack_index)
    np.testing.assert_array_equal(got.optics_id, wanted.optics_id)
    kx, ky = frequencies_2d(20, 1.25)
    np.testing.assert_allclose(ctf_for(got, np.arange(4), kx, ky), ctf_for(wanted, np.arange(4), kx, ky), atol=EXACT)
    assert [(g.voltage_kv, g.cs_mm, g.beam_tilt_mrad, g.even_zernike) for g in got.optics] == [
        (g.voltage_kv, g.cs_mm, g.beam_tilt_mrad, g.even_zernike) for g in wanted.optics]


def test_we_read_what_relions_converter_imports(star, tmp_path, monkeypatch):
    relion = pytest.importorskip("relion.convert", reason="scipion-em-relion is not installed here")
    monkeypatch.chdir(tmp_path)
    wanted = read_particles(star)
    particles = SetOfParticles(filename="relion.sqlite")
    relion.readSetOfParticles(str(star), particles, alignType="Projection", extraLabels=["rlnOpticsGroup"])
    got = table_from_set(reopened(particles), root=tmp_path)
    np.testing.assert_array_equal(got.ids, [11, 12, 20, 21])
    np.testing.assert_allclose(got.rotations, wanted.rotations, atol=EXACT)
    np.testing.assert_allclose(got.shifts_a, wanted.shifts_a, atol=EXACT)
    np.testing.assert_allclose(got.phase_shift_deg, wanted.phase_shift_deg, atol=EXACT)
    np.testing.assert_allclose(got.ctf_bfactor, wanted.ctf_bfactor, atol=EXACT)
    np.testing.assert_array_equal(got.half_set, wanted.half_set)
    kx, ky = frequencies_2d(20, 1.25)
    np.testing.assert_allclose(ctf_for(got, np.arange(4), kx, ky), ctf_for(wanted, np.arange(4), kx, ky), atol=EXACT)


def test_eulers_of_scipion_are_ours():
    """The way back, as other plugins go it: angles of inv(M)."""
    rotation = euler_to_matrix(33.0, 44.0, 55.0)
    matrix = np.linalg.inv(transforms_from_poses(rotation, np.array([[2.0, 3.0]]), 1.0)[0])
    np.testing.assert_allclose(-np.degrees(euler_from_matrix(matrix, axes="szyz")), [33.0, 44.0, 55.0], atol=1e-9)
    np.testing.assert_allclose(-matrix[:2, 3], [2.0, 3.0], atol=1e-12)


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
