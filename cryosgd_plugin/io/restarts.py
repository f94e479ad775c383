"""The comparison of restarts on disk."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from .runfolder import write_json
from .star_tables import write_table

RESTARTS, RESTARTS_JSON, RESTARTS_FSC = "restarts", "restarts.json", "restarts_fsc.star"


def write_restarts(folder, report: dict) -> None:
    """Write restarts.json: maps, consensus, verdict, mean_fsc, sd_fsc and matrices (numpy arrays are converted)."""
    write_json(Path(folder) / RESTARTS_JSON, report)


def write_restarts_fsc(path, mean, std, *, box_size: int, pixel_size: float) -> None:
    """Write the mean FSC over the pairs of maps and its standard deviation, (shells,) each, as block data_fsc."""
    shells = np.arange(len(mean))
    # not `write_fsc`: it knows the curves of half-maps, and this is a mean over pairs of maps
    write_table(path, {"fsc": {
        "rlnSpectralIndex": shells, "rlnResolution": shells / (box_size * pixel_size),
        "rlnAngstromResolution": np.where(shells > 0, box_size * pixel_size / np.maximum(shells, 1), 999.0),
        "rlnFourierShellCorrelationUnmaskedMaps": mean, "cryosgdFourierShellCorrelationStd": std}})
