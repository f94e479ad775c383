"""The small commands: fsc, flip-hand, convert."""
import pickle
from xml.etree import ElementTree

import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.cli import convert, flip_hand, fsc
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import resample_images
from cryosgd_plugin.core.particles import OpticsGroup
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.io.cryosparc import read_cs
from cryosgd_plugin.io.stacks import StackReader, check_stacks
from cryosgd_plugin.io.star import read_particles, read_table, write_particles
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.ops import slicing

from .io_samples import make_stack, noise_images, shared, table_of


def command(module, *arguments):
    """Run one command as the command line does, without the other commands' modules."""
    import argparse
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    parsed = parser.parse_args([module.__name__.rsplit(".")[-1].replace("_", "-"), *map(str, arguments)])
    return parsed.run(parsed)


def blobs(box, positions, sigma=1.3):
    """A map of Gaussian blobs at (x, y, z) px from the centre voxel."""
    z, y, x = np.indices((box, box, box)) - box // 2
    return sum(np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2) / (2 * sigma ** 2))
               for p in positions).astype(np.float32)


POSITIONS = np.array([[5.0, 1.0, -2.0], [-3.0, 4.0, 3.5], [0.5, -6.0, 1.0], [-2.0, -1.0, -5.5]])


# ---- fsc

def test_fsc_of_relions_half_maps(tmp_path, capsys):
    """Counted as RELION counts, the curve of the unmasked half-maps is the one in its postprocess.star."""
    star = shared("apoferritin/halfmaps/postprocess.star")
    halves = [shared(f"apoferritin/halfmaps/half{i}_class001_unfil.mrc") for i in (1, 2)]
    command(fsc, *halves, "--half-plane", "-o", tmp_path / "fsc.star", "--png", tmp_path / "fsc.png")
    ours = read_table(tmp_path / "fsc.star", "fsc")
    theirs = read_table(star, "fsc")
    np.testing.assert_allclose(ours["rlnFourierShellCorrelationUnmaskedMaps"],
                               theirs["rlnFourierShellCorrelationUnmaskedMaps"], atol=2e-5)
    np.testing.assert_allclose(ours["rlnAngstromResolution"][1:], theirs["rlnAngstromResolution"][1:], rtol=1e-4)
    printed = capsys.readouterr().out
    assert "FSC = 0.143 at 8.83 Å" in printed and "FSC = 0.5 at 10.74 Å" in printed
    assert (tmp_path / "fsc.png").stat().st_size > 5000
    assert read_table(tmp_path / "fsc.star", "general")["rlnUnfilteredMapHalf1"] == str(halves[0])


def test_fsc_with_a_mask_and_of_a_map_with_itself(tmp_path, capsys):
    volume = blobs(16, POSITIONS)
    write_volume(tmp_path / "a.mrc", volume, 2.0)
    write_volume(tmp_path / "b.mrc", 3 * volume, 2.01)
    mask = np.zeros((16, 16, 16), np.float32)
    mask[3:14, 3:14, 3:14] = 1
    with mrcfile.new(tmp_path / "mask.mrc", data=mask):
        pass
    assert command(fsc, tmp_path / "a.mrc", tmp_path / "b.mrc", "--mask", tmp_path / "mask.mrc", "-o",
                   tmp_path / "f.star", "--xml", tmp_path / "f.xml") == 0
    assert "FSC stays at 0.143 or above to the last shell (4 Å)" in capsys.readouterr().out
    assert np.all(read_table(tmp_path / "f.star", "fsc")["rlnFourierShellCorrelationMaskedMaps"] > 0.9999)
    root = ElementTree.parse(tmp_path / "f.xml").getroot()
    assert root.get("title") == "FSC, masked"
    np.testing.assert_allclose([float(x.text) for x in root.iter("x")], np.arange(1, 9) / (16 * 2.0), atol=1e-6)
    with pytest.raises(InputError, match="f.xml exists already"):
        command(fsc, tmp_path / "a.mrc", tmp_path / "b.mrc", "--xml", tmp_path / "f.xml")


def test_fsc_refusals(tmp_path):
    volume = blobs(16, POSITIONS)
    write_volume(tmp_path / "a.mrc", volume, 2.0)
    write_volume(tmp_path / "b.mrc", volume, 2.1)
    write_volume(tmp_path / "c.mrc", blobs(20, POSITIONS), 2.0)
    write_volume(tmp_path / "d.mrc", -volume, 2.0)
    a, b, c, d = (tmp_path / f"{name}.mrc" for name in "abcd")
    with pytest.raises(InputError, match="a.mrc has 2 Å/px, .*b.mrc 2.1 Å/px; resample one .*--pixel-size"):
        command(fsc, a, b)
    assert command(fsc, a, b, "--pixel-size", 2.05) == 0
    with pytest.raises(InputError, match="a.mrc has a box of 16 px, .*c.mrc one of 20 px"):
        command(fsc, a, c)
    with pytest.raises(InputError, match="mask of 20 × 20 × 20 px differs"):
        command(fsc, a, a, "--mask", c)
    with pytest.raises(InputError, match="the mask's values run from"):
        command(fsc, a, a, "--mask", d)
    with pytest.raises(InputError, match="--pixel-size -1 Å/px is not positive"):
        command(fsc, a, a, "--pixel-size", -1)
    with pytest.raises(InputError, match="a.mrc exists already; choose another name or add --overwrite"):
        command(fsc, a, a, "-o", a)


# ---- flip-hand

@pytest.mark.parametrize("axis, mirror", [
    ("xyz", [-1, -1, -1]), ("x", [-1, 1, 1]), ("y", [1, -1, 1]), ("z", [1, 1, -1])])
@pytest.mark.parametrize("box", [24, 25])
def test_flipped_map_has_its_density_at_the_mirrored_places(axis, mirror, box):
    flipped = flip_hand.flip_volume(blobs(box, POSITIONS), axis)
    np.testing.assert_allclose(flipped, blobs(box, POSITIONS * mirror), atol=1e-4)
    assert np.array_equal(flip_hand.flip_volume(flipped, axis), blobs(box, POSITIONS))


@pytest.mark.parametrize("axis", ["xyz", "x", "y", "z"])
@pytest.mark.parametrize("box", [24, 25])
def test_projections_stay_when_map_and_poses_are_flipped(axis, box, tmp_path):
    """The images' own proof: central slices of the flipped map under the flipped poses are those of the old map."""
    rng = np.random.default_rng(0)
    write_volume(tmp_path / "v.mrc", blobs(box, POSITIONS), 2.0)
    table = table_of([make_stack(tmp_path / "a.mrcs", noise_images(9, box))], [9], box=box)
    table.rotations, table.shifts_a = random_rotations(9, rng), rng.normal(size=(9, 2))
    write_particles(tmp_path / "p.star", table)
    command(flip_hand, tmp_path / "v.mrc", "-o", tmp_path / "w.mrc", "--axis", axis, "--particles", tmp_path / "p.star",
            "--particles-out", tmp_path / "q.star")
    flipped = read_particles(tmp_path / "q.star")
    assert np.allclose(np.linalg.det(flipped.rotations), 1.0)
    np.testing.assert_allclose(flipped.shifts_a, table.shifts_a, atol=1e-6)
    radius = 8
    y, x = np.mgrid[-radius:radius + 1, 0:radius + 1]
    points = np.stack([x, y], axis=-1)[np.hypot(x, y) <= radius].astype(np.float32)

    def slices(name, rotations):
        half = slicing.to_half_volume(read_volume(tmp_path / name)[0], radius)
        return slicing.slice_volume(half, rotations.astype(np.float32), points)

    before, after = slices("v.mrc", table.rotations), slices("w.mrc", flipped.rotations)
    scale = np.abs(before).max()
    np.testing.assert_allclose(after, before, atol=1e-4 * scale)
    # and the old poses don't fit the new map, nor the new poses the old one
    assert np.abs(slices("w.mrc", table.rotations) - before).max() > 0.1 * scale
    assert np.abs(slices("v.mrc", flipped.rotations) - before).max() > 0.1 * scale


@pytest.mark.parametrize("group", ["C3", "D2", "T", "O", "I1", "I2"])
def test_inversion_keeps_the_axes_of_every_point_group(group):
    """The mirrored density has the same operators: −1 commutes with every rotation; a mirror plane doesn't."""
    operators = point_group(group)
    cloud = np.concatenate([POSITIONS @ operator.T for operator in operators])

    def symmetric(points):
        return all(np.min(np.linalg.norm(points[:, None] - (points @ operator.T)[None], axis=2), axis=0).max() < 1e-6
                   for operator in operators)

    assert symmetric(cloud) and symmetric(-cloud)
    if group == "T":
        assert not symmetric(cloud * [1, 1, -1])


def test_flip_hand_refusals(tmp_path, capsys):
    write_volume(tmp_path / "v.mrc", blobs(16, POSITIONS), 2.0)
    write_particles(tmp_path / "p.star", table_of([make_stack(tmp_path / "a.mrcs", noise_images(2, 16))], [2]))
    with pytest.raises(InputError, match="--particles and --particles-out belong together"):
        command(flip_hand, tmp_path / "v.mrc", "-o", tmp_path / "w.mrc", "--particles", tmp_path / "p.star")
    with pytest.raises(InputError, match="the particles have no poses"):
        command(flip_hand, tmp_path / "v.mrc", "-o", tmp_path / "w.mrc", "--particles", tmp_path / "p.star",
                "--particles-out", tmp_path / "q.star")
    assert not (tmp_path / "w.mrc").exists()
    with pytest.raises(InputError, match="v.mrc exists already"):
        command(flip_hand, tmp_path / "v.mrc", "-o", tmp_path / "v.mrc")
    assert command(flip_hand, tmp_path / "v.mrc", "-o", tmp_path / "v.mrc", "--overwrite") == 0
    assert "inverted through its centre (x, y and z), about voxel 8" in capsys.readouterr().out


# ---- convert

def test_convert_between_relion_versions(tmp_path, capsys):
    source = shared("cryodrgn_small_real/empiar_10076_7.star")
    command(convert, source, "-o", tmp_path / "new.star")
    assert "7 particles, 1 optics group" in capsys.readouterr().out
    command(convert, tmp_path / "new.star", "-o", tmp_path / "old.star", "--to-relion-3.0")
    first, last = read_particles(source), read_particles(tmp_path / "old.star")
    assert first.stack_paths == last.stack_paths and first.box_size == last.box_size == 320
    np.testing.assert_allclose(first.defocus_u, last.defocus_u)
    assert first.optics[0].pixel_size == pytest.approx(last.optics[0].pixel_size, rel=1e-8)
    with pytest.raises(InputError, match="new.star exists already"):
        command(convert, source, "-o", tmp_path / "new.star")


def test_convert_fills_in_what_the_file_lacks(tmp_path):
    source = shared("cryodrgn_small_real/FinalRefinement-OriginalParticles-PfCRT.star")
    with pytest.raises(InputError, match="rlnAmplitudeContrast missing .* or give --amplitude-contrast"):
        command(convert, source, "-o", tmp_path / "p.star")
    command(convert, source, "-o", tmp_path / "p.star", "--amplitude-contrast", 0.08)
    assert read_particles(tmp_path / "p.star", images_must_exist=False).optics[0].amplitude_contrast == 0.08


def test_restack_with_cropping_inversion_and_normalisation(tmp_path):
    images = [noise_images(5, 16, 0) + 7, noise_images(3, 16, 1) + 7]
    stacks = [make_stack(tmp_path / f"{i}.mrcs", part) for i, part in enumerate(images)]
    table = table_of(stacks, [5, 3]).take([7, 0, 1, 2, 3, 4, 5, 6])
    table.extra["rlnMicrographName"] = np.array([b"m%d" % i for i in range(8)])
    write_particles(tmp_path / "p.star", table)
    images = np.concatenate(images)[[7, 0, 1, 2, 3, 4, 5, 6]]

    command(convert, tmp_path / "p.star", "-o", tmp_path / "q.star", "--stack", tmp_path / "q.mrcs", "--box", 12,
            "--invert")
    new = read_particles(tmp_path / "q.star")
    assert check_stacks(new) == [] and new.box_size == 12 and new.pixel_size == pytest.approx(2.0 * 16 / 12)
    assert new.extra["rlnMicrographName"].tolist() == table.extra["rlnMicrographName"].tolist()
    assert new.extra["rlnImageOriginalName"][0].endswith(b"000003@" + stacks[1].encode())
    np.testing.assert_allclose(new.defocus_u, table.defocus_u, atol=1e-6)
    read = StackReader().read(new, np.arange(8))
    np.testing.assert_allclose(read, -resample_images(images, 12) * (12 / 16) ** 2, atol=1e-5)
    assert read.mean() == pytest.approx(-images.mean(), abs=1e-4)  # grey values stay

    command(convert, tmp_path / "p.star", "-o", tmp_path / "n.star", "--stack", tmp_path / "n.mrcs", "--normalise", 24,
            "--float16")
    new = read_particles(tmp_path / "n.star")
    with mrcfile.open(tmp_path / "n.mrcs") as file:
        assert file.header.mode == 12
    y, x = np.indices((16, 16)) - 8
    background = StackReader().read(new, np.arange(8))[:, np.hypot(x, y) * 2 > 12]
    np.testing.assert_allclose(background.mean(1), 0, atol=1e-3)
    np.testing.assert_allclose(background.std(1), 1, atol=1e-3)


def test_convert_refusals(tmp_path):
    stacks = [make_stack(tmp_path / f"{name}.mrcs", noise_images(2, box)) for name, box in (("a", 16), ("b", 24))]
    groups = [OpticsGroup("a", 300, 2.7, 0.1, 2.0, 16), OpticsGroup("b", 300, 2.7, 0.1, 1.5, 24)]
    write_particles(tmp_path / "p.star", table_of(stacks, [2, 2], optics=groups, optics_of_stack=[0, 1]))
    star, out = tmp_path / "p.star", tmp_path / "q.star"
    with pytest.raises(InputError, match="--box, --invert, --normalise and --float16 change images; give --stack"):
        command(convert, star, "-o", out, "--invert")
    with pytest.raises(InputError, match="the optics groups differ in box or pixel size; .* add --normalise DIAMETER"):
        command(convert, star, "-o", out, "--stack", tmp_path / "s.mrcs")
    with pytest.raises(InputError, match="a.mrcs is one of the stacks to read"):
        command(convert, star, "-o", out, "--stack", tmp_path / "a.mrcs", "--overwrite", "--normalise", 20)
    with pytest.raises(InputError, match="RELION 3.0 files have one pixel size, these groups have 1.5, 2 Å/px"):
        command(convert, star, "-o", out, "--to-relion-3.0")
    with pytest.raises(InputError, match="--passthrough belongs to cryoSPARC's .cs files"):
        command(convert, star, "-o", out, "--passthrough", star)
    (tmp_path / "bad.cs").write_text("text")
    with pytest.raises(InputError, match="bad.cs is not a cryoSPARC .cs file"):
        command(convert, tmp_path / "bad.cs", "-o", out)
    assert not out.exists()
    # with a background of 0 both groups come onto one grid
    command(convert, star, "-o", out, "--stack", tmp_path / "s.mrcs", "--normalise", 20)
    table = read_particles(out)
    assert {group.pixel_size for group in table.optics} == {2.0} and check_stacks(table) == []


def test_cryosparc_poses_as_cryodrgn_reads_them(tmp_path, capsys):
    """cryoDRGN's rotations (the same convention as its RELION reader's, which is ours) and shifts of a real job."""
    cs = shared("cryodrgn_small_real/cryosparc_P12_J24_001_particles.cs")
    with open(shared("cryodrgn_small_real/pose.cs.pkl"), "rb") as file:
        rotations, shifts = pickle.load(file)
    table, notes = read_cs(cs, images_must_exist=False)
    np.testing.assert_allclose(table.rotations, rotations, atol=1e-6)
    np.testing.assert_allclose(table.shifts_a / (2.95 * 180), shifts, atol=1e-7)
    assert table.pixel_size == 2.95 and table.optics[0].cs_mm == 2.0 and set(table.half_set) == {1, 2}
    assert len(notes) == 1 and "blob/sign -1" in notes[0]
    command(convert, cs, "-o", tmp_path / "p.star")
    assert "note: the images are dark" in capsys.readouterr().out
    again = read_particles(tmp_path / "p.star", images_must_exist=False)
    np.testing.assert_allclose(again.rotations, rotations, atol=1e-6)
    np.testing.assert_allclose(again.defocus_u, table.defocus_u, atol=1e-6)


def test_cryosparc_and_star_of_the_same_images_agree():
    from_cs, _ = read_cs(shared("cryodrgn_small_real/empiar_10076_7.cs"))
    from_star = read_particles(shared("cryodrgn_small_real/empiar_10076_7.star"))
    assert from_cs.stack_paths == from_star.stack_paths
    assert np.array_equal(from_cs.stack_index, from_star.stack_index)
    for name in ("defocus_u", "defocus_v", "defocus_angle_deg"):
        np.testing.assert_allclose(getattr(from_cs, name), getattr(from_star, name), rtol=1e-6)
    assert from_cs.optics[0].voltage_kv == 300.0 and from_cs.pixel_size == pytest.approx(from_star.pixel_size, rel=1e-6)


def test_cryosparc_fields_joined_by_uid(tmp_path):
    full = np.load(shared("cryodrgn_small_real/empiar_10076_7.cs"))
    blob = [name for name in full.dtype.names if name == "uid" or name.startswith("blob/")]
    ctf = [name for name in full.dtype.names if name == "uid" or name.startswith("ctf/")]

    def save(name, fields, rows):
        part = np.empty(len(rows), [(field, full.dtype[field]) for field in fields])
        for field in fields:
            part[field] = full[field][rows]
        with open(tmp_path / name, "wb") as file:
            np.save(file, part)
        return tmp_path / name

    main, passthrough = save("a.cs", blob, np.arange(7)), save("b.cs", ctf, np.arange(7)[::-1])
    table, _ = read_cs(main, passthrough=passthrough, images_must_exist=False)
    np.testing.assert_allclose(table.defocus_u, full["ctf/df1_A"])
    with pytest.raises(InputError, match=r"b.cs names no images \(blob/path, blob/idx\)"):
        read_cs(passthrough, images_must_exist=False)
    with pytest.raises(InputError, match=r"few.cs lacks particles of .*a.cs \(by uid\)"):
        read_cs(main, passthrough=save("few.cs", ctf, np.arange(5)), images_must_exist=False)
