"""Pictures of how an ab initio run went: what they show of a run folder, finished or not, of one structure or many."""
import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.image
from matplotlib.figure import Figure

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import directions_to_vectors, healpix_directions
from cryosgd_plugin.io.abinitio_pictures import save_abinitio_pictures
from cryosgd_plugin.io.convergence_pictures import draw_convergence
from cryosgd_plugin.io.direction_pictures import draw_importance
from cryosgd_plugin.io.map_pictures import class_sizes, draw_classes, draw_progress, sheet_size
from cryosgd_plugin.io.result_folder import ResultFolder, result_name
from cryosgd_plugin.io.runfolder import RunFolder
from cryosgd_plugin.io.volumes import write_volume

BOX, PIXEL_SIZE = 12, 5.0
LABELS = {"objective": "objective and held-out error (nats)", "quadrature": "fraction of quadrature points",
          "divergence": "KL between visits, view directions", "shares": "class shares (%)",
          "norms": "norms of gradient and step", "inflation": "noise inflation (1 = none)",
          "steps": "step size η and images"}


@pytest.fixture
def figure():
    return Figure(figsize=(13, 7), dpi=50)


def records(n=60, classes=1):
    """A history as the engine writes it: held-out errors every fifth iteration, divergences from the middle on."""
    found = []
    for i in range(n):
        shares = np.arange(classes, 0, -1) ** (i / n)
        record = dict(iteration=i + 1, progress=i / n, resolution_a=40 - 0.4 * i, n_images=100 + i, seconds=0.5,
                      step_size=0.5 * 0.98 ** i, significant_share=0.9 * 0.9 ** i, evaluated_share=0.95 ** i,
                      noise_inflation=max(1.0, 30 * 0.85 ** i), log_likelihood=-8 + 0.05 * i,
                      kl_directions=None if i < max(1, n // 2) else 2.0 * 0.97 ** i, step_norm=0.1 * 0.97 ** i,
                      gradient_norm=5 * 0.95 ** i, class_shares=(shares / shares.sum()).tolist(),
                      symmetry="C1" if i < 20 else "O")
        if i % 5 == 4:
            record["held_out_error"] = 9 - 0.05 * i
        found.append(record)
    return found


def map_of(structure, iteration):
    return np.random.default_rng([structure, iteration]).normal(size=(BOX,) * 3).astype(np.float32)


def new_run(path, classes=1, iterations=(), final=False, history=None):
    """A run folder with maps on the way, history and, where it is finished, what the end of a run leaves."""
    with RunFolder(path, needed_bytes=0) as folder:
        folder.write_job({"parameters": {"classes": classes}})
        for record in history if history is not None else records(max(iterations, default=0), classes):
            folder.append_history(record)
        for structure in range(classes):
            for iteration in iterations:
                write_volume(folder.progress_path(iteration, structure, classes), map_of(structure, iteration),
                             PIXEL_SIZE)
            if final:
                write_volume(folder.path(result_name("volume.mrc", structure, classes)), map_of(structure, 999),
                             PIXEL_SIZE)
        if iterations:
            directions = healpix_directions(8)
            folder.write_importance(directions, np.full((classes, len(directions)), 1 / classes / len(directions)))
        if final:
            folder.write_summary({"resolution_a": 12.34, "class_sizes": [100 * (k + 1) for k in range(classes)]})
    return ResultFolder(path)


def panel(figure, name):
    return next(axes for axes in figure.axes if axes.get_title() == LABELS[name])


def twin_of(axes):
    return next(other for other in axes.figure.axes
                if other is not axes and other.get_position().bounds == axes.get_position().bounds)


def curve(axes, label=None):
    return next(line for line in axes.lines if label is None or line.get_label() == label)


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


# ---- convergence
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_convergence_shows_every_quantity(figure, classes):
    history = records(60, classes)
    draw_convergence(figure, history)
    assert titles(figure) == [label for name, label in LABELS.items() if name != "shares" or classes > 1]

    def column(key):
        return [record[key] for record in history]
    objective = panel(figure, "objective")
    uninflated = [record for record in history if record["noise_inflation"] < 1.05]
    drawn = curve(objective, "objective (−log-likelihood)")
    np.testing.assert_array_equal(drawn.get_xdata(), [record["iteration"] for record in uninflated])
    dotted = curve(objective, "objective, noise inflated")
    assert dotted.get_linestyle() == ":" and len(dotted.get_xdata()) == 60 - len(uninflated)
    np.testing.assert_allclose(dotted.get_ydata(), [-record["log_likelihood"] for record in history
                                                    if record["noise_inflation"] > 1.05])
    held_out = curve(objective, "held-out particles")
    np.testing.assert_array_equal(held_out.get_xdata(), np.arange(5, 61, 5))
    np.testing.assert_allclose(held_out.get_ydata(), [r["held_out_error"] for r in history if "held_out_error" in r])
    resolution = twin_of(objective)
    np.testing.assert_allclose(1 / curve(resolution, "resolution in use").get_ydata(), column("resolution_a"))
    figure.canvas.draw()
    assert "40" in [label.get_text() for label in resolution.get_yticklabels()], "in Å, though the axis counts 1/Å"
    assert any("O imposed" in text.get_text() for text in objective.texts)

    quadrature = panel(figure, "quadrature")
    assert quadrature.get_yscale() == "log"
    np.testing.assert_allclose(curve(quadrature, "evaluated").get_ydata(), column("evaluated_share"))
    np.testing.assert_allclose(curve(quadrature, "that matter (effective)").get_ydata(), column("significant_share"))
    divergence = curve(panel(figure, "divergence"))
    np.testing.assert_array_equal(divergence.get_xdata(), np.arange(31, 61))
    np.testing.assert_allclose(divergence.get_ydata(), column("kl_directions")[30:])
    if classes > 1:
        shares = panel(figure, "shares")
        for k in range(classes):
            np.testing.assert_allclose(curve(shares, f"class {k + 1}").get_ydata(),
                                       [100 * share[k] for share in column("class_shares")])
        assert shares.get_ylim()[0] == 0 and len(shares.get_legend().get_texts()) == classes
    norms = panel(figure, "norms")
    np.testing.assert_allclose(norms.lines[0].get_ydata(), column("gradient_norm"))
    np.testing.assert_allclose(twin_of(norms).lines[0].get_ydata(), column("step_norm"))
    np.testing.assert_allclose(curve(panel(figure, "inflation")).get_ydata(), column("noise_inflation"))
    np.testing.assert_allclose(twin_of(panel(figure, "steps")).lines[0].get_ydata(), column("n_images"))
    assert "60 iterations in 30 s; resolution in use 16.4 Å, symmetry O" in figure._suptitle.get_text()


def test_a_long_history_gets_a_trend(figure):
    history = records(500)
    noise = np.random.default_rng(0).normal(size=500)
    for record, value in zip(history, noise):
        record.update(gradient_norm=float(np.exp(value)), resolution_a=20.0)
    draw_convergence(figure, history)
    single, trend = panel(figure, "norms").lines[:2]
    np.testing.assert_allclose(single.get_ydata(), np.exp(noise))
    assert np.std(np.log(trend.get_ydata())) < 0.3 and trend.get_label() == "gradient"


def test_convergence_with_gaps(figure):
    draw_convergence(figure, records(1))
    figure.canvas.draw()
    assert curve(panel(figure, "inflation")).get_marker() == "o", "a single point is seen"
    assert "no particle was seen twice" in panel(figure, "divergence").texts[0].get_text()
    # JSON has no NaN: the run folder writes null
    nothing = {key: None for key in records(1)[0]}
    draw_convergence(figure, records(3) + [{**nothing, "iteration": 4}])
    figure.canvas.draw()
    assert len(curve(panel(figure, "inflation")).get_xdata()) == 3
    draw_convergence(figure, [{"iteration": 1}, {"iteration": 2}])
    figure.canvas.draw()
    for name in ("objective", "quadrature", "norms"):
        assert "not recorded" in [text.get_text() for text in panel(figure, name).texts]
    with pytest.raises(InputError, match="no history yet"):
        draw_convergence(figure, [])


# ---- view directions
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


# ---- maps
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


# ---- the files of a run
@pytest.mark.parametrize("classes, final, names", [
    (1, True, ["convergence.png", "directions.png", "progress.png"]),
    (1, False, ["convergence.png", "directions.png", "progress.png"]),
    (2, False, ["classes.png", "convergence.png", "directions.png", "progress.png"]),
    (10, True, ["classes.png", "convergence.png", "directions.png", "progress.png"])])
def test_pictures_of_a_run(tmp_path, classes, final, names):
    folder = new_run(tmp_path / "run", classes=classes, iterations=[3, 6], final=final)
    save_abinitio_pictures(folder.folder)
    pictures = sorted((folder.folder / "pictures").iterdir())
    assert [path.name for path in pictures] == names
    for path in pictures:
        picture = matplotlib.image.imread(path)
        assert picture.shape[0] > 300 and picture[..., :3].std() > 0.01
        # titles and axis labels lie within the picture: its border is white
        for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
            assert (border[:, :3] == 1).all(), path.name


def test_the_title_of_a_tall_sheet_stands_clear(tmp_path):
    figure = Figure(figsize=sheet_size(10, 7), dpi=50)
    draw_progress(figure, new_run(tmp_path / "run", classes=10, iterations=[3, 6]))
    figure.canvas.draw()
    headings = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert all(heading.y1 < figure._suptitle.get_window_extent().y0 for heading in headings)


def test_what_is_not_there_yet_is_left_out(tmp_path):
    folder = new_run(tmp_path / "run")
    save_abinitio_pictures(folder.folder)
    assert list((folder.folder / "pictures").iterdir()) == []
    (folder.folder / "history.json").write_text(json.dumps(records(1)), encoding="utf-8")
    save_abinitio_pictures(folder.folder)
    assert [path.name for path in (folder.folder / "pictures").iterdir()] == ["convergence.png"]
