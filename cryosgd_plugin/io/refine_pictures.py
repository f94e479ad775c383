"""The pictures of how a refinement went: convergence, view directions, particles, the map through the iterations."""
from __future__ import annotations

from functools import partial

import numpy as np

from ..core.errors import InputError
from ..core.evidence import agreement
from .abinitio_pictures import (
    CLASSES_PNG,
    CONVERGENCE_PNG,
    CONVERGENCE_SIZE,
    PROGRESS_PNG,
    VIEWS_PNG,
    VIEWS_SIZE,
    save_figures,
)
from .axes_pictures import COLOURS, GREY, GRID
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
from .map_pictures import COLUMNS, draw_classes, draw_progress, sheet_size
from .refine_particles import particle_values
from .result_folder import CHECKPOINT, PARTICLES, ResultFolder
from .view_pictures import draw_view_directions

PARTICLES_PNG, PARTICLES_SIZE = "particles.png", (11.0, 6.4)
# of SCORES, what their histograms are called
HISTOGRAMS = {"entropy": "entropy of the poses (nats)", "width_deg": "width of the best pose (°)",
              "scale": "scale of the signal", "log_gain": "log-likelihood gain (nats)",
              "change_deg": "angular change (°)", "change_a": "change of the shift (Å)"}
BINS = 60


def save_refine_pictures(folder):
    """Draw convergence.png, progress.png, views.png, particles.png and, of several classes, classes.png into pictures/.

    folder : path of a run folder, whose run may still go on: what it doesn't hold yet is left out.
    Raises InputError where a file of it is damaged or can't be written, or matplotlib is missing.
    """
    folder = ResultFolder(folder)
    save_figures(folder, refine_figures(folder))


def refine_figures(folder) -> dict:
    """File name → (draw(figure), (width, height) in inches) of the pictures for which a ResultFolder has the data."""
    classes, history, figures = folder.classes(), folder.history(), {}
    if history:
        figures[CONVERGENCE_PNG] = partial(draw_refine_convergence, history=history), CONVERGENCE_SIZE
    if all(folder.newest_volume(k) is not None for k in range(classes)):
        figures[PROGRESS_PNG] = partial(draw_progress, folder=folder), sheet_size(classes, COLUMNS + 1)
        if classes > 1:
            figures[CLASSES_PNG] = partial(draw_classes, folder=folder), sheet_size(3, classes)
    if folder.path(PARTICLES) is not None or folder.path(CHECKPOINT) is not None:
        values = particle_values(folder)
        figures[VIEWS_PNG] = partial(draw_view_directions, rot_deg=values["rot"], tilt_deg=values["tilt"],
                                     symmetry=symmetry_of(folder)), VIEWS_SIZE
        figures[PARTICLES_PNG] = partial(draw_particles, values=values), PARTICLES_SIZE
    return figures


def symmetry_of(folder) -> str:
    """The point group that a run imposes throughout."""
    return (folder.job() or {}).get("parameters", {}).get("symmetry", "C1")


def draw_refine_convergence(figure, history):
    """Draw the records of a refinement's history.json against the iteration on a matplotlib Figure.

    history : list of dicts; a quantity that they lack, or that is None, leaves a gap or a sentence in its panel.
    Raises InputError where there is no record.
    """
    if not history:
        raise InputError("the run has written no history yet; it does so after its first iteration")
    panels = [("resolution", _resolution), ("poses: width and change, medians", _changes),
              ("poses that the bound leaves (%)", _survivors), ("log-likelihood gain, mean (nats)", _gain),
              ("entropy of the poses, mean (nats)", _entropy), ("particles in doubt (%)", _doubts),
              ("time of an iteration (s)", _seconds)]
    if any(len(record.get("class_shares") or ()) > 1 for record in history):
        panels.insert(3, ("class shares (%)", draw_class_shares))
    if any(record.get("sparse_tv") for record in history):
        panels.append(("penalties, dashed of half 2", _penalties))
    found = history[-1].get("resolved_a")
    agree = f"; the halves {agreement(*found)}" if found else ""
    draw_panels(figure, panels, history, iterations_and_time(history) + agree)


def draw_particles(figure, values):
    """Histograms of what the run found of its particles. values : as of `particle_values`; InputError for no particle.
    """
    if not len(values["rot"]):
        raise InputError("there are no particles to show: none belongs here")
    figure.clear()
    # changes are known from the second iteration on
    known = {name: column[np.isfinite(column)] for name, column in values.items()}
    shown = [(name, words) for name, words in HISTOGRAMS.items() if len(known.get(name, ()))]
    grid = figure.add_gridspec(2, 3, left=0.06, right=0.98, top=0.87, bottom=0.08, hspace=0.38, wspace=0.24)
    for number, (name, words) in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(number, 3)])
        column_of = known[name]
        low, high = np.percentile(column_of, (0.5, 99.5))
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        # a few far off would squeeze the others into one bar: they count in the outermost
        axes.hist(np.clip(column_of, low, high), bins=BINS, range=(low, high), color=COLOURS[0])
        middle = float(np.median(column_of))
        axes.axvline(middle, color=COLOURS[1], lw=1.4)
        axes.set_title(f"{words}, median {middle:.3g}", fontsize=9.5)
        axes.grid(True, **GRID)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
        if number % 3 == 0:
            axes.set_ylabel("particles", fontsize=9, color=GREY)
    figure.suptitle(f"what was found of {len(values['rot']):,} particles", fontsize=11)


# ---- the panels of convergence
def _resolution(axes, iteration, history):
    draw_line(axes, iteration, 1 / column(history, "resolution_in_use_a"), colour="#868e96", ls="--",
              label="in use for poses")
    # what both halves began with is no agreement, and leaves a gap
    count = max(len(record.get("resolved_a") or ()) for record in history)
    for k in range(count):
        each = [{"resolved_a": (record.get("resolved_a") or [None] * count)[k]} for record in history]
        draw_line(axes, iteration, 1 / column(each, "resolved_a"), colour=COLOURS[k % len(COLOURS)], marker="o",
                  label="halves agree" if count == 1 else f"halves of class {k + 1} agree")
    resolution_axis(axes, "Å")
    legend(axes)


def _changes(axes, iteration, history):
    draw_line(axes, iteration, column(history, "change_deg"), label="angular change", marker="o")
    draw_line(axes, iteration, column(history, "width_deg"), colour="#868e96", ls="--", label="width of the best pose")
    _from_zero(axes)
    axes.set_ylabel("degrees", fontsize=8, color=GREY, labelpad=1)
    shift = axes.twinx()
    draw_line(shift, iteration, column(history, "change_a"), colour=COLOURS[1], label="shift", marker="o")
    _from_zero(shift)
    shift.set_ylabel("shift (Å)", fontsize=8, color=COLOURS[1], labelpad=4)
    shift.tick_params(labelsize=8)
    legend(axes, shift)


def _survivors(axes, iteration, history):
    levels = max(len(record.get("pruned") or ()) for record in history)
    for level in range(levels):
        left = [{"left": 100 * (1 - record["pruned"][level])} if len(record.get("pruned") or ()) > level else {}
                for record in history]
        draw_line(axes, iteration, column(left, "left"), colour=COLOURS[level % len(COLOURS)], marker="o",
                  label=f"after level {level + 1}")
    if not levels:
        say(axes, "no bound was used: the grid is of\none level, or the search another")
        return
    log_axis(axes)
    legend(axes)


def _gain(axes, iteration, history):
    draw_line(axes, iteration, column(history, "log_gain"), marker="o")


def _entropy(axes, iteration, history):
    draw_line(axes, iteration, column(history, "entropy"), marker="o")


def _doubts(axes, iteration, history):
    draw_line(axes, iteration, 100 * column(history, "broad"), label="no definite pose", marker="o")
    draw_line(axes, iteration, 100 * column(history, "capped"), colour=COLOURS[1], label="more poses than followed",
              marker="o")
    _from_zero(axes)
    # the legend has its room above 100 %, which no share can reach
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 100])
    legend(axes)


def _penalties(axes, iteration, history):
    """α and β of each half and, of what they left, the share of empty voxels; means over the classes."""
    said = [record.get("sparse_tv") or {} for record in history]
    for half, style in enumerate(("-", "--")):
        for place, name in enumerate("αβ"):
            values = [np.mean(one["penalties"][half], axis=0)[place] if one else np.nan for one in said]
            draw_line(axes, iteration, np.array(values), colour=COLOURS[place], ls=style, marker="o",
                      label=None if half else name)
    _from_zero(axes)
    empty = axes.twinx()
    # None where Wiener's map had to stand in
    kept = [[one["zeros"] for one in record.get("maps", ()) if one] for record in said]
    draw_line(empty, iteration, np.array([100 * np.mean(share) if share else np.nan for share in kept]), colour=GREY,
              ls=":", label="empty voxels", marker="o")
    empty.set_ylim(0, 140)
    empty.set_yticks([0, 50, 100])
    empty.set_ylabel("empty voxels (%)", fontsize=8, color=GREY, labelpad=4)
    empty.tick_params(labelsize=8)
    legend(axes, empty)


def _seconds(axes, iteration, history):
    draw_line(axes, iteration, column(history, "seconds"), label="in all", marker="o")
    draw_line(axes, iteration, column(history, "seconds_posing"), colour=COLOURS[1], label="poses", marker="o")
    _from_zero(axes)
    legend(axes)


def _from_zero(axes):
    """A y axis from 0 with room for a legend above the curves."""
    axes.margins(y=0.4)
    axes.set_ylim(bottom=0)
