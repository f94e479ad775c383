"""What a refinement knows of each shell as model.star, with RELION's names and in RELION's units."""
from __future__ import annotations

import numpy as np

from .star_tables import write_table

# words for a class's columns → tag. Variances are RELION's too: of one of the two components of a coefficient, with
# transforms divided by the number of pixels
TAGS = {"snr": "rlnSsnrMap", "fsc": "rlnGoldStandardFsc", "completeness": "rlnFourierCompleteness",
        "map_noise": "rlnReferenceSigma2", "signal": "rlnReferenceTau2", "noise": "rlnSigma2Noise",
        "data_share": "cryosgdDataShare", "coefficients": "cryosgdCoefficients"}
VARIANCES = ("map_noise", "signal", "noise")


def write_model(path, classes, optics, *, box_size, pixel_size, general=None):
    """Write model.star, atomically: blocks model_class_1 …, and model_optics_group_1 … with their noise.

    classes : for each a dict, word of `TAGS` → (shells,) values, variances of raw Fourier coefficients
    (core/CONVENTIONS.md), shell s at s / (box_size · pixel_size) 1/Å; optics : name of a group → (shells,) σ².
    general : tag → value of a data_model_general block. Raises InputError where the file can't be written.
    """
    scale = 1 / (2.0 * box_size ** 4)
    tables = {"model_general": dict(rlnReferenceDimensionality=3, rlnOriginalImageSize=box_size,
                                    rlnPixelSize=pixel_size, rlnNrClasses=len(classes), **(general or {}))}
    for k, values in enumerate(classes):
        columns = {tag: np.asarray(values[word]) * (scale if word in VARIANCES else 1) for word, tag in TAGS.items()}
        tables[f"model_class_{k + 1}"] = {**_shells(len(values["snr"]), box_size * pixel_size), **columns}
    for group, (name, noise) in enumerate(optics.items()):
        tables[f"model_optics_group_{group + 1}"] = {
            "rlnOpticsGroupName": name, **_shells(len(noise), box_size * pixel_size),
            "rlnSigma2Noise": np.asarray(noise) * scale}
    write_table(path, tables)


def _shells(count, extent):
    shells = np.arange(count)
    return {"rlnSpectralIndex": shells, "rlnResolution": shells / extent,
            # shell 0 has no resolution; RELION writes 999 there
            "rlnAngstromResolution": np.where(shells > 0, extent / np.maximum(shells, 1), 999.0)}
