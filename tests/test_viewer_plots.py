"""Plots that the viewers draw of Fourier shell correlations and view directions."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import euler_to_matrix, view_directions
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.io.view_pictures import count_directions, draw_view_directions
from cryosgd_plugin.tests.viewer_samples import FREQUENCY, new_figure, texts
from cryosgd_plugin.viewers.plots import crossing_frequency, describe_crossing, draw_fsc


@pytest.fixture
def figure():
    return new_figure()


# ---- FSC
def test_fsc_is_drawn_against_frequency_and_read_in_angstroms(figure):
    values = np.clip(1.2 - FREQUENCY * 12, 0, 1)      # 0.5 at 0.7 / 12, 0.143 at 1.057 / 12
    draw_fsc(figure, [("half-maps", FREQUENCY, values)])
    axes = figure.axes[0]
    curve = next(line for line in axes.lines if line.get_label().startswith("half-maps"))
    np.testing.assert_allclose(curve.get_xdata(), FREQUENCY)
    np.testing.assert_allclose(curve.get_ydata(), values)
    assert "17.1 Å (0.5)" in curve.get_label() and "11.4 Å (0.143)" in curve.get_label()
    assert axes.get_xlabel() == "resolution (Å)"
    figure.canvas.draw()
    for tick, label in zip(axes.get_xticks(), axes.get_xticklabels()):
        assert float(label.get_text()) == pytest.approx(1 / tick, rel=1e-3)
    dashed = sorted(line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--")
    assert dashed == [0.143, 0.5]


@pytest.mark.parametrize("values, words", [
    (np.ones(33), "≤ 8 Å"),                                   # pwem's own read-out divides by zero here
    (np.zeros(33), "none"),
    (np.r_[1.0, 1.0, 0.0, np.ones(30)], "171 Å"),             # it counts from the first crossing on, not the last
])
def test_fsc_readout_at_the_ends(values, words):
    assert describe_crossing(FREQUENCY, values, 0.5) == words


def test_fsc_readout_interpolates():
    assert crossing_frequency([0, 0.1, 0.2], [1, 0.8, 0.2], 0.5) == pytest.approx(0.15)
    assert crossing_frequency([0.1, 0.2], [0.8, 0.6], 0.5) is None


def test_no_fsc_yet(figure):
    with pytest.raises(InputError, match="no FSC curve yet"):
        draw_fsc(figure, [])


# ---- view directions
def test_directions_are_counted_on_equal_areas():
    directions = np.random.default_rng(7).normal(size=(40000, 3))
    x, y, z = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    nside, counts = count_directions(np.degrees(np.arctan2(y, x)), np.degrees(np.arccos(z)))
    assert nside == 16 and counts.sum() == 40000
    expected = 40000 / len(counts)
    assert counts.std() == pytest.approx(np.sqrt(expected), rel=0.1), "even directions scatter as Poisson's"


def test_symmetric_copies_are_counted():
    rotations = euler_to_matrix(20.0, 35.0, 10.0)
    nside, counts = count_directions([20.0], [35.0], point_group("D2"))
    mates = np.einsum("gij,j->gi", point_group("D2"), view_directions(rotations)[0])
    import healpix
    assert counts.sum() == 4
    assert all(counts[pixel] > 0 for pixel in healpix.vec2pix(nside, *mates.T))


def test_direction_map_puts_views_where_they_belong(figure):
    """All particles seen along rot 80°, tilt 85°: bright there, near the equator on the right, and dark elsewhere."""
    draw_view_directions(figure, np.full(500, 80.0), np.full(500, 85.0))
    picture = figure.axes[0].images[0].get_array()
    height, width = picture.shape
    assert np.ma.is_masked(picture[0, 0]) or np.isnan(picture[0, 0]), "outside the ellipse nothing is drawn"
    assert picture[height // 2 + 15, int(width * (0.5 + 80 / 360))] > 10
    assert picture[height // 2, width // 4] == 0 and picture[height // 2, width // 2] == 0
    assert "view directions of 500 particles" in texts(figure)
    with pytest.raises(InputError, match="no particles with poses"):
        draw_view_directions(figure, [], [])


def test_direction_map_is_equal_area(figure):
    """A uniform set has as much colour on the map's upper half as on its lower one, and every area alike."""
    import healpix
    vectors = np.array(healpix.pix2vec(8, np.arange(768)))
    draw_view_directions(figure, np.degrees(np.arctan2(vectors[1], vectors[0])), np.degrees(np.arccos(vectors[2])))
    picture = np.ma.filled(np.ma.masked_invalid(figure.axes[0].images[0].get_array()), np.nan)
    assert np.nanmin(picture) == np.nanmax(picture) == 1.0
