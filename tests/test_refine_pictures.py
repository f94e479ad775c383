"""The pictures of a refinement: every quantity of its history, its particles, and which files there are."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.refine_particles import particle_values
from cryosgd_plugin.io.refine_pictures import draw_particles, draw_refine_convergence, save_refine_pictures
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.tests.picture_checks import check_picture
from cryosgd_plugin.tests.refine_samples import N, finish, new_refinement, records
from cryosgd_plugin.tests.run_samples import new_figure, titles


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title().startswith(title))


def curve(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize("classes", [1, 2])
def test_convergence_shows_every_quantity(classes):
    figure, history = new_figure(), records(5, classes)
    draw_refine_convergence(figure, history)
    figure.canvas.draw()
    resolution = panel(figure, "resolution")
    in_use = curve(resolution, "in use for poses")
    np.testing.assert_allclose(1 / in_use.get_ydata(), [record["resolution_in_use_a"] for record in history])
    for k in range(classes):
        label = "halves agree" if classes == 1 else f"halves of class {k + 1} agree"
        np.testing.assert_allclose(1 / curve(resolution, label).get_ydata(),
                                   [record["resolved_a"][k] for record in history])
    change = curve(panel(figure, "poses: width"), "angular change")
    np.testing.assert_array_equal(change.get_xdata(), [2, 3, 4, 5])
    np.testing.assert_allclose(change.get_ydata(), [record["change_deg"] for record in history[1:]])
    left = panel(figure, "poses that the bound leaves")
    assert left.get_yscale() == "log"
    # one level in the first iteration, two since
    np.testing.assert_allclose(curve(left, "after level 1").get_ydata(), [10.0] * 5)
    np.testing.assert_array_equal(curve(left, "after level 2").get_xdata(), [2, 3, 4, 5])
    np.testing.assert_allclose(curve(left, "after level 2").get_ydata()[0], 0.5)
    for title, key, factor in (("log-likelihood", "log_gain", 1), ("entropy", "entropy", 1),
                               ("particles in doubt", "broad", 100), ("time", "seconds", 1)):
        np.testing.assert_allclose(panel(figure, title).lines[0].get_ydata(),
                                   [factor * record[key] for record in history], err_msg=title)
    assert ("class shares (%)" in titles(figure)) == (classes > 1)
    assert "5 iterations in 50 s; the halves agree to 12.0 Å" in figure._suptitle.get_text()


def test_convergence_of_sparse_tv_shows_its_penalties():
    figure, history = new_figure(), records(3)
    for record, zeros in zip(history[1:], (0.5, None)):
        maps = [None if zeros is None else dict(zeros=zeros + 0.1 * half) for half in range(2)]
        record["sparse_tv"] = dict(penalties=[[[0.1, 0.4]], [[0.2, 0.8]]], maps=maps)
    draw_refine_convergence(figure, history)
    figure.canvas.draw()
    penalties = panel(figure, "penalties")
    for line, style, value in zip(penalties.lines, ("-", "-", "--", "--"), (0.1, 0.4, 0.2, 0.8)):
        assert line.get_linestyle() == style
        np.testing.assert_array_equal(line.get_xdata(), [2, 3])
        np.testing.assert_allclose(line.get_ydata(), value)
    assert curve(penalties, "α").get_ydata()[0] == 0.1 and curve(penalties, "β").get_ydata()[0] == 0.4
    twin = next(axes for axes in figure.axes if axes.get_ylabel() == "empty voxels (%)")
    np.testing.assert_allclose(curve(twin, "empty voxels").get_ydata(), [55.0])
    np.testing.assert_array_equal(curve(twin, "empty voxels").get_xdata(), [2])


def test_convergence_with_gaps():
    figure, history = new_figure(), records(1)
    # the curve crosses where both halves began alike: that is not shown as a resolution
    history[0].update(pruned=[], resolution_a=26.0, resolutions_a=[26.0], resolved_a=[None])
    draw_refine_convergence(figure, history)
    figure.canvas.draw()
    assert "no bound was used" in panel(figure, "poses that the bound").texts[0].get_text()
    assert "the halves do not agree beyond what both began with" in figure._suptitle.get_text()
    assert [line.get_label() for line in panel(figure, "resolution").lines] == ["in use for poses"]
    draw_refine_convergence(figure, [{"iteration": 1}, {"iteration": 2}])
    figure.canvas.draw()
    assert "not recorded" in [text.get_text() for text in panel(figure, "time").texts]
    with pytest.raises(InputError, match="no history yet"):
        draw_refine_convergence(figure, [])


def test_no_share_is_shown_beyond_all_of_the_particles():
    figure, history = new_figure(), records(3)
    for record in history:
        record["broad"] = 1.0
    draw_refine_convergence(figure, history)
    figure.canvas.draw()
    doubts = panel(figure, "particles in doubt")
    assert doubts.get_ylim()[1] > 110 and max(doubts.get_yticks()) == 100, "the legend keeps its room"


def test_histograms_count_every_particle_once():
    rng = np.random.default_rng(0)
    values = {"rot": np.zeros(500), "entropy": np.append(rng.random(499), 1e6), "scale": np.ones(500)}
    figure = new_figure()
    draw_particles(figure, values)
    for axes in figure.axes:
        assert sum(bar.get_height() for bar in axes.patches) == 500, axes.get_title()
    assert figure.axes[0].get_xlim()[1] < 2, "one far off does not squeeze the others"
    with pytest.raises(InputError, match="none belongs here"):
        draw_particles(figure, {name: column[:0] for name, column in values.items()})


def test_what_is_not_known_of_any_particle_has_no_histogram(tmp_path):
    with new_refinement(tmp_path / "run", iterations=1):
        values = particle_values(ResultFolder(tmp_path / "run"))
    figure = new_figure()
    draw_particles(figure, values)
    drawn = " ".join(titles(figure))
    assert "entropy" in drawn and "change" not in drawn
    values["change_deg"][0] = 3.0
    draw_particles(figure, values)
    assert "angular change (°), median 3" in titles(figure) and "shift" not in " ".join(titles(figure))


@pytest.mark.parametrize("classes, final", [(1, True), (1, False), (2, True), (2, False)])
def test_pictures_of_a_run(tmp_path, classes, final):
    with new_refinement(tmp_path / "run", 3, classes) as folder:
        if final:
            finish(folder, classes)
    save_refine_pictures(tmp_path / "run")
    pictures = sorted((tmp_path / "run" / "pictures").iterdir())
    assert [path.name for path in pictures] == [*(["classes.png"] if classes > 1 else []), "convergence.png",
                                                "particles.png", "progress.png", "views.png"]
    for path in pictures:
        check_picture(path)


def test_what_is_not_there_yet_is_left_out(tmp_path):
    with new_refinement(tmp_path / "run", 0) as folder:
        folder.path("checkpoint.npz").unlink()
    save_refine_pictures(tmp_path / "run")
    assert list((tmp_path / "run" / "pictures").iterdir()) == []


def test_particles_of_the_end_are_those_of_the_star_file(tmp_path):
    with new_refinement(tmp_path / "run", 1, 2) as folder:
        finish(folder, 2)
    values = particle_values(ResultFolder(tmp_path / "run"))
    assert len(values["rot"]) == N and set(values) == {"rot", "tilt", "class", "log_gain", "entropy", "width_deg",
                                                       "scale", "change_deg", "change_a"}
    second = particle_values(ResultFolder(tmp_path / "run"), [1])
    assert len(second["rot"]) == N // 3
    np.testing.assert_array_equal(second["rot"], values["rot"][values["class"] == 2])
