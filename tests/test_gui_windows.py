"""The viewers' windows on a real display: mouse, sliders, refresh, errors of a running job's files."""
import os
import time

import numpy as np
import pytest

pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")
pytest.importorskip("tkinter", reason="the windows need Tk")

pytestmark = [pytest.mark.gui, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.volume_data import VolumeData


@pytest.fixture
def no_main_loop(monkeypatch):
    """A window without master would enter Tk's main loop; the tests turn the loop themselves."""
    import tkinter
    monkeypatch.setattr(tkinter.Misc, "mainloop", lambda widget, n=0: None)


def pump(window, seconds=0.3):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        window.root.update()
        time.sleep(0.005)


def finish(window):
    from cryosgd_plugin.tests.gui_session import destroy_tk
    hidden_root = window.root.master
    window.close()
    destroy_tk(hidden_root)


def ball(scale=1.0, label="ball"):
    z, y, x = (np.indices((32, 32, 32)) - 16) * 3.0
    radius = np.sqrt((x - 9) ** 2 + y ** 2 + z ** 2)
    noise = np.random.default_rng(0).normal(scale=0.01, size=radius.shape)
    return VolumeData((scale * (1 / (1 + np.exp((radius - 20) / 3)) + noise)).astype(np.float32), 3.0, label=label)


@pytest.fixture
def volumes():
    return [("iteration 10", lambda: ball(1, "iteration 10")), ("iteration 20", lambda: ball(2, "iteration 20")),
            ("iteration 30", lambda: ball(3, "iteration 30"))]


@pytest.fixture
def window(no_main_loop, volumes):
    from cryosgd_plugin.viewers.volume_window import VolumeWindow
    window = VolumeWindow("test", lambda: list(volumes), start=-1, refreshable=True)
    window.show()
    pump(window, 0.6)
    yield window
    finish(window)


def pixel(window, axes, x, y):
    """The place on Tk's canvas (from the top left) of a point of the axes."""
    across, up = axes.transData.transform((x, y))
    return int(round(across)), int(round(window.canvas.get_tk_widget().winfo_height() - up))


def mouse(window, event, place):
    window.canvas.get_tk_widget().event_generate(event, x=place[0], y=place[1])
    pump(window, 0.15)


def test_the_window_fits_the_screen(window):
    root = window.root
    assert 0 <= root.winfo_rootx() and root.winfo_rootx() + root.winfo_width() <= root.winfo_screenwidth()
    assert root.winfo_rooty() + root.winfo_height() <= root.winfo_screenheight()
    frame = window.controls.frame
    assert frame.winfo_reqheight() <= root.winfo_height() - window.status.winfo_height() + 1, "all controls are visible"
    assert window.status.winfo_reqwidth() <= window.status.winfo_width(), "what the mouse does is told to its end"


def test_a_click_moves_the_cross_hair(window):
    xy = window.picture.planes[0]
    mouse(window, "<Button-1>", pixel(window, xy.axes, 12.0, -9.0))
    mouse(window, "<ButtonRelease-1>", pixel(window, xy.axes, 12.0, -9.0))
    assert window.picture.state.position == [16, 13, 20]
    assert window.controls.sliders[2][1].get().split() == ["x", "12.0", "Å"]
    np.testing.assert_array_equal(window.picture.planes[2].image.get_array(), window.picture.data.voxels[:, :, 20].T)


def test_the_density_under_the_cursor_is_written(window):
    mouse(window, "<Motion>", pixel(window, window.picture.planes[0].axes, 9.0, 0.0))
    value = window.picture.data.voxels[16, 16, 19]
    assert f"x 9.0, y 0.0, z 0.0 Å (voxel x 19, y 16, z 16): density {value:.4g}" in window.status.cget("text")


def test_a_slider_moves_its_plane(window):
    window.controls.sliders[0][0].set(10)
    pump(window)
    assert window.picture.state.position[0] == 10
    np.testing.assert_array_equal(window.picture.planes[0].image.get_array(), window.picture.data.voxels[10])
    assert "z = -18.0 Å" in window.picture.planes[0].axes.get_title()


def test_dragging_turns_the_surface_and_the_wheel_zooms(window):
    panel, state = window.picture.surface, window.picture.state
    before, width = state.rotation.copy(), state.half_width_a
    mouse(window, "<Button-1>", pixel(window, panel.axes, 0.0, 0.0))
    mouse(window, "<B1-Motion>", pixel(window, panel.axes, 0.6, 0.0))
    mouse(window, "<ButtonRelease-1>", pixel(window, panel.axes, 0.6, 0.0))
    angle = np.degrees(np.arccos((np.trace(state.rotation @ before.T) - 1) / 2))
    assert angle == pytest.approx(0.3 * 180, abs=3), "the whole width of the picture is half a turn"
    mouse(window, "<Button-4>", pixel(window, panel.axes, 0.0, 0.0))
    assert state.half_width_a < width


def test_a_click_into_the_histogram_sets_the_contour(window):
    histogram = window.picture.histogram
    mouse(window, "<Button-1>", pixel(window, histogram.axes, 1.5, 1.0))
    assert window.picture.state.level == pytest.approx(1.5, abs=0.02)
    assert float(window.controls.level_density.get()) == pytest.approx(1.5, abs=0.02)
    assert "surface at" in window.picture.surface.axes.get_title()


def test_the_contour_is_typed_as_sigma_or_density(window):
    survey = window.picture.data.survey
    window.controls.level_sigma.set("2.5")
    window.controls._sigma_entered(None)
    assert window.picture.state.level == pytest.approx(survey.from_sigma(2.5))
    window.controls.level_density.set("0.75")
    window.controls._density_entered(None)
    assert window.picture.state.level == 0.75
    window.controls.level_density.set("high")
    window.controls._density_entered(None)
    assert "'high' is not a number" in window.status.cget("text") and window.picture.state.level == 0.75


def test_projections_and_contrast(window):
    window.controls.mode.set("projections")
    window.controls._mode_changed()
    pump(window)
    np.testing.assert_allclose(window.picture.planes[0].image.get_array(), window.picture.data.voxels.mean(axis=0),
                               atol=1e-5)
    low, high = window.picture.state.grey_range
    window.controls.contrast.set(1.0)
    pump(window)
    harder = window.picture.state.grey_range
    assert harder[1] - harder[0] == pytest.approx((high - low) / 2)


def test_looking_along_an_axis(window):
    window.controls._look_along("x")
    pump(window)
    np.testing.assert_array_equal(window.picture.state.rotation[2], [1, 0, 0])
    window.controls._reset()
    pump(window)
    assert window.picture.state.half_width_a > 0 and window.picture.state.rotation[2, 2] > 0.5


def test_a_volume_is_compared_with_its_neighbour(window):
    from cryosgd_plugin.viewers.compare_window import CompareWindow
    opened, show = [], CompareWindow.show
    CompareWindow.show = lambda other, **_: (opened.append(other), show(other))
    try:
        next(widget for widget in window.controls.frame.winfo_children()
             if widget.winfo_class() == "TButton" and widget.cget("text") == "Compare with…").invoke()
    finally:
        CompareWindow.show = show
    pump(window, 0.5)
    other, = opened
    assert [one.data.label for one in other.maps] == ["iteration 30", "iteration 20"]
    assert other.maps[1].factor == pytest.approx(1.5, rel=0.01)
    other.close()


def test_the_newest_volume_is_followed(window, volumes):
    assert window.shown == 2 and "iteration 30" in window.picture.title.get_text()
    volumes.append(("iteration 40", lambda: ball(4, "iteration 40")))
    window.refresh()
    assert window.shown == 3 and "iteration 40" in window.picture.title.get_text()
    window.controls.history.set(0)
    pump(window, 0.5)
    assert window.shown == 0 and window.picture.data.label == "iteration 10"
    volumes.append(("final volume", lambda: ball(5, "final volume")))
    window.refresh()
    assert window.shown == 0, "someone who looks at an old volume is left there"
    assert list(window.controls.chooser.cget("values"))[-1] == "final volume"


def test_a_half_written_volume_is_reported(window, volumes):
    def broken():
        raise InputError("volume_it0040.mrc is truncated or still being written")
    volumes.append(("iteration 40", broken))
    window.refresh()
    assert window.shown == 2 and "iteration 40: volume_it0040.mrc is truncated" in window.status.cget("text")


def test_automatic_refresh(window, volumes):
    # a refresh that takes longer than this would leave Tk no idle moment
    window.timers.repeat("refresh", 1, window.refresh)
    volumes.append(("iteration 40", lambda: ball(4, "iteration 40")))
    pump(window, 1.6)
    assert window.shown == 3
    window.timers.repeat("refresh", 0, window.refresh)
    volumes.append(("iteration 50", lambda: ball(5, "iteration 50")))
    pump(window, 1.3)
    assert window.shown == 3


def test_figure_window_refreshes_and_keeps_the_last_picture(no_main_loop):
    from cryosgd_plugin.viewers.tk_figure import FigureWindow
    curves = [[1, 2]]

    def draw(figure):
        if not curves:
            raise InputError("history.json is damaged")
        figure.clear()
        figure.add_subplot().plot(curves[-1])
    window = FigureWindow("test", draw, size=(5, 4), refreshable=True)
    window.show()
    pump(window)
    curves.append([1, 2, 3])
    window.refresh()
    assert len(window.figure.axes[0].lines[0].get_xdata()) == 3
    curves.clear()
    window.refresh()
    assert "damaged" in window.status.cget("text") and len(window.figure.axes) == 1
    finish(window)


def test_a_figure_is_drawn_once_to_be_opened_and_again_where_the_screen_is_smaller(no_main_loop):
    from cryosgd_plugin.viewers.figure_view import FigureView
    size = 5, 4
    for times in (1, 2):
        drawn = []

        def draw(figure, drawn=drawn):
            figure.clear()
            drawn.append(tuple(figure.get_size_inches()))
            figure.add_subplot().plot([1, 2])
        view = FigureView("test", draw, size=size)
        view.show()
        pump(view.window)
        assert len(drawn) == times
        # Tk settles the last pixels, which the bar of buttons leaves
        np.testing.assert_allclose(drawn[-1], view.window.figure.get_size_inches(), atol=0.2)
        assert np.asarray(view.window.canvas.buffer_rgba()).min() < 255, "the canvas shows it"
        size = view.window.root.winfo_screenwidth() / 100 + 1, 4
        finish(view.window)


def test_table_window_shows_all_rows(no_main_loop):
    from tkinter.font import Font

    from cryosgd_plugin.tests.gui_session import keep_picture
    from cryosgd_plugin.viewers.tk_table import VALUE_PX, TableWindow
    window = TableWindow("test", [("outcome", "all well"), ("parameters", None), ("seed", "5")])
    window.show()
    pump(window)
    assert window.texts() == [("outcome", "all well"), ("parameters", ""), ("seed", "5")]
    finish(window)
    sentence = "A map from 200 particles, consistent between halves, which is a long sentence that a row can't hold."
    window = TableWindow("test", [("outcome", sentence)])
    shown = window.texts()
    assert [name for name, _ in shown] == ["outcome", ""] and " ".join(line for _, line in shown) == sentence
    finish(window)
    name = "mean of the differences of the rotations of the halves (°)"
    path = "/".join(["", *["a_folder_of_a_user"] * 12])
    window = TableWindow("test", [(name, "0.42"), ("path", path)])
    shown = window.texts()
    assert " ".join(first for first, _ in shown[:2]) == name and shown[0][1] == "0.42" and shown[1][1] == ""
    assert "".join(line for _, line in shown[2:]) == path
    font = Font(font="TkDefaultFont")
    assert all(font.measure(line) <= VALUE_PX for _, line in shown)
    keep_picture("table_window")
    finish(window)
