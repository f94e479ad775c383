"""FSC curves as fsc.star, with RELION's names for the columns."""
from __future__ import annotations

import numpy as np

from .star_tables import read_table, write_table

# words for the curves, as pictures and Scipion show them
CURVES = {"unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
          "masked": "rlnFourierShellCorrelationMaskedMaps",
          "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
          "corrected": "rlnFourierShellCorrelationCorrected"}


def write_fsc(path, curves, *, box_size, pixel_size, general=None):
    """Write FSC curves, atomically.

    curves : word of `CURVES` → (shells,) values, shell s at s / (box_size · pixel_size) 1/Å.
    general : tag → value of a data_general block, e.g. rlnFinalResolution in Å.
    Raises KeyError for another word, InputError where the file can't be written.
    """
    shells = np.arange(len(next(iter(curves.values()))))
    extent = box_size * pixel_size
    columns = {"rlnSpectralIndex": shells, "rlnResolution": shells / extent,
               # shell 0 has no resolution; RELION writes 999 there
               "rlnAngstromResolution": np.where(shells > 0, extent / np.maximum(shells, 1), 999.0)}
    columns.update({CURVES[word]: np.asarray(values, np.float64) for word, values in curves.items()})
    write_table(path, {**({"general": general} if general else {}), "fsc": columns})


def read_fsc(path):
    """(frequencies (shells,) in 1/Å, word of `CURVES` → (shells,)) of an fsc.star or a RELION postprocess.star."""
    table = read_table(path, "fsc")
    frequencies = np.array(table["rlnResolution"], dtype=np.float64)
    if len(frequencies):
        frequencies[0] = 0.0  # RELION writes 1/999 Å for the shell of DC
    return frequencies, {word: np.asarray(table[tag], np.float64) for word, tag in CURVES.items() if tag in table}
