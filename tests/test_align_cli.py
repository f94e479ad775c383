"""align, symmetry and consensus from files to files."""
import argparse
import json

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.cli import align, consensus, main, symmetry
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.poses import angular_distance_deg, euler_to_matrix
from cryosgd_plugin.core.symmetry import rotate_volume, symmetrise
from cryosgd_plugin.engines.align import mirror
from cryosgd_plugin.io.star import read_table
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density
from cryosgd_plugin.tests.picture_checks import check_picture

BOX, PIXEL = 32, 6.0
TURN, SHIFT_A = Rotation.random(random_state=9).as_matrix(), np.array([6.0, -9, 4])


def command(module, *arguments):
    """Run one command as the command line does, without the other commands' modules."""
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    parsed = parser.parse_args([module.__name__.rsplit(".")[-1], *map(str, arguments)])
    return parsed.run(parsed)


@pytest.fixture
def maps(tmp_path):
    """reference.mrc, and moved.mrc: turned, shifted and mirrored."""
    reference = density(box=BOX, pixel=PIXEL)
    write_volume(tmp_path / "reference.mrc", reference, PIXEL)
    moved = mirror(rotate_volume(reference, TURN, SHIFT_A / PIXEL))
    write_volume(tmp_path / "moved.mrc", moved, PIXEL)
    return tmp_path


def test_align_end_to_end(maps, capsys):
    out = maps / "out.mrc"
    assert command(align, maps / "moved.mrc", maps / "reference.mrc", "-o", out, "--resolution", 20, "--json",
                   maps / "a.json", "--png", maps / "a.png") == 0
    check_picture(maps / "a.png")
    aligned, pixel = read_volume(out)
    assert pixel == pytest.approx(PIXEL)
    assert np.corrcoef(aligned.ravel(), density(box=BOX, pixel=PIXEL).ravel())[0, 1] > 0.98
    printed = capsys.readouterr().out
    assert "mirrored (z reversed first)" in printed and "of the other hand" in printed
    assert "FSC         0.143" in printed
    result = json.loads((maps / "a.json").read_text())
    assert result["mirrored"] and result["correlation"] > 0.99 > result["correlation_other_hand"] + 0.03
    assert angular_distance_deg(euler_to_matrix(*result["euler_deg"])[0], TURN.T) < 1.0
    np.testing.assert_allclose(result["shift_a"], -TURN.T @ SHIFT_A, atol=1.0)
    with pytest.raises(InputError, match="exists already"):
        command(align, maps / "moved.mrc", maps / "reference.mrc", "-o", out)


def test_align_of_another_grid_with_a_mask(maps, capsys):
    write_volume(maps / "fine.mrc", rotate_volume(density(box=52, pixel=4.0), TURN), 4.0)
    write_volume(maps / "mask.mrc", soft_sphere(BOX, 12, 3), PIXEL)
    command(align, maps / "fine.mrc", maps / "reference.mrc", "-o", maps / "o.mrc", "--no-mirror", "--mask",
            maps / "mask.mrc", "--radius", 9)
    printed = capsys.readouterr().out
    assert "resampled from 52 px at 4 Å/px to 6 Å/px" in printed
    assert "other hand" not in printed
    assert read_volume(maps / "o.mrc")[0].shape == (BOX,) * 3


def test_half_maps_move_with_their_map(maps, capsys):
    """Noise in them is no part of the search: they are turned exactly as their mean."""
    moved = read_volume(maps / "moved.mrc")[0]
    noise = np.random.default_rng(0).normal(0, 0.05, moved.shape).astype(np.float32)
    for name, half in (("h1", moved + noise), ("h2", moved - noise), ("small", moved[4:-4, 4:-4, 4:-4])):
        write_volume(maps / f"{name}.mrc", half, PIXEL)
    words = maps / "moved.mrc", maps / "reference.mrc", "--radius", 8
    command(align, *words, "-o", maps / "out.mrc", "--half-maps", maps / "h1.mrc", maps / "h2.mrc")
    out, first, second = (read_volume(maps / f"out{end}.mrc")[0] for end in ("", "_half1", "_half2"))
    assert np.abs(0.5 * (first + second) - out).max() < 1e-3 * np.abs(out).max()
    assert np.std(first - second) > 0.02
    with pytest.raises(InputError, match="no half-map of"):
        command(align, *words, "-o", maps / "other.mrc", "--half-maps", maps / "h1.mrc", maps / "small.mrc")
    with pytest.raises(InputError, match="out_half1.mrc"):
        (maps / "out.mrc").unlink()
        command(align, *words, "-o", maps / "out.mrc", "--half-maps", maps / "h1.mrc", maps / "h2.mrc")
    assert not (maps / "other.mrc").exists() and not (maps / "out.mrc").exists()


def test_align_refusals(maps, capsys):
    volume = read_volume(maps / "reference.mrc")[0]
    write_volume(maps / "empty.mrc", 0 * volume, PIXEL)
    write_volume(maps / "tiny.mrc", volume, 1.0)
    nan = volume.copy()
    nan[0, 0, 0] = np.nan
    with mrcfile.new(maps / "nan.mrc", data=nan) as file:
        file.voxel_size = PIXEL
    for moving, message in (("empty", "is empty: every voxel is 0"), ("tiny", "differ more than 4-fold"),
                            ("nan", "1 NaN or infinite")):
        with pytest.raises(InputError, match=message):
            command(align, maps / f"{moving}.mrc", maps / "reference.mrc", "-o", maps / "o.mrc")
    with pytest.raises(InputError, match="give a resolution between 12 and 64 Å"):
        command(align, maps / "moved.mrc", maps / "reference.mrc", "-o", maps / "o.mrc", "--resolution", 4)
    assert not (maps / "o.mrc").exists()
    assert main(["align", str(maps / "empty.mrc"), str(maps / "reference.mrc"), "-o", str(maps / "o.mrc")]) == 1
    assert "cryosgd align: " in capsys.readouterr().err


def test_symmetry_end_to_end(tmp_path, capsys):
    volume = symmetrise(density(BLOBS * 0.9 + 12, box=BOX, pixel=PIXEL), "D3")
    write_volume(tmp_path / "map.mrc", rotate_volume(volume, TURN, (0.7, -0.4, 0.3)), PIXEL)
    out = tmp_path / "on_axes.mrc"
    assert command(symmetry, tmp_path / "map.mrc", "--max-fold", 4, "--radius", 10, "-o", out, "--symmetrise", "--json",
                   tmp_path / "s.json", "--png", tmp_path / "s.png") == 0
    check_picture(tmp_path / "s.png")
    printed = capsys.readouterr().out
    assert "D3 fits" in printed and "expected" in printed and "averaged over the group" in printed
    turned = read_volume(out)[0]
    assert np.corrcoef(turned.ravel(), symmetrise(turned, "D3").ravel())[0, 1] > 0.98
    result = json.loads((tmp_path / "s.json").read_text())
    assert result["group"] == "D3" and "D4" in result["left_out"]
    assert {row["group"] for row in result["groups"]} >= {"C2", "C3", "C4", "D3"}


def test_half_maps_are_turned_with_the_symmetric_map(tmp_path, capsys):
    """Each is turned as the map is, and averaged by itself: their mean stays the map's."""
    volume = rotate_volume(symmetrise(density(BLOBS * 0.9 + 12, box=BOX, pixel=PIXEL), "C3"), TURN)
    noise = np.random.default_rng(1).normal(0, 0.05, volume.shape).astype(np.float32)
    for name, one in (("map", volume), ("h1", volume + noise), ("h2", volume - noise)):
        write_volume(tmp_path / f"{name}.mrc", one, PIXEL)
    words = (tmp_path / "map.mrc", "--group", "c3", "--radius", 10, "--symmetrise", "--half-maps", tmp_path / "h1.mrc",
             tmp_path / "h2.mrc")
    command(symmetry, *words, "-o", tmp_path / "out.mrc", "--json", tmp_path / "s.json")
    out, first, second = (read_volume(tmp_path / f"out{end}.mrc")[0] for end in ("", "_half1", "_half2"))
    assert np.abs(0.5 * (first + second) - out).max() < 1e-3 * np.abs(out).max()
    assert np.std(first - second) > 0.02
    assert np.corrcoef(first.ravel(), symmetrise(first, "C3").ravel())[0, 1] > 0.99
    result = json.loads((tmp_path / "s.json").read_text())
    row, = result["groups"]
    assert result["turned_to"] == row["group"] == "C3" and len(row["curve"]) == 11 and row["curve"][-1] == row["fsc"]
    with pytest.raises(InputError, match="--half-maps needs a file"):
        command(symmetry, *words[:5], *words[6:])


def test_symmetry_of_an_asymmetric_map_and_refusals(maps, capsys):
    command(symmetry, maps / "reference.mrc", "--max-fold", 3, "-o", maps / "o.mrc", "--radius", 10)
    assert "Use C1" in capsys.readouterr().out and not (maps / "o.mrc").exists()
    command(symmetry, maps / "reference.mrc", "--group", "c2", "-o", maps / "o.mrc", "--radius", 10)
    assert "on the axes of C2" in capsys.readouterr().out
    for arguments, message in ((("--symmetrise",), "give it with --output"), (("--group", "C1"), "no axes"),
                               (("--group", "Q7"), "not known"), (("--max-fold", 1), "not between 2 and 60")):
        with pytest.raises(InputError, match=message):
            command(symmetry, maps / "reference.mrc", *arguments)


def test_consensus_end_to_end(maps, capsys):
    rng = np.random.default_rng(0)
    for name in ("moved", "reference"):
        volume = read_volume(maps / f"{name}.mrc")[0]
        write_volume(maps / f"{name}.mrc", volume + rng.normal(0, 0.05, volume.shape), PIXEL)
    write_volume(maps / "empty.mrc", np.zeros((BOX,) * 3), PIXEL)
    folder = maps / "result"
    names = ("moved.mrc", "reference.mrc", "empty.mrc", "missing.mrc")
    command(consensus, *(maps / name for name in names), "-o", folder, "--resolution", 20, "--diameter", 150)
    printed = capsys.readouterr().out
    assert "Both maps show the same structure to " in printed
    assert "empty was left out" in printed and "missing was left out" in printed
    assert {path.name for path in folder.iterdir()} == {
        "consensus.mrc", "consensus.json", "fsc.star", "consensus.png", "aligned_moved.mrc", "aligned_reference.mrc"}
    result = json.loads((folder / "consensus.json").read_text())
    assert set(result["left_out"]) == {"empty", "missing"} and result["groups"] == [["moved", "reference"]]
    table = read_table(folder / "fsc.star", "fsc")
    np.testing.assert_allclose(table["rlnFourierShellCorrelationUnmaskedMaps"], result["mean_fsc"], atol=1e-6)
    assert (folder / "consensus.png").stat().st_size > 5000
    with pytest.raises(InputError, match="exists already"):
        command(consensus, maps / "moved.mrc", maps / "reference.mrc", "-o", folder)


def test_consensus_refusals(maps):
    write_volume(maps / "other.mrc", density(box=24, pixel=8.0), 8.0)
    for names, message in ((("moved",), "nothing to be compared"), (("moved", "other"), "bring them to one grid"),
                           (("moved", "absent"), "1 of 2 maps can be read")):
        with pytest.raises(InputError, match=message):
            command(consensus, *(maps / f"{name}.mrc" for name in names), "-o", maps / "x")
    assert not (maps / "x").exists()
