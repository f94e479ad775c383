"""`cryosgd abinitio` from outside: results, kill and continue, a second writer, bad input before computing."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.io.stack_writer import write_stack
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.job import AbInitioJob
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, particles

OPTIONS = ["--diameter", "120", "--initial-resolution", "60", "--final-resolution", "22", "--iterations", "30",
           "--minibatch", "20", "40", "--shift-range", "10", "--threads", "2", "--memory", "1"]


def write_set(folder, n=150, *, images=None, **changes):
    """A STAR file with its stack; `changes` are put into the table's columns or its optics group."""
    folder.mkdir(parents=True, exist_ok=True)
    source, table = particles(n, noise_sd=0.3, seed=5)
    images = source.stack if images is None else images
    write_stack(folder / "particles.mrcs", [images], len(images), images.shape[1], PIXEL)
    table.stack_paths = [str(folder / "particles.mrcs")]
    for name, value in changes.items():
        setattr(table, name, value)
    write_particles(folder / "particles.star", table)
    return folder / "particles.star"


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


def run_process(star, folder, *words):
    return subprocess.Popen([sys.executable, "-m", "cryosgd_plugin.cli", "abinitio", str(star), "-o", str(folder),
                             *OPTIONS, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def finished(star, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    assert main(["abinitio", str(star), "-o", str(folder), *OPTIONS]) == 0
    return folder


def test_the_run_folder_explains_itself(finished, star):
    summary = json.loads((finished / "summary.json").read_text())
    assert "no gold-standard" in summary["outcome"] and summary["parameters"]["diameter_a"] == 120
    assert summary["seconds"]["iterations"]["images_per_second_per_core"] > 0
    assert summary["peak_memory_gb"] > 0 and summary["versions"]["numpy"] == np.__version__
    history = json.loads((finished / "history.json").read_text())
    assert [record["iteration"] for record in history] == list(range(1, 31))
    with mrcfile.open(finished / "volume.mrc") as volume:
        assert volume.data.shape == (BOX,) * 3 and float(volume.voxel_size.x) == pytest.approx(PIXEL)
    posed = read_particles(finished / "particles.star")
    assert len(posed) == 150 and posed.rotations is not None and set(np.unique(posed.half_set)) == {1, 2}
    for name in ("volume", "surface", "views", "directions"):
        assert (finished / "pictures" / f"{name}.png").stat().st_size > 10_000
    for name in ("half1.mrc", "half2.mrc", "fsc.star", "job.json"):
        assert (finished / name).exists()


def test_a_starving_class_is_named_once(capsys):
    job, named = SimpleNamespace(config=SimpleNamespace(classes=2)), set()
    for iteration, shares in enumerate(([0.8, 0.2], [0.95, 0.05], [0.99, 0.01]), start=1):
        AbInitioJob._name_starving(job, dict(iteration=iteration, class_shares=shares), named)
    assert capsys.readouterr().out.splitlines() == [
        "Warning: at iteration 2 class 2 wins only 5.0% of the particles; if it does not recover, its map will be "
        "noise: try fewer classes, or another seed."]


def test_a_class_that_starves_is_named_while_the_run_goes_on(star, tmp_path, monkeypatch, capsys):
    """With a limit that no share reaches, each of two classes is named, once."""
    monkeypatch.setattr("cryosgd_plugin.job.abinitio.STARVED", 4.0)
    words = [*OPTIONS, "--iterations", "10", "--classes", "2"]
    assert main(["abinitio", str(star), "-o", str(tmp_path / "run"), *words]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning: at iteration")]
    assert [line.split(" wins ")[0] for line in lines] == [f"Warning: at iteration 1 class {k}" for k in (1, 2)]


def test_minibatches_that_sagd_will_not_see_are_a_warning(star, tmp_path):
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=22.0, iterations=20, optimiser="sagd", sagd_minibatch=5)
    few = "30 minibatches here, of which 20 iterations"
    for name, change, words in (("few", {}, few), ("all", {"iterations": 60}, None)):
        with AbInitioJob(tmp_path / name, read_particles(star), replace(config, **change), source_file="x") as job:
            found = [warning for warning in job.warnings if "minibatches" in warning]
        assert len(found) == (words is not None) and all(words in warning for warning in found)


def test_poses_of_the_input_are_not_read(finished, star, tmp_path):
    """The same images with wrong poses in the STAR file give the same map, byte for byte."""
    table = read_particles(star)
    table.rotations = table.rotations[::-1].copy()
    table.shifts_a = table.shifts_a + 3
    write_particles(tmp_path / "wrong.star", table)
    assert main(["abinitio", str(tmp_path / "wrong.star"), "-o", str(tmp_path / "run"), *OPTIONS]) == 0
    with mrcfile.open(finished / "volume.mrc") as a, mrcfile.open(tmp_path / "run" / "volume.mrc") as b:
        np.testing.assert_array_equal(a.data, b.data)


def test_killed_and_continued_is_the_undisturbed_run(finished, star, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYOSGD_CHECKPOINT_SECONDS", "0")
    folder = tmp_path / "killed"
    process = run_process(star, folder)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        history = folder / "history.json"
        if (folder / "checkpoint.npz").exists() and history.exists() and len(json.loads(history.read_text())) >= 8:
            break
        time.sleep(0.02)
    # halted, or a busy machine might let it end before the second one asks
    os.kill(process.pid, signal.SIGSTOP)
    assert process.poll() is None, process.stdout.read()
    second = run_process(star, folder, "--continue")
    answer, _ = second.communicate(timeout=60)
    assert second.returncode == 1 and f"written by process {process.pid}" in answer
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "volume.mrc").exists()
    # threads and memory may differ when it goes on
    assert main(["abinitio", str(star), "-o", str(folder), *OPTIONS, "--continue", "--threads", "1"]) == 0
    for name in ("volume.mrc", "half1.mrc"):
        with mrcfile.open(finished / name) as a, mrcfile.open(folder / name) as b:
            np.testing.assert_array_equal(a.data, b.data)
    assert len(json.loads((folder / "history.json").read_text())) == 30


def test_another_job_is_not_continued(finished, star, capsys):
    assert main(["abinitio", str(star), "-o", str(finished), *OPTIONS, "--continue", "--seed", "9"]) == 1
    assert "seed was 0 and is now 9" in capsys.readouterr().err
    assert main(["abinitio", str(star), "-o", str(finished), *OPTIONS]) == 1
    assert "results of another run" in capsys.readouterr().err


def test_a_run_of_another_version_is_not_continued(finished, star, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(dict(job, version="0.0.9")))
    assert main(["abinitio", str(star), "-o", str(folder), *OPTIONS, "--continue"]) == 1
    assert "begun by version 0.0.9" in capsys.readouterr().err


def _nan(images):
    images = images.copy()
    images[::5, 3, 3] = np.nan
    return images


def _constant(images):
    images = images.copy()
    images[::5] = 4
    return images


@pytest.mark.parametrize("make, options, message", [
    (lambda f: write_set(f, images=_nan(particles(150, noise_sd=.3, seed=5)[0].stack)), [], "NaN"),
    (lambda f: write_set(f, images=_constant(particles(150, noise_sd=.3, seed=5)[0].stack)), [], "constant"),
    (lambda f: write_set(f, images=particles(140, noise_sd=.3, seed=5)[0].stack), [], "140"),
    (write_set, ["--final-resolution", "10"], "beyond Nyquist"),
    (write_set, ["--device", "cuda"], "no GPU can be used"),
    (write_set, ["--device", "gpu"], "is not understood"),
    (write_set, ["--memory", "0.002"], "memory budget"),
    (write_set, ["--device", "cuda:0,1"], "GPU"),
    (write_set, ["--device", "cuda:0,0"], "names a GPU twice"),
    (write_set, ["--threads", "0"], "threads"),
    (write_set, ["--symmetry", "Q"], "point group"),
    (write_set, ["--diameter", "1000"], "diameter"),
])
def test_bad_input_is_one_sentence_before_computing(make, options, message, tmp_path, capsys):
    star = make(tmp_path / "set")
    if "--device" in options and options[1].startswith("cuda"):
        from cryosgd_plugin.core.backend import gpu_report
        if gpu_report()[0]:
            pytest.skip("this machine has a GPU")
    assert main(["abinitio", str(star), "-o", str(tmp_path / "run"), *OPTIONS, *options]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "run" / "history.json").exists()


def test_missing_stack_ctf_and_voltage(tmp_path, capsys):
    star = write_set(tmp_path / "set")
    text = star.read_text()
    (tmp_path / "set" / "particles.mrcs").rename(tmp_path / "set" / "elsewhere.mrcs")
    assert main(["abinitio", str(star), "-o", str(tmp_path / "run"), *OPTIONS]) == 1
    assert "particles.mrcs" in capsys.readouterr().err
    (tmp_path / "set" / "elsewhere.mrcs").rename(tmp_path / "set" / "particles.mrcs")
    star.write_text(text.replace("_rlnDefocusU", "_rlnOtherU").replace("_rlnDefocusV", "_rlnOtherV"))
    assert main(["abinitio", str(star), "-o", str(tmp_path / "run"), *OPTIONS]) == 1
    assert "CTF" in capsys.readouterr().err
    star.write_text(text.replace(" 300.000000 ", " 0.000000 "))
    assert main(["abinitio", str(star), "-o", str(tmp_path / "run"), *OPTIONS]) == 1
    assert "oltage" in capsys.readouterr().err


def test_unwritable_folder(star, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert main(["abinitio", str(star), "-o", str(blocked / "run"), *OPTIONS]) == 1
    assert str(blocked) in capsys.readouterr().err
