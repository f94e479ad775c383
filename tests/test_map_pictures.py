"""Pictures of a run's maps: on the way, and class beside class."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.map_pictures import class_sizes, draw_classes, draw_progress, sheet_size
from cryosgd_plugin.tests.run_samples import BOX, map_of, new_figure, new_run, titles


@pytest.fixture
def figure():
    return new_figure()


def test_progress_has_a_row_for_each_class(figure, tmp_path):
    folder = new_run(tmp_path / "run", classes=3, iterations=range(1, 21), final=True)
    draw_progress(figure, folder, columns=5)
    assert len(figure.axes) == 3 * 6
    assert titles(figure) == ["iteration 1\n40 Å", "iteration 6\n38 Å", "iteration 11\n36 Å", "iteration 15\n34.4 Å",
                              "iteration 20\n32.4 Å", "final map\n12.3 Å"]
    image = figure.axes[3 * 1 + 2].images[0]     # second column, third row
    np.testing.assert_array_equal(image.get_array(), map_of(2, 6)[BOX // 2])
    assert image.get_extent() == [-32.5, 27.5, -32.5, 27.5], "voxel 6 of 12 is the origin, 5 Å/px"
    assert [figure.axes[row].get_ylabel() for row in range(3)] == [f"class {k}\ny (Å)" for k in (1, 2, 3)]


def test_progress_of_one_map_in_one_iteration(figure, tmp_path):
    folder = new_run(tmp_path / "run", iterations=[1])
    draw_progress(figure, folder)
    assert titles(figure) == ["iteration 1\n40 Å"] and figure.axes[0].get_ylabel() == "y (Å)"
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), map_of(0, 1)[BOX // 2])


def test_progress_waits_for_all_classes_of_an_iteration(figure, tmp_path):
    folder = new_run(tmp_path / "run", classes=2, iterations=[5, 10], history=[])
    (folder.folder / "progress" / "class002_it0010.mrc").unlink()
    draw_progress(figure, folder)
    assert titles(figure) == ["iteration 5"], "and the history may lag behind the maps"
    (folder.folder / "progress" / "class002_it0005.mrc").unlink()
    with pytest.raises(InputError, match="no map yet"):
        draw_progress(figure, folder)


def test_classes_side_by_side(figure, tmp_path):
    folder = new_run(tmp_path / "run", classes=2, iterations=[5], final=True)
    draw_classes(figure, folder)
    assert titles(figure) == ["class 1\n100 particles, 33.3 %", "class 2\n200 particles, 66.7 %"]
    volume, middle = map_of(1, 999), BOX // 2
    for axes, section, names in zip(figure.axes[3:], (volume[middle], volume[:, middle], volume[:, :, middle]),
                                    ("xy", "xz", "yz")):
        np.testing.assert_array_equal(axes.images[0].get_array(), section)
        assert axes.get_xlabel() == f"{names[0]} (Å)"
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == ["y (Å)", "z (Å)", "z (Å)"]


def test_classes_while_the_run_goes_on(figure, tmp_path):
    folder = new_run(tmp_path / "run", classes=2, iterations=[5])
    (folder.folder / "progress" / "class002_it0005.mrc").unlink()
    draw_classes(figure, folder)
    shares = folder.history()[-1]["class_shares"]
    assert titles(figure) == [f"class 1\n{100 * shares[0]:.1f} % so far", "class 2\nnot yet"]
    assert "newest maps on the way" in figure._suptitle.get_text()


def test_class_sizes_before_anything_is_known(tmp_path):
    assert class_sizes(new_run(tmp_path / "three", classes=3)) == [("class 1", ""), ("class 2", ""), ("class 3", "")]
    assert class_sizes(new_run(tmp_path / "one", final=True)) == [("map", "100 particles, 100.0 %")]


def test_a_map_cut_short_is_named(figure, tmp_path):
    folder = new_run(tmp_path / "run", iterations=[5])
    path = folder.progress_volumes()[0][1]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="volume_it0005.mrc"):
        draw_progress(figure, folder)


def test_the_title_of_a_tall_sheet_stands_clear(tmp_path):
    figure = Figure(figsize=sheet_size(10, 7), dpi=50)
    draw_progress(figure, new_run(tmp_path / "run", classes=10, iterations=[3, 6]))
    figure.canvas.draw()
    headings = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert all(heading.y1 < figure._suptitle.get_window_extent().y0 for heading in headings)
