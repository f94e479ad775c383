"""The border with Scipion: nothing is lost on the way there and back, and what can't be converted says so."""
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import CTFModel, Particle, SetOfParticles, Transform
from pyworkflow.object import Float, Integer, String

from cryosgd_plugin.convert import ID_TAG, table_from_set, table_from_star, table_to_star
from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import frequencies_2d
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.tests.convert_samples import EXACT, assert_same_tables, to_scipion, write_star

DATA = Path(os.environ.get("CRYOSGD_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture
def star(tmp_path):
    return write_star(tmp_path)


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
