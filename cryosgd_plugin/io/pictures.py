"""Pictures for the result folder: slices and projections of a map, FSC curves (by matplotlib, imported late)."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from .files import atomic_write

_PLANES = (("x", "y"), ("x", "z"), ("y", "z"))


def save_slices_png(volume, pixel_size, path, title):
    """Save three orthogonal central slices and three projections of a map as a PNG, axes in Å from the box centre.

    volume : (d, d, d) [z, y, x]; pixel_size in Å/px. Raises InputError where the file can't be written or matplotlib
    is missing.
    """
    volume = np.asarray(volume, dtype=np.float32)
    centre = volume.shape[0] // 2
    slices = (volume[centre], volume[:, centre], volume[:, :, centre])
    # [z, y, x] summed along z shows (x, y), along y (x, z), along x (y, z)
    projections = tuple(volume.sum(axis=axis) * pixel_size for axis in range(3))
    figure = _figure(10.5, 7.4)
    rows = (("slice at {} = 0", "density", slices), ("projection along {}", "density · Å", projections))
    for row, (words, unit, images) in enumerate(rows):
        low, high = _grey_range(images)
        panels = []
        for column, (image, (across, up)) in enumerate(zip(images, _PLANES)):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            # voxel i of x is centred at (i − d//2) · pixel
            edge = (-centre - 0.5) * pixel_size
            extent = (edge, edge + image.shape[1] * pixel_size, edge, edge + image.shape[0] * pixel_size)
            panels.append(axes)
            shown = axes.imshow(image, cmap="gray", origin="lower", extent=extent, vmin=low, vmax=high)
            axes.set_title(words.format("zyx"[column]), fontsize=9)
            axes.set_xlabel(f"{across} (Å)", fontsize=8)
            axes.set_ylabel(f"{up} (Å)", fontsize=8)
            axes.tick_params(labelsize=7)
        figure.colorbar(shown, ax=panels, label=unit, shrink=0.85)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def save_fsc_png(path, curves, *, box_size, pixel_size, title="Fourier shell correlation", thresholds=(0.143, 0.5)):
    """Save FSC curves as a PNG: correlation over spatial frequency, a second axis in Å, lines at the thresholds.

    curves : name for the legend → (shells,) values, shell s at s / (box_size · pixel_size) 1/Å.
    Raises InputError where the file can't be written or matplotlib is missing.
    """
    figure = _figure(7.0, 4.6)
    axes = figure.add_subplot(1, 1, 1)
    last, least = 0.0, -0.05
    for name, values in curves.items():
        frequency = np.arange(len(values)) / (box_size * pixel_size)
        # shell 0 compares two means, which says nothing of resolution
        axes.plot(frequency[1:], np.asarray(values)[1:], label=name, linewidth=1.4)
        last, least = max(last, frequency[-1]), min(least, float(np.nanmin(values[1:])))
    for threshold in thresholds:
        axes.axhline(threshold, color="0.6", linewidth=0.8, linestyle="--")
        axes.text(last, threshold, f" {threshold:g}", fontsize=8, va="center")
    axes.axhline(0.0, color="0.8", linewidth=0.8)
    axes.set_xlim(0.0, last)
    axes.set_ylim(least - 0.05, 1.05)
    axes.set_xlabel("spatial frequency (1/Å)")
    axes.set_ylabel("FSC")
    axes.set_title(title, fontsize=11)
    axes.legend(fontsize=8)
    resolution = axes.secondary_xaxis("top")
    ticks = np.linspace(0.0, last, 6)[1:]
    resolution.set_xticks(ticks)
    resolution.set_xticklabels([f"{1 / tick:.3g} Å" for tick in ticks], fontsize=8)
    _save(figure, path)


def _figure(width, height, layout="constrained"):
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"pictures need matplotlib, which can't be imported ({error}); install it") from error
    # no pyplot: it keeps global figures and may open a display
    figure = Figure(figsize=(width, height), dpi=110, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path):
    with atomic_write(path, durable=False) as partial:
        figure.savefig(partial, format="png")


def _grey_range(images):
    """Limits that a few extreme voxels don't set."""
    values = np.concatenate([np.ravel(image) for image in images])
    low, high = np.percentile(values, (0.5, 99.8))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
