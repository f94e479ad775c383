"""The factor between two maps of one molecule whose densities are in different units."""
from __future__ import annotations

import numpy as np

from .fourier import fft3_centred
from .shells import friedel_weights, fsc, shell_index_3d

# shells in which two maps share less than this have noise enough to pull a factor towards 0
AGREED_FSC = 0.8
# two maps that agree in fewer shells than this have the same size and nothing else in common
LEAST_SHELLS = 3


def matching_factor(volume, reference):
    """(factor, shells): factor · volume is nearest to the reference, in least squares over the shells 1 … shells.

    volume, reference : (d, d, d), in one frame. The shells are those before their FSC first falls below AGREED_FSC;
    without shell 0, a constant that one of the maps has on top counts for nothing.
    Returns (None, shells) where these are fewer than LEAST_SHELLS. Raises InputError for maps of different boxes.
    """
    below = np.flatnonzero(fsc(volume, reference)[1:] < AGREED_FSC)
    shells = int(below[0]) if len(below) else len(volume) // 2
    if shells < LEAST_SHELLS:
        return None, shells
    first, second = fft3_centred(volume), fft3_centred(reference)
    index = shell_index_3d(len(volume))
    weights = np.where((index >= 1) & (index <= shells), friedel_weights(len(volume)), 0).astype(np.float64)
    cross = np.sum(weights * (first.real * second.real + first.imag * second.imag))
    return float(cross / np.sum(weights * np.abs(first) ** 2)), shells
