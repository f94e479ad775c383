"""What the Fourier coefficients of a reconstruction weigh: one over the variance of each."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.errors import InputError
from ...core.fourier import fft3_centred
from ...core.shells import radial_average, shell_index_3d
from ...ops.slicing import PADDING
from ..refine.maps import inverse_tau2

# of the median noise of all shells: a shell with less holds nothing
LEAST_POWER = 1e-3


def weights_of_sums(weight, box_size: int, radius: int, n_operators: int = 1):
    """(d, d, d // 2 + 1) float32 N in the layout of rfftn, from the weights of a back-projection.

    weight : Hermitian half volume, Σ C²/σ² at each node of a volume padded twice, the mean over the point group's
    n_operators; radius : last shell of the maps. Every image was seen under all operators, and a coefficient of the box
    is what the nodes within half a pixel of it say: their sum, those at the rim by half. N is of the unitary transform.
    """
    centre = weight.shape[0] // 2
    # x < 0 lies at the mates of x > 0
    mates = weight[::-1, ::-1, 1:2]
    line = np.concatenate([mates, weight], axis=2)
    for axis in range(3):
        line = ndimage.correlate1d(line, [0.5, 1, 0.5], axis=axis, mode="constant")
    # of the nodes that have all their neighbours those at whole pixels
    first = 1 + (centre - 1) % PADDING
    found = line[first:-1:PADDING, first:-1:PADDING, 1:-1:PADDING]
    reach = found.shape[0] // 2
    reach_in = min(reach, (box_size - 1) // 2, found.shape[2] - 1)
    whole = np.zeros((box_size, box_size, box_size // 2 + 1), np.float32)
    line = np.arange(-reach_in, reach_in + 1)
    whole[np.ix_(line % box_size, line % box_size, np.arange(reach_in + 1))] = found[
        np.ix_(line + reach, line + reach, np.arange(reach_in + 1))]
    # nodes just beyond the radius hold the rim of kernels, and no map
    whole[shell_index_3d(box_size) > radius] = 0
    return whole * np.float32(n_operators * box_size ** 3)


def weights_of_halves(first, second):
    """(d, d, d // 2 + 1) float32 N of one of two half-maps of which nothing else is known: equal within a shell.

    What the signal has in common goes out with their difference, whose power is twice the noise of one. In the last
    shell and the corners N is 0, as in shells of less than LEAST_POWER of the usual: a refinement's maps end before.
    Raises InputError for maps that are equal.
    """
    box = first.shape[0]
    shells = shell_index_3d(box)
    power = np.abs(fft3_centred(first - second)) ** 2
    noise = 0.5 * radial_average(power, np.minimum(shells, box // 2), box // 2 + 1) / box ** 3
    if not noise[1:].any():
        raise InputError("the two half-maps are equal; give the maps of two half-sets")
    held = noise > LEAST_POWER * np.median(noise[1:box // 2])
    held[-1] = False
    by_shell = np.where(held, 1 / np.maximum(noise, 1e-30), 0).astype(np.float32)
    return np.where(shells < box // 2, by_shell[np.minimum(shells, box // 2)], np.float32(0))


def with_prior(weight, curve):
    """(N, P), (d, d, d // 2 + 1) float32 each, with P = 1/τ² from the FSC of two unregularised maps and the N of one.

    A map's signal-to-noise ratio is FSC / (1 − FSC), and it is τ² times its mean weight; beyond the data it is that of
    the last shell with data. Where N + P would exceed the largest N, as it does beyond the resolution, both are lowered
    alike: Wiener's map stays the same, and the solver's steps as long.
    """
    box = weight.shape[0]
    shells = np.minimum(shell_index_3d(box), box // 2)
    mean = radial_average(weight, shells, box // 2 + 1)
    mean = mean[np.maximum.accumulate(np.where(mean > 0, np.arange(len(mean)), 0))]
    prior = inverse_tau2(curve, mean).astype(np.float32)[shells]
    held = np.minimum(1, weight.max() / np.maximum(weight + prior, 1e-30)).astype(np.float32)
    return weight * held, prior * held
