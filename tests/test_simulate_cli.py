"""`cryosgd simulate`: what it writes, what it refuses, and that it can't be peeked at."""
import argparse
import json

import gemmi
import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.cli import simulate as command
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.engines.simulate.density import centre_of_mass
from cryosgd_plugin.engines.simulate.phantom import phantom_atoms
from cryosgd_plugin.io.models import read_model
from cryosgd_plugin.io.stack_writer import write_stack
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume, write_volume

SMALL = ["--box", "32", "--pixel-size", "8", "--particles", "12", "--seed", "3"]


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["simulate", *map(str, words)])
    return arguments.run(arguments)


def write_model(path, shift=0.0):
    """Two chains of the phantom's atoms, thinned, and a water and a hydrogen that don't count."""
    positions, elements = phantom_atoms()
    structure, model = gemmi.Structure(), gemmi.Model("1")
    chain = gemmi.Chain("A")
    for number, (xyz, symbol) in enumerate(zip(positions[::40] + shift, elements[::40])):
        chain.add_residue(residue("ALA", number + 1, symbol, "CA" if symbol == "C" else symbol, xyz))
    chain.add_residue(residue("HOH", 9000, "O", "O", (300.0, 0, 0)))
    chain.add_residue(residue("ALA", 9001, "H", "H", (300.0, 0, 0)))
    model.add_chain(chain)
    structure.add_model(model)
    structure.write_pdb(str(path))
    return positions[::40] + shift, elements[::40]


def residue(name, number, symbol, atom_name, xyz):
    made = gemmi.Residue()
    made.name, made.seqid = name, gemmi.SeqId(str(number))
    atom = gemmi.Atom()
    atom.name, atom.element, atom.pos = atom_name, gemmi.Element(symbol), gemmi.Position(*xyz)
    made.add_atom(atom)
    return made


def test_phantom_run_writes_a_data_set_without_its_truth(tmp_path, capsys):
    assert run("-o", tmp_path / "set", *SMALL) == 0
    assert "\r" in capsys.readouterr().out
    particles, truth = (read_particles(tmp_path / "set" / name) for name in ("particles.star", "truth.star"))
    assert particles.rotations is None and particles.shifts_a is None and particles.class_id is None
    assert "Angle" not in (tmp_path / "set" / "particles.star").read_text().replace("DefocusAngle", "")
    assert truth.rotations.shape == (12, 3, 3) and np.ptp(truth.shifts_a) > 0 and set(truth.class_id) == {1}
    assert np.allclose(particles.defocus_u, truth.defocus_u)
    with mrcfile.open(tmp_path / "set" / "particles.mrcs") as stack:
        assert stack.data.shape == (12, 32, 32) and stack.is_image_stack()
        assert stack.voxel_size.x == 8.0 and stack.data.std() == pytest.approx(1.0, abs=0.1)
    volume, pixel_size = read_volume(tmp_path / "set" / "truth_volume.mrc")
    assert volume.shape == (32, 32, 32) and pixel_size == 8.0
    summary = json.loads((tmp_path / "set" / "summary.json").read_text(encoding="utf-8"))
    assert summary["snr"] == pytest.approx(0.05) and summary["parameters"]["seed"] == 3
    assert summary["snr_energy_p2"] > 0 and 150 < summary["diameter_a"] < 220


def test_poses_are_given_when_asked_for(tmp_path):
    run("-o", tmp_path, *SMALL, "--star-poses")
    particles, truth = (read_particles(tmp_path / name) for name in ("particles.star", "truth.star"))
    assert np.allclose(particles.rotations, truth.rotations)


def test_results_are_not_overwritten_unasked(tmp_path):
    run("-o", tmp_path, *SMALL)
    before = (tmp_path / "particles.mrcs").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        run("-o", tmp_path, *SMALL, "--no-noise")
    assert (tmp_path / "particles.mrcs").read_bytes() == before
    run("-o", tmp_path, *SMALL, "--no-noise", "--overwrite")
    assert (tmp_path / "particles.mrcs").read_bytes() != before


def test_same_seed_same_files(tmp_path):
    for name in "ab":
        run("-o", tmp_path / name, *SMALL, "--noise", "coloured", "--threads", 1 if name == "a" else 2)
    assert (tmp_path / "a/particles.mrcs").read_bytes()[1024:] == (tmp_path / "b/particles.mrcs").read_bytes()[1024:]


def test_maps_are_resampled_with_their_mass(tmp_path):
    rng = np.random.default_rng(0)
    radius = np.sqrt(((np.indices((40, 40, 40)) - 20) ** 2).sum(axis=0))
    smooth = np.exp(-((radius - 6) / 4) ** 2) * (1 + 0.1 * rng.normal(size=radius.shape))
    write_volume(tmp_path / "one.mrc", smooth, 6.0)
    write_volume(tmp_path / "two.mrc", smooth * (radius > 5), 6.0)
    run("-o", tmp_path / "set", *SMALL, "--particles", 40, "--map", tmp_path / "one.mrc", tmp_path / "two.mrc",
        "--fractions", 0.5, 0.5)
    first, pixel_size = read_volume(tmp_path / "set" / "truth_volume_class001.mrc")
    assert pixel_size == 8.0 and first.shape == (32, 32, 32)
    assert first.sum() == pytest.approx(smooth.sum(), rel=0.01)
    centre = np.indices(first.shape) - 16
    assert (first * centre).sum(axis=(1, 2, 3)) * 8.0 == pytest.approx(     # the first moments, in Å
        (smooth * (np.indices(smooth.shape) - 20)).sum(axis=(1, 2, 3)) * 6.0, abs=0.01 * smooth.sum())
    assert set(read_particles(tmp_path / "set" / "truth.star").class_id) == {1, 2}


def test_models_are_centred_and_read_without_water_or_hydrogen(tmp_path):
    positions, elements = write_model(tmp_path / "model.pdb", shift=25.0)
    read, symbols = read_model(tmp_path / "model.pdb")
    assert np.abs(read - positions).max() < 1e-3 and symbols == elements
    run("-o", tmp_path / "set", *SMALL, "--model", tmp_path / "model.pdb")
    volume, pixel_size = read_volume(tmp_path / "set" / "truth_volume.mrc")
    index = (np.indices(volume.shape) - 16).reshape(3, -1)
    centroid = (index * volume.ravel()).sum(axis=1) / volume.sum() * pixel_size
    assert np.abs(centroid).max() < 1.5 and np.abs(centre_of_mass(positions, elements) - 25).max() < 5


@pytest.mark.parametrize("words, sentence", [
    (["--model", "absent.pdb"], "absent.pdb"), (["--map", "absent.mrc"], "absent.mrc"), (["--snr", "-1"], "SNR"),
    (["--box", "16"], "give a box of"), (["--fractions", "0.5", "0.5"], "fractions came with 1 structure"),
    (["--threads", "0"], "threads"), (["--pixel-size", "-2"], "pixel size")])
def test_bad_input_is_a_sentence_and_leaves_no_results(tmp_path, words, sentence):
    with pytest.raises(InputError, match=sentence):
        run("-o", tmp_path / "set", *SMALL, *words)
    assert list(tmp_path.rglob("*.*")) == []


def test_assembly_that_the_model_lacks(tmp_path):
    write_model(tmp_path / "model.pdb")
    with pytest.raises(InputError, match="defines no assembly '9'"):
        read_model(tmp_path / "model.pdb", "9")


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't make the folder"):
        run("-o", tmp_path / "file" / "set", *SMALL)


def test_stack_header_holds_statistics_and_is_valid(tmp_path):
    images = np.random.default_rng(0).normal(3, 2, (7, 16, 16)).astype(np.float32)
    write_stack(tmp_path / "s.mrcs", (images[:4], images[4:]), 7, 16, 1.5)
    assert mrcfile.validate(tmp_path / "s.mrcs")
    with mrcfile.open(tmp_path / "s.mrcs") as stack:
        assert np.array_equal(stack.data, images)
        assert stack.header.dmean == pytest.approx(images.mean(), rel=1e-5)
        assert stack.header.rms == pytest.approx(images.std(), rel=1e-5)
    with pytest.raises(ValueError, match="4 images came for a stack of 7"):
        write_stack(tmp_path / "t.mrcs", (images[:4],), 7, 16, 1.5)
    assert not (tmp_path / "t.mrcs").exists()
