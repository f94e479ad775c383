"""The overfitting test: random phases in the particles, the same refinement, what the halves agree on."""
import json

import numpy as np
import pytest

from cryosgd_plugin.core.fourier import fft2_centred, frequencies_2d
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.randomised import OverfittingCurves, RandomisedPhases
from cryosgd_plugin.io.fsc_star import read_fsc
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.job.refine_summary import mask_words, overfitting_words
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, particles
from cryosgd_plugin.tests.test_refine import CONFIG
from cryosgd_plugin.tests.test_refine_job import OPTIONS, command, data  # noqa: F401  (a fixture)


def test_phases_are_random_beyond_a_shell_and_the_same_each_time():
    source, table = particles(20, noise_sd=0.3)
    source.stack[9] = source.stack[3]
    table.stack_index[9] = table.stack_index[3]
    other = RandomisedPhases(source, table, 6, BOX, seed=1)
    # an image that is there twice keeps what it makes two halves agree on
    assert np.array_equal(*other.images(np.array([3, 9]), BOX))
    rows = np.array([3, 7])
    images, changed = source.images(rows, BOX), other.images(rows, BOX)
    assert np.array_equal(changed, other.images(rows, BOX)) and changed.dtype == np.float32
    assert np.array_equal(changed[1], other.images(rows[1:], BOX)[0])
    before, after = fft2_centred(images), fft2_centred(changed)
    radius = np.hypot(*frequencies_2d(BOX, 1.0)) * BOX
    assert np.abs(after) == pytest.approx(np.abs(before), rel=1e-3, abs=1e-2)
    below, beyond = radius < 5.4, (radius > 5.6) & (radius < BOX / 2)
    assert after[:, below] == pytest.approx(before[:, below], abs=1e-2)
    agreement = np.abs((after * before.conj())[:, beyond].sum()) / (np.abs(before) ** 2)[:, beyond].sum()
    assert agreement < 0.2
    with pytest.raises(ValueError, match="12 px"):
        other.images(rows, 12)


def test_what_noise_explains_is_taken_off():
    measured = np.array([1, 1, 0.9, 0.8, 0.6, 0.4, 0.1])
    random = np.array([1, 1, 0.9, 0.7, 0.2, 0.2, 0.0])
    curves = OverfittingCurves(measured, random, 4)
    assert curves.true[:4] == pytest.approx(measured[:4])
    assert curves.true[4:] == pytest.approx([0.5, 0.25, 0.1])
    assert curves.noise_correlation == pytest.approx(0.0)
    fitted = OverfittingCurves(np.full(9, 0.9), np.full(9, 0.7), 3)
    assert fitted.noise_correlation == pytest.approx(0.7)
    to_the_end = OverfittingCurves(np.full(9, 0.9), np.zeros(9), 6)
    assert np.isfinite(to_the_end.noise_correlation)
    assert "do not agree" in overfitting_words(CONFIG, [OverfittingCurves(np.zeros(9), np.zeros(9), 3)])[0]
    assert "noise is being fitted" in overfitting_words(CONFIG, [fitted])[0]
    assert "class 2" in overfitting_words(CONFIG, [fitted, fitted])[1]


def test_a_run_with_the_test(data, tmp_path, monkeypatch):  # noqa: F811
    """Interrupted within the second refinement and gone on with, it leaves both runs and their curves."""
    step, begun = Refinement._step, []

    def interrupted(engine):
        begun.append(engine.config.overfitting_test)
        if begun.count(False) == 2:
            raise KeyboardInterrupt
        return step(engine)

    monkeypatch.setattr(Refinement, "_step", interrupted)
    assert command(data, tmp_path / "out", "--overfitting-test") == 130
    monkeypatch.undo()
    assert command(data, tmp_path / "out", "--overfitting-test", "--continue") == 0
    results = ResultFolder(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    said = summary["overfitting"][0]
    assert said["random_from_a"] < float(OPTIONS[OPTIONS.index("--initial-resolution") + 1])
    assert said["noise_correlation"] < 0.3 and "With phases random beyond" in summary["outcome"]
    _, curves = read_fsc(tmp_path / "out" / "overfitting.star")
    shell = int(round(BOX * PIXEL / said["random_from_a"]))
    assert curves["randomised"][shell + 2:-1].max() < curves["masked"][:shell].min()
    assert curves["corrected"][:shell] == pytest.approx(curves["masked"][:shell], abs=1e-5)
    assert (tmp_path / "out" / "pictures" / "overfitting.png").exists()
    assert len(ResultFolder(tmp_path / "out" / "randomised").history()) >= 2
    # the run itself is as without the test
    assert command(data, tmp_path / "plain") == 0
    assert np.array_equal(read_volume(results.volume())[0], read_volume(tmp_path / "plain" / "volume.mrc")[0])


# ---- masks that a user gives
def test_masks_that_flatter_are_named(data, tmp_path, capsys):  # noqa: F811
    tight = soft_sphere(BOX, 2.0, 0)
    write_volume(data / "tight.mrc", tight, PIXEL)
    assert command(data, tmp_path / "out", "--mask", str(data / "tight.mrc")) == 0
    assert "has a hard edge" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert "mask is too tight" in summary["outcome"], summary["outcome"]


def test_a_wide_soft_mask_is_fine(data, tmp_path, capsys):  # noqa: F811
    write_volume(data / "wide.mrc", soft_sphere(BOX, 8.0, 4.0), PIXEL)
    assert command(data, tmp_path / "out", "--mask", str(data / "wide.mrc")) == 0
    assert "hard edge" not in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert "too tight" not in summary["outcome"] and mask_words([]) == []
