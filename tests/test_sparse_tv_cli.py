"""`cryosgd sparse-tv`: what it leaves, that its resolution is that of the data, and what it refuses."""
import json

import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.core.shells import crossing_resolution, fsc
from cryosgd_plugin.engines.sparse_tv.choose import Choice, Trial
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.io.sparse_tv_pictures import draw_scan
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density
from cryosgd_plugin.tests.run_samples import new_figure

SAID = "agree to"
# α and β that leave a thirtieth of the density
NEARLY = ("4", "2")


def halves(folder, truth, noise=0.1, seed=0):
    """Paths of two half-maps with white noise."""
    rng = np.random.default_rng(seed)
    paths = [str(folder / f"half{number}.mrc") for number in (1, 2)]
    for path in paths:
        write_volume(path, (truth + noise * rng.standard_normal(truth.shape)).astype(np.float32), PIXEL)
    return paths


def run(tmp_path, paths, *words):
    return main(["sparse-tv", *paths, "-o", str(tmp_path / "out"), "--diameter", "140", "--iterations", "30",
                 "--threads", "1", *words])


def test_it_leaves_maps_curves_pictures_and_a_summary(tmp_path, capsys):
    truth = density()
    assert run(tmp_path, halves(tmp_path, truth)) == 0
    assert SAID in capsys.readouterr().out
    out = tmp_path / "out"
    found, pixel_size = read_volume(out / "volume.mrc")
    traditional, _ = read_volume(out / "traditional.mrc")
    assert pixel_size == pytest.approx(PIXEL) and found.shape == (BOX,) * 3
    # beyond, blobs of that size hold nothing
    assert np.mean(fsc(found, truth)[4:9]) > np.mean(fsc(traditional, truth)[4:9]) + 0.1
    for name in ("half1_regularised.mrc", "half2_regularised.mrc", "fsc.png", "comparison.png", "choice.png"):
        assert (out / name).stat().st_size > 1000, name
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["choices"]) == 2 and summary["maps"]["both"]["variation"] < 0.9
    assert summary["fsc"] != summary["fsc_regularised"]


def test_a_scan_tries_the_whole_grid_of_the_paper(tmp_path):
    assert run(tmp_path, halves(tmp_path, density()), "--scan", "--iterations", "8", "--reweightings", "1") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    grid = {(a, b / 10, g) for a in (0.4, 0.5) for b in range(10, 28, 2) for g in (0.05, 0.1, 0.2)}
    for choice in summary["choices"]:
        assert {(one["alpha"], one["beta"], one["gamma"]) for one in choice["tried"]} == {(0, 0, 0)} | grid
        assert all(one["foretold_05_a"] >= 2 * PIXEL for one in choice["tried"] if one["gain"] is not None)
    assert {(one["alpha"], one["beta"], one["gamma"]) for one in summary["scan"]} == grid
    # what the paper would have reported goes far beyond what the halves agree to
    measured = crossing_resolution(summary["fsc"], 0.143, BOX, PIXEL)
    assert min(one["regularised_halves_0143_a"] for one in summary["scan"]) < 0.9 * measured
    assert (tmp_path / "out" / "scan.png").stat().st_size > 1000 and not (tmp_path / "out" / "choice.png").exists()


def test_the_scans_figure_draws_what_the_paper_does():
    """A line for each α and γ in Å; penalties that left nothing leave a gap."""
    tried = [Trial(0, 0, 0, 0.0, 4.0), Trial(0.4, 1.0, 0.05, 0.1, 5.0), Trial(0.4, 1.2, 0.05, np.nan, np.nan)]
    choices = [Choice(SparseTVConfig(alpha=0.4, beta=1.0), tried, 6)] * 2
    figure = new_figure()
    draw_scan(figure, choices, {(0.4, 1.0, 0.05): 8.0, (0.4, 1.2, 0.05): np.nan}, 80.0, 20.0)
    figure.canvas.draw()
    agree, foretold, _ = figure.axes
    assert "no measure of resolution" in agree.get_title()
    np.testing.assert_array_equal(agree.lines[0].get_ydata(), [10, np.nan])
    np.testing.assert_array_equal(foretold.lines[0].get_ydata(), [16, np.nan])
    levels = {line.get_label(): line.get_ydata()[0] for line in [*agree.lines, *foretold.lines]}
    assert levels["half-maps as given"] == levels["Wiener's map"] == 20
    assert levels["foretold no farther"] == pytest.approx(80 / 6)


def test_what_is_nearly_empty_or_in_other_units_is_told(tmp_path, capsys):
    paths = halves(tmp_path, density())
    assert run(tmp_path, paths, "--alpha", "0.1", "--beta", "0.1", "--epsilon", "100") == 0
    said = capsys.readouterr().out
    assert "times the density level of the map" in said and "Warning" in said
    assert "not settled" not in said
    (tmp_path / "out").rename(tmp_path / "first")
    assert run(tmp_path, paths, "--alpha", NEARLY[0], "--beta", NEARLY[1]) == 0
    assert "nearly empty: the penalties" in capsys.readouterr().out
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert any("far from what is usual" in sentence for sentence in warnings)


def test_halves_of_noise_have_no_resolution_whatever_their_regularised_maps_say(tmp_path, capsys):
    """Both halves hold the same cloud and noise beyond it: the penalties give both clouds the same sharp rim."""
    axis = np.arange(BOX) - BOX // 2
    ball = 6 * np.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis ** 2) / (2 * 3 ** 2))
    rng = np.random.default_rng(3)
    paths = [str(tmp_path / f"half{number}.mrc") for number in (1, 2)]
    for path in paths:
        write_volume(path, (rng.standard_normal(ball.shape) + ball).astype(np.float32), PIXEL)
    assert run(tmp_path, paths, "--alpha", "1", "--beta", "1") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    high = slice(4, BOX // 2)
    counts = 2 * np.pi * np.arange(BOX // 2 + 1)[high] ** 2
    assert np.all(np.abs(np.array(summary["fsc"])[high]) < 3 / np.sqrt(counts))
    assert np.any(np.array(summary["fsc_regularised"])[high] > 2 * 3 / np.sqrt(counts))


def test_what_more_iterations_would_change_is_told(tmp_path):
    paths = halves(tmp_path, density())
    assert run(tmp_path, paths, "--alpha", "0.3", "--beta", "0.3", "--iterations", "2", "--reweightings", "1") == 0
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert sum("is not settled: its gap is" in one and "after 2 iterations" in one for one in warnings) == 3


@pytest.mark.parametrize("words, said", [
    (("--alpha", "0.5"), "chosen together"), (("--scan", "--alpha", "1", "--beta", "1"), "leave out --alpha"),
    (("--scan", "--gamma", "0.1"), "leave out --alpha, --beta and --gamma"), (("--gamma", "-1"), "is negative"),
    (("--epsilon", "0"), "is not positive"), (("--epsilon", "inf"), "not finite"), (("--epsilon-ratio", "0"), "out of"),
    (("--diameter", "900"), "does not lie between 0 and the box of 192 Å"), (("--threads", "0"), "give 1 or more"),
    (("--symmetry", "X3"), "X3"), (("--device", "tpu"), "is not understood"),
    (("--alpha", "500", "--beta", "1"), "leave nothing of the map"), (("--alpha", "-1", "--beta", "1"), "is negative")])
def test_bad_options_leave_no_folder(tmp_path, capsys, words, said):
    assert run(tmp_path, halves(tmp_path, density()), *words) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_maps_are_refused(tmp_path, capsys):
    first, second = halves(tmp_path, density())
    small, broken = str(tmp_path / "small.mrc"), str(tmp_path / "broken.mrc")
    write_volume(small, density(box=16), PIXEL)
    volume = density()
    volume[3, 3, :2] = np.nan
    write_volume(broken, volume, PIXEL)
    for paths, said in (((first, small), "one of 16 px"), ((broken, second), "finite"),
                        ((first, str(tmp_path / "none.mrc")), "none.mrc")):
        assert run(tmp_path, list(paths)) == 1
        assert said in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    assert run(tmp_path, [first, second]) == 1
    assert "exists; give a new folder" in capsys.readouterr().err
