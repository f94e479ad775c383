"""Symmetry expansion: what the mates show, what their map is, and what the table and its file keep."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.cli import expand_symmetry as command_module
from cryosgd_plugin.core import expansion, symmetry
from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import frequencies_2d, ifft2_centred, shift_phases
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.engines.reconstruct import reconstruct
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.ops import slicing

from .io_samples import make_stack, noise_images, table_of
from .test_cli_tools import command

BOX, PIXEL, RADIUS = 24, 2.0, 9
SITE = np.array([5.0, 2.0, 3.0])


def blob(at, sigma=1.2):
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / (2 * sigma ** 2)).astype(np.float32)


def symmetric_map(operators):
    rng = np.random.default_rng(3)
    places = rng.uniform(-5, 5, (4, 3))
    return sum(blob(operator @ place) for place in places for operator in operators)


def posed_table(n, rng):
    """A table of n images that no file holds, with random poses and shifts."""
    table = table_of(["nowhere.mrcs"], [n], box=BOX)
    table.rotations, table.shifts_a = random_rotations(n, rng), rng.normal(size=(n, 2))
    return table


def points_of(radius=RADIUS):
    kx, ky = frequencies_2d(BOX, PIXEL)
    return kx, ky, np.hypot(kx, ky) * BOX * PIXEL <= radius


def images_of(volume, rotations, table, rows):
    """Coefficients (n, k) of the images of some rows of a table, seen under other poses than the table's."""
    kx, ky, inside = points_of()
    points = (np.stack([kx[inside], ky[inside]], axis=1) * BOX * PIXEL).astype(np.float32)
    half = slicing.to_half_volume(volume, RADIUS)
    values = slicing.slice_volume(half, rotations.astype(np.float32), points)
    return values * ctf_for(table, rows, kx[inside], ky[inside]) * np.conj(
        shift_phases(kx[inside], ky[inside], table.shifts_a[rows]))


def source_of(coefficients, table):
    """What `reconstruct` reads: images by the row of a table, which the stack index leads to."""
    _, _, inside = points_of()
    plane = np.zeros((len(coefficients), *inside.shape), np.complex64)
    plane[:, inside] = coefficients
    images = ifft2_centred(plane, BOX)
    return SimpleNamespace(images=lambda rows, box: images[table.stack_index[rows]])


@pytest.mark.parametrize("name", ["C4", "D3", "T", "O", "I1"])
def test_a_symmetric_map_has_one_slice_at_all_mates(name):
    operators = symmetry.point_group(name)
    volume = symmetric_map(operators)
    table = posed_table(3, np.random.default_rng(0))
    expanded = expansion.expand_symmetry(table, operators, np.random.default_rng(0))
    assert len(expanded) == 3 * len(operators)
    np.testing.assert_array_equal(expanded.rotations[::len(operators)], table.rotations)
    slices = images_of(volume, expanded.rotations, expanded, np.arange(len(expanded))).reshape(3, len(operators), -1)
    # 0.013 at most is measured: what trilinear interpolation of the padded transform leaves
    assert np.linalg.norm(slices - slices[:, :1]) < 0.02 * np.linalg.norm(slices)
    # and an image of another operator's group differs
    other = images_of(volume, table.rotations @ symmetry.point_group("C5")[1], table, np.arange(3))
    assert np.linalg.norm(other - slices[:, 0]) > 0.08 * np.linalg.norm(slices[:, 0])


@pytest.mark.parametrize("name", ["C4", "D3", "T"])
def test_the_map_in_c1_is_the_map_under_the_symmetry(name):
    """Of any images, also such as no symmetric map has: the sums are the same, in another order."""
    rng = np.random.default_rng(1)
    table = posed_table(30, rng)
    images = rng.normal(size=(30, BOX, BOX)).astype(np.float32)
    expanded = expansion.expand_symmetry(table, expansion.expansion_group(name), rng)

    def source(of):
        return SimpleNamespace(images=lambda rows, box: images[of.stack_index[rows]])

    wanted = reconstruct(source(table), table, symmetry=name)
    got = reconstruct(source(expanded), expanded)
    assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()
    without = reconstruct(source(table), table)
    assert np.abs(without - wanted).max() > 0.1 * np.abs(wanted).max()


def test_a_feature_at_one_site_comes_back():
    """A refinement under D2 gives each particle any of four equivalent poses, so its ligand is at any of four sites and
    the map shows a quarter at each. Among the mates the right one is known by its image."""
    operators = expansion.expansion_group("D2")
    rng = np.random.default_rng(2)
    body = symmetric_map(operators)
    whole = body + blob(SITE)
    table = posed_table(160, rng)
    wrong = table.rotations @ operators[rng.integers(4, size=160)]
    seen = images_of(whole, wrong, table, np.arange(160))
    expanded = expansion.expand_symmetry(table, operators, rng)

    rows = np.arange(len(expanded))
    misfit = np.abs(seen[expanded.stack_index] - images_of(whole, expanded.rotations, expanded, rows)) ** 2
    chosen = expanded.take(np.argmin(misfit.sum(axis=1).reshape(160, 4), axis=1) + 4 * np.arange(160))
    assert np.array_equal(chosen.stack_index, np.arange(160))
    np.testing.assert_allclose(chosen.rotations, wrong, atol=1e-12)

    def density(of, images):
        volume = reconstruct(source_of(images, of), of, radius=RADIUS)
        return np.array([(volume * blob(operator @ SITE)).sum() for operator in operators])

    before, after = density(table, seen), density(chosen, seen)
    # above what the body alone shows at each site
    empty = density(chosen, images_of(body, wrong, table, np.arange(160)))
    before, after = before - empty.mean(), after - empty
    full = after[0]
    assert np.abs(after[1:]).max() < 0.15 * full
    assert np.all(np.abs(before - full / 4) < 0.15 * full)


@pytest.mark.parametrize("name", ["C4", "D7", "T", "O", "I1", "I2", "I3", "I4"])
def test_the_mates_are_relions(name):
    """relion_particle_symmetry_expand gives A·S for the operators S that RELION prints."""
    lines = (Path(__file__).parent / "data" / "relion_symmetry.txt").read_text().splitlines()
    printed = np.array([line.split()[1:] for line in lines if line.split()[0] == name], float).reshape(-1, 3, 3)
    table = posed_table(4, np.random.default_rng(4))
    ours = expansion.expand_symmetry(table, symmetry.point_group(name), np.random.default_rng(0)).rotations
    for pose, mates in zip(table.rotations, ours.reshape(4, -1, 3, 3)):
        distance = np.abs(mates[:, None] - (pose @ printed)[None]).max(axis=(2, 3))
        assert distance.shape == (len(printed),) * 2
        assert distance.min(axis=0).max() < 2e-5 and distance.min(axis=1).max() < 2e-5


def test_blocks_are_the_table_in_parts():
    table = posed_table(23, np.random.default_rng(0))
    operators = symmetry.point_group("D2")
    whole = expansion.expand_symmetry(table, operators, np.random.default_rng(3))
    parts = list(expansion.expanded_blocks(table, operators, np.random.default_rng(3), rows_at_once=33))
    assert [len(part) for part in parts] == [32, 32, 28]
    for name, column in whole._columns():
        np.testing.assert_array_equal(np.concatenate([dict(part._columns())[name] for part in parts]), column, name)
    table.rotations = None
    with pytest.raises(InputError, match="no poses"):
        expansion.expanded_blocks(table, operators, np.random.default_rng(3))


# ---- half-sets and columns
def test_half_sets_are_kept_or_drawn_by_particle():
    table = posed_table(11, np.random.default_rng(0))
    operators = symmetry.point_group("C3")
    drawn = expansion.expand_symmetry(table, operators, np.random.default_rng(5)).half_set.reshape(11, 3)
    assert np.all(drawn == drawn[:, :1]) and sorted(np.bincount(drawn[:, 0])[1:]) == [5, 6]
    again = expansion.expand_symmetry(table, operators, np.random.default_rng(5)).half_set
    assert np.array_equal(again, drawn.ravel())
    table.half_set = np.array([1, 2, 2, 1, 1, 2, 1, 1, 1, 2, 1], np.int8)
    kept = expansion.expand_symmetry(table, operators, np.random.default_rng(5)).half_set
    assert np.array_equal(kept.reshape(11, 3), np.repeat(table.half_set[:, None], 3, axis=1))


@pytest.mark.parametrize("by_us", [True, False])
def test_a_set_that_was_expanded_keeps_its_particles_together(by_us):
    table = posed_table(10, np.random.default_rng(0))
    table.ids = 100 + np.arange(10)
    once = expansion.expand_symmetry(table, symmetry.point_group("C2"), np.random.default_rng(0))
    once.half_set = None
    if not by_us:
        del once.extra[expansion.PARENT_TAG], once.extra[expansion.MATE_TAG]
    once.ids = np.arange(1, 21)
    twice = expansion.expand_symmetry(once, symmetry.point_group("C3"), np.random.default_rng(0))
    halves = twice.half_set.reshape(10, 6)
    assert np.all(halves == halves[:, :1]) and set(halves[:, 0]) == {1, 2}
    if by_us:
        assert np.array_equal(twice.extra[expansion.PARENT_TAG], np.repeat(table.ids, 6))
        assert np.array_equal(twice.extra[expansion.MATE_TAG], np.tile(np.arange(1, 7), 10))
    assert ("expanded already" in expansion.doubts(once)[0]) and not expansion.doubts(table)
    assert ("10 of 20 rows" in expansion.doubts(once)[0]) != by_us


def test_images_in_both_halves_and_priors_are_doubted():
    table = posed_table(6, np.random.default_rng(0)).take([0, 1, 2, 3, 0, 1])
    table.half_set = np.array([1, 2, 1, 2, 2, 2], np.int8)
    table.extra["rlnAngleTiltPrior"] = np.zeros(6)
    said = expansion.doubts(table)
    assert len(said) == 3 and "2 of 6 rows" in said[0]
    assert said[1].startswith("1 images are in both half-sets") and said[2].startswith("rlnAngleTiltPrior are kept")


# ---- the command
@pytest.fixture
def star(tmp_path):
    table = posed_table(5, np.random.default_rng(0))
    table.stack_paths = [make_stack(tmp_path / "a.mrcs", noise_images(5, BOX))]
    table.class_id = np.array([1, 2, 1, 2, 1], np.int32)
    table.extra["rlnMicrographName"] = np.array([b"mic one.mrc", b"two.mrc", b"x", b"y", b"z"])
    table.extra["myNumber"] = np.arange(5) / 7
    write_particles(tmp_path / "p.star", table)
    return tmp_path / "p.star"


def test_command_writes_all_that_it_read(star, tmp_path, capsys):
    assert command(command_module, star, "--symmetry", "d2", "-o", tmp_path / "e.star") == 0
    printed = capsys.readouterr().out
    assert "no half-sets" in printed and "5 particles in 4 poses each, 20 rows" in printed and "warning" not in printed
    before, after = read_particles(star), read_particles(tmp_path / "e.star")
    rows = np.repeat(np.arange(5), 4)
    wanted = symmetry.symmetry_mates(before.rotations, "D2").reshape(-1, 3, 3)  # Sᵀ = S in D2
    np.testing.assert_allclose(after.rotations, wanted, atol=1e-7)
    for name in ("shifts_a", "defocus_u", "stack_index", "class_id"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[rows], err_msg=name)
    assert after.stack_paths == before.stack_paths and after.optics == before.optics
    for tag, column in before.extra.items():
        np.testing.assert_array_equal(after.extra[tag], column[rows], err_msg=tag)
    assert after.extra[expansion.PARENT_TAG].astype(int).tolist() == (rows + 1).tolist()
    assert after.extra[expansion.MATE_TAG].astype(int).tolist() == [1, 2, 3, 4] * 5
    # every mate but the first left out, the file is the one that was read
    first = after.take(after.extra[expansion.MATE_TAG].astype(int) == 1)
    np.testing.assert_allclose(first.rotations, before.rotations, atol=1e-7)
    # and once more: said, and the half-sets stay
    assert command(command_module, tmp_path / "e.star", "--symmetry", "C2", "-o", tmp_path / "f.star") == 0
    printed = capsys.readouterr().out
    assert "warning: the particles were expanded already" in printed and "no half-sets" not in printed
    np.testing.assert_array_equal(read_particles(tmp_path / "f.star").half_set, np.repeat(after.half_set, 2))


def test_command_refuses_with_one_sentence(star, tmp_path):
    out = tmp_path / "e.star"
    with pytest.raises(InputError, match="C1 has no mates to expand to"):
        command(command_module, star, "--symmetry", "c1", "-o", out)
    with pytest.raises(InputError, match="point group 'Q7' is not known; choose of C1"):
        command(command_module, star, "--symmetry", "Q7", "-o", out)
    for name in (star, tmp_path / "." / star.name):
        with pytest.raises(InputError, match="is the file to read"):
            command(command_module, star, "--symmetry", "C2", "-o", name, "--overwrite")
    table = read_particles(star)
    table.rotations = None
    write_particles(tmp_path / "bare.star", table)
    with pytest.raises(InputError, match="no poses .* to expand"):
        command(command_module, tmp_path / "bare.star", "--symmetry", "C2", "-o", out)
    assert not out.exists()
    out.write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        command(command_module, star, "--symmetry", "C2", "-o", out)
    assert out.read_text() == "precious"
