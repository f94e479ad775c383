"""Curves of a run on a matplotlib Figure: Fourier shell correlation and convergence; for windows and PNG alike."""
from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..core.errors import InputError

THRESHOLDS = (0.143, 0.5)
# Okabe & Ito's colours, told apart by colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31")
GRID = dict(color="#e9ecef", lw=0.8)
# resolutions to write on an axis, the roundest first
TICKS_A = (100, 50, 20, 10, 5, 4, 3, 2, 1, 200, 40, 30, 15, 12, 8, 7, 6, 3.5, 2.5, 60, 25, 18, 9, 4.5, 2.2, 1.8,
           1.5, 1.2, 80, 70, 45, 35, 28, 22, 16, 14, 13, 11, 9.5, 8.5, 7.5, 6.5, 5.5, 2.8, 2.6, 2.4, 1.6, 1.4, 1.3, 1.1)


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
    figure.text(0.5, 0.02, note, ha="center", va="bottom", fontsize=8.5, color="#495057")
    axes.axhline(0, color="#868e96", lw=0.8)
    for threshold in thresholds:
        axes.axhline(threshold, color="#868e96", lw=1, ls="--")
        axes.text(0.004, threshold + 0.008, f"{threshold:g}", fontsize=8, color="#495057",
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
    axes.set_ylim(min(-0.1, min(float(np.nanmin(values)) for _, _, values in curves) * 1.1), 1.05)
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


def angstrom_axis(axes, label, axis="x"):
    """Label an axis of spatial frequency (1/Å) with resolutions in Å, as many as fit beside one another."""
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    target = axes.xaxis if axis == "x" else axes.yaxis
    ticks = []
    for resolution in TICKS_A:
        frequency = 1 / resolution
        # a label needs about 5 % of a wide axis, 8 % of a small one
        room = (0.05 if axis == "x" else 0.08) * (high - low)
        if low <= frequency <= high and all(abs(frequency - other) >= room for other in ticks):
            ticks.append(frequency)
    ticks.sort()
    target.set_ticks(ticks)
    target.set_major_formatter(FuncFormatter(lambda frequency, _: f"{1 / frequency:.3g}" if frequency > 0 else "∞"))
    target.set_minor_formatter(NullFormatter())
    (axes.set_xlabel if axis == "x" else axes.set_ylabel)(label)


def draw_history(figure, history):
    """How a run converged: one panel for each quantity of its records, against the iteration.

    history : list of dicts as in history.json (iteration, resolution_a, log_likelihood, change, significant_share,
    noise_inflation, step_size, n_images, seconds, symmetry). Raises InputError where it is empty.
    """
    if not history:
        raise InputError("the run has written no history yet; it does so after its first iteration")
    figure.clear()
    figure.subplots_adjust(left=0.075, right=0.945, top=0.90, bottom=0.09, hspace=0.42, wspace=0.30)
    iteration = _column(history, "iteration")
    panels = (("resolution in use (Å)", _resolution),
              ("log-likelihood per image", _log_likelihood),
              ("relative change of the map", partial(_curve, key="change", log=True, smooth=True)),
              ("effective share of the poses (%)", partial(_curve, key="significant_share", log=True, factor=100)),
              ("noise inflation (1 = none)", partial(_curve, key="noise_inflation", log=True)),
              ("step size η and images per step", _steps))
    imposed = _symmetry_changes(history)
    for place, (title, draw) in enumerate(panels, start=1):
        axes = figure.add_subplot(2, 3, place)
        axes.set_title(title, fontsize=10)
        axes.grid(True, **GRID)
        draw(axes, iteration, history)
        axes.set_xlim(max(0, iteration[0] - 1), max(iteration[-1], iteration[0] + 1))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelsize=8)
        if place > 3:
            axes.set_xlabel("iteration", fontsize=9)
        for at, name in imposed:
            axes.axvline(at, color="#D55E00", lw=1, ls=":")
            if place == 1:
                axes.text(at, 0.96, f" {name} imposed", transform=axes.get_xaxis_transform(), fontsize=8,
                          color="#D55E00", va="top")
    seconds = np.nansum(_column(history, "seconds"))
    last = history[-1]
    figure.suptitle(f"{len(history)} iterations in {_duration(seconds)}; resolution in use "
                    f"{last['resolution_a']:.3g} Å, symmetry {last.get('symmetry', 'C1')}", fontsize=11)


def _resolution(axes, iteration, history):
    axes.plot(iteration, 1 / _column(history, "resolution_a"), color=COLOURS[0], lw=1.8)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0, low - 0.05 * (high - low)), high)
    angstrom_axis(axes, "", axis="y")


def _log_likelihood(axes, iteration, history):
    _curve(axes, iteration, history, "log_likelihood", smooth=True)
    values = _column(history, "log_likelihood")
    # with inflated noise the likelihood is another quantity, and would flatten the rest of the curve
    true_noise = values[(_column(history, "noise_inflation") < 1.05) & np.isfinite(values)]
    if len(true_noise) >= 20 and np.ptp(true_noise) > 0:
        margin = 0.08 * np.ptp(true_noise)
        axes.set_ylim(true_noise.min() - margin, true_noise.max() + margin)


def _curve(axes, iteration, history, key, log=False, factor=1, smooth=False):
    values = factor * _column(history, key)
    if log and np.all(values[np.isfinite(values)] > 0):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_plain_numbers)
        if np.nanmax(values) < 30 * np.nanmin(values):      # decades alone would leave the axis bare
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    # single minibatches scatter: a running median shows the trend
    width = len(values) // 25 if smooth else 0
    axes.plot(iteration, values, color=COLOURS[0], **(dict(lw=0.8, alpha=0.45) if width > 1 else dict(lw=1.8)))
    if width > 1:
        trend = [np.nanmedian(values[max(0, i - width):i + width + 1]) for i in range(len(values))]
        axes.plot(iteration, trend, color=COLOURS[0], lw=1.8)


@FuncFormatter
def _plain_numbers(value, _):
    return f"{value:g}"


def _steps(axes, iteration, history):
    axes.plot(iteration, _column(history, "step_size"), color=COLOURS[0], lw=1.8)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("step size", fontsize=8, color=COLOURS[0], labelpad=1)
    images = axes.twinx()
    images.plot(iteration, _column(history, "n_images"), color=COLOURS[1], lw=1.4)
    images.set_ylim(0, 1.25 * np.nanmax(_column(history, "n_images")))
    images.set_ylabel("images", fontsize=8, color=COLOURS[1], labelpad=1)
    images.tick_params(labelsize=8)


def _column(history, key):
    """One quantity of all records as floats; NaN where a record lacks it (JSON's null is a NaN that was)."""
    return np.array([np.nan if record.get(key) is None else record[key] for record in history], float)


def _symmetry_changes(history):
    names = [record.get("symmetry", "C1") for record in history]
    return [(history[i]["iteration"], names[i]) for i in range(1, len(names)) if names[i] != names[i - 1]]


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
