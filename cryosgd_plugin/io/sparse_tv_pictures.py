"""Pictures of a sparse + total-variation map: beside the traditional one, and how its penalties were chosen."""
from __future__ import annotations

import numpy as np

from .axes_pictures import GRID
from .comparison_pictures import save_side_by_side_png
from .pictures import _figure, _save
from .volume_data import VolumeData

CHOICE_SIZE = (8.0, 3.6)


def save_comparison_png(path, traditional, regularised, pixel_size: float, level: float = None):
    """Save both maps (d, d, d) on the same slices as a PNG, in the units that they share.

    level : of the contour, None for a proposed one
    """
    save_side_by_side_png(path, [VolumeData(traditional, pixel_size, "traditional (Wiener)"),
                                 VolumeData(regularised, pixel_size, "sparse + TV")], matched=False,
                          **({} if level is None else {"level": level}))


def draw_choice(figure, choices):
    """Draw the FSC with the truth that each half foretells, less that of Wiener's map, over β, a line for each α (as
    paper 3 Fig. 1-3 the resolution)."""
    figure.clear()
    for number, (choice, axes) in enumerate(zip(choices, np.atleast_1d(figure.subplots(1, len(choices)))), 1):
        for alpha in sorted({one[0] for one in choice.tried}):
            line = sorted((beta, misfit) for a, beta, misfit in choice.tried if a == alpha)
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
