"""How a run converged: one panel for each quantity of its history, for the result folder and the viewer alike."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from .axes_pictures import COLOURS, GREY, GRID, angstrom_axis

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
              ("class shares (%)", _class_shares),
              ("norms of gradient and step", _norms),
              ("noise inflation (1 = none)", _inflation),
              ("step size η and images", _steps)]
    if not several:
        panels = [panel for panel in panels if panel[1] is not _class_shares]
    figure.clear()
    # an odd number of panels leaves two places to the first
    columns = (len(panels) + 1) // 2
    wide = 2 * columns - len(panels)
    grid = figure.add_gridspec(2, columns, left=0.065, right=0.945, top=0.88, bottom=0.09, hspace=0.34,
                               wspace=0.45 if columns > 3 else 0.34)
    iteration = _column(history, "iteration")
    for number, (title, draw) in enumerate(panels):
        place = number + wide if number else 0
        row, column = divmod(place, columns)
        axes = figure.add_subplot(grid[row, column:column + (wide + 1 if number == 0 else 1)])
        axes.set_title(title, fontsize=10)
        axes.grid(True, **GRID)
        axes.tick_params(labelsize=8)
        draw(axes, iteration, history)
        _frame(axes, iteration, _symmetry_changes(history), first=number == 0)
        if row == 1:
            axes.set_xlabel("iteration", fontsize=9)
    figure.suptitle(_title(history), fontsize=11)


def _title(history):
    seconds, last = np.nansum(_column(history, "seconds")), history[-1]
    took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
    in_use = f"; resolution in use {last['resolution_a']:.3g} Å" if last.get("resolution_a") else ""
    return f"{len(history)} iterations in {took}{in_use}, symmetry {last.get('symmetry', 'C1')}"


def _frame(axes, iteration, imposed, first):
    # a little more than there is, so that markers at the end are seen whole
    axes.set_xlim(max(0, iteration[0] - 1), max(iteration[-1], iteration[0]) + max(1, 0.02 * len(iteration)))
    axes.locator_params(axis="x", nbins=5, integer=True)
    for at, name in imposed:
        axes.axvline(at, color=COLOURS[1], lw=1, ls=":")
        if first:
            axes.text(at, 0.97, f" {name} imposed", transform=axes.get_xaxis_transform(), fontsize=8,
                      color=COLOURS[1], va="top")


def _objective(axes, iteration, history):
    objective, held_out = -_column(history, "log_likelihood"), _column(history, "held_out_error")
    inflated = _column(history, "noise_inflation") > TRUE_NOISE
    # of inflated noise the likelihood is another quantity, which would flatten the rest of the curve
    _line(axes, iteration, np.where(inflated, objective, np.nan), label="objective, noise inflated", ls=":")
    _line(axes, iteration, np.where(inflated, np.nan, objective), label="objective (−log-likelihood)", smooth=True)
    _line(axes, iteration, held_out, colour=COLOURS[1], label="held-out particles", marker="o")
    shown = np.concatenate([objective[~inflated], held_out])
    shown = shown[np.isfinite(shown)]
    if len(shown) >= 10 and np.ptp(shown) > 0:
        margin = 0.08 * np.ptp(shown)
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
    resolution = axes.twinx()
    frequency = 1 / _column(history, "resolution_a")
    _line(resolution, iteration, frequency, colour="#adb5bd", label="resolution in use")
    low, high = resolution.get_ylim()
    resolution.set_ylim(max(0, low - 0.05 * (high - low)), high)
    angstrom_axis(resolution, "", axis="y")
    resolution.set_ylabel("resolution in use (Å)", fontsize=8, color=GREY, labelpad=5)
    resolution.tick_params(labelsize=8)
    # over the curves of both axes
    axes.set_zorder(resolution.get_zorder() + 1)
    axes.patch.set_visible(False)
    _legend(axes, resolution)


def _quadrature(axes, iteration, history):
    _line(axes, iteration, _column(history, "evaluated_share"), label="evaluated")
    _line(axes, iteration, _column(history, "significant_share"), colour=COLOURS[1], label="that matter (effective)")
    _log(axes)
    _legend(axes)


def _divergence(axes, iteration, history):
    _line(axes, iteration, _column(history, "kl_directions"), smooth=True)
    _log(axes)
    axes.set_ylabel("nats", fontsize=8, labelpad=1)
    if not axes.lines:
        _say(axes, "no particle was seen twice\nwith few plausible poses yet")


def _class_shares(axes, iteration, history):
    count = max(len(record.get("class_shares") or ()) for record in history)
    for k in range(count):
        shares = [(record.get("class_shares") or [])[k:k + 1] for record in history]
        values = np.array([np.nan if not share or share[0] is None else 100 * share[0] for share in shares], float)
        _line(axes, iteration, values, colour=COLOURS[k % len(COLOURS)], label=f"class {k + 1}")
    axes.set_ylim(bottom=0)
    _legend(axes, columns=1 + (count > 5))


def _norms(axes, iteration, history):
    _line(axes, iteration, _column(history, "gradient_norm"), label="gradient", smooth=True)
    _log(axes)
    axes.set_ylabel("√gᵀP⁻¹g", fontsize=8, color=COLOURS[0], labelpad=1)
    step = axes.twinx()
    _line(step, iteration, _column(history, "step_norm"), colour=COLOURS[1], label="step", smooth=True)
    _log(step)
    step.set_ylabel("step, relative to the map", fontsize=8, color=COLOURS[1], labelpad=1)
    step.tick_params(labelsize=8)
    if not (axes.lines or step.lines):
        _say(axes, "not recorded")


def _inflation(axes, iteration, history):
    _line(axes, iteration, _column(history, "noise_inflation"))
    _log(axes)


def _steps(axes, iteration, history):
    _line(axes, iteration, _column(history, "step_size"))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("step size", fontsize=8, color=COLOURS[0], labelpad=1)
    counts = _column(history, "n_images")
    images = axes.twinx()
    _line(images, iteration, counts, colour=COLOURS[1])
    images.set_ylim(0, 1.25 * np.nanmax(counts, initial=1))
    images.set_ylabel("images", fontsize=8, color=COLOURS[1], labelpad=1)
    images.tick_params(labelsize=8)


def _line(axes, iteration, values, *, colour=COLOURS[0], label=None, smooth=False, marker=None, ls="-"):
    """A curve through the finite values; nothing where there are none."""
    known = np.isfinite(values)
    at, values = iteration[known], values[known]
    if not len(values):
        return
    style = dict(color=colour, label=label, ls=ls, ms=4, marker=marker or ("o" if len(values) < 3 else None))
    # single minibatches scatter: a running median shows the trend
    width = len(values) // 25 if smooth else 0
    if width < 2:
        axes.plot(at, values, lw=1.8, **style)
        return
    axes.plot(at, values, color=colour, lw=0.8, alpha=0.45)
    trend = [np.median(values[max(0, i - width):i + width + 1]) for i in range(len(values))]
    axes.plot(at, trend, lw=1.8, **style)


def _log(axes):
    """A logarithmic y axis with plain numbers, where every value is positive."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.empty(0)])
    if not len(values) or values.min() <= 0:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    if values.max() < 30 * values.min():      # decades alone would leave the axis bare
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axes.yaxis.set_minor_formatter("")


def _legend(axes, twin=None, columns=1):
    lines = [line for drawn in (axes, twin) if drawn is not None for line in drawn.lines
             if not line.get_label().startswith("_")]
    if lines:
        axes.legend(lines, [line.get_label() for line in lines], fontsize=7.5, framealpha=0.8, ncol=columns)
    else:
        _say(axes, "not recorded")


def _say(axes, sentence):
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=GREY)


def _column(history, key):
    """One quantity of all records as floats; NaN where a record lacks it (JSON's null is a NaN that was)."""
    return np.array([np.nan if record.get(key) is None else record[key] for record in history], float)


def _symmetry_changes(history):
    names = [record.get("symmetry", "C1") for record in history]
    return [(history[i]["iteration"], names[i]) for i in range(1, len(names)) if names[i] != names[i - 1]]
