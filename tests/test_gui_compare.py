"""The comparison window on a real display: which maps, linked slices, contour and greys, maps that are added."""
import os

import numpy as np
import pytest

pytest.importorskip("pwem", reason="the viewers need Scipion (scipion-em)")
pytest.importorskip("tkinter", reason="the windows need Tk")

pytestmark = [pytest.mark.gui, pytest.mark.skipif(
    not os.environ.get("DISPLAY"), reason="needs a display: start Xvfb and set DISPLAY (.ci/run does both)")]

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.comparison import DENSITY, SIGMA
from cryosgd_plugin.io.volume_data import VolumeData
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.tests.gui_session import keep_picture
from cryosgd_plugin.tests.test_comparison import molecule, noise
from cryosgd_plugin.tests.test_gui_windows import finish, mouse, no_main_loop, pixel, pump  # noqa: F401  (a fixture)


def broken():
    raise InputError("half1.mrc is truncated or still being written")


@pytest.fixture
def window(no_main_loop):  # noqa: F811
    from cryosgd_plugin.viewers.compare_window import CompareWindow
    voxels = {"sparse + TV": molecule(), "traditional (Wiener)": 0.5 * molecule() + noise(0.03),
              "half 1": 0.5 * molecule() + noise(0.1, seed=1)}
    offered = [(label, lambda label=label: VolumeData(voxels[label], 4.0, label=label)) for label in voxels]
    window = CompareWindow("test", [*offered, ("half 2", broken)], [0, 1])
    window.show()
    pump(window, 0.6)
    yield window
    keep_picture("compare_window")
    finish(window)


def test_it_fits_the_screen_with_all_controls(window):
    root = window.root
    assert root.winfo_rootx() + root.winfo_width() <= root.winfo_screenwidth()
    assert window.controls.frame.winfo_reqheight() <= root.winfo_height() + 1
    assert len(window.picture.panels) == 6 and window.maps[1].factor == pytest.approx(2, rel=0.03)


def test_a_click_moves_all_cross_hairs_and_the_wheel_the_section(window):
    panel = window.picture.panels[0]
    place = pixel(window, panel.axes, 12.0, -8.0)
    mouse(window, "<Button-1>", place)
    mouse(window, "<ButtonRelease-1>", place)
    assert [other.state.position for other in window.picture.panels] == [[16, 14, 19]] * 6
    assert "sparse + TV: " in window.status.cget("text") and "traditional (Wiener): " in window.status.cget("text")
    mouse(window, "<Button-4>", place)
    pump(window)
    assert [other.state.position[0] for other in window.picture.panels] == [17] * 6
    before = np.diff(window.picture.panels[0].axes.get_xlim())
    window.canvas.get_tk_widget().focus_force()
    window.canvas.get_tk_widget().event_generate("<KeyPress-Control_L>")
    mouse(window, "<Button-4>", place)
    pump(window)
    assert window.view.zoom > 1 and np.diff(window.picture.panels[3].axes.get_xlim()) < before


def test_sliders_planes_and_greys(window):
    controls = window.controls
    controls.sliders[1][0].set(10)
    pump(window)
    assert window.view.position_a[1] == -24.0 and window.picture.panels[3].state.position[1] == 10
    controls.planes.set("y")
    controls._planes_changed()
    pump(window)
    assert [panel.normal for panel in window.picture.panels] == [1, 1]
    controls.common.set(False)
    controls._greys_changed()
    pump(window)
    assert not window.view.one_grey_range
    assert "own greys" in window.picture.key[0].get_text()
    controls.zoom.set(4)
    pump(window)
    assert np.diff(window.picture.panels[0].axes.get_xlim()) == pytest.approx(32)


def test_the_contour_in_both_units(window):
    controls, survey = window.controls, window.maps[0].data.survey
    assert window.view.unit == DENSITY
    controls.level.set("0.25")
    controls._level_entered(None)
    assert window.view.level == 0.25
    controls.unit.set(SIGMA)
    controls._unit_changed()
    pump(window)
    assert window.view.level == pytest.approx(survey.in_sigma(0.25)), "the first map's contour stays where it was"
    controls.level.set("much")
    controls._level_entered(None)
    assert "'much' is not a number" in window.status.cget("text")
    histogram = window.picture.histogram
    mouse(window, "<Button-1>", pixel(window, histogram, 0.4, np.sqrt(np.prod(histogram.get_ylim()))))
    assert window.view.level == pytest.approx(survey.in_sigma(0.4), abs=0.1)


def test_maps_are_chosen_and_an_unreadable_one_is_reported(window):
    level = window.view.level
    window.choose([1, 2])
    pump(window)
    assert [one.data.label for one in window.maps] == ["traditional (Wiener)", "half 1"]
    assert window.maps[0].data.survey.in_sigma(window.view.level) > 0 and window.view.level != level
    window.choose([1, 3])
    assert "truncated" in window.status.cget("text")
    assert window.chosen == [1, 2] and window.controls.chooser.curselection() == (1, 2)
    window.choose([])
    assert "choose a map" in window.status.cget("text") and len(window.maps) == 2
    window.controls.chooser.selection_clear(0)
    window.controls.chooser.selection_set(0)
    window.controls.chooser.event_generate("<<ListboxSelect>>")
    pump(window)
    assert [one.data.label for one in window.maps] == ["sparse + TV", "traditional (Wiener)", "half 1"]


def test_a_file_is_added_and_densities_can_stay_as_they_are(window, tmp_path, monkeypatch):
    write_volume(tmp_path / "other.mrc", 3 * molecule(24, 5.0), 5.0)
    monkeypatch.setattr("tkinter.filedialog.askopenfilenames", lambda **_: (str(tmp_path / "other.mrc"),))
    window.controls._add_files()
    pump(window)
    assert window.maps[-1].data.label == "other.mrc" and window.maps[-1].factor == pytest.approx(1 / 3, rel=0.02)
    window.controls.matched.set(False)
    window.controls._matched_changed()
    pump(window)
    assert {one.factor for one in window.maps} == {1.0}
