"""The page about runs: it says what their folders say, holds its pictures, and replaces nothing unasked."""
import base64
import json
import re

import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.io.report import Section, run_section, write_report
from cryosgd_plugin.io.result_folder import ResultFolder

# a picture of one pixel
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")


@pytest.fixture
def folder(tmp_path):
    """A run folder with summary, settings and two pictures."""
    path = tmp_path / "fine"
    (path / "pictures").mkdir(parents=True)
    for name in ("certificate.png", "volume.png"):
        (path / "pictures" / name).write_bytes(PNG)
    (path / "summary.json").write_text(json.dumps(dict(
        outcome="A map at 7 Å <of 9 & more>.", warnings=["The mask is tight."], n_particles=500, resolution_a=7.031,
        total_seconds=90.0, device="cpu")))
    (path / "job.json").write_text(json.dumps(dict(program="refine", parameters={"symmetry": "D7"})))
    return path


def test_it_says_what_the_folder_says(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "-o", str(page), "--title", "My protein"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<h1>My protein</h1>" in text and "<h2>fine (refine)</h2>" in text
    # words of users and runs are text, never markup
    assert "A map at 7 Å &lt;of 9 &amp; more&gt;." in text
    assert '<p class="warning">The mask is tight.</p>' in text
    for name, value in (("particles", "500"), ("resolution", "7.03 Å"), ("time", "1.5 min"), ("device", "cpu")):
        assert f"<span>{name} <b>{value}</b></span>" in text
    assert "<td>symmetry</td><td>D7</td>" in text


def test_pictures_are_within_the_page_the_map_first(folder, tmp_path):
    page = tmp_path / "page.html"
    write_report(page, "t", [run_section(ResultFolder(folder), "run")])
    found = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page.read_text(encoding="utf-8"))
    assert [name for _, name in found] == ["volume", "certificate"]
    assert all(base64.b64decode(data) == PNG for data, _ in found)


def test_a_validation_shows_the_figures_and_pictures_of_its_parts(tmp_path):
    for place, name in (("pictures", "fsc"), ("model/pictures", "model_fsc"), (".", "choice")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f"{name}.png").write_bytes(PNG)
    (tmp_path / "summary.json").write_text(json.dumps({
        "outcome": ["One.", "Two."], "resolution_a": 4.5, "postprocess": {"bfactor": -80.4, "warnings": ["Doubtful."]},
        "local_resolution": {"local_a": {"median": 4.81}, "resolution_a": 9.0}, "directional": {"area_ratio": 0.82},
        "sampling": {"scf_star": 0.91}, "model": {"fsc_0.5_a": 5.02, "warnings": []}}))
    section = run_section(ResultFolder(tmp_path), "run")
    assert section.warnings == ["Doubtful."]
    assert section.figures == [
        ("resolution", "4.50 Å"), ("local resolution, median", "4.8 Å"), ("agrees with the model to", "5.02 Å"),
        ("weakest by best direction (area ratio)", "0.82"), ("evenness of the views (SCF*)", "0.91"),
        ("B-factor", "-80 Å²")]
    assert [path.stem for path in section.pictures] == ["fsc", "choice", "model_fsc"]


def test_maps_that_were_compared_have_a_section(tmp_path, capsys):
    folder = tmp_path / "starts"
    folder.mkdir()
    (folder / "consensus.png").write_bytes(PNG)
    (folder / "consensus.json").write_text(json.dumps({
        "verdict": "2 of 3 maps show the same structure.", "maps": [{"agrees": one} for one in (True, False, True)]}))
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h2>starts (consensus)</h2>" in text and "<p>2 of 3 maps show the same structure.</p>" in text
    assert "<span>of them agree <b>2</b></span>" in text and 'alt="consensus"' in text


def test_a_run_that_goes_on_is_said_to(folder):
    (folder / "summary.json").unlink()
    section = run_section(ResultFolder(folder), "run")
    assert section.outcome == ["The run has not ended."] and section.settings == {"symmetry": "D7"}


def test_several_sentences_are_several_paragraphs(tmp_path):
    write_report(tmp_path / "page.html", "t", [Section("s", ["One.", "Two."])])
    assert "<p>One.</p>\n<p>Two.</p>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_is_not_replaced_unasked(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert main(["report", str(folder), "-o", str(page)]) == 1
    assert "exists already" in capsys.readouterr().err and page.read_text() == "mine"
    assert main(["report", str(folder), "-o", str(page), "--overwrite"]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_folders_that_are_no_runs_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name, words in (("empty", "is no run folder"), ("nowhere", "there is no run folder")):
        assert main(["report", str(tmp_path / name), "-o", str(tmp_path / "page.html")]) == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
