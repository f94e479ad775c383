"""The demo's own code, piece by piece: what it refuses, shows while a run goes on, and writes on its page."""
import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pwem", reason="the demo needs Scipion (scipion-em)")
pytest.importorskip("matplotlib")

from cryosgd_plugin import demo
from cryosgd_plugin.io.runfolder import write_json
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.tests.abinitio_samples import PIXEL, density


@pytest.mark.parametrize("words, sentence", [
    (["--particles", "gone.star"], "gone.star is no file; give the STAR file's full path"),
    (["--particles", __file__], "--particles needs --diameter, the particle's in Å")])
def test_bad_input_is_refused_before_anything_is_made(words, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit):
        demo.main([str(tmp_path / "folder"), *words])
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "folder").exists()


def test_no_project_is_nothing_to_open():
    with pytest.raises(SystemExit, match="no demo project yet"):
        demo._open_gui(SimpleNamespace(hasProject=lambda name: False))


def test_progress_is_copied_from_a_growing_log(tmp_path, capsys, monkeypatch):
    log, done = tmp_path / "run.stdout", threading.Event()
    log.write_bytes("Started.\n\rIteration 1\n\rIteration 2\n".encode())

    def grow(seconds):
        with open(log, "a", newline="") as file:
            file.write("\rIteration 3\nA line of words.\n")
        done.set()
    monkeypatch.setattr(done, "wait", grow)
    demo._follow(str(log), done)
    shown = [line.strip() for line in capsys.readouterr().out.split("\r") if line]
    assert shown == ["Iteration 2", "Iteration 3"], "the newest of each look, and no other lines"


def run(path, label="refine", finished=True, **others):
    """What the demo asks of a protocol, its extra folder being `path`."""
    return SimpleNamespace(
        getObjLabel=lambda: label, strId=lambda: "7", _getExtraPath=lambda *names: str(path.joinpath(*names)),
        getStdoutLog=lambda: str(path / "run.stdout"), getStderrLog=lambda: str(path / "run.stderr"),
        isFinished=lambda: finished, getErrorMessage=lambda: "the disk is full", summary=lambda: ["A map at 8 Å."],
        **others)


class Project:
    """What the demo asks of a project; it keeps what was launched."""

    def __init__(self):
        self.launched = []

    def saveProtocol(self, protocol):
        pass

    def launchProtocol(self, protocol, wait):
        self.launched.append((protocol, wait))


def test_a_step_is_waited_for_and_says_what_came_out(tmp_path, capsys):
    project, step = Project(), run(tmp_path)
    demo._launch(project, step)
    assert project.launched == [(step, True)]
    shown = capsys.readouterr().out.splitlines()
    assert "refine …" in shown and shown[-1] == "A map at 8 Å."


def test_a_step_that_fails_ends_the_demo_in_its_words(tmp_path, capsys):
    (tmp_path / "run.stderr").write_text("OSError: no space left")
    with pytest.raises(SystemExit, match="refine did not finish: the disk is full"):
        demo._launch(Project(), run(tmp_path, finished=False))
    assert "no space left" in capsys.readouterr().err


def test_the_page_has_a_section_for_each_run_that_has_a_folder(tmp_path):
    project = tmp_path / "CryoSGD_demo"
    for name in ("first", "second"):
        (tmp_path / name / "run").mkdir(parents=True)
        write_json(tmp_path / name / "run" / "summary.json", dict(outcome=f"What {name} found.", n_particles=600))
    project.mkdir()
    steps = [run(tmp_path / "import", "import particles"), run(tmp_path / "first", "ab initio"),
             run(tmp_path / "second", "refine")]
    page = demo._report(project, steps, None)
    text = page.read_text(encoding="utf-8")
    assert "<h1>CryoSGD_demo: from particles to a validated map</h1>" in text
    assert [part.split("<")[0] for part in text.split("<h2>")[1:]] == ["ab initio", "refine"]
    assert "What first found." in text and "What second found." in text


def test_maps_are_brought_onto_the_truth_and_judged_by_it(tmp_path):
    truth, rng = density(), np.random.default_rng(0)
    write_volume(tmp_path / "truth.mrc", truth, PIXEL)
    # the mirror image, turned: half of the demo's ab initio maps are such
    found = np.rot90(truth[::-1, ::-1, ::-1], axes=(1, 2))
    maps = {"ab initio, C1": found, "refine": found + 2 * truth.std() * rng.standard_normal(truth.shape)}
    steps = [None]
    for name, volume in maps.items():
        write_volume(tmp_path / f"{name}.mrc", volume.astype(np.float32), PIXEL)
        steps.append(run(tmp_path, name, outputVolume=SimpleNamespace(
            getFileName=lambda name=name: str(tmp_path / f"{name}.mrc"))))
    steps[2].strId = lambda: "8"
    simulation = SimpleNamespace(outputVolume=SimpleNamespace(getFileName=lambda: str(tmp_path / "truth.mrc")))
    section = demo._against_truth(tmp_path / "truth", [*steps, None], simulation)
    assert [name for name, _ in section.figures] == [f"{name}, FSC 0.5 to the truth (mirrored)" for name in maps]
    good, noisy = (float(value.split()[0]) for _, value in section.figures)
    assert good < noisy and section.figures[0][1].endswith(" Å")
    aligned, pixel_size = read_volume(tmp_path / "truth" / "7_aligned_to_truth.mrc")
    assert pixel_size == PIXEL and np.corrcoef(aligned.ravel(), truth.ravel())[0, 1] > 0.95
    assert [path.name for path in section.pictures] == ["fsc_to_truth.png", "truth.png", "ab_initio_C1.png",
                                                        "refine.png"]
    assert all(path.stat().st_size > 1000 for path in section.pictures)
