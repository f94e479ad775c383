"""Pictures of a validation: Guinier plot, pixel-size scan, local resolution, directions."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID
from .pictures import _figure, _grey_range, _save

GUINIER_SIZE, SCAN_SIZE, SECTIONS_SIZE = (6.4, 4.4), (6.0, 4.0), (9.6, 6.6)
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


def draw_pixel_scan(figure, scan, pixel_size):
    """Mean FSC between map and model over the pixel sizes of a PixelScan."""
    figure.clear()
    axes = figure.add_subplot()
    axes.plot(scan.pixel_sizes, scan.scores, "o-", color=COLOURS[0], markersize=4, linewidth=1.2)
    axes.axvline(pixel_size, color=GREY, linestyle=":", linewidth=1.4, label=f"stated, {pixel_size:.4f} Å/px")
    axes.axvline(scan.best, color=COLOURS[1], linewidth=1.4,
                 label=f"best, {scan.best:.4f} Å/px ({scan.best / pixel_size - 1:+.1%})")
    axes.set(xlabel="pixel size (Å/px)", ylabel="mean FSC of map and model")
    axes.set_title("The pixel size at which the model fits", fontsize=11)
    axes.grid(True, **GRID)
    axes.legend(fontsize=8)


def save_pixel_scan_png(path, scan, pixel_size):
    """Save `draw_pixel_scan` as a PNG."""
    figure = _figure(*SCAN_SIZE)
    draw_pixel_scan(figure, scan, pixel_size)
    _save(figure, path)


def draw_model_sections(figure, volume, density, mask, pixel_size):
    """Central sections of a map and of the model's density on it, with the outline of the mask."""
    figure.clear()
    axes_extent = _extent(len(volume), pixel_size)
    grid = figure.subplots(2, 3)
    for (name, shown), row in zip((("map", volume), ("model", density)), grid):
        low, high = _grey_range(_sections(shown))
        for image, outline, across, axes in zip(_sections(shown), _sections(mask), "zyx", row):
            axes.imshow(image, cmap="gray", origin="lower", extent=axes_extent, vmin=low, vmax=high)
            if outline.min() < 0.5 < outline.max():
                axes.contour(outline, levels=[0.5], origin="lower", extent=axes_extent, colors="C1", linewidths=0.8)
            axes.set_title(f"{name}, {across} = 0", fontsize=9)
            axes.tick_params(labelsize=7)
    figure.suptitle("Map and model in one frame; orange: the mask at 0.5; axes in Å", fontsize=10)


def save_model_sections_png(path, volume, density, mask, pixel_size):
    """Save `draw_model_sections` as a PNG."""
    figure = _figure(*SECTIONS_SIZE)
    draw_model_sections(figure, volume, density, mask, pixel_size)
    _save(figure, path)


def _sections(volume):
    """The three central sections of a map, across z, y and x."""
    centre = len(volume) // 2
    return [volume[centre], volume[:, centre], volume[:, :, centre]]


def _extent(box, pixel_size):
    edge = (-(box // 2) - 0.5) * pixel_size
    return (edge, edge + box * pixel_size) * 2
