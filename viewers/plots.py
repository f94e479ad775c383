"""Fourier shell correlations on a matplotlib Figure, with the resolutions that they stand for."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..io.axes_pictures import COLOURS, GREY, GRID, angstrom_axis

THRESHOLDS = (0.143, 0.5)


def draw_fsc(figure, curves, thresholds=THRESHOLDS, note=""):
    """FSC curves against spatial frequency, Å on the axis, with thresholds and where each curve crosses them.

    curves : [(label, frequencies in 1/Å, values)]; note : a sentence to print below.
    Raises InputError where there is no curve, or one has no points.
    0.143 for half-maps: Rosenthal & Henderson (2003); 0.5 for a map against a known structure.
    """
    if not curves:
        raise InputError("there is no FSC curve yet; it is written when the run has made its half-maps")
    figure.clear()
    axes = figure.add_subplot(1, 1, 1)
    figure.subplots_adjust(left=0.09, right=0.97, top=0.89, bottom=0.15 if note else 0.12)
    figure.text(0.5, 0.02, note, ha="center", va="bottom", fontsize=8.5, color=GREY)
    axes.axhline(0, color="#868e96", lw=0.8)
    for threshold in thresholds:
        axes.axhline(threshold, color="#868e96", lw=1, ls="--")
        axes.text(0.004, threshold + 0.008, f"{threshold:g}", fontsize=8, color=GREY,
                  transform=axes.get_yaxis_transform(), va="bottom")
    last, width = 0.0, max(len(str(label)) for label, _, _ in curves)
    for number, (label, frequency, values) in enumerate(curves):
        frequency, values = np.asarray(frequency, float), np.asarray(values, float)
        if not len(frequency) or len(frequency) != len(values):
            raise InputError(f"the FSC curve '{label}' has {len(frequency)} frequencies and {len(values)} values; "
                             "write it again")
        read = "  ".join(f"{describe_crossing(frequency, values, threshold)} ({threshold:g})".ljust(18)
                         for threshold in thresholds)
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(frequency, values, color=colour, lw=1.8, marker="o", ms=2.5,
                  label=f"{label.ljust(width)}  {read}".rstrip())
        for threshold in thresholds:
            crossing = crossing_frequency(frequency, values, threshold)
            if crossing is not None and np.isfinite(crossing):
                axes.plot([crossing], [threshold], marker="v", ms=7, color=colour, mec="white", mew=0.8)
        last = max(last, float(frequency.max()))
    axes.set_xlim(0, last * 1.01)
    low = min(-0.1, min(float(np.nanmin(values)) for _, _, values in curves) * 1.1)
    # above the curves room for the legend, a line of which takes this share of the axes' height
    legend = 0.03 + 0.045 * len(curves)
    axes.set_ylim(low, low + (1.03 - low) / (1 - legend))
    axes.set_ylabel("Fourier shell correlation")
    axes.grid(True, **GRID)
    angstrom_axis(axes, "resolution (Å)")
    top = axes.secondary_xaxis("top")
    top.set_xlabel("spatial frequency (1/Å)", fontsize=9)
    top.tick_params(labelsize=8)
    axes.legend(loc="upper right", framealpha=0.95, prop=dict(family="monospace", size=8.5))


def crossing_frequency(frequency, values, threshold):
    """Frequency (1/Å) at which a curve first falls below a threshold, linear between its points.

    None where it never falls below; 0.0 where its first point beyond DC lies below already.
    """
    frequency, values = np.asarray(frequency, float), np.asarray(values, float)
    beyond_dc = frequency > 0
    frequency, values = frequency[beyond_dc], values[beyond_dc]
    below = np.flatnonzero(values < threshold)
    if len(below) == 0:
        return None
    first = below[0]
    if first == 0:
        return 0.0
    share = (values[first - 1] - threshold) / (values[first - 1] - values[first])
    return float(frequency[first - 1] + share * (frequency[first] - frequency[first - 1]))


def describe_crossing(frequency, values, threshold):
    """The resolution at a threshold in words: "9.8 Å", "≤ 4.2 Å" (never below), "none" (below from the start)."""
    crossing = crossing_frequency(frequency, values, threshold)
    if crossing is None:
        return f"≤ {1 / np.max(frequency):.3g} Å"
    return f"{1 / crossing:.3g} Å" if crossing > 0 else "none"
