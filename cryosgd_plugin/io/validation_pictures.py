"""Pictures of maps and their validation: Guinier plot, model and pixel-size scan, local resolution."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID
from .pictures import _figure, _grey_range, _save

GUINIER_SIZE, SCAN_SIZE, SECTIONS_SIZE, LOCAL_SIZE = (6.4, 4.4), (6.0, 4.0), (9.6, 6.6), (10.5, 3.8)
# of the median local resolution, that colours span at least
SPAN = (0.75, 1.35)
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


def draw_local_sections(figure, volume, result, pixel_size, of="the half-maps' mean"):
    """Central sections of a map, coloured within the mask by its LocalResolution and shaded by the density.

    of : what the map is, for the title

    The colours span at least SPAN of the median, so that what hardly differs looks alike.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    figure.clear()
    low, middle, high = np.percentile(result.values, (1, 50, 99))
    colours = ScalarMappable(Normalize(min(low, SPAN[0] * middle), max(high, SPAN[1] * middle)), "turbo")
    panels = figure.subplots(1, 3)
    grey = _grey_range(_sections(volume))
    for density, resolution, inside, across, axes in zip(_sections(volume), _sections(result.volume),
                                                         _sections(result.mask), "zyx", panels):
        extent = _extent(len(volume), pixel_size)
        bright = np.clip((density - grey[0]) / (grey[1] - grey[0]), 0, 1)[..., None]
        coloured = colours.to_rgba(resolution)[..., :3] * (0.3 + 0.7 * bright)
        axes.imshow(np.where(inside[..., None] > 0.5, coloured, 0.6 * bright), origin="lower", extent=extent)
        axes.set_title(f"{across} = 0", fontsize=9)
        axes.tick_params(labelsize=7)
    bar = figure.colorbar(colours, ax=list(panels), label="local resolution (Å)", shrink=0.8)
    bar.ax.invert_yaxis()
    figure.suptitle(f"Local resolution within the mask, on {of}; axes in Å", fontsize=10)


def save_local_sections_png(path, volume, result, pixel_size):
    """Save `draw_local_sections` as a PNG."""
    figure = _figure(*LOCAL_SIZE)
    draw_local_sections(figure, volume, result, pixel_size)
    _save(figure, path)


def draw_local_histogram(figure, result, threshold, whole_a):
    """How much of the mask is resolved to how many Å, and where the whole maps' FSC falls below the same threshold."""
    figure.clear()
    axes = figure.add_subplot()
    draw_histogram(axes, result.values, "share of the mask (%)")
    axes.axvline(np.median(result.values), color=COLOURS[1], linewidth=1.4,
                 label=f"median, {np.median(result.values):.1f} Å")
    axes.axvline(whole_a, color=GREY, linestyle=":", linewidth=1.6, label=f"whole maps, {whole_a:.1f} Å")
    axes.set_xlabel(f"local resolution at FSC {threshold:g} (Å)")
    axes.set_title(f"Local resolution, windows of {result.window_a:.0f} Å", fontsize=11)
    axes.legend(fontsize=8)


def save_local_histogram_png(path, result, threshold, whole_a):
    """Save `draw_local_histogram` as a PNG."""
    figure = _figure(*SCAN_SIZE)
    draw_local_histogram(figure, result, threshold, whole_a)
    _save(figure, path)


def draw_histogram(axes, values, label):
    """Shares of the values in 40 bins over all but the outermost hundredth."""
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        low, high = low * 0.95, high * 1.05
    counts, edges = np.histogram(np.clip(values, low, high), bins=40, range=(low, high))
    axes.bar(edges[:-1], 100 * counts / len(values), width=np.diff(edges), align="edge", color=COLOURS[0])
    axes.set_ylabel(label)
    axes.grid(True, **GRID)
    axes.set_axisbelow(True)
