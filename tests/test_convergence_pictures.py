"""The picture of how a run converged: every quantity, also where records are missing."""
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.convergence_pictures import draw_convergence
from cryosgd_plugin.tests.run_samples import new_figure, records, titles

LABELS = {"objective": "objective and held-out error (nats)", "quadrature": "fraction of quadrature points",
          "divergence": "KL between visits, view directions", "shares": "class shares (%)",
          "norms": "norms of gradient and step", "inflation": "noise inflation (1 = none)",
          "steps": "step size η and images"}


@pytest.fixture
def figure():
    return new_figure()


def panel(figure, name):
    return next(axes for axes in figure.axes if axes.get_title() == LABELS[name])


def twin_of(axes):
    return next(other for other in axes.figure.axes
                if other is not axes and other.get_position().bounds == axes.get_position().bounds)


def curve(axes, label=None):
    return next(line for line in axes.lines if label is None or line.get_label() == label)


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_convergence_shows_every_quantity(figure, classes):
    history = records(60, classes)
    draw_convergence(figure, history)
    assert titles(figure) == [label for name, label in LABELS.items() if name != "shares" or classes > 1]

    def column(key):
        return [record[key] for record in history]
    objective = panel(figure, "objective")
    uninflated = [record for record in history if record["noise_inflation"] < 1.05]
    drawn = curve(objective, "−log-likelihood")
    np.testing.assert_array_equal(drawn.get_xdata(), [record["iteration"] for record in uninflated])
    dotted = curve(objective, "of inflated noise")
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
