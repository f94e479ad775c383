"""Post-processing: RELION's own numbers, a B-factor and an MTF that are known, half-maps that are none."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred, ifft3_centred
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.shells import fourier_radius_3d, fsc, shell_index_3d
from cryosgd_plugin.engines.validation.half_maps import box_excess
from cryosgd_plugin.engines.validation.halves import HalfMaps, doubts
from cryosgd_plugin.engines.validation.postprocess import PostprocessConfig, outcome, postprocess
from cryosgd_plugin.engines.validation.sharpening import (
    GuinierFit,
    doubts_of_fit,
    fit_guinier,
    fsc_weight,
    mtf_of_shells,
    sharpen,
)
from cryosgd_plugin.io.fsc_star import read_fsc
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.job.half_map_files import HalfMapFiles, read_mask

from .io_samples import shared

BOX, PIXEL = 48, 1.5
RADIUS = fourier_radius_3d(BOX)


def filtered(volume, gain):
    return ifft3_centred(fft3_centred(volume) * np.asarray(gain, np.float32), BOX)


def noise(seed):
    return np.random.default_rng(seed).standard_normal((BOX,) * 3).astype(np.float32)


def halves(signal=1.0, mask=None, to=15):
    """Two noisy copies of random density within a sphere, right to shell `to`."""
    density = filtered(noise(0) * soft_sphere(BOX, 10, 4), RADIUS <= to) * signal
    return HalfMaps(*(density + 0.2 * noise(seed) for seed in (1, 2)), PIXEL,
                    soft_sphere(BOX, 15, 6) if mask is None else mask, mask is not None)


@pytest.fixture(scope="module")
def apoferritin():
    """(HalfMaps, folder) of RELION's."""
    folder = shared("apoferritin/halfmaps")
    return HalfMapFiles(*(str(folder / f"half{i}_class001_unfil.mrc") for i in (1, 2)), str(folder / "mask.mrc"),
                        2.6667).read(), folder


# ---- RELION's numbers
def test_relions_columns_and_resolution(apoferritin):
    maps, folder = apoferritin
    ours = postprocess(maps, PostprocessConfig(bfactor=-300, half_plane=True))
    theirs = read_fsc(folder / "postprocess.star")[1]
    known = ours.curves.first_randomised + 2
    assert ours.curves.unmasked == pytest.approx(theirs["unmasked"], abs=1e-4)
    assert ours.curves.masked == pytest.approx(theirs["masked"], abs=1e-4)
    assert ours.solvent_free == pytest.approx(theirs["solvent-free"], abs=1e-4)
    assert ours.curves.corrected[:known] == pytest.approx(theirs["corrected"][:known], abs=1e-4)
    # random phases scatter
    assert ours.curves.randomised[:known] == pytest.approx(theirs["randomised"][:known], abs=0.05)
    general = read_table(folder / "postprocess.star", "general")
    assert ours.box_excess == pytest.approx(general["rlnParticleBoxFractionSolventMask"], abs=1e-5)
    assert 72 * 2.6667 / ours.last_shell == pytest.approx(general["rlnFinalResolution"], abs=0.01)
    # interpolated: between the last shell above 0.143 and the next
    assert 72 * 2.6667 / (ours.last_shell + 1) < ours.resolution_a <= 72 * 2.6667 / ours.last_shell
    assert not ours.tight and ours.warnings == []


def test_relions_sharpened_map(apoferritin):
    maps, folder = apoferritin
    curve = read_fsc(folder / "postprocess.star")[1]["corrected"]
    ours = sharpen(maps.mean, curve, pixel_size=2.6667, resolution_a=8.727381, bfactor=-300)
    theirs = read_volume(folder / "postprocess.mrc")[0]
    assert np.abs(ours.volume - theirs).max() < 1e-4 * theirs.max()
    table = read_table(folder / "postprocess.star", "guinier")
    kept = table["rlnLogAmplitudesSharpened"] > -99
    assert ours.guinier["sharpened"][kept] == pytest.approx(table["rlnLogAmplitudesSharpened"][kept], abs=1e-4)
    assert not np.isfinite(ours.guinier["sharpened"][~kept]).any()


def test_a_tight_mask_is_named_and_not_believed(apoferritin):
    maps, folder = apoferritin
    config = PostprocessConfig()
    mask = read_mask(folder / "tight_mask.mrc", maps.box_size, maps.pixel_size)
    found = postprocess(replace(maps, mask=mask), config)
    assert found.tight and found.resolution_a == found.unmasked_a
    words = outcome(found, maps, config)
    assert words.startswith("The mask is too tight") and "Make a wider mask" in words


# ---- the arithmetic
def test_a_known_bfactor_is_read_and_taken_back():
    density = noise(3)
    blurred = filtered(density, np.exp(-80 / 4 * (RADIUS / (BOX * PIXEL)) ** 2))
    found = sharpen(blurred, np.ones(BOX // 2 + 1), pixel_size=PIXEL, resolution_a=2 * PIXEL)
    assert found.fit.shells == 17 and found.bfactor == pytest.approx(-80, abs=3) and found.fit.correlation < -0.95
    exact = sharpen(blurred, np.ones(BOX // 2 + 1), pixel_size=PIXEL, resolution_a=2 * PIXEL, bfactor=-80)
    assert fsc(exact.volume, density)[1:] == pytest.approx(np.ones(BOX // 2), abs=1e-4)
    assert exact.fit is None
    assert exact.guinier["sharpened"] == pytest.approx(sharpen(
        density, np.ones(BOX // 2 + 1), pixel_size=PIXEL, resolution_a=3, bfactor=0).guinier["original"], abs=0.01)


def test_an_mtf_is_divided_out():
    density = noise(4)
    values = np.linspace(1, 0.3, BOX // 2 + 1)
    dimmed = filtered(density, np.append(values, 1)[shell_index_3d(BOX)])
    found = sharpen(dimmed, np.ones(BOX // 2 + 1), pixel_size=PIXEL, resolution_a=2 * PIXEL, bfactor=0, mtf=values)
    plain = sharpen(density, np.ones(BOX // 2 + 1), pixel_size=PIXEL, resolution_a=2 * PIXEL, bfactor=0)
    assert np.abs(found.volume - plain.volume).max() < 1e-3
    # a detector pixel half as large: the map's Nyquist is half of the detector's
    at = mtf_of_shells([0, 0.25, 0.5], [1, 0.8, 0.2], mtf_pixel_size=PIXEL / 2, box_size=BOX, pixel_size=PIXEL)
    assert at[[0, BOX // 4, BOX // 2]] == pytest.approx([1, 0.9, 0.8])
    with pytest.raises(InputError, match="correct the pixel size of the MTF"):
        mtf_of_shells([0, 0.5], [1, 0.2], mtf_pixel_size=2 * PIXEL, box_size=BOX, pixel_size=PIXEL)
    with pytest.raises(InputError, match="the MTF is no curve"):
        mtf_of_shells([0, 0.5], [1, -0.2], mtf_pixel_size=PIXEL, box_size=BOX, pixel_size=PIXEL)


def test_the_weight_ends_where_the_curve_does():
    assert fsc_weight([1, 0.5, -0.1, 0.9]) == pytest.approx([1, np.sqrt(1 / 1.5), 0, 0])


def test_too_few_shells_are_no_fit():
    frequency = np.arange(20) / 100.0
    assert fit_guinier(frequency, np.zeros(20), 8.0) is None
    line = fit_guinier(frequency, 1 - 25 * frequency**2, 5.5)
    assert line.bfactor == pytest.approx(-100) and line.intercept == pytest.approx(1) and line.shells == 9


@pytest.mark.parametrize("bfactor, shells, resolution_a, words", [
    (-90, 20, 4.0, []), (-299, 10, 7.0, []), (-90, 20, 7.1, ["the map ends at 7.1 Å"]),
    (-90, 9, 4.0, ["9 shells are few"]), (-301, 20, 4.0, ["beyond ±300"]), (301, 20, 4.0, ["beyond ±300"]),
    (-527, 5, 8.4, ["of -527 Å² is doubtful", "ends at 8.4 Å", "5 shells are few", "beyond ±300", "--bfactor"])])
def test_a_doubtful_fit_is_named(bfactor, shells, resolution_a, words):
    sentence = doubts_of_fit(GuinierFit(bfactor, 1.0, -0.99, shells), resolution_a)
    assert all(word in sentence for word in words) if words else sentence is None


def test_the_outcome_doubts_what_was_fitted_and_nothing_that_was_given():
    maps = halves(to=8)     # 72 / 8 = 9 Å
    maps = replace(maps, mask=soft_sphere(BOX, 20, 4))
    fitted, given = (postprocess(maps, PostprocessConfig(bfactor=bfactor)) for bfactor in (None, -527.0))
    # one shell lies between 10 Å and the resolution; as if there were some
    fitted = replace(fitted, sharpened=replace(fitted.sharpened, bfactor=-527.0, fit=GuinierFit(-527.0, 1, -1, 5)))
    words = outcome(fitted, maps, PostprocessConfig())
    assert "sharpened by B = -527 Å², fitted to 5 shells" in words and words.endswith(fitted.sharpening_doubts[0])
    assert given.sharpening_doubts == []
    assert "doubtful" not in outcome(given, maps, PostprocessConfig(bfactor=-527.0))


def test_the_box_is_compared_with_the_mask():
    mask = np.zeros((10,) * 3, np.float32)
    mask[:5] = 1
    assert box_excess(mask) == pytest.approx(0.952)
    with pytest.raises(InputError, match="no voxel of the mask exceeds 0.5"):
        box_excess(0.4 * mask)


# ---- what is no pair of half-maps
def test_good_halves_raise_no_doubt():
    maps = halves()
    found = postprocess(maps, PostprocessConfig())
    assert found.warnings == [] and found.independent
    assert found.resolution_a == pytest.approx(BOX * PIXEL / 15.5, rel=0.05)
    assert "not sharpened" in outcome(replace(found, sharpened=replace(found.sharpened, fit=None)), maps,
                                      PostprocessConfig())


def test_one_map_twice_has_no_resolution():
    maps = halves()
    same = replace(maps, second=maps.first.copy())
    found = postprocess(same, PostprocessConfig())
    assert not found.independent and not np.isfinite(found.resolution_a) and found.sharpened is None
    assert outcome(found, same, PostprocessConfig()).startswith("The two half-maps are the same map")


def test_masked_and_filtered_halves_are_named():
    maps = halves()
    ball = soft_sphere(BOX, 12, 3)
    masked = replace(maps, first=maps.first * ball, second=maps.second * ball)
    assert "were masked before" in doubts(masked, fsc(masked.first, masked.second))[0]
    corners = soft_sphere(BOX, BOX / 2 - 1, 0)
    assert doubts(replace(maps, first=maps.first * corners, second=maps.second * corners), fsc(
        maps.first, maps.second)) == []
    low = replace(maps, first=filtered(maps.first, RADIUS <= 10), second=filtered(maps.second, RADIUS <= 10))
    sentence, = doubts(low, fsc(low.first, low.second))
    assert "nothing beyond 7.2 Å" in sentence and "low-pass filtered" in sentence


def test_noise_agrees_nowhere():
    maps = halves(signal=0)
    found = postprocess(maps, PostprocessConfig())
    assert not np.isfinite(found.resolution_a) and found.sharpened is None
    assert "agree at no resolution" in outcome(found, maps, PostprocessConfig())


def test_a_hard_mask_is_named():
    found = postprocess(halves(mask=soft_sphere(BOX, 15, 0)), PostprocessConfig())
    assert any("hard edge" in sentence for sentence in found.warnings)


def test_settings_are_checked():
    with pytest.raises(InputError, match="a B-factor of -5000"):
        PostprocessConfig(bfactor=-5000)
    with pytest.raises(InputError, match="seed -1 is negative"):
        PostprocessConfig(seed=-1)
