"""`cryosgd abinitio --restarts`: whole runs, their comparison, and going on with them."""
import json
import os
import shutil

import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.tests.test_job import OPTIONS, write_set

WORDS = [*OPTIONS, "--iterations", "12", "--restarts", "2", "--seed", "4"]


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def finished(star, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "both"
    assert main(["abinitio", str(star), "-o", str(folder), *WORDS]) == 0
    return folder


def test_the_comparison_is_written(finished):
    report = json.loads((finished / "restarts.json").read_text())
    assert [entry["seed"] for entry in report["maps"]] == [4, 5]
    assert report["verdict"] and report["chosen"] in ("restart_01", "restart_02")
    pair, = report["pairs"]
    assert pair["maps"] == ["restart_01", "restart_02"] and pair["fsc"] == report["mean_fsc"]
    assert report["reference"] == report["chosen"], "the maps are in the frame of the run that is shown"
    for entry in report["maps"]:
        with mrcfile.open(finished / entry["file"]) as aligned:
            assert np.isfinite(aligned.data).all()
    curve = read_table(finished / "restarts_fsc.star", "fsc")
    np.testing.assert_allclose(curve["rlnFourierShellCorrelationUnmaskedMaps"].astype(float), report["mean_fsc"],
                               atol=1e-5)
    assert (finished / "pictures" / "restarts.png").stat().st_size > 5000


def test_the_chosen_run_stands_for_all(finished):
    report = json.loads((finished / "restarts.json").read_text())
    chosen, whole = ResultFolder(finished / report["chosen"]), ResultFolder(finished)
    with mrcfile.open(chosen.volume()) as first, mrcfile.open(whole.volume()) as second:
        np.testing.assert_array_equal(first.data, second.data)
    assert whole.history() == chosen.history() and whole.half_maps() and whole.path("particles.star")
    summary = whole.summary()
    assert summary["outcome"].startswith(report["verdict"]) and summary["parameters"]["seed"] == 4
    runs = [ResultFolder(finished / f"restart_{number:02d}").summary() for number in (1, 2)]
    assert summary["cpu_seconds"] == pytest.approx(sum(run["cpu_seconds"] for run in runs))


def test_while_restarts_go_on_the_newest_is_shown(finished, tmp_path):
    assert ResultFolder(finished).in_progress().folder == finished
    folder = tmp_path / "going_on"
    shutil.copytree(finished, folder)
    (folder / "summary.json").unlink()
    assert ResultFolder(folder).in_progress().folder == folder / "restart_02"
    assert ResultFolder(finished / "restart_01").in_progress().folder == finished / "restart_01"


def test_a_run_without_its_last_part_is_continued(finished, star, tmp_path, capsys):
    folder = tmp_path / "half"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "restart_02")
    (folder / "summary.json").unlink()
    assert main(["abinitio", str(star), "-o", str(folder), *WORDS, "--continue"]) == 0
    assert "This run is finished" in capsys.readouterr().out  # the first is left as it is
    for name in ("restart_02/volume.mrc", "restarts/consensus.mrc"):
        with mrcfile.open(finished / name) as first, mrcfile.open(folder / name) as second:
            np.testing.assert_array_equal(first.data, second.data)
    assert main(["abinitio", str(star), "-o", str(folder), *WORDS, "--continue"]) == 0
    assert "finished" in capsys.readouterr().out


@pytest.mark.parametrize("words, message", [
    (["--restarts", "3", "--continue"], "2 restarts were asked for then, 3 now"),
    (["--iterations", "14", "--continue"], "iterations was 12 and is now 14"),
    ([], "--continue"), (["--restarts", "0"], "give 1 for a single run"),
    (["--restarts", "1", "--continue"], "abinitio-restarts")])
def test_what_does_not_fit_is_refused(finished, star, words, message, capsys):
    assert main(["abinitio", str(star), "-o", str(finished), *WORDS, *words]) == 1
    assert message in capsys.readouterr().err


def test_a_truncated_stack_is_refused_before_there_is_a_folder(star, tmp_path, capsys):
    copy = shutil.copytree(star.parent, tmp_path / "set")
    stack = next(copy.glob("*.mrcs"))
    os.truncate(stack, stack.stat().st_size // 2)
    assert main(["abinitio", str(copy / star.name), "-o", str(tmp_path / "run"), *WORDS]) == 1
    assert "is truncated" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_missing_starting_map_is_refused_before_computing(star, tmp_path, capsys):
    assert main(["abinitio", str(star), "-o", str(tmp_path / "run"), *OPTIONS, "--start", "nowhere.mrc"]) == 1
    assert "nowhere.mrc" in capsys.readouterr().err and not (tmp_path / "run" / "history.json").exists()
