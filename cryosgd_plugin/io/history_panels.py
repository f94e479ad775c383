"""Panels of a run's history against the iteration: the sheet they stand on, and the curves of which they are made."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID, angstrom_axis


def draw_panels(figure, panels, history, title) -> list:
    """Draw one panel for each quantity in two rows of a matplotlib Figure; returns their axes, in order.

    panels : [(title, draw(axes, iteration, history))]; history : records of history.json, one at least
    """
    figure.clear()
    # an odd number of panels leaves two places to the first
    columns = (len(panels) + 1) // 2
    wide = 2 * columns - len(panels)
    grid = figure.add_gridspec(2, columns, left=0.065, right=0.945, top=0.88, bottom=0.09, hspace=0.34,
                               wspace=0.45 if columns > 3 else 0.34)
    iteration = column(history, "iteration")
    drawn = []
    for number, (name, draw) in enumerate(panels):
        row, place = divmod(number + wide if number else 0, columns)
        axes = figure.add_subplot(grid[row, place:place + (wide + 1 if number == 0 else 1)])
        axes.set_title(name, fontsize=10)
        axes.grid(True, **GRID)
        axes.tick_params(labelsize=8)
        draw(axes, iteration, history)
        # a little more than there is, so that markers at the end are seen whole
        axes.set_xlim(max(0, iteration[0] - 1), max(iteration[-1], iteration[0]) + max(1, 0.02 * len(iteration)))
        axes.locator_params(axis="x", nbins=5, integer=True)
        if row == 1:
            axes.set_xlabel("iteration", fontsize=9)
        drawn.append(axes)
    figure.suptitle(title, fontsize=11)
    return drawn


def iterations_and_time(history) -> str:
    """"60 iterations in 30 s"."""
    seconds = np.nansum(column(history, "seconds"))
    took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
    return f"{len(history)} iteration{'' if len(history) == 1 else 's'} in {took}"


def column(history, key):
    """One quantity of all records as floats; NaN where a record lacks it (JSON's null is a NaN that was)."""
    return np.array([np.nan if record.get(key) is None else record[key] for record in history], float)


def draw_line(axes, iteration, values, *, colour=COLOURS[0], label=None, smooth=False, marker=None, ls="-"):
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


def log_axis(axes):
    """A logarithmic y axis with plain numbers, where every value is positive."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.empty(0)])
    if not len(values) or values.min() <= 0:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    if values.max() < 30 * values.min():      # decades alone would leave the axis bare
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axes.yaxis.set_minor_formatter("")


def legend(axes, twin=None, columns=1, loc="best"):
    """A legend of the labelled curves of both axes; words where there is none."""
    lines = [line for drawn in (axes, twin) if drawn is not None for line in drawn.lines
             if not line.get_label().startswith("_")]
    if lines:
        axes.legend(lines, [line.get_label() for line in lines], fontsize=7.5, framealpha=0.8, ncol=columns, loc=loc)
    else:
        say(axes, "not recorded")


def say(axes, sentence):
    """A sentence in place of curves."""
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=GREY)


def draw_class_shares(axes, iteration, history):
    """A panel of the classes' shares in %."""
    count = max(len(record.get("class_shares") or ()) for record in history)
    for k in range(count):
        shares = [(record.get("class_shares") or [])[k:k + 1] for record in history]
        values = np.array([np.nan if not share or share[0] is None else 100 * share[0] for share in shares], float)
        draw_line(axes, iteration, values, colour=COLOURS[k % len(COLOURS)], label=f"class {k + 1}")
    # room for a line at the top, where all classes are as large
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    legend(axes, columns=1 + (count > 5))


def resolution_axis(axes, label):
    """Let the y axis of frequencies (1/Å) count in Å, with a little room below the curves."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(0, low - 0.05 * (high - low)), high)
    angstrom_axis(axes, "", axis="y")
    axes.set_ylabel(label, fontsize=8, color=GREY, labelpad=5)
    axes.tick_params(labelsize=8)
