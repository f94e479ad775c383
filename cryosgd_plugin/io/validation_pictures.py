"""Pictures of a validation: Guinier plot, pixel-size scan, local resolution, directions."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID
from .pictures import _figure, _save

GUINIER_SIZE = (6.4, 4.4)
GUINIER_WORDS = {"original": "half-maps' mean", "mtf": "MTF divided out", "weighted": "weighted by FSC",
                 "sharpened": "sharpened"}


def draw_guinier(figure, sharpened, *, box_size, pixel_size):
    """ln⟨|F|⟩ over 1/d² of a SharpenedMap, with the line that was fitted. Rosenthal and Henderson (2003), Fig. 5."""
    figure.clear()
    axes = figure.add_subplot()
    shells = len(sharpened.guinier["original"])
    squared = (np.arange(shells) / (box_size * pixel_size)) ** 2
    for colour, (name, values) in zip(COLOURS, sharpened.guinier.items()):
        known = np.isfinite(values)
        # shell 0 is the mean density
        known[0] = False
        axes.plot(squared[known], values[known], label=GUINIER_WORDS[name], color=colour, linewidth=1.4)
    fit = sharpened.fit
    title = f"B = {sharpened.bfactor:.0f} Å²"
    if fit is not None:
        x = squared[np.isfinite(sharpened.guinier["weighted"])][[-fit.shells, -1]]
        axes.plot(x, fit.intercept + fit.bfactor / 4 * x, color=GREY, linestyle="--", linewidth=1.6,
                  label=f"fit to {fit.shells} shells")
        title += f", fitted (correlation {fit.correlation:.2f})"
    axes.set(xlabel="1/d² (1/Å²)", ylabel="ln of the mean amplitude")
    axes.set_title(f"Guinier plot, {title}", fontsize=11)
    axes.grid(True, **GRID)
    axes.legend(fontsize=8)
    resolution = axes.secondary_xaxis("top")
    ticks = np.linspace(0, squared[-1], 6)[1:]
    resolution.set_xticks(ticks)
    resolution.set_xticklabels([f"{tick ** -0.5:.3g} Å" for tick in ticks], fontsize=8)


def save_guinier_png(path, sharpened, *, box_size, pixel_size):
    """Save `draw_guinier` as a PNG."""
    figure = _figure(*GUINIER_SIZE)
    draw_guinier(figure, sharpened, box_size=box_size, pixel_size=pixel_size)
    _save(figure, path)
