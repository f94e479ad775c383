"""The picture of a comparison of maps: mean FSC over the pairs, and how far every pair agrees."""
from __future__ import annotations

import numpy as np

from .pictures import _figure, _save

CONSENSUS_SIZE = (11.0, 4.8)


def save_consensus_png(path, **found):
    """Save what `draw_consensus` draws as a PNG. Raises InputError where the file can't be written."""
    figure = _figure(*CONSENSUS_SIZE)
    draw_consensus(figure, **found)
    _save(figure, path)


def draw_consensus(figure, *, names, mean, std, resolution_a, curves, box_size, pixel_size, title):
    """Draw the pairs' FSC with their mean ± standard deviation (paper 1 Fig. 12), and their resolutions at FSC 0.5.

    names : of the n maps; mean, std : (shells,), shell s at s / (box_size · pixel_size) 1/Å; curves : (n, n, shells) of
    the pairs; resolution_a : (n, n) Å, infinite where a pair does not agree at all
    """
    extent = box_size * pixel_size
    _draw_curve(figure.add_subplot(1, 2, 1), np.asarray(mean), np.asarray(std), np.asarray(curves), extent)
    _draw_pairs(figure, figure.add_subplot(1, 2, 2), names, np.asarray(resolution_a, float), extent)
    figure.suptitle(title, fontsize=11)


def _draw_curve(axes, mean, std, curves, extent):
    frequency = np.arange(len(mean)) / extent
    pairs = curves[np.triu_indices(len(curves), 1)]
    axes.plot(frequency[1:], pairs[:, 1:].T, color="0.7", linewidth=0.6,
              label=["the pairs"] + [None] * (len(pairs) - 1))
    axes.fill_between(frequency[1:], (mean - std)[1:], (mean + std)[1:], color="C0", alpha=0.25, linewidth=0,
                      label="± standard deviation")
    axes.plot(frequency[1:], mean[1:], color="C0", label="mean over the pairs")
    axes.axhline(0.5, color="0.6", linewidth=0.8, linestyle="--")
    axes.axhline(0.0, color="0.8", linewidth=0.8)
    axes.set_xlim(0.0, frequency[-1])
    axes.set_ylim(min(-0.1, float((mean - std)[1:].min()) - 0.05), 1.05)
    axes.set_xlabel("spatial frequency (1/Å)")
    axes.set_ylabel("FSC")
    axes.legend(fontsize=8)
    resolution = axes.secondary_xaxis("top")
    ticks = np.linspace(0.0, frequency[-1], 6)[1:]
    resolution.set_xticks(ticks)
    resolution.set_xticklabels([f"{1 / tick:.3g} Å" for tick in ticks], fontsize=8)


def _draw_pairs(figure, axes, names, resolution_a, extent):
    shown = np.minimum(resolution_a, extent)
    off = ~np.eye(len(names), dtype=bool)
    np.fill_diagonal(shown, np.nan)
    image = axes.imshow(shown, cmap="viridis_r", vmin=shown[off].min(), vmax=max(shown[off].max(),
                                                                              1.01 * shown[off].min()))
    if len(names) <= 10:
        for row, column in zip(*np.nonzero(off)):
            value = resolution_a[row, column]
            axes.text(column, row, f"{value:.3g}" if np.isfinite(value) else "–", ha="center", va="center", fontsize=7,
                      color="white" if shown[row, column] > shown[off].mean() else "black")
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels(names, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names, fontsize=7)
    axes.set_title("resolution at FSC 0.5", fontsize=10)
    figure.colorbar(image, ax=axes, label="Å", shrink=0.85)
