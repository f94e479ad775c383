"""Detector MTFs as RELION's STAR files hold them."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from .star_tables import read_table

FREQUENCY, VALUE = "rlnResolutionInversePixel", "rlnMtfValue"


def read_mtf(path):
    """(frequencies (n,) in 1/px of the detector, MTF (n,)); InputError where the file has no such columns."""
    table = read_table(path)
    if FREQUENCY not in table or VALUE not in table or np.ndim(table[VALUE]) != 1:
        raise InputError(f"{path} has no columns {FREQUENCY} and {VALUE}; give the detector's MTF as a STAR file")
    return np.asarray(table[FREQUENCY], float), np.asarray(table[VALUE], float)
