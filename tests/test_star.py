"""STAR files of particles: what is read, what is carried through, where stacks are looked for, what is written."""
import shutil
import time

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.particles import OpticsGroup
from cryosgd_plugin.core.poses import euler_to_matrix, random_rotations
from cryosgd_plugin.io.star import read_particles, read_table, write_particle_blocks, write_particles
from cryosgd_plugin.tests.io_samples import make_stack, noise_images, table_of
from cryosgd_plugin.tests.star_samples import OPTICS, PARTICLES, assert_same, write


def test_relion_31_values(tmp_path):
    """Groups by their own numbers, px shifts times the group's pixel size, unknown columns as they stand."""
    table = read_particles(write(tmp_path, OPTICS + PARTICLES))
    assert [group.name for group in table.optics] == ["micA", "micB"]
    assert [group.voltage_kv for group in table.optics] == [300.0, 200.0]
    assert table.optics_id.tolist() == [0, 1] and table.ids.tolist() == [1, 2]
    assert table.stack_index.tolist() == [1, 0]
    assert table.stack_paths == [str(tmp_path / "stacks/a.mrcs"), str(tmp_path / "stacks/b.mrcs")]
    assert table.defocus_u.tolist() == [11000.5, 12000.0]
    assert table.ctf_scale.tolist() == [1.0, 1.0] and table.phase_shift_deg.tolist() == [0.0, 0.0]
    assert table.shifts_a.tolist() == [[3.0, -4.0], [0.0, 0.0]] and table.rotations is None
    assert table.extra["rlnMicrographName"].tolist() == [b"mics/a.mrc", b"'mics/b c.mrc'"]
    assert table.extra["myScore"].tolist() == [b"0.1230", b"1e-3"]


def test_unknown_columns_and_blocks_come_back_as_they_were(tmp_path):
    more = "\ndata_model_groups\n\nloop_\n_rlnGroupName\n_rlnGroupNrParticles\ngroup_01 000012\n"
    optics = OPTICS.replace("_rlnImageDimensionality #8\n", "_rlnImageDimensionality #8\n_myGain #9\n") \
        .replace("16 2\n3 micB", "16 2 x.007\n3 micB").replace("2.0 16 2\n\n", "2.0 16 2 y.0080\n\n")
    table = read_particles(write(tmp_path, optics + PARTICLES + more))
    table.rotations = euler_to_matrix([10.0, 20.0], [30.0, 40.0], [50.0, 60.0])
    write_particles(tmp_path / "out.star", table)
    text = (tmp_path / "out.star").read_text()
    tags = [line.split()[0] for line in text.split("data_particles")[1].splitlines() if line.startswith("_")]
    assert tags[:9] == ["_rlnMicrographName", "_rlnImageName", "_rlnOpticsGroup", "_rlnDefocusU", "_rlnDefocusV",
                        "_rlnDefocusAngle", "_myScore", "_rlnOriginXAngst", "_rlnOriginYAngst"]
    assert tags[9:12] == ["_rlnPhaseShift", "_rlnCtfBfactor", "_rlnCtfScalefactor"]
    assert "'mics/b c.mrc'" in text and " 0.1230 " in text and " 1e-3 " in text
    assert "x.007" in text and "y.0080" in text and "000012" in text
    again = read_particles(tmp_path / "out.star")
    assert_same(table, again)
    assert again.optics[1].extra == {"myGain": "y.0080"}
    assert read_table(tmp_path / "out.star", "model_groups")["rlnGroupName"].tolist() == ["group_01"]


def test_higher_order_optics_round_trip(tmp_path):
    group = OpticsGroup("g", 300.0, 2.7, 0.1, 2.0, 16, beam_tilt_mrad=(0.25, -0.5), odd_zernike=(0.1, -2e-7, 3.0),
                        even_zernike=(1.25,), magnification=((1.001, 0.002), (0.002, 0.999)),
                        extra={"rlnMtfFileName": "mtf_k2_300kV.star"})
    plain = OpticsGroup("h", 200.0, 1.4, 0.07, 2.0, 16)
    stacks = [make_stack(tmp_path / f"{i}.mrcs", noise_images(2, 16)) for i in range(2)]
    write_particles(tmp_path / "p.star", table_of(stacks, [2, 2], optics=[group, plain], optics_of_stack=[0, 1]))
    first, second = read_particles(tmp_path / "p.star").optics
    assert first == group
    assert second.beam_tilt_mrad == (0.0, 0.0) and second.magnification == ((1.0, 0.0), (0.0, 1.0))
    assert second.extra == {"rlnMtfFileName": "None"}
    notes = write_particles(tmp_path / "old.star", read_particles(tmp_path / "p.star"), relion_30=True)
    assert notes == ["RELION 3.0 files can't hold odd Zernike terms, even Zernike terms, magnification matrices, "
                     "rlnMtfFileName: left out"]
    assert read_particles(tmp_path / "old.star").optics[1].beam_tilt_mrad == (0.25, -0.5)


def test_relion_30_groups_by_optics(tmp_path):
    text = ("data_\nloop_\n_rlnImageName\n_rlnVoltage\n_rlnSphericalAberration\n_rlnAmplitudeContrast\n_rlnDefocusU\n"
            "_rlnMagnification\n_rlnDetectorPixelSize\n1@stacks/a.mrcs 300 2.7 0.1 1e4 50000 10\n"
            "2@stacks/a.mrcs 200 2.7 0.1 1e4 50000 10\n3@stacks/a.mrcs 300 2.7 0.1 1e4 50000 10\n")
    table = read_particles(write(tmp_path, text))
    assert table.optics_id.tolist() == [1, 0, 1] and table.optics[0].voltage_kv == 200.0
    assert table.pixel_size == 2.0 and table.box_size == 16
    assert table.defocus_v.tolist() == [1e4] * 3 and table.defocus_angle_deg.tolist() == [0.0] * 3


def test_where_stacks_are_looked_for(tmp_path, monkeypatch):
    """Beside the STAR file, then in its parents (a RELION project), then in the current folder."""
    write(tmp_path, "")
    deep = tmp_path / "Refine3D" / "job012"
    deep.mkdir(parents=True)
    (deep / "run.star").write_text(OPTICS + PARTICLES)
    table = read_particles(deep / "run.star")
    assert table.stack_paths[0] == str(tmp_path / "stacks" / "a.mrcs")
    # written beside it the project's names stay, elsewhere they lead to the same files
    write_particles(deep / "out.star", table)
    assert " 000002@stacks/a.mrcs " in (deep / "out.star").read_text()
    other = tmp_path / "stacks" / "sub"
    other.mkdir()
    write_particles(other / "out.star", table.take([1, 0]))
    assert "000001@stacks/b.mrcs" in (other / "out.star").read_text()
    (deep / "stacks").mkdir()
    shutil.copy(tmp_path / "stacks" / "b.mrcs", deep / "stacks" / "a.mrcs")
    write_particles(deep / "moved.star", table)
    assert "000002@../../stacks/a.mrcs" in (deep / "moved.star").read_text()
    elsewhere = tmp_path.parent / f"{tmp_path.name}_elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.star").write_text(OPTICS + PARTICLES)
    with pytest.raises(InputError, match=r"stack stacks/a.mrcs \(row 1\) was not found; looked in .*_elsewhere, "
                                         "its parent folders and the current folder"):
        read_particles(elsewhere / "run.star")
    monkeypatch.chdir(tmp_path)
    assert read_particles(elsewhere / "run.star").stack_paths[0] == str(tmp_path / "stacks" / "a.mrcs")


def test_poses_and_subsets_of_rows(tmp_path):
    stack = make_stack(tmp_path / "a.mrcs", noise_images(20, 16))
    table = table_of([stack], [20])
    table.rotations = random_rotations(20, np.random.default_rng(3))
    table.shifts_a = np.random.default_rng(4).normal(size=(20, 2))
    table.half_set = np.arange(20, dtype=np.int8) % 2 + np.int8(1)
    table.extra["rlnNote"] = np.array(["a b", "", "#c", "_d"] * 5)
    picked = table.take([5, 3, 19])
    write_particles(tmp_path / "p.star", picked)
    again = read_particles(tmp_path / "p.star")
    np.testing.assert_allclose(again.rotations, picked.rotations, atol=2e-8)
    np.testing.assert_allclose(again.shifts_a, picked.shifts_a, atol=1e-8)
    assert again.half_set.tolist() == [2, 2, 2] and again.stack_index.tolist() == [5, 3, 19]
    assert again.extra["rlnNote"].tolist() == [b"\"\"", b"\"_d\"", b"\"_d\""]
    assert read_table(tmp_path / "p.star", "particles")["rlnNote"].tolist() == ["", "_d", "_d"]


@pytest.mark.parametrize("relion_30", [False, True])
def test_blocks_of_rows_make_one_file(tmp_path, relion_30):
    """The rows of several tables in one loop, the blocks beside the particles after all of them."""
    text = OPTICS + PARTICLES + "\n\ndata_mine\n\n_myValue 7\n"
    table = read_particles(write(tmp_path, text)).take([0, 1, 1, 0, 1])
    table.rotations = random_rotations(5, np.random.default_rng(0))
    write_particles(tmp_path / "whole.star", table, relion_30=relion_30)
    parts = (table.take(slice(first, first + 2)) for first in (0, 2, 4))
    notes = write_particle_blocks(tmp_path / "parts.star", parts, relion_30=relion_30)
    assert notes == write_particles(tmp_path / "again.star", table, relion_30=relion_30)
    whole, joined = (read_particles(tmp_path / name) for name in ("whole.star", "parts.star"))
    assert len(joined) == 5
    assert_same(whole, joined)
    assert read_table(tmp_path / "parts.star", "mine") == {"myValue": 7}


def test_letters_beyond_ascii(tmp_path):
    text = (OPTICS + PARTICLES).replace("mics/a.mrc", "mics/\u00e5.mrc").replace("stacks/a", "stacks/\u00f6")
    table = read_particles(write(tmp_path, text, stacks=("\u00f6", "b")))
    assert table.extra["rlnMicrographName"][0].decode() == "mics/\u00e5.mrc"
    assert table.stack_paths[0].endswith("stacks/\u00f6.mrcs")
    write_particles(tmp_path / "out.star", table)
    assert "000002@stacks/\u00f6.mrcs" in (tmp_path / "out.star").read_text(encoding="utf-8")
    assert_same(table, read_particles(tmp_path / "out.star"))
    (tmp_path / "latin.star").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="latin.star is not a STAR file in UTF-8 text"):
        read_particles(tmp_path / "latin.star")


def test_writing_is_all_or_nothing(tmp_path):
    stack = make_stack(tmp_path / "a.mrcs", noise_images(2, 16))
    table = table_of([stack], [2])
    write_particles(tmp_path / "p.star", table)
    before = (tmp_path / "p.star").read_bytes()
    table.extra["rlnBroken"] = np.array([object(), object()])
    with pytest.raises(ValueError, match="can't hold object"):
        write_particles(tmp_path / "p.star", table)
    assert (tmp_path / "p.star").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mrcs", "p.star"]
    with pytest.raises(InputError, match="can't write .*absent/p.star: it does not exist"):
        write_particles(tmp_path / "absent" / "p.star", table_of([stack], [2]))


def test_speed_of_a_large_table(tmp_path):
    """50,000 rows × 12 columns in seconds (a million rows × 20 columns: 5.5 s to read, 6.4 s to write on one core)."""
    n = 50_000
    stack = make_stack(tmp_path / "a.mrcs", noise_images(1, 16))
    table = table_of([stack], [n])
    table.rotations = random_rotations(n, np.random.default_rng(0))
    table.extra["rlnMicrographName"] = np.array([b"mics/a.mrc"] * n)
    start = time.perf_counter()
    write_particles(tmp_path / "p.star", table)
    again = read_particles(tmp_path / "p.star")
    assert time.perf_counter() - start < 10
    np.testing.assert_allclose(again.rotations, table.rotations, atol=2e-8)
