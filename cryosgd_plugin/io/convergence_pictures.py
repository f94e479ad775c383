"""How a run converged: one panel for each quantity of its history, for the result folder and the viewer alike."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from .axes_pictures import COLOURS
from .history_panels import (
    column,
    draw_class_shares,
    draw_line,
    draw_panels,
    iterations_and_time,
    legend,
    log_axis,
    resolution_axis,
    say,
)

# noise inflation below which an objective is that of the true noise
TRUE_NOISE = 1.05


def draw_convergence(figure, history):
    """Draw the records of history.json against the iteration on a matplotlib Figure.

    history : list of dicts; a quantity that they lack, or that is None, leaves a gap or a sentence in its panel. The
    fraction of quadrature points is paper 1's Fig. 9, the divergence of view directions its Fig. 3.
    Raises InputError where there is no record.
    """
    if not history:
        raise InputError("the run has written no history yet; it does so after its first iteration")
    several = any(len(record.get("class_shares") or ()) > 1 for record in history)
    panels = [("objective and held-out error (nats)", _objective),
              ("fraction of quadrature points", _quadrature),
              ("KL between visits, view directions", _divergence),
              ("class shares (%)", draw_class_shares),
              ("norms of gradient and step", _norms),
              ("noise inflation (1 = none)", _inflation),
              ("step size η and images", _steps)]
    if not several:
        panels = [panel for panel in panels if panel[1] is not draw_class_shares]
    changes = _symmetry_changes(history)
    for number, axes in enumerate(draw_panels(figure, panels, history, _title(history))):
        _mark_symmetry(axes, changes, named=number == 0)


def _title(history):
    last = history[-1]
    in_use = f"; resolution in use {last['resolution_a']:.3g} Å" if last.get("resolution_a") else ""
    return f"{iterations_and_time(history)}{in_use}, symmetry {last.get('symmetry', 'C1')}"


def _mark_symmetry(axes, imposed, named):
    for at, name in imposed:
        axes.axvline(at, color=COLOURS[1], lw=1, ls=":")
        if named:
            axes.text(at, 0.97, f" {name} imposed", transform=axes.get_xaxis_transform(), fontsize=8,
                      color=COLOURS[1], va="top")


def _objective(axes, iteration, history):
    objective, held_out = -column(history, "log_likelihood"), column(history, "held_out_error")
    inflated = column(history, "noise_inflation") > TRUE_NOISE
    # of inflated noise the likelihood is another quantity, which would flatten the rest of the curve
    draw_line(axes, iteration, np.where(inflated, objective, np.nan), label="of inflated noise", ls=":")
    draw_line(axes, iteration, np.where(inflated, np.nan, objective), label="−log-likelihood", smooth=True)
    draw_line(axes, iteration, held_out, colour=COLOURS[1], label="held-out particles", marker="o")
    shown = np.concatenate([objective[~inflated], held_out])
    shown = shown[np.isfinite(shown)]
    if len(shown) >= 10 and np.ptp(shown) > 0:
        margin = 0.08 * np.ptp(shown)
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
    resolution = axes.twinx()
    frequency = 1 / column(history, "resolution_a")
    draw_line(resolution, iteration, frequency, colour="#adb5bd", label="resolution in use")
    resolution_axis(resolution, "resolution in use (Å)")
    # matplotlib looks for the legend's place among the curves of one axis only: it gets room above both
    for one in (axes, resolution):
        low, high = one.get_ylim()
        one.set_ylim(low, high + 0.3 * (high - low))
    # over the curves of both axes
    axes.set_zorder(resolution.get_zorder() + 1)
    axes.patch.set_visible(False)
    legend(axes, resolution, columns=2, loc="upper center")


def _quadrature(axes, iteration, history):
    draw_line(axes, iteration, column(history, "evaluated_share"), label="evaluated")
    draw_line(axes, iteration, column(history, "significant_share"), colour=COLOURS[1], label="that matter (effective)")
    log_axis(axes)
    legend(axes)


def _divergence(axes, iteration, history):
    draw_line(axes, iteration, column(history, "kl_directions"), smooth=True)
    log_axis(axes)
    axes.set_ylabel("nats", fontsize=8, labelpad=1)
    if not axes.lines:
        say(axes, "no particle was seen twice\nwith few plausible poses yet")


def _norms(axes, iteration, history):
    draw_line(axes, iteration, column(history, "gradient_norm"), label="gradient", smooth=True)
    log_axis(axes)
    axes.set_ylabel("√gᵀP⁻¹g", fontsize=8, color=COLOURS[0], labelpad=1)
    step = axes.twinx()
    draw_line(step, iteration, column(history, "step_norm"), colour=COLOURS[1], label="step", smooth=True)
    log_axis(step)
    step.set_ylabel("step, relative to the map", fontsize=8, color=COLOURS[1], labelpad=1)
    step.tick_params(labelsize=8)
    if not (axes.lines or step.lines):
        say(axes, "not recorded")


def _inflation(axes, iteration, history):
    draw_line(axes, iteration, column(history, "noise_inflation"))
    log_axis(axes)


def _steps(axes, iteration, history):
    draw_line(axes, iteration, column(history, "step_size"))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("step size", fontsize=8, color=COLOURS[0], labelpad=1)
    counts = column(history, "n_images")
    images = axes.twinx()
    draw_line(images, iteration, counts, colour=COLOURS[1])
    images.set_ylim(0, 1.25 * np.nanmax(counts, initial=1))
    images.set_ylabel("images", fontsize=8, color=COLOURS[1], labelpad=1)
    images.tick_params(labelsize=8)


def _symmetry_changes(history):
    names = [record.get("symmetry", "C1") for record in history]
    return [(history[i]["iteration"], names[i]) for i in range(1, len(names)) if names[i] != names[i - 1]]
