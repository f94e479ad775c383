"""A refinement in its folder: results, continuing, refusals; the command line."""
import argparse
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.cli.refine import add_parser, make_config
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.masks import has_hard_edge, soft_sphere
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.mask import dynamic_mask
from cryosgd_plugin.engines.refine import search as search_module
from cryosgd_plugin.engines.refine.asymmetry import Asymmetry
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.memory import check_memory, memory_needed_gb
from cryosgd_plugin.engines.refine.search import BoundedSearch
from cryosgd_plugin.io.fsc_star import read_fsc
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.stack_writer import write_stack
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.io.undistort import distorted_shifts, undistorted
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.job import refine as refine_job
from cryosgd_plugin.job.refine import RefineJob, odd_halves, repeated
from cryosgd_plugin.job.refine_summary import symmetry_words
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density, particles
from cryosgd_plugin.tests.refine_samples import records
from cryosgd_plugin.tests.test_bounded_search import run, sample

N = 160
OPTIONS = ("--diameter", "120", "--initial-resolution", "45", "--shared-resolution", "60", "--shift-range", "12",
           "--threads", "1", "--iterations", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with particles.star, its stack and map.mrc; the true poses are in the STAR file and must not matter."""
    folder = tmp_path_factory.mktemp("data")
    source, table = particles(N, noise_sd=0.15, seed=3)
    write_stack(folder / "particles.mrcs", [source.stack], N, BOX, PIXEL)
    table.stack_paths = [str(folder / "particles.mrcs")]
    write_particles(folder / "particles.star", replace(table, rotations=None, shifts_a=None))
    write_volume(folder / "map.mrc", density(), PIXEL)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    assert command(data, folder) == 0
    return folder


def command(data, folder, *words, star="particles.star", reference="map.mrc"):
    return main(["refine", str(data / star), "--reference", str(data / reference), "-o", str(folder), *OPTIONS, *words])


def test_what_a_run_leaves(finished):
    results = ResultFolder(finished)
    volume, pixel = read_volume(results.volume())
    assert pixel == pytest.approx(PIXEL) and volume.shape == (BOX,) * 3
    assert fsc(volume, density())[1:7].min() > 0.8
    first, second = (read_volume(path)[0] for path in results.half_maps())
    _, curves = read_fsc(finished / "fsc.star")
    # half-maps are what their curve is of: unregularised, without a mask
    assert fsc(first, second) == pytest.approx(curves["unmasked"], abs=1e-3)
    assert set(curves) == {"unmasked", "masked", "randomised", "corrected"}
    mask = read_volume(finished / "mask.mrc")[0]
    assert 0 <= mask.min() and mask.max() == 1 and mask.mean() < 0.5
    assert len(results.progress_volumes()) == 3
    assert all((finished / "pictures" / f"{name}.png").exists() for name in ("fsc", "volume", "surface"))


def test_the_shells_are_reported(finished):
    """model.star with RELION's names and units, and one record an iteration."""
    shells = ResultFolder(finished).history()[-1]["spectra"][0]
    table = read_table(finished / "model.star", "model_class_1")
    # RELION's variances are of one component of a coefficient divided by the number of pixels
    scale = 1 / (2 * BOX ** 4)
    columns = [("rlnSsnrMap", "snr", 1), ("rlnReferenceTau2", "signal", scale), ("rlnSigma2Noise", "noise", scale),
               ("cryosgdDataShare", "data_share", 1), ("rlnFourierCompleteness", "completeness", 1),
               ("cryosgdCoefficients", "coefficients", 1)]
    for tag, word, factor in columns:
        assert table[tag] == pytest.approx(factor * np.array(shells[word]), rel=1e-3), tag
    assert (table["rlnSsnrMap"] * table["rlnReferenceSigma2"])[1:] == pytest.approx(table["rlnReferenceTau2"][1:],
                                                                                    rel=1e-3)
    assert table["rlnAngstromResolution"][4] == pytest.approx(BOX * PIXEL / 4)
    assert (table["rlnGoldStandardFsc"][2:6] > 0.5).all() and table["rlnSsnrMap"][3] > 1
    group = read_table(finished / "model.star", "model_optics_group_1")
    assert group["rlnOpticsGroupName"] == "one"
    # white noise of unit variance, as the images are normalised to
    assert group["rlnSigma2Noise"][4:11] == pytest.approx(np.full(7, 1 / (2 * BOX ** 2)), rel=0.2)
    assert (finished / "pictures" / "model.png").stat().st_size > 10_000


def test_particles_come_back_with_what_was_found(finished, data):
    table = read_particles(finished / "particles.star")
    assert len(table) == N and set(table.half_set) == {1, 2}
    for name in ("rlnLogLikeliContribution", "cryosgdEntropy", "cryosgdPoseWidth", "cryosgdScale",
                 "cryosgdAngularChange", "cryosgdShiftChange"):
        assert np.isfinite(np.asarray(table.extra[name], float)).all(), name
    assert np.ptp(np.asarray(table.extra["cryosgdScale"], float)) > 0


def test_the_summary_says_what_came_out(finished):
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert summary["outcome"].startswith(f"A map from {N} particles at ")
    assert "independent halves" in summary["outcome"] and "2 iterations were made" in summary["outcome"]
    assert summary["resolution_a"] < 40 and summary["half_sets"] == [N // 2, N // 2]
    assert summary["peak_memory_gb"] > 0 and summary["iterations_done"] == 3


def test_noise_is_given_no_resolution_anywhere(tmp_path, capsys):
    """Its halves agree as far as the reference goes that both were aligned to: log, summary, files and picture."""
    source, table = particles(80, noise_sd=1.0, seed=3, blobs=np.zeros((0, 3)))
    write_stack(tmp_path / "particles.mrcs", [source.stack], 80, BOX, PIXEL)
    table.stack_paths = [str(tmp_path / "particles.mrcs")]
    write_particles(tmp_path / "particles.star", replace(table, rotations=None, shifts_a=None))
    write_volume(tmp_path / "map.mrc", density(), PIXEL)
    assert command(tmp_path, tmp_path / "out", "--initial-resolution", "27", "--shared-resolution", "27",
                   "--iterations", "1", "--certificate-share", "0", "--overfitting-test") == 0
    printed, results = capsys.readouterr().out, ResultFolder(tmp_path / "out")
    history, summary = results.history(), results.summary()
    # the schedule goes by where the curve crosses
    assert 24 < history[-1]["resolution_a"] < 40 and history[-1]["resolved_a"] == [None]
    assert summary["resolution_a"] is None and summary["overfitting"][0]["resolution_a"] is None
    assert "no resolution beyond that of the reference (27 Å)" in summary["outcome"]
    assert "halves do not agree beyond what both began with" in printed and "halves agree to" not in printed
    assert "they do not agree beyond what both began with" in summary["outcome"]
    for name in ("fsc.star", "overfitting.star"):
        assert read_table(tmp_path / "out" / name, "general")["rlnFinalResolution"] == 999, name


def test_a_finished_run_is_left_alone(finished, data, capsys):
    before = (finished / "volume.mrc").stat().st_mtime_ns
    assert command(data, finished, "--continue") == 0
    assert "is finished" in capsys.readouterr().out and (finished / "volume.mrc").stat().st_mtime_ns == before
    assert command(data, finished) == 1
    assert "holds the results of another run" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_bit_for_bit(finished, data, tmp_path, monkeypatch):
    step = Refinement._step

    def interrupted(engine):
        if engine.iteration == 2:
            raise KeyboardInterrupt
        return step(engine)

    monkeypatch.setattr(Refinement, "_step", interrupted)
    assert command(data, tmp_path / "out") == 130
    monkeypatch.undo()
    assert command(data, tmp_path / "out", "--continue") == 0
    assert (tmp_path / "out" / "model.star").read_bytes() == (finished / "model.star").read_bytes()
    for name in ("volume.mrc", "half1.mrc", "mask.mrc"):
        assert np.array_equal(read_volume(tmp_path / "out" / name)[0], read_volume(finished / name)[0]), name
    histories = [[{k: v for k, v in record.items() if not k.startswith("seconds")}
                  for record in ResultFolder(folder).history()] for folder in (finished, tmp_path / "out")]
    assert histories[0] == histories[1]


def test_another_input_is_not_gone_on_with(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Refinement, "_step", lambda engine: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command(data, tmp_path / "out") == 130
    assert command(data, tmp_path / "out", "--continue", "--seed", "5") == 1
    assert "seed was 0 and is now 5" in capsys.readouterr().err


def test_other_half_sets_are_not_gone_on_with(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Refinement, "_step", lambda engine: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command(data, tmp_path / "out") == 130
    table = read_particles(data / "particles.star")
    write_particles(data / "halves.star", replace(table, half_set=(1 + np.arange(N) % 2).astype(np.int8)))
    assert command(data, tmp_path / "out", "--continue", star="halves.star") == 1
    assert "half-sets differ" in capsys.readouterr().err


def test_two_references_make_two_classes(data, tmp_path):
    write_volume(data / "other.mrc", density() ** 2, PIXEL)
    assert main(["refine", str(data / "particles.star"), "--reference", str(data / "map.mrc"), str(data / "other.mrc"),
                 "-o", str(tmp_path / "out"), *OPTIONS]) == 0
    results = ResultFolder(tmp_path / "out")
    assert [results.volume(k).name for k in (0, 1)] == ["class001.mrc", "class002.mrc"]
    table = read_particles(tmp_path / "out" / "particles.star")
    assert set(table.class_id) <= {1, 2}
    posterior = np.stack([np.asarray(table.extra[f"cryosgdClass00{k}Posterior"], float) for k in (1, 2)])
    assert posterior.sum(axis=0) == pytest.approx(np.ones(N), abs=1e-3)
    assert len(read_table(tmp_path / "out" / "model.star", "model_class_2")["rlnSsnrMap"]) == BOX // 2
    assert (tmp_path / "out" / "pictures" / "class002_model.png").exists()
    assert "2 maps from" in json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["outcome"]


@pytest.mark.parametrize("words, said", [
    (("--mask", "missing.mrc"), "missing.mrc"), (("--symmetry", "Q7"), "Q7"), (("--diameter", "900"), "diameter"),
    (("--initial-resolution", "5"), "Nyquist"), (("--threads", "0"), "threads"), (("--memory", "0"), "memory"),
    (("--device", "cuda"), "cuda")])
def test_bad_options_are_refused_before_there_is_a_folder(data, tmp_path, capsys, words, said):
    assert command(data, tmp_path / "out", *words) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_coarse_start_is_shared_by_itself():
    """As in the form: nobody need say twice that the start is coarse."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = ["refine", "x.star", "--reference", "map.mrc", "-o", "run", "--initial-resolution", "50"]
    table = SimpleNamespace(pixel_size=PIXEL, box_size=BOX)
    for more, shared in (([], 50.0), (["--shared-resolution", "70"], 70.0)):
        assert make_config(parser.parse_args([*words, *more]), table).shared_resolution_a == shared


def test_classes_go_with_their_references(data, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    table = SimpleNamespace(pixel_size=PIXEL, box_size=BOX)
    for maps, words, classes in ((1, [], 1), (1, ["--classes", "3"], 3), (3, [], 3), (3, ["--classes", "3"], 3)):
        words = ["refine", "x.star", "--reference", *["map.mrc"] * maps, "-o", "run", *words]
        assert make_config(parser.parse_args(words), table).classes == classes
    assert command(data, tmp_path / "out", "--classes", "2", "--max-particles", "60", "--certificate-share", "0") == 0
    results = ResultFolder(tmp_path / "out")
    assert len(results.job()["references"]) == 1 and results.history()[0]["class_shares"] == pytest.approx(
        [0.5] * 2, abs=0.02)
    assert not np.array_equal(*(read_volume(results.volume(k))[0] for k in range(2)))
    assert main(["refine", str(data / "particles.star"), "--reference", *[str(data / "map.mrc")] * 2, "--classes", "3",
                 "-o", str(tmp_path / "none"), *OPTIONS]) == 1
    assert "2 references were given for 3 classes" in capsys.readouterr().err


def test_a_symmetry_in_doubt_is_in_the_summary(finished, data, tmp_path, monkeypatch):
    """Of a run whose iterations are through, but not what follows them."""
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / "summary.json").unlink()
    doubt = Asymmetry(gain=2.5, error=0.1, share=0.3, resolution_a=30.0)
    monkeypatch.setattr(refine_job, "asymmetry", lambda engine, k: doubt)
    assert command(data, tmp_path / "out", "--continue") == 0
    summary = ResultFolder(tmp_path / "out").summary()
    assert "The particles may not have C1: a map without it explains those of the other half better" in (
        summary["outcome"]) and "by 2.5 ± 0.1 nats each" in summary["outcome"]
    assert summary["asymmetry"][0]["found"] is True


def test_a_symmetry_is_doubted_class_by_class():
    config = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, symmetry="C4", classes=3)
    sure, unsure = (Asymmetry(gain=2.5, error=error, share=0.3, resolution_a=30.0) for error in (0.1, 1.0))
    (words,) = symmetry_words(config, [None, sure, unsure])
    assert words.startswith("The particles of class 2 may not have C4")


def test_bad_maps_are_refused(data, tmp_path, capsys):
    broken = density()
    broken[3, 4, 5] = np.nan
    import mrcfile
    mrcfile.write(data / "nan.mrc", broken, voxel_size=PIXEL, overwrite=True)
    write_volume(data / "flat.mrc", np.ones((BOX,) * 3, np.float32), PIXEL)
    write_volume(data / "coarse_mask.mrc", soft_sphere(BOX, 6, 3), 1.02 * PIXEL)
    write_volume(data / "small_mask.mrc", np.ones((8,) * 3, np.float32), PIXEL)
    for reference, words, said in (("nan.mrc", (), "NaN"), ("flat.mrc", (), "constant"),
                                   ("none.mrc", (), "none.mrc"), ("particles.mrcs", (), "cubic"),
                                   ("map.mrc", ("--mask", str(data / "small_mask.mrc")), "resample the mask"),
                                   ("map.mrc", ("--mask", str(data / "coarse_mask.mrc")), "correct its pixel size")):
        assert command(data, tmp_path / "out", *words, reference=reference) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_mask_file_is_used_as_it_is(data, tmp_path):
    mask = dynamic_mask(density(), PIXEL, 120.0)
    write_volume(data / "mask.mrc", mask, PIXEL)
    assert command(data, tmp_path / "out", "--mask", str(data / "mask.mrc")) == 0
    assert read_volume(tmp_path / "out" / "mask.mrc")[0] == pytest.approx(mask)


# ---- masks, duplicates
def test_dynamic_mask_holds_the_density_without_dust():
    volume = density()
    volume[12, 3, 12] = 0.8 * volume.max()
    mask = dynamic_mask(volume, PIXEL, 180.0, envelope_a=16.0)
    assert mask[12, 3, 12] == 0 and 0.02 < mask.mean() < 0.4
    assert mask[density() > 0.5].min() > 0.9


def test_a_dynamic_mask_keeps_every_large_part():
    """A domain that the threshold cuts off belongs to the particle, as long as it is no speck."""
    two = np.roll(soft_sphere(64, 6, 2), -18, axis=2) + np.roll(soft_sphere(64, 4, 2), 20, axis=2)
    mask = dynamic_mask(two, 1.5, 90.0)
    assert mask[32, 32, 32 - 18] == 1 and mask[32, 32, 32 + 20] == 1 and mask[32, 32, 32 + 3] == 0


def test_a_dynamic_mask_is_soft_where_the_density_reaches_the_sphere():
    ball = soft_sphere(64, 20, 2)
    mask = dynamic_mask(ball, 1.5, 2 * 20 * 1.5)
    # an edge of 9 Å falls by a quarter a voxel of 1.5 Å at most
    assert np.abs(np.diff(mask, axis=0)).max() < 0.3 and not has_hard_edge(mask)
    assert mask[32, 32, 32 + 19] == 1 and mask[32, 32, 32 + 27] == 0


def test_a_map_without_density_has_no_mask():
    with pytest.raises(InputError, match="no density"):
        dynamic_mask(np.zeros((BOX,) * 3, np.float32), PIXEL, 160.0)


def test_odd_half_sets_are_not_taken_in_silence():
    _, table = particles(4, noise_sd=1.0)
    assert odd_halves(table) == []
    assert odd_halves(replace(table, half_set=np.array([1, 2, 1, 2], np.int8))) == []
    assert "0, 1, 2 where 1 and 2 are needed" in odd_halves(replace(table, half_set=np.array([1, 2, 0, 2], np.int8)))[0]


def test_anisotropic_magnification_is_undone(tmp_path):
    """The images of one optics group are distorted: told of it, the run finds the map, poses and shifts as RELION
    counts them; untold the map is worse."""
    matrix = ((1.15, 0.0), (0.0, 0.88))
    source, table = particles(N, noise_sd=0.15, seed=3)
    table = replace(table, optics=[replace(table.optics[0], magnification=matrix)])
    # the distorted image is the undistorted one through the inverse
    write_stack(tmp_path / "particles.mrcs", [undistorted(source.stack, np.linalg.inv(matrix))], N, BOX, PIXEL)
    table.stack_paths = [str(tmp_path / "particles.mrcs")]
    write_volume(tmp_path / "map.mrc", density(), PIXEL)
    shells = {}
    for name, optics in (("told", table.optics), ("untold", [replace(table.optics[0], magnification=None)])):
        write_particles(tmp_path / f"{name}.star", replace(table, optics=optics, rotations=None, shifts_a=None))
        assert command(tmp_path, tmp_path / name, star=f"{name}.star") == 0
        shells[name] = fsc(read_volume(tmp_path / name / "volume.mrc")[0], density())[1:7]
    assert shells["told"].min() > 0.9 and np.all((1 - shells["told"])[3:] < 0.75 * (1 - shells["untold"])[3:])
    found = read_particles(tmp_path / "told" / "particles.star")
    assert np.allclose(found.optics[0].magnification, matrix)
    error = found.shifts_a - distorted_shifts(table, table.shifts_a)
    assert np.median(np.hypot(*error.T)) < 0.5 * PIXEL


def test_repeated_particles_are_warned_of():
    _, table = particles(10, noise_sd=1.0)
    assert repeated(table) == []
    twice = table.take(np.r_[0:10, 3])
    assert "1 particles are there more than once" in repeated(twice)[0]
    twice.half_set = np.r_[np.ones(10), 2].astype(np.int8)
    assert "1 of them in both half-sets" in repeated(twice)[0]


def test_a_run_warns_of_repeated_particles(data, tmp_path):
    table = read_particles(data / "particles.star")
    config = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=45.0)
    for rows, said in ((np.arange(20), False), (np.r_[0:20, 3], True)):
        with RefineJob(tmp_path / str(said), table.take(rows), config, references=[data / "map.mrc"],
                       source_file="particles.star", memory_gb=2.0) as job:
            assert any("there more than once" in one for one in job.warnings) == said


# ---- memory
def test_the_memory_that_a_run_takes_is_told_before_it(data, tmp_path, capsys):
    assert command(data, tmp_path / "out", "--memory", "0.5") == 1
    said = capsys.readouterr().err
    assert "takes about" in said and "raise --memory to" in said and not (tmp_path / "out").exists()


def test_memory_grows_with_box_classes_and_threads():
    config = RefineConfig(pixel_size=2.0, box_size=128, diameter_a=150.0)
    usual = memory_needed_gb(config, 2)
    assert 1 < usual < 3
    assert memory_needed_gb(replace(config, classes=3), 2) > usual + 0.4
    assert memory_needed_gb(config, 4) > usual + 0.2 and memory_needed_gb(config, 64) < 4
    assert memory_needed_gb(replace(config, overfitting_test=True), 2) > usual
    assert 3 < memory_needed_gb(replace(config, box_size=256), 2) < 8
    check_memory(config, 2, usual / 0.75 + 0.01)
    with pytest.raises(InputError, match="3 references takes about"):
        check_memory(replace(config, classes=3), 2, usual / 0.75)


def test_many_threads_share_the_room_for_scores(monkeypatch):
    levels, images, table = sample(0.4)
    pieces = []
    score = BoundedSearch._score_image

    def counted(level, bank, matched, i, pairs, rows, take):
        pieces.append(len(rows))
        score(level, bank, matched, i, pairs, rows, take)

    monkeypatch.setattr(search_module, "SCORE_NUMBERS", 1e5)
    monkeypatch.setattr(BoundedSearch, "_score_image", staticmethod(counted))
    few, many = [], []
    for threads, found in ((1, few), (16, many)):
        pieces.clear()
        run(levels, images[:2], table, exhaustive=True, threads=threads)
        found += pieces
    grid = levels[-1].grid
    assert max(few) * grid.polar.n_angles * len(grid.shifts_a) <= 1e5 and max(many) < 0.5 * max(few)


def test_the_log_tells_what_the_bound_gave_up_and_what_a_limit_took(capsys):
    record = dict(records(3)[-1], pruned=[0.5, 0.9], cut=[0.0, 0.08], capped=0.5)
    RefineJob._report(None, record)
    assert "90.0 % of the poses pruned and 8.0 % left out by a limit, " in capsys.readouterr().out
    RefineJob._report(None, dict(record, capped=0.0))
    assert "limit" not in capsys.readouterr().out
