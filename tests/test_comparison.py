"""Maps side by side: one scale, one place, one contour, whatever their boxes and units; and `cryosgd compare`."""
import mrcfile
import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("matplotlib")

from cryosgd_plugin.cli import main
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.scale import matching_factor
from cryosgd_plugin.io.comparison import DENSITY, SIGMA, ComparisonView, compared, voxel_at
from cryosgd_plugin.io.comparison_pictures import ComparisonFigure, comparison_size, draw_comparison, shortened
from cryosgd_plugin.io.volume_data import VolumeData
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.tests.run_samples import new_figure

PIXEL = 4.0


def molecule(box=32, pixel=PIXEL):
    """Three soft balls off the axes, sampled at any pixel size about n // 2."""
    z, y, x = (np.indices((box,) * 3) - box // 2) * pixel
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 9.0 ** 2)) * height
               for a, b, c, height in ((20, 0, 0, 1.0), (-12, 16, 4, 0.8), (0, -14, -18, 0.6))).astype(np.float32)


def noise(scale, box=32, seed=0):
    return np.random.default_rng(seed).normal(scale=scale, size=(box,) * 3).astype(np.float32)


def volume(voxels, label="map", pixel=PIXEL):
    return VolumeData(voxels, pixel, label=label)


@pytest.fixture
def pair():
    return compared([volume(molecule() + noise(0.02), "noisy"), volume(0.25 * molecule(), "clean")])


def test_the_factor_is_found_below_noise_and_beside_a_constant():
    truth = molecule()
    noisy = 0.4 * truth + noise(0.03)
    factor, shells = matching_factor(5 + noisy, truth)
    assert factor == pytest.approx(2.5, rel=0.04) and 3 <= shells < 16, "shells of noise are left out"
    assert np.vdot(noisy, truth) / np.vdot(noisy, noisy) < 1.8, "which all voxels would not do"
    factor, shells = matching_factor(truth, truth)
    assert factor == pytest.approx(1) and shells == 16


def test_maps_that_do_not_agree_get_no_factor():
    assert matching_factor(noise(1), molecule())[0] is None
    assert matching_factor(-molecule(), molecule())[0] is None, "nor does the other contrast"
    with pytest.raises(InputError, match="one box"):
        matching_factor(molecule(24), molecule())


@pytest.mark.parametrize("box, pixel", [(32, 4.0), (48, 4.0), (31, 4.0), (50, 2.5), (24, 5.0), (150, 1.0)])
def test_the_factor_is_the_same_in_any_frame(box, pixel):
    """The last box is larger than the coarse copies, whose voxels have no centre at the origin."""
    one = compared([volume(molecule()), volume(0.5 * molecule(box, pixel), pixel=pixel)])[1]
    assert one.factor == pytest.approx(2, rel=0.01) and one.agreed_a < 20
    assert one.in_words().startswith("× 2, least squares to") or one.in_words().startswith("× 1.99")


def test_one_contour_in_one_unit(pair):
    view = ComparisonView.of(pair)
    assert view.unit == DENSITY
    first, second = (view.level_of(one) for one in pair)
    assert second == pytest.approx(first / 4, rel=0.02), "the same place on the same density"
    in_sigma = ComparisonView(2.5, SIGMA)
    assert [one.data.survey.in_sigma(in_sigma.level_of(one)) for one in pair] == pytest.approx([2.5, 2.5])
    assert view.in_unit(SIGMA, pair) == pytest.approx(pair[0].data.survey.in_sigma(first))
    assert in_sigma.in_unit(DENSITY, pair) == pytest.approx(pair[0].data.survey.from_sigma(2.5))


def test_unlike_maps_begin_in_sigma_and_say_so():
    maps = compared([volume(molecule()), volume(noise(1))])
    assert ComparisonView.of(maps).unit == SIGMA
    assert maps[1].factor is None and "does not agree" in maps[1].in_words() and maps[1].scale == 1
    as_they_are = compared([volume(molecule()), volume(0.5 * molecule())], matched=False)
    assert [one.factor for one in as_they_are] == [1, 1]


def test_greys_are_common_or_each_maps_own(pair):
    view = ComparisonView.of(pair)
    (low, high), (low2, high2) = view.grey_ranges(pair)
    assert (low2 * pair[1].factor, high2 * pair[1].factor) == pytest.approx((low, high))
    view.one_grey_range = False
    own = view.grey_ranges(pair)
    assert own[1][1] * pair[1].factor < own[0][1] or own[1][0] * pair[1].factor > own[0][0]
    view.contrast = 1.0
    (low3, high3), _ = view.grey_ranges(pair)
    assert high3 - low3 == pytest.approx((own[0][1] - own[0][0]) / 2)


def test_one_place_in_all_boxes():
    coarse, fine = volume(molecule()), volume(molecule(50, 2.5), pixel=2.5)
    assert voxel_at(coarse, [8, -20, 0]) == [18, 11, 16] and voxel_at(fine, [8, -20, 0]) == [28, 17, 25]
    assert voxel_at(fine, [500, -500, 0]) == [49, 0, 25], "at the edge where it lies outside"


def test_the_picture_shows_sections_contours_and_histograms():
    figure = new_figure()
    figure.set_size_inches(*comparison_size(2))
    maps = compared([volume(molecule(), "first"), volume(0.25 * molecule(50, 2.5), "second", 2.5)])
    view = ComparisonView.of(maps)
    view.position_a = [8.0, -20.0, 0.0]
    picture = ComparisonFigure(figure, maps, view)
    assert [panel.axes.get_title() for panel in picture.panels] == [
        "first, z = 8.0 Å", "first, y = -20.0 Å", "first, x = 0.0 Å",
        "second, z = 7.5 Å", "second, y = -20.0 Å", "second, x = 0.0 Å"]
    np.testing.assert_array_equal(picture.panels[0].image.get_array(), maps[0].data.voxels[18])
    np.testing.assert_array_equal(picture.panels[4].image.get_array(), maps[1].data.voxels[:, 17])
    first, second = (np.concatenate(picture.panels[k].contour.allsegs[0]) for k in (0, 3))
    assert np.ptp(first, axis=0) == pytest.approx(np.ptp(second, axis=0), abs=3), "one contour around one density"
    assert picture.panels[0].axes.get_xlim() == picture.panels[3].axes.get_xlim(), "the same stretch of Å"
    assert len(picture.histogram.patches) == 2
    words = [text.get_text() for text in picture.key]
    assert words[0].startswith("contour at") and "least squares" in words[2] and "second" in words[2]
    view.planes, view.zoom, view.unit, view.level = (1,), 2.0, SIGMA, 3.0
    picture.update()
    assert len(picture.panels) == 2 and {panel.normal for panel in picture.panels} == {1}
    assert np.diff(picture.panels[0].axes.get_xlim()) == pytest.approx(64)
    assert len(picture.lines) == 2, "in σ each map has its own level"
    assert picture.place_at(picture.panels[0], 10.0, 30.0) == [30.0, -20.0, 10.0]
    assert picture.panel_of(picture.panels[1].axes) is picture.panels[1] and picture.panel_of(None) is None


@pytest.mark.parametrize("count, planes", [(2, 3), (3, 3), (4, 1), (7, 1)])
def test_no_panel_lies_on_another(count, planes):
    figure = new_figure()
    figure.set_size_inches(11, 9)
    name = "a map with a very long name that says what was done with it"
    picture = draw_comparison(figure, [volume(molecule(), f"{name} {k}") for k in range(count)])
    figure.canvas.draw()
    assert len(picture.panels) == count * planes
    boxes = [axes.get_tightbbox() for axes in figure.axes[:-1]]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1:])
    key = [text.get_window_extent() for text in picture.key]
    assert all(box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in key), "the key is not cut"


def test_long_labels_lose_their_middle():
    assert shortened("short", 8) == "short"
    assert shortened("refinement of class 12", 9) == "refi…s 12"


@pytest.fixture
def files(tmp_path):
    paths = [str(tmp_path / name) for name in ("one.mrc", "two.mrc")]
    write_volume(paths[0], molecule(), PIXEL)
    write_volume(paths[1], 0.25 * molecule(), PIXEL)
    return paths


def test_the_command_draws_and_says_the_factor(files, tmp_path, capsys):
    png = tmp_path / "compared.png"
    assert main(["compare", *files, "-o", str(png), "--sigma", "3", "--position", "20", "0", "0", "--plane", "z"]) == 0
    said = capsys.readouterr().out
    assert "two.mrc: × 4, least squares to 8" in said and png.stat().st_size > 5000
    assert main(["compare", *files, "-o", str(png)]) == 1 and "exists already" in capsys.readouterr().err
    assert main(["compare", *files, "-o", str(png), "--overwrite", "--as-they-are"]) == 0
    assert "two.mrc: as it is" in capsys.readouterr().out


@pytest.mark.parametrize("words, said", [
    (["--labels", "a"], "1 labels were given for 2 maps"), (["--zoom", "0.5"], "give 1 or more"),
    (["--pixel-size", "-1"], "not positive")])
def test_what_the_command_refuses(files, tmp_path, capsys, words, said):
    png = tmp_path / "compared.png"
    assert main(["compare", *files, "-o", str(png), *words]) == 1
    assert said in capsys.readouterr().err and not png.exists()


def test_a_lone_or_an_empty_map_is_refused(files, tmp_path, capsys):
    png = tmp_path / "compared.png"
    assert main(["compare", files[0], "-o", str(png)]) == 1 and "two maps" in capsys.readouterr().err
    bad = tmp_path / "bad.mrc"
    with mrcfile.new(bad) as file:
        file.set_data(np.full((16,) * 3, np.nan, np.float32))
        file.voxel_size = PIXEL
    assert main(["compare", files[0], str(bad), "-o", str(png)]) == 1
    assert "no finite value" in capsys.readouterr().err and not png.exists()


def test_the_factor_survives_blur():
    """A regularised map is smoother; the shells that both hold still tell its units."""
    blurred = ndimage.gaussian_filter(molecule(), 1.0)
    factor = compared([volume(molecule()), volume(blurred)])[1].factor
    assert 1.0 < factor < 1.6
