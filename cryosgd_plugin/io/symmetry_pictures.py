"""The picture of a search for symmetry: how well each point group fits a map, and to which resolution."""
from __future__ import annotations

import textwrap

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID, angstrom_axis
from .pictures import _figure, _save

SYMMETRY_SIZE = (12.5, 5.6)
# groups whose curves can be told apart
MOST_CURVES = 5
LINE_LETTERS = 150
# places for bars, so that the bar of a single group is no wall
LEAST_PLACES = 6


def save_symmetry_png(path, found):
    """Save `draw_symmetry` as a PNG; raises InputError where the file can't be written or matplotlib is missing."""
    figure = _figure(*SYMMETRY_SIZE)
    draw_symmetry(figure, found)
    _save(figure, path)


def draw_symmetry(figure, found):
    """Draw what `cryosgd symmetry --json` wrote, as a dict, on a matplotlib Figure of constrained layout.

    Left the correlation under the weakest operator of each group, with the value from which on a group is there, and
    its score beside that which its subgroups alone would give; right the FSC of the map with its symmetrised self, both
    without their spherical averages, of those groups that fit best.
    """
    figure.clear()
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    _draw_groups(left, found)
    _draw_curves(right, found)
    figure.suptitle("\n".join(textwrap.wrap(found["verdict"], LINE_LETTERS)), fontsize=10)


def _draw_groups(axes, found):
    groups, needed = found["groups"], found["weakest_of_a_group_that_is_there"]
    place = np.arange(len(groups))
    colours = [COLOURS[2] if row["group"] == found["group"] else COLOURS[0] if row["weakest"] >= needed else "#ced4da"
               for row in groups]
    bars = axes.bar(place, [row["weakest"] for row in groups], width=0.7, color=colours)
    needed_line = axes.axhline(needed, color=GREY, lw=1, ls="--")
    scores, = axes.plot(place, [row["score"] for row in groups], "o", color="black", ms=5)
    expected, = axes.plot(place, [row["expected"] for row in groups], "_", color=COLOURS[1], ms=14, mew=2)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set_xticks(place, [row["group"] for row in groups], fontsize=9)
    axes.set_xlim(-0.7, max(len(groups), LEAST_PLACES) - 0.3)
    # room above the bars for the legend
    axes.set_ylim(min(-0.05, min(row["weakest"] for row in groups) - 0.05), 1.35)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("correlation, score")
    axes.grid(True, axis="y", **GRID)
    axes.set_axisbelow(True)
    words = ("correlation under the operator that fits worst", f"which is {needed:g} or more for a group that is there",
             "score", "score that its subgroups alone would give")
    axes.legend([bars, needed_line, scores, expected], words, loc="upper left", fontsize=8.5, framealpha=0.95)


def _draw_curves(axes, found):
    best = sorted(found["groups"], key=lambda row: row["weakest"], reverse=True)[:MOST_CURVES]
    extent = found["box_size"] * found["pixel_size"]
    for number, row in enumerate(best):
        values = np.array(row["curve"], float)
        axes.plot(np.arange(1, len(values)) / extent, values[1:], color=COLOURS[number], lw=1.8, marker="o", ms=3,
                  label=row["group"])
    axes.axhline(0, color=GREY, lw=0.8)
    axes.axhline(0.5, color=GREY, lw=1, ls="--")
    axes.set_xlim(0, (len(best[0]["curve"]) - 1) / extent * 1.01)
    axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1.05)
    axes.set_title("FSC with the symmetrised map", fontsize=10)
    axes.grid(True, **GRID)
    angstrom_axis(axes, "resolution (Å)")
    axes.legend(loc="lower left", fontsize=8.5, framealpha=0.95)
