"""The validating commands: their folders, their words, and what they refuse before there is a folder."""
import json
from xml.etree import ElementTree

import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.core.fourier import fft3_centred, ifft3_centred
from cryosgd_plugin.core.shells import fourier_radius_3d
from cryosgd_plugin.io.direction_tables import read_cones, read_sampling
from cryosgd_plugin.io.fsc_star import GUINIER, read_fsc, read_guinier
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.star import write_particles
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.io.volumes import read_volume, write_volume

from .io_samples import make_stack, noise_images, table_of
from .validation_samples import BOX, HALVES, PIXEL, write_samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    write_samples(folder)
    return folder


def run(command, folder, output, *words, names=HALVES):
    return main([command, *(str(folder / name) for name in names), "-o", str(output), *map(str, words)])


def summary(output):
    return json.loads((output / "summary.json").read_text())


def test_the_mask_that_is_made_can_be_shaped(folder, tmp_path, capsys):
    shares = {}
    for name, words in (("usual", ()), ("shaped", ("--mask-threshold", 0.1, "--mask-extend", 10, "--mask-edge", 12))):
        assert run("postprocess", folder, tmp_path / name, *words) == 0
        shares[name] = read_volume(tmp_path / name / "mask.mrc")[0].mean()
    assert shares["shaped"] > 1.2 * shares["usual"]
    assert summary(tmp_path / "shaped")["mask_shape"] == {"threshold": 0.1, "extend_a": 10, "edge_a": 12}
    for words, said in ((("--mask-threshold", 1.5), "not between 0 and 1"), (("--mask-extend", -1), "0 or more"),
                        (("--mask-edge", -1), "is negative"),
                        (("--mask-edge", 20, "--mask", folder / "mask.mrc"), "of a mask that is made")):
        assert run("postprocess", folder, tmp_path / "refused", *words) == 1
        assert said in capsys.readouterr().err and not (tmp_path / "refused").exists()


def test_postprocess_leaves_maps_tables_and_pictures(folder, tmp_path, capsys):
    output = tmp_path / "post"
    assert run("postprocess", folder, output, "--mask", folder / "mask.mrc", "--bfactor", -50, "--mtf",
               folder / "mtf.star", "--mtf-pixel-size", 1.5) == 0
    said = summary(output)
    assert said["outcome"] in capsys.readouterr().out
    assert said["bfactor"] == -50 and not said["mask_too_tight"] and said["resolution_a"] < 9
    assert "whose radius rounds to s" in said["convention"]
    curves = read_fsc(output / "postprocess.star")[1]
    assert set(curves) == {"corrected", "solvent-free", "unmasked", "masked", "randomised"}
    assert ResultFolder(output).fsc()["rlnFourierShellCorrelationCorrected"] == pytest.approx(curves["corrected"])
    general, guinier = (read_table(output / "postprocess.star", name) for name in ("general", "guinier"))
    assert general["rlnBfactorUsedForSharpening"] == -50
    assert general["rlnFinalResolution"] == pytest.approx(said["resolution_shell_a"], rel=1e-5)
    assert len(guinier["rlnLogAmplitudesMTFCorrected"]) == BOX // 2 + 1
    logarithms = read_guinier(output / "postprocess.star")
    assert list(logarithms) == list(GUINIER)
    # the file's MTF at shell 10, 1/12 Å, is that at 1/8 of 1.5 Å pixels; beyond the FSC's end nothing is left
    np.testing.assert_allclose((logarithms["mtf"] - logarithms["original"])[10], -np.log(0.8), atol=1e-4)
    assert np.isneginf(logarithms["sharpened"]).sum() == (logarithms["weighted"] < -50).sum()
    root = ElementTree.parse(output / "fsc.xml").getroot()
    assert root.get("title") == "FSC of the half-maps, corrected for the mask"
    points = [[float(point.findtext(axis)) for axis in "xy"] for point in root.iter("coordinate")]
    np.testing.assert_allclose(points, np.stack([np.arange(1, BOX // 2 + 1) / (BOX * PIXEL), curves["corrected"][1:]],
                                                axis=1), atol=2e-6)
    volume, pixel_size = read_volume(ResultFolder(output).volume())
    assert volume.shape == (BOX,) * 3 and pixel_size == pytest.approx(PIXEL)
    offered = said["deposition"]
    assert all((output / offered[name]).exists() for name in ("primary_map", "mask", "fsc"))
    assert 0.001 < (volume > offered["contour_level"]).mean() < 0.1, "the contour is about the chain of atoms"
    for name in ("fsc", "guinier", "volume", "surface"):
        assert (output / "pictures" / f"{name}.png").stat().st_size > 5000


def test_validate_does_everything(folder, tmp_path, capsys):
    output = tmp_path / "all"
    assert run("validate", folder, output, "--particles", folder / "particles.star", "--model", folder / "model.pdb",
               "--scan", 1, "--mtf", folder / "mtf.star") == 0
    said, printed = summary(output), capsys.readouterr().out
    assert len(said["outcome"]) == 5 and all(sentence in printed for sentence in said["outcome"])
    assert said["local_resolution"]["local_a"]["median"] < 12
    assert said["directional"]["area_ratio"] > 0.8
    assert 0.7 < said["sampling"]["scf_star"] <= 1 and said["sampling"]["views"] == 300
    assert not said["model"]["mirrored"] and said["model"]["fsc_0.5_a"] < 9
    assert abs(said["model"]["pixel_scan"]["best"] - PIXEL) < 0.01 * PIXEL
    assert "mtf" in read_guinier(output / "postprocess.star")
    cones, sampling = read_cones(output / "cones.star"), read_sampling(output / "sampling.star")
    known = cones.resolutions_a[np.isfinite(cones.resolutions_a)]
    assert known.min() == pytest.approx(said["directional"]["finest_a"], rel=1e-6)
    # the first shells, too small for cones, are those of the whole sphere
    assert (cones.spread[0] < cones.whole)[8:].all() and (np.diff(cones.spread, axis=0) >= 0).all()
    assert cones.area_ratio == pytest.approx(said["directional"]["area_ratio"], rel=1e-5)
    assert sampling.unsampled == pytest.approx(said["sampling"]["unsampled"])
    assert (sampling.views, sampling.shell) == (300, said["sampling"]["shell"])
    assert sampling.counts.min() / sampling.counts.mean() == pytest.approx(said["sampling"]["least_over_mean"])
    pictures = {path.relative_to(output).as_posix() for path in output.rglob("*.png")}
    assert pictures == {*(f"pictures/{name}.png" for name in (
        "fsc", "guinier", "volume", "surface", "local_resolution", "local_histogram", "cones", "sampling", "views")),
        *(f"model/pictures/{name}.png" for name in ("model_fsc", "model", "pixel_size"))}


def test_local_resolution_and_model_fsc_by_themselves(folder, tmp_path, capsys):
    assert run("local-resolution", folder, tmp_path / "local", "--window", 36) == 0
    volume, _ = read_volume(tmp_path / "local" / "local_resolution.mrc")
    mask, _ = read_volume(tmp_path / "local" / "mask.mrc")
    said = summary(tmp_path / "local")
    assert np.median(volume[mask > 0.5]) == pytest.approx(said["local_a"]["median"])
    assert (volume[mask == 0] == volume.max()).all() and said["window_a"] == 36
    assert main(["model-fsc", str(folder / "half1.mrc"), str(folder / "model.pdb"), "-o", str(tmp_path / "model"),
                 "--scan", "0"]) == 0
    said = summary(tmp_path / "model")
    assert said["pixel_scan"] is None and said["atoms"] == 300
    assert "Map and model agree to" in capsys.readouterr().out
    assert read_fsc(tmp_path / "model" / "fsc.star")[1]["model"][1] > 0.9


def coarse_halves(folder, tmp_path, resolution_a):
    """The sample's half-maps, low-passed to a resolution, with a little noise of their own."""
    rng = np.random.default_rng(3)
    clean = np.mean([read_volume(folder / name)[0] for name in HALVES], axis=0)
    clean = ifft3_centred(np.where(fourier_radius_3d(BOX) <= BOX * PIXEL / resolution_a, fft3_centred(clean), 0), BOX)
    for name in HALVES:
        write_volume(tmp_path / name, clean + 0.1 * clean.std() * rng.standard_normal(clean.shape), PIXEL)


def test_coarse_halves_are_validated_through_the_window_that_the_box_holds(folder, tmp_path, capsys):
    coarse_halves(folder, tmp_path, 24)
    assert run("validate", tmp_path, tmp_path / "out") == 0
    said, printed = summary(tmp_path / "out"), capsys.readouterr().out
    assert said["local_resolution"]["window_a"] == BOX * PIXEL / 2
    assert "no room for 5 times the resolution" in printed and said["directional"]["finest_a"] < 30
    # the mask is ours, and so are the options that shape it
    assert said["postprocess"]["mask_too_tight"] and "raise --mask-extend and --mask-edge" in printed
    assert "which flatters the cones" in said["directional"]["outcome"]
    # a window that was asked for is not shortened
    assert run("validate", tmp_path, tmp_path / "asked", "--window", 110) == 1
    assert "a window of 110.0 Å is 36.7 px wide" in capsys.readouterr().err and not (tmp_path / "asked").exists()


def test_halves_too_coarse_for_a_local_resolution_have_the_other_parts(folder, tmp_path, capsys):
    coarse_halves(folder, tmp_path, 40)
    assert run("validate", tmp_path, tmp_path / "out") == 0
    said, printed = summary(tmp_path / "out"), capsys.readouterr().out
    assert said["outcome"][-1].startswith("No local resolution is told") and said["outcome"][-1] in printed
    assert "local_resolution" not in said and "directional" in said
    assert not (tmp_path / "out" / "local_resolution.mrc").exists()
    assert run("local-resolution", tmp_path, tmp_path / "local") == 1
    assert "No local resolution is told" in capsys.readouterr().err
    assert run("local-resolution", tmp_path, tmp_path / "asked", "--window", 60) == 0


def test_halves_that_agree_nowhere_are_only_told_so(folder, tmp_path, capsys):
    rng = np.random.default_rng(9)
    for name in HALVES:
        write_volume(tmp_path / name, rng.standard_normal((BOX,) * 3), PIXEL)
    words = "--mask", folder / "mask.mrc"
    assert run("validate", tmp_path, tmp_path / "out", *words) == 0
    assert "agree at no resolution" in capsys.readouterr().out
    said = summary(tmp_path / "out")
    assert said["resolution_a"] is None and "local_resolution" not in said
    assert run("local-resolution", tmp_path, tmp_path / "local", *words) == 1
    assert "agree at no resolution, so there is no local one" in capsys.readouterr().err


def test_one_map_twice_is_named(folder, tmp_path, capsys):
    assert run("postprocess", folder, tmp_path / "out", names=("half1.mrc", "half1.mrc")) == 0
    assert "are the same map" in capsys.readouterr().out and not (tmp_path / "out" / "volume.mrc").exists()
    assert run("local-resolution", folder, tmp_path / "local", names=("half1.mrc", "half1.mrc")) == 1
    assert "are the same map" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bad(folder):
    """Files that can't be used, beside the good ones."""
    volume = read_volume(folder / "half2.mrc")[0]
    write_volume(folder / "small.mrc", volume[4:-4, 4:-4, 4:-4], PIXEL)
    write_volume(folder / "other_pixel.mrc", volume, 1.2 * PIXEL)
    broken = volume.copy()
    broken[3, 3, 3] = np.nan
    write_volume(folder / "nan.mrc", broken, PIXEL)
    write_volume(folder / "zero.mrc", np.zeros_like(volume), PIXEL)
    (folder / "text.mrc").write_text("no map")
    (folder / "text.pdb").write_text("no model")
    table = table_of([make_stack(folder / "b.mrcs", noise_images(3, 16))], [3])
    write_particles(folder / "no_poses.star", table)
    return folder


REFUSED = [
    (("half1.mrc", "small.mrc"), (), "half1.mrc has a box of 40 px, .*small.mrc one of 32 px; resample one"),
    (("half1.mrc", "other_pixel.mrc"), (), "half1.mrc has 3 Å/px, .*other_pixel.mrc 3.6 Å/px; resample one"),
    (("half1.mrc", "nan.mrc"), (), "nan.mrc holds 1 NaN or infinite voxels; make it again"),
    (("half1.mrc", "zero.mrc"), (), "zero.mrc is empty: every voxel is 0; give a map with density"),
    (("half1.mrc", "absent.mrc"), (), "absent.mrc.*it does not exist; check the path"),
    (("half1.mrc", "text.mrc"), (), "text.mrc"),
    (HALVES, ("--mask", "small.mrc"), "mask of 32 × 32 × 32 px differs from the map of 40 × 40 × 40 px; resample"),
    (HALVES, ("--mask", "zero.mrc"), r"the mask is empty \(all zero\); lower the threshold"),
    (HALVES, ("--mask", "half1.mrc"), "the mask's values run from .* where 0 to 1 is needed"),
    (HALVES, ("--mask", "nan.mrc"), "nan.mrc holds 1 NaN"),
    (HALVES, ("--mask", "other_pixel.mrc"), "mask of 3.6 Å/px differs from the map of 3 Å/px"),
    (HALVES, ("--pixel-size", "-2"), "--pixel-size -2 Å/px is not positive"),
    (HALVES, ("--diameter", "-2"), "a diameter of -2 Å is not positive"),
]


@pytest.mark.parametrize("command", ["postprocess", "validate", "local-resolution"])
@pytest.mark.parametrize("names, words, message", REFUSED)
def test_bad_half_maps_and_masks_leave_no_folder(command, names, words, message, bad, tmp_path, capsys):
    words = [bad / word if word.endswith(".mrc") else word for word in words]
    assert run(command, bad, tmp_path / "out", *words, names=names) == 1
    assert_said(message, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command, words, message", [
    ("postprocess", ("--mtf-pixel-size", "1"), "--mtf-pixel-size belongs to an MTF; give --mtf"),
    ("postprocess", ("--mtf", "mtf.star", "--mtf-pixel-size", "9"), "correct the pixel size of the MTF"),
    ("postprocess", ("--mtf", "particles.star"), "has no columns rlnResolutionInversePixel and rlnMtfValue"),
    ("postprocess", ("--bfactor", "-9999"), "a B-factor of -9999.0 Å² is beyond ±2000"),
    ("validate", ("--particles", "no_poses.star"), "no_poses.star has no poses"),
    ("validate", ("--particles", "absent.star"), "absent.star: it does not exist"),
    ("validate", ("--model", "text.pdb"), "text.pdb"),
    ("validate", ("--model", "model.pdb", "--assembly", "7"), "defines no assembly '7'"),
    ("validate", ("--symmetry", "Q3"), "point group 'Q3' is not known"),
    ("validate", ("--local-threshold", "2"), "a threshold of 2 is not between 0 and 1"),
    ("local-resolution", ("--window", "5"), "give one between 12.0 and 60.0 Å"),
])
def test_bad_options_leave_no_folder(command, words, message, bad, tmp_path, capsys):
    words = [bad / word if word.endswith((".star", ".pdb")) else word for word in words]
    assert run(command, bad, tmp_path / "out", *words) == 1
    assert_said(message, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("map_name, model_name, words, message", [
    ("absent.mrc", "model.pdb", (), "absent.mrc.*it does not exist"),
    ("half1.mrc", "absent.pdb", (), "absent.pdb: it does not exist"),
    ("half1.mrc", "text.pdb", (), "text.pdb"),
    ("zero.mrc", "model.pdb", (), "empty"),
    ("nan.mrc", "model.pdb", (), "nan.mrc holds 1 NaN"),
    ("half1.mrc", "model.pdb", ("--mask", "small.mrc"), "mask of 32 × 32 × 32 px differs"),
    ("half1.mrc", "model.pdb", ("--pixel-size", "0"), "--pixel-size 0 Å/px is not positive"),
    ("half1.mrc", "model.pdb", ("--pixel-size", "0.5"), "beyond the box of 40 px × 0.5 Å/px; give a box of"),
    ("half1.mrc", "model.pdb", ("--scan", "50"), "a scan of ±50% of the pixel size"),
    ("half1.mrc", "model.pdb", ("--resolution", "-3"), "a resolution of -3.0 Å is not positive"),
])
def test_bad_models_leave_no_folder(map_name, model_name, words, message, bad, tmp_path, capsys):
    words = [str(bad / word) if word.endswith(".mrc") else word for word in words]
    assert main(["model-fsc", str(bad / map_name), str(bad / model_name), "-o", str(tmp_path / "out"), *words]) == 1
    assert_said(message, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["postprocess", "validate", "local-resolution"])
def test_nothing_is_overwritten(command, folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    assert run(command, folder, tmp_path / "out") == 1
    assert_said("out exists; give a new folder", capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def assert_said(message, capsys):
    """One sentence on stderr, no traceback."""
    import re
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1 and "Traceback" not in error
