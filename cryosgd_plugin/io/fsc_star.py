"""FSC curves as fsc.star, with RELION's names for the columns."""
from __future__ import annotations

import numpy as np

from .star_tables import read_table, write_table

# words for the curves, as pictures and Scipion show them
CURVES = {"unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
          "masked": "rlnFourierShellCorrelationMaskedMaps",
          "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
          "corrected": "rlnFourierShellCorrelationCorrected",
          "solvent-free": "rlnFourierShellCorrelationParticleMaskFraction",
          "model": "cryosgdModelFourierShellCorrelation",
          "model without spherical averages": "cryosgdModelFourierShellCorrelationNonSpherical",
          "other hand": "cryosgdModelFourierShellCorrelationOtherHand"}
# and for the logarithms of amplitudes
GUINIER = {"original": "rlnLogAmplitudesOriginal", "mtf": "rlnLogAmplitudesMTFCorrected",
           "weighted": "rlnLogAmplitudesWeighted", "sharpened": "rlnLogAmplitudesSharpened"}
# what RELION writes for the logarithm of nothing
NOTHING = -99.0


def write_fsc(path, curves, *, box_size, pixel_size, general=None, guinier=None):
    """Write FSC curves, atomically.

    curves : word of `CURVES` → (shells,) values, shell s at s / (box_size · pixel_size) 1/Å.
    general : tag → value of a data_general block, e.g. rlnFinalResolution in Å.
    guinier : word of `GUINIER` → (shells,) ln of the mean amplitude, for a data_guinier block
    Raises KeyError for another word, InputError where the file can't be written.
    """
    shells = np.arange(len(next(iter(curves.values()))))
    extent = box_size * pixel_size
    columns = {"rlnSpectralIndex": shells, "rlnResolution": shells / extent,
               # shell 0 has no resolution; RELION writes 999 there
               "rlnAngstromResolution": np.where(shells > 0, extent / np.maximum(shells, 1), 999.0)}
    columns.update({CURVES[word]: np.asarray(values, np.float64) for word, values in curves.items()})
    tables = {**({"general": general} if general else {}), "fsc": columns}
    if guinier:
        tables["guinier"] = {"rlnResolutionSquared": (shells / extent) ** 2,
                             **{GUINIER[word]: np.nan_to_num(np.asarray(values, np.float64), neginf=NOTHING)
                                for word, values in guinier.items()}}
    write_table(path, tables)


def read_fsc(path):
    """(frequencies (shells,) in 1/Å, word of `CURVES` → (shells,)) of an fsc.star or a RELION postprocess.star."""
    table = read_table(path, "fsc")
    frequencies = np.array(table["rlnResolution"], dtype=np.float64)
    if len(frequencies):
        frequencies[0] = 0.0  # RELION writes 1/999 Å for the shell of DC
    return frequencies, {word: np.asarray(table[tag], np.float64) for word, tag in CURVES.items() if tag in table}


def read_guinier(path):
    """Word of `GUINIER` → (shells,) ln of the mean amplitude, -inf where there is none, of a postprocess.star."""
    table = read_table(path, "guinier")
    columns = {word: np.asarray(table[tag], np.float64) for word, tag in GUINIER.items() if tag in table}
    return {word: np.where(values == NOTHING, -np.inf, values) for word, values in columns.items()}
