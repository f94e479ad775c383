"""Pictures of a sparse + total-variation map: beside the traditional one, and how its penalties were chosen."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GRID
from .comparison_pictures import save_side_by_side_png
from .pictures import _figure, _save
from .volume_data import VolumeData

CHOICE_SIZE, SCAN_SIZE = (8.0, 3.6), (12.0, 4.4)
# of the lines of one γ
STYLES = ("-", "--", ":", "-.")


def save_comparison_png(path, traditional, regularised, pixel_size: float, level: float = None):
    """Save both maps (d, d, d) on the same slices as a PNG, in the units that they share.

    level : of the contour, None for a proposed one
    """
    save_side_by_side_png(path, [VolumeData(traditional, pixel_size, "traditional (Wiener)"),
                                 VolumeData(regularised, pixel_size, "sparse + TV")], matched=False,
                          **({} if level is None else {"level": level}))


def draw_choice(figure, choices):
    """Draw the FSC with the truth that each half foretells, less that of Wiener's map, over β, a line for each α."""
    figure.clear()
    for number, (choice, axes) in enumerate(zip(choices, np.atleast_1d(figure.subplots(1, len(choices)))), 1):
        for alpha in sorted({one.alpha for one in choice.tried}):
            line = sorted((one.beta, one.gain) for one in choice.tried if one.alpha == alpha)
            axes.plot(*zip(*line), "o-", label=f"α {alpha:g}", markersize=3, linewidth=1)
        axes.set(xlabel="β", ylabel="mean FSC with the truth, foretold,\nless that of Wiener's map")
        axes.axhline(0, color="0.6", linewidth=0.8, linestyle="--")
        axes.set_title(f"half {number}: α {choice.config.alpha:g}, β {choice.config.beta:g}", fontsize=9)
        axes.legend(fontsize=7)
        axes.grid(True, **GRID)
        axes.tick_params(labelsize=8)


def save_choice_png(path, choices):
    """Save `draw_choice` as a PNG."""
    figure = _figure(*CHOICE_SIZE)
    draw_choice(figure, choices)
    _save(figure, path)


def draw_scan(figure, choices, agreement, extent_a: float, measured_a: float):
    """Draw Å over β, a line for each α and γ: to which regularised halves agree, as in paper 3's Fig. 1-3, and to which
    each half foretells its map to be true.

    choices : [Choice] of the halves; agreement : {(α, β, γ): Fourier radius in px}; extent_a : side of the box, Å;
    measured_a : to which the half-maps agree as they were given, Å, infinite where they don't
    """
    figure.clear()
    panels = figure.subplots(1, 1 + len(choices))
    foretold = [{(one.alpha, one.beta, one.gamma): one.shell for one in choice.tried} for choice in choices]
    alphas, gammas = (sorted({penalties[place] for penalties in agreement}) for place in (0, 2))
    for axes, values in zip(panels, (agreement, *foretold)):
        for alpha, colour in zip(alphas, COLOURS):
            for gamma, style in zip(gammas, STYLES):
                line = sorted((b, shell) for (a, b, g), shell in values.items() if (a, g) == (alpha, gamma))
                beta, shell = np.array(line, float).reshape(-1, 2).T
                # an empty map has no resolution
                axes.plot(beta, np.divide(extent_a, shell, out=np.full(len(shell), np.nan), where=shell > 0), style,
                          color=colour, marker="o", markersize=3, linewidth=1.2, label=f"α {alpha:g}, γ {gamma:g}")
        axes.set_xlabel("β")
        axes.grid(True, **GRID)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("Å")
    panels[0].set_title("regularised halves: FSC 0.143\n(as paper 3 plots it; no measure of resolution)", fontsize=9)
    if np.isfinite(measured_a):
        panels[0].axhline(measured_a, color="0.4", linewidth=0.9, linestyle="--", label="half-maps as given")
    for number, (axes, choice, values) in enumerate(zip(panels[1:], choices, foretold), 1):
        chosen = choice.config
        axes.set_title(f"FSC 0.5 with the truth, foretold by half {number}\nchosen by its mean gain: α "
                       f"{chosen.alpha:g}, β {chosen.beta:g}, γ {chosen.gamma:g}", fontsize=9)
        for shell, style, words in ((values[0, 0, 0], "--", "Wiener's map"), (choice.told, ":", "foretold no farther")):
            if shell > 0:
                axes.axhline(extent_a / shell, color="0.4", linewidth=0.9, linestyle=style, label=words)
        axes.legend(fontsize=7)
    panels[0].legend(fontsize=7)


def save_scan_png(path, choices, agreement, extent_a: float, measured_a: float):
    """Save `draw_scan` as a PNG."""
    figure = _figure(*SCAN_SIZE)
    draw_scan(figure, choices, agreement, extent_a, measured_a)
    _save(figure, path)
