"""How a map of apoferritin is judged by the atomic model: for the tests and for benchmarks/apoferritin.py."""
import numpy as np

from cryosgd_plugin.core.masks import spherical_average
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.align import align_volume
from cryosgd_plugin.io.volumes import read_volume

FIRST_SHELL, FINEST_A = 5, 15.0
# up to 12 Å, where the given half-maps still agree with the model
ALIGN_RADIUS = 16


def curve_to_model(volume, folder):
    """(curve, alignment, pixel): FSC to the density of 7A4M without the spherical averages, of which a hollow ball has
    nothing, within mask.mrc, the map aligned in the better hand. folder : the set's `halfmaps`."""
    model, pixel = read_volume(folder / "model_7a4m_2.5A.mrc")
    mask = read_volume(folder / "mask.mrc")[0]
    alignment = align_volume(volume, model, radius=ALIGN_RADIUS)
    aligned = alignment.apply(volume)
    curve = fsc(aligned - spherical_average(aligned), model - spherical_average(model), mask=mask)
    return np.asarray(curve), alignment, pixel


def least(curve, box, pixel):
    """The lowest FSC from shell 5 to 15 Å; a map passes at 0.5."""
    return curve[FIRST_SHELL:int(box * pixel / FINEST_A) + 1].min()
