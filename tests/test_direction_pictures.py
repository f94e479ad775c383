"""The picture of a run's importance distribution over the view directions."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import directions_to_vectors, healpix_directions
from cryosgd_plugin.io.direction_pictures import draw_importance
from cryosgd_plugin.tests.run_samples import new_figure, titles


@pytest.fixture
def figure():
    return new_figure()


def importance(mass):
    return {"directions_deg": healpix_directions(8).tolist(), "mass": np.atleast_2d(mass).tolist()}


def at(axes, rot_deg):
    """The colour on the equator at a rot: Mollweide's map is linear there."""
    picture = axes.images[0].get_array()
    height, width = picture.shape
    return picture[height // 2, min(width - 1, int(width * (0.5 + rot_deg / 360)))]


def test_an_even_distribution_is_even(figure):
    draw_importance(figure, importance(np.full((2, 768), 1 / 1536)))
    for axes in figure.axes[:2]:
        picture = np.ma.masked_invalid(axes.images[0].get_array())
        np.testing.assert_allclose(picture.compressed(), 1.0, rtol=1e-6)
        assert picture.mask[0, 0], "outside the ellipse nothing is drawn"
    assert titles(figure) == ["class 1, 50.0 % of the mass", "class 2, 50.0 % of the mass"]
    assert figure.axes[2].get_ylabel() == "mass, relative to an even spread"


@pytest.mark.parametrize("symmetry, bright, dark", [("C1", (80,), (-100, 0, -10)), ("C2", (80, -100), (0, -10)),
                                                    ("D2", (80, -80, 100, -100), (0, 35))])
def test_a_preferred_view_is_bright_in_all_its_copies(figure, symmetry, bright, dark):
    rot, tilt = healpix_directions(8).T
    mass = np.where((abs(rot - 80) < 8) & (abs(tilt - 90) < 8), 1.0, 0.0)
    draw_importance(figure, importance(mass / mass.sum()), symmetry)
    assert all(at(figure.axes[0], rot) > 5 for rot in bright)
    assert all(at(figure.axes[0], rot) < 0.1 for rot in dark)
    assert (f"in the copies of {symmetry}" in figure._suptitle.get_text()) == (symmetry != "C1")


def test_ten_classes_of_which_one_is_lost(figure):
    mass = np.full((10, 768), 1 / 9 / 768)
    mass[4] = 0
    draw_importance(figure, importance(mass))
    figure.canvas.draw()
    assert len(figure.axes) == 11 and titles(figure)[4] == "class 5, 0.0 % of the mass"
    assert at(figure.axes[4], 0) == 0 and at(figure.axes[5], 0) == pytest.approx(1)


def test_coarse_grids_leave_no_chequers(figure):
    """An even spread over the 192 directions of a coarse level: the engine adds each to the nearest of the 768."""
    coarse, fine = (directions_to_vectors(healpix_directions(nside)) for nside in (4, 8))
    mass = np.bincount(np.argmax(coarse @ fine.T, axis=1), minlength=768) / 192
    draw_importance(figure, importance(mass))
    picture = np.ma.masked_invalid(figure.axes[0].images[0].get_array()).compressed()
    low, high = np.percentile(picture, (1, 99))
    assert np.percentile(mass, 70) == 0 and 0.4 < low and high < 1.6


def test_no_importance_yet(figure):
    with pytest.raises(InputError, match="no importance distribution yet"):
        draw_importance(figure, None)
