"""What the benchmarks share: their judgements, timing and reuse. The benchmarks themselves are run by hand."""
import importlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import cryosgd_plugin
from cryosgd_plugin.core.backend import gpu_report
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.symmetry import point_group, rotate_volume
from cryosgd_plugin.engines.align import mirror
from cryosgd_plugin.tests.abinitio_samples import PIXEL, density, particles
from cryosgd_plugin.tests.refine_samples import USED, records

BENCHMARKS = Path(cryosgd_plugin.__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a benchmark by name."""
    if not BENCHMARKS.is_dir():
        pytest.skip("not run from a checkout, so the benchmarks are not there")
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.slow
def test_a_turned_mirrored_map_is_judged_as_the_truth_and_noise_is_not(benchmark):
    common = benchmark("_common")
    truth = density()
    angle = np.radians(50)
    turned = rotate_volume(mirror(truth), np.array(
        [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]]), np.zeros(3))
    judged = common.judge(turned, truth, PIXEL)
    assert judged.alignment.mirrored
    assert judged.curve[1:8].min() > 0.95
    noise = np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    assert common.judge(noise, truth, PIXEL).resolution_a > 2 * judged.resolution_a


def test_cpu_time_is_that_of_the_process_and_its_children(benchmark, tmp_path):
    common = benchmark("_common")
    spin = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}])"
    before = time.process_time()
    seconds, cpu, memory_gb = common.timed([sys.executable, "-c", nested], tmp_path / "log")
    assert 0.4 <= cpu < 5 and seconds >= 0.4 and 0.005 < memory_gb < 1
    # an idle process has next to none, whatever was run before it
    assert common.timed([sys.executable, "-c", "import time; time.sleep(0.5)"], tmp_path / "log")[1] < 0.4
    assert time.process_time() - before < 0.4


def test_a_failing_command_shows_its_last_lines(benchmark, tmp_path):
    common = benchmark("_common")
    with pytest.raises(common.CommandFailed, match="no such luck"):
        common.timed([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path / "log")


def test_options_after_the_dashes_go_to_the_run(benchmark, tmp_path):
    common = benchmark("_common")
    arguments = common.parsed(common.command_line("doc", seeds=4), ["-o", str(tmp_path / "new"), "--", "--seed", "3"])
    assert arguments.options == ["--seed", "3"] and arguments.seeds == range(4)
    assert (tmp_path / "new").is_dir()


@pytest.mark.slow
def test_sets_and_runs_are_made_once_and_reused(benchmark, tmp_path):
    common = benchmark("_common")
    words = ("--particles", 24, "--box", 32, "--pixel-size", 8, "--snr", 0.5, "--threads", 1)
    particles = common.simulated(tmp_path / "set", *words)
    made = (tmp_path / "set" / "particles.mrcs").stat().st_mtime_ns
    common.simulated(tmp_path / "set", *words, reuse=True)
    assert (tmp_path / "set" / "particles.mrcs").stat().st_mtime_ns == made
    assert f"{len(particles.table)} particles, 32 px, 8 Å/px, SNR 0.5" in particles.words
    run = ("--diameter", particles.diameter, "--iterations", 10, "--final-resolution", 40, "--initial-resolution", 60,
           "--minibatch", 6, 6, "--threads", 1)
    first = common.abinitio(particles.star, tmp_path / "run", *run)
    assert first.volume().shape == (32, 32, 32) and first.cpu > 0.5
    assert common.abinitio(particles.star, tmp_path / "run", *run, reuse=True) == first
    with pytest.raises(SystemExit, match="--reuse"):
        common.abinitio(particles.star, tmp_path / "run", *run)
    with pytest.raises(SystemExit, match="was run with"):
        common.abinitio(particles.star, tmp_path / "run", *run, "--seed", 5, reuse=True)
    # an interrupted run has no record: it begins anew
    (tmp_path / "run" / common.RECORD).unlink()
    again = common.abinitio(particles.star, tmp_path / "run", *run, reuse=True)
    assert again.cpu != first.cpu


def test_the_true_maps_sort_particles_where_noise_allows(benchmark, tmp_path):
    common, mixtures = benchmark("_common"), benchmark("mixtures")
    particles = common.simulated(tmp_path / "set", "--model", *mixtures.write_models(tmp_path, 2), "--particles", 40,
                                 "--box", 32, "--pixel-size", 8, "--snr", 1, "--threads", 1)
    words = ["--classes", 2, "--diameter", particles.diameter, "--initial-resolution", 60, "--final-resolution", 24]
    assert mixtures.oracle_share(particles, words, threads=1) >= 0.97


def test_classes_are_matched_by_the_particles_they_share(benchmark):
    share, order = benchmark("mixtures").right_class(np.array([2, 2, 2, 1, 1, 3]), np.array([1, 1, 1, 2, 2, 2]), 3)
    assert order[:2] == [1, 0] and share == pytest.approx(5 / 6)


def test_a_report_holds_rows_and_bars(benchmark, tmp_path):
    report = benchmark("_common").Report("name", tmp_path, "about a set")
    report.add(seed=0, fsc05_a=float("inf"))
    report.add(seed=1, fsc05_a=9.5, cpu_s=3.0)
    report.bar(True, "one that is passed")
    assert report.finish() == 0
    report.bar(False, "one that is not")
    assert report.finish() == 1
    saved = json.loads((tmp_path / "name.json").read_text())
    assert saved["rows"][0]["fsc05_a"] is None and [bar["passed"] for bar in saved["bars"]] == [True, False]
    assert (tmp_path / "name.csv").read_text().splitlines()[0] == "seed,fsc05_a,cpu_s"


def test_words_of_doubt_are_told_from_claims(benchmark):
    doubts_in = benchmark("hard_sets").doubts_in
    assert doubts_in("A map from 200 particles, consistent between halves to 12.0 Å.") == "none"
    assert doubts_in("…; compare maps of several seeds before you trust it.") == "general"
    assert doubts_in("…, not consistent between halves at any resolution: the images …") == "specific"


def test_pose_errors_count_the_nearest_mate(benchmark):
    refinement = benchmark("refinement")
    _, true = particles(200, noise_sd=1.0)
    mates = point_group("C4")[np.random.default_rng(0).integers(4, size=200)]
    sense = np.where(np.arange(200) % 2, 1, -1)[:, None]
    moved = replace(true, rotations=true.rotations @ mates, shifts_a=true.shifts_a + sense * [3.0, 4.0])
    angle, shift = refinement.pose_errors(moved, true, "C4")
    assert angle == pytest.approx(0, abs=1e-4) and shift == pytest.approx(5 / PIXEL, rel=0.05)
    assert refinement.pose_errors(moved, true, "C1")[0] > 45


def test_the_frame_of_a_map_is_no_error_of_its_poses(benchmark):
    refinement = benchmark("refinement")
    _, true = particles(100, noise_sd=1.0)
    turn = Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix()
    views = true.rotations @ turn
    found = replace(true, rotations=views.copy(), shifts_a=true.shifts_a + views[:, :2] @ [3.0, -5.0, 8.0])
    # some are wrong altogether
    found.rotations[:20] = random_rotations(20, np.random.default_rng(1))
    angle, shift = refinement.pose_errors(found, true, "C1")
    assert angle == pytest.approx(0, abs=1e-4) and shift == pytest.approx(0, abs=1e-4)


def test_a_refinement_is_held_against_its_peer_and_its_certificate(benchmark, tmp_path, monkeypatch):
    common, refinement = benchmark("_common"), benchmark("refinement")
    monkeypatch.setattr(refinement, "PEER", tmp_path)
    peer = dict(fsc05_a=20.0, angle_deg=1.0, shift_px=0.1, cpu_s=1500.0)
    (tmp_path / "relion_auto_refine_ribosome.json").write_text(json.dumps(peer), encoding="utf-8")
    report = common.Report("r", tmp_path, "")
    row = dict(set="ribosome", seed=0, fsc05_a=21.0, angle_deg=1.04, shift_px=0.1, cpu_s=149.0)
    # at 320 Å one shell is 20 Å to 21.33 Å
    for change in (dict(), dict(fsc05_a=21.4), dict(angle_deg=1.06), dict(shift_px=0.11), dict(cpu_s=151.0)):
        report.rows = [dict(row, **change)]
        refinement.hold_peer(report, "ribosome", SimpleNamespace(pixel=5.0, table=SimpleNamespace(box_size=64)))
    assert [bar["passed"] for bar in report.bars] == [True] + 4 * [False]
    part = dict(images=600, same=598, lost_nats=[0.0], covered=[1.0], above_bound=1, bounds=1200, pruned=[0.9],
                cut=[0.0], scored_share=0.1, seconds=1.0)
    for change, passed in ((dict(), True), (dict(same=590), False), (dict(above_bound=9), False),
                           (dict(images=590, same=590), False)):
        report.bars = []
        refinement.hold_certificate(report, [dict(certificate=dict(part, **change), seconds=30.0)])
        assert all(bar["passed"] for bar in report.bars) == passed


def test_the_benchmark_of_a_gpu_needs_one_and_says_what_phases_took(benchmark, tmp_path, capsys):
    refine_gpu = benchmark("refine_gpu")
    refine_gpu.print_iterations(records(3))
    said = capsys.readouterr().out
    assert "iteration 3: 80 images" in said and "(maps 1.0, scoring, level 1 8.0)" in said
    assert f"24.0 s {3 * USED / 24:10.0f} images/s" in said
    if not gpu_report()[0]:
        with pytest.raises(SystemExit, match="no GPU can be used"):
            refine_gpu.main(["-o", str(tmp_path)])


def test_a_first_map_on_a_gpu_needs_one(benchmark, tmp_path):
    abinitio_gpu = benchmark("abinitio_gpu")
    if not gpu_report()[0]:
        with pytest.raises(SystemExit, match="no GPU can be used"):
            abinitio_gpu.main(["-o", str(tmp_path)])
    report = benchmark("_common").Report("g", tmp_path, "")
    report.rows = [dict(seed=0, fsc05_a=13.0, final_a=12.0, seconds=70.0, after_reading_s=59.0)]
    abinitio_gpu.hold(report, 100_000, 128, "cuda")
    abinitio_gpu.hold(report, 50_000, 128, "cuda")
    abinitio_gpu.hold(report, 100_000, 128, "cpu")
    assert [bar["passed"] for bar in report.bars] == [True, True, False, True, True]


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_on_the_cpu_to_compare(benchmark, tmp_path, capsys):
    words = ["-o", str(tmp_path), "--particles", "60", "--box", "32", "--device", "cpu", "--threads", "1", "--",
             "--iterations", "10", "--final-resolution", "40", "--initial-resolution", "60", "--minibatch", "10", "10"]
    assert benchmark("abinitio_gpu").main(words) in (0, 1)
    saved = json.loads((tmp_path / "abinitio_gpu.json").read_text())
    row, phases = saved["rows"][0], saved["phases_seed0"]
    assert row["images_visited"] == 100 and 0 < row["reading_s"] < row["seconds"]
    parts = [of["seconds"] for name, of in phases.items() if name != "reading, within these"]
    assert sum(parts) == pytest.approx(row["seconds"]) and min(parts) >= 0
    assert phases["poses of all particles"]["images"] == 60 and "images/s" in capsys.readouterr().out
    assert len(saved["bars"]) == 1 and (tmp_path / "abinitio_gpu.png").exists()


def test_fewer_poses_are_held_against_the_paper(benchmark, tmp_path):
    common, importance = benchmark("_common"), benchmark("importance_sampling")
    assert importance.naive_count(358.4 * importance.PAPER_FREQUENCY) == pytest.approx(8.0e9, rel=0.01)
    report = common.Report("i", tmp_path, "")
    row = dict(scheme="healpix", finest_a=9.19, papers_count=8e9, own_fold=70.0, fold_mean=2e4, fold_best=6e4,
               fold_sampled=5e6, sampled=0.75)
    report.rows = [dict(s0=10), dict(row, fold_sampled=9e4), row]
    importance.hold_fewer(report)
    assert [bar["passed"] for bar in report.bars] == [False, True]
    assert "90,000-fold fewer" in report.bars[0]["bar"] and "25% of the images were searched" in report.bars[0]["bar"]


def test_errors_of_samples_come_with_their_spread_over_images(benchmark):
    exact = np.linspace(50, 150, 101), np.ones(4), None
    found = [(exact[0] * (1 + sign * np.linspace(0, 1e-3, 101)), np.ones(4), np.full(101, 0.01)) for sign in (1, -1)]
    figures, spread = benchmark("importance_sampling").measured(found, exact)
    assert spread["relative_error"] == pytest.approx([1.6e-4, 5e-4, 8.4e-4])
    assert spread["fraction"] == pytest.approx([0.01] * 3) and figures["cosine"] == pytest.approx(1)


def test_the_default_optimiser_is_held_against_the_best_and_the_cheapest(benchmark, tmp_path):
    common, optimisers = benchmark("_common"), benchmark("optimisers")
    row = dict(preconditioner="with", map="end", cpu_s=10.0)
    report = common.Report("o", tmp_path, "")
    report.rows = [dict(row, optimiser="hessian-free", fsc05_a=8.0, held_out_error=-57.0, cpu_s=1.0),
                   dict(row, optimiser="sgd-momentum", fsc05_a=9.9, held_out_error=-58.2),
                   dict(row, optimiser="sgd-momentum", fsc05_a=11.0, held_out_error=-58.6),
                   dict(row, optimiser="sagd", fsc05_a=14.0, held_out_error=-59.0, cpu_s=9.0),
                   dict(row, optimiser="sgd", fsc05_a=9.0, held_out_error=-90.0, map="after the last pass")]

    def passed():
        report.bars = []
        optimisers.hold(report, 10.0)
        return [bar["passed"] for bar in report.bars]

    # sagd is 1.4 times the finest that counts, 10 Å; momentum has 58.4 of its 59 nats
    assert passed() == [False, True, True]
    assert [of["optimiser"] for of in report.facts["ranking"]] == ["sagd", "sgd-momentum", "hessian-free"]
    assert report.facts["ranking"][1] == dict(optimiser="sgd-momentum", seeds=2, gain=pytest.approx(58.4), cpu_s=10.0,
                                              spread=pytest.approx(0.4), fsc05_a=10.5)
    report.rows[3].update(fsc05_a=12.0, held_out_error=-61.0)
    assert passed() == [True, False, True], "another explains more"
    report.rows[3].update(held_out_error=-59.0, cpu_s=7.0)
    assert passed() == [True, True, False], "another is as good and cheaper"


def test_frequency_steps_have_the_cpu_time_that_the_run_measured(benchmark):
    groel = benchmark("groel")
    record = dict(resolution_a=10.0, n_images=5, scores=7, evaluated_share=0.5, seconds=3.0, cpu_seconds=1.0)
    step, = groel.frequency_steps([record, record])
    assert (step["iterations"], step["cpu_s"], step["seconds"], step["poses_scored"]) == (2, 2.0, 6.0, 14)
    del record["cpu_seconds"]
    assert np.isnan(groel.frequency_steps([record])[0]["cpu_s"])


def test_views_of_a_belt_lie_on_one(benchmark):
    views = benchmark("view_directions")
    rng = np.random.default_rng(0)
    even = rng.standard_normal((20000, 3))
    even /= np.linalg.norm(even, axis=1)[:, None]
    assert views.share_on_belt(even, np.ones(len(even))) == pytest.approx(np.sin(np.radians(15)), abs=0.02)
    # eight in ten within 5° of a circle about an oblique axis
    axis = np.linalg.qr(rng.standard_normal((3, 3)))[0][:, 0]
    mass = np.where(np.abs(even @ axis) < np.sin(np.radians(5)), 1.0, 0.0)
    mass = 0.8 * mass / mass.sum() + 0.2 / len(mass)
    assert views.share_on_belt(even, mass) == pytest.approx(0.8 + 0.2 * np.sin(np.radians(15)), abs=0.02)


def test_the_divergence_is_told_epoch_by_epoch(benchmark, tmp_path):
    common, views = benchmark("_common"), benchmark("view_directions")
    history = [dict(images_visited=50 * (i + 1), n_images=50, resolution_a=40.0 - i, noise_inflation=1.0,
                    kl_directions=None if i < 2 else kl) for i, kl in enumerate((0, 0, 2.0, 4.0, 0.1, 0.3, 9.0))]
    rows = views.epochs(history, 100)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and [row["images"] for row in rows] == [100, 100, 100, 50]
    assert np.isnan(rows[0]["kl_nats"]) and [row["kl_nats"] for row in rows[1:]] == pytest.approx([3.0, 0.2, 9.0])
    report = common.Report("v", tmp_path, "")
    views.hold(report, 0, rows, 0.7, 0.9)
    assert [bar["passed"] for bar in report.bars] == [True, False]
    rows[2]["kl_nats"] = 0.31
    views.hold(report, 0, rows, 0.85, 0.9)
    assert [bar["passed"] for bar in report.bars[2:]] == [False, True]


def test_by_need_baselines_get_iterations_to_be_judged_in(benchmark):
    from cryosgd_plugin.engines.abinitio.schedule import Progress
    progress, longest, stage = Progress(benchmark("baselines").FEWEST_BY_NEED, by_need=True), 0, 0
    while not progress.done:
        before = progress.value
        progress.judge(improved=True)
        progress.advance()
        stage = stage + 1 if progress.value == before else 0
        longest = max(longest, stage + 1)
    assert longest >= 4


def test_the_large_set_of_the_angular_plot_is_one_that_scipion_reads(benchmark, tmp_path):
    emobj = pytest.importorskip("pwem.objects", reason="the set is Scipion's (scipion-em)")
    from cryosgd_plugin.viewers.viewer_directions import directions_of
    path = tmp_path / "set.sqlite"
    benchmark("angular_plot").write_set(path, 250)
    particles = emobj.SetOfParticles(filename=str(path))
    particles.loadAllProperties()
    assert (particles.getSize(), particles.hasAlignmentProj(), particles.hasCTF()) == (250, True, True)
    items = [item.clone() for item in particles]
    assert [item.getObjId() for item in items] == list(range(1, 251)) and items[-1].getCTF().getDefocusV() == 14000
    views = np.array([item.getTransform().getMatrix()[:3, 2] for item in items])
    rot, tilt = np.radians(directions_of(particles))
    np.testing.assert_allclose(views[:, 2], np.cos(tilt), atol=1e-6)
    np.testing.assert_allclose(views[:, 1], np.sin(tilt) * np.sin(rot), atol=1e-6)
    assert len({tuple(view) for view in views}) == 250
