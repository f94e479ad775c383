"""The picture of what a refinement knows of each shell: signal and noise, and how far the map follows the data."""
from __future__ import annotations

import numpy as np

from .axes_pictures import COLOURS, GRID, angstrom_axis
from .pictures import _figure, _save

MODEL_SIZE = (12.5, 4.4)


def draw_model(figure, spectra, extent_a: float, title: str):
    """Draw the spectra of a class on a matplotlib Figure, frequencies labelled in Å.

    spectra : noise, signal, snr, data_share, completeness → (shells,), shell s at s / extent_a 1/Å; noise and signal
    are powers of a raw Fourier coefficient, of an image and the particle; 0 where unknown.
    """
    noise, signal, snr, data_share, completeness = (np.asarray(spectra[name], float) for name in (
        "noise", "signal", "snr", "data_share", "completeness"))
    map_noise = np.divide(signal, snr, out=np.zeros(len(snr)), where=snr > 0)
    frequency = np.arange(len(snr)) / extent_a
    figure.clear()
    figure.subplots_adjust(left=0.055, right=0.985, top=0.86, bottom=0.13, wspace=0.16)
    left, middle, right = figure.subplots(1, 3)
    for values, colour, label in ((noise, COLOURS[1], "noise of an image, σ²"), (signal, COLOURS[0], "signal, τ²"),
                                  (map_noise, COLOURS[5], "noise of a half-map")):
        _line(left, frequency, values, colour, label)
    left.set_title("power of a Fourier coefficient", fontsize=10)
    _line(middle, frequency, snr, COLOURS[0], None)
    middle.axhline(1, color="0.6", lw=0.8, ls="--")
    middle.set_title("signal-to-noise ratio of a half-map", fontsize=10)
    right.plot(frequency[1:], data_share[1:], color=COLOURS[0], lw=1.4, label="data against prior (1 = data alone)")
    right.plot(frequency[1:], completeness[1:], color=COLOURS[2], lw=1.4, ls="--",
               label="coefficients where data weigh more")
    right.set_ylim(-0.03, 1.03)
    right.set_title("share of the data", fontsize=10)
    for axes in (left, middle, right):
        axes.grid(True, **GRID)
        axes.set_xlim(0, frequency[-1])
        axes.tick_params(labelsize=8)
        angstrom_axis(axes, "resolution (Å)")
    for axes in (left, middle):
        axes.set_yscale("log")
    for axes in (left, right):
        axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)


def save_model_png(path, spectra, extent_a: float, title: str):
    """Save `draw_model` as a PNG. Raises InputError where the file can't be written."""
    figure = _figure(*MODEL_SIZE, layout=None)  # it sets its own margins
    draw_model(figure, spectra, extent_a, title)
    _save(figure, path)


def _line(axes, frequency, values, colour, label):
    """A curve from shell 1 on, of what is positive."""
    shown = (np.asarray(values) > 0) & (frequency > 0)
    axes.plot(frequency[shown], np.asarray(values)[shown], color=colour, lw=1.4, label=label)
