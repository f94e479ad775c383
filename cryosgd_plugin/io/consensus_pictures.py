"""The picture of a comparison of maps: the FSC of every pair with their mean, and how far every pair agrees."""
from __future__ import annotations

import textwrap

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID, angstrom_axis
from .pictures import _figure, _save

AGREEMENT_SIZE = (12.5, 5.6)
# maps up to which the cells of the matrix hold their values, and up to which it names its rows
MOST_VALUES, MOST_NAMES = 12, 40
LINE_LETTERS = 150


def save_agreement_png(path, agreement, title):
    """Save `draw_agreement` as a PNG; raises InputError where the file can't be written or matplotlib is missing."""
    figure = _figure(*AGREEMENT_SIZE)
    draw_agreement(figure, agreement, title)
    _save(figure, path)


def draw_agreement(figure, agreement, title=""):
    """Draw an `agreement.Agreement` on a matplotlib Figure of constrained layout.

    Left the FSC of each pair, those within the largest group in colour, and their mean ± standard deviation (paper 1's
    Fig. 12); right the resolution at FSC 0.5 of every pair, maps ordered by group.
    """
    figure.clear()
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    _draw_curves(left, agreement)
    _draw_matrix(figure, right, agreement)
    figure.suptitle("\n".join([*filter(None, [title]), *textwrap.wrap(agreement.verdict, LINE_LETTERS)]), fontsize=10)


def _draw_curves(axes, agreement):
    frequency, mean, std = agreement.frequencies[1:], agreement.mean[1:], agreement.std[1:]
    largest, pairs = set(agreement.groups[0]), len(agreement.curves)
    axes.axhline(0.0, color=GREY, lw=0.8)
    axes.axhline(0.5, color=GREY, lw=1, ls="--")
    several = agreement.agree and len(agreement.groups) > 1
    labels = {True: "pair of the largest group" if several else "pair", False: "other pair" if several else "pair"}
    for pair, values in agreement.curves.items():
        inside = agreement.agree and largest.issuperset(pair)
        axes.plot(frequency, values[1:], color=COLOURS[0] if inside else COLOURS[1],
                  lw=1.0, alpha=0.9 if pairs <= 10 else 0.35, label=labels.pop(inside, None))
    if pairs > 1:
        axes.fill_between(frequency, mean - std, mean + std, color="black", alpha=0.12, lw=0,
                          label="± standard deviation")
        axes.plot(frequency, mean, color="black", lw=2.2, label=f"mean of {pairs} pairs")
    lowest = min([float(np.nanmin(values[1:])) for values in agreement.curves.values()] + [float((mean - std).min())])
    axes.set_xlim(0, frequency[-1] * 1.01)
    axes.set_ylim(min(-0.1, lowest - 0.05), 1.05)
    axes.set_ylabel("Fourier shell correlation")
    axes.grid(True, **GRID)
    angstrom_axis(axes, "resolution (Å)")
    axes.legend(loc="upper right", fontsize=8.5, framealpha=0.95)


def _draw_matrix(figure, axes, agreement):
    names = [name for group in agreement.groups for name in group]
    order = [agreement.names.index(name) for name in names]
    exact = agreement.resolution_a[np.ix_(order, order)]
    off = ~np.eye(len(names), dtype=bool)
    # a pair that does not agree even at the lowest resolution is shown as that of the whole box
    shown = np.where(off, np.minimum(exact, agreement.extent_a), np.nan)
    low, high = shown[off].min(), shown[off].max()
    axes.set_facecolor("#e9ecef")
    image = axes.imshow(shown, cmap="viridis_r", vmin=low, vmax=max(high, 1.01 * low))
    if len(names) <= MOST_VALUES:
        for row, column in zip(*np.nonzero(off)):
            words = f"{exact[row, column]:.3g}" if np.isfinite(exact[row, column]) else "none"
            axes.text(column, row, words, ha="center", va="center", fontsize=9 if len(names) <= 8 else 7,
                      color="white" if shown[row, column] > 0.5 * (low + high) else "black")
    edges = np.cumsum([len(group) for group in agreement.groups])[:-1] if agreement.agree else []
    for edge in edges:
        axes.axhline(edge - 0.5, color=COLOURS[1], lw=2)
        axes.axvline(edge - 0.5, color=COLOURS[1], lw=2)
    named = names if len(names) <= MOST_NAMES else []
    axes.set_xticks(range(len(named)), [_shortened(name) for name in named], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(named)), [_shortened(name) for name in named], fontsize=8)
    axes.set_title("resolution at FSC 0.5 (Å)" + (", lines between groups" if len(edges) else ""), fontsize=10)
    if len(names) > 2:
        figure.colorbar(image, ax=axes, shrink=0.85)


def _shortened(name, letters=20):
    """A name that leaves room for the picture: its end, which tells runs apart."""
    return name if len(name) <= letters else f"…{name[1 - letters:]}"
