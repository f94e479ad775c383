"""Pictures of a sparse + total-variation map: beside the traditional one, and how its penalties were chosen."""
from __future__ import annotations

import numpy as np

from .axes_pictures import GRID
from .pictures import _figure, _grey_range, _save

COMPARISON_SIZE, CHOICE_SIZE = (9.6, 6.6), (8.0, 3.6)


def draw_comparison(figure, traditional, regularised, pixel_size: float, level: float):
    """Draw three central sections of both maps (d, d, d), in one grey scale and with one contour, on a Figure."""
    figure.clear()
    centre = len(traditional) // 2
    edge = (-centre - 0.5) * pixel_size
    extent = (edge, edge + len(traditional) * pixel_size) * 2
    rows = (("traditional (Wiener)", traditional), ("sparse + TV", regularised))
    sections = [[volume[centre], volume[:, centre], volume[:, :, centre]] for _, volume in rows]
    low, high = _grey_range(sections[0] + sections[1])
    for row, ((name, _), images) in enumerate(zip(rows, sections)):
        for column, image in enumerate(images):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            axes.imshow(image, cmap="gray", origin="lower", extent=extent, vmin=low, vmax=high)
            if image.min() < level < image.max():
                axes.contour(image, levels=[level], origin="lower", extent=extent, colors="C1", linewidths=0.7)
            axes.set_title(f"{name}, {'zyx'[column]} = 0", fontsize=9)
            axes.tick_params(labelsize=7)
    figure.suptitle(f"one grey scale, contour at {level:.3g}; axes in Å", fontsize=10)


def save_comparison_png(path, traditional, regularised, pixel_size: float, level: float):
    """Save `draw_comparison` as a PNG."""
    figure = _figure(*COMPARISON_SIZE)
    draw_comparison(figure, traditional, regularised, pixel_size, level)
    _save(figure, path)


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
