"""What the Fourier coefficients of a reconstruction weigh: one over the variance of each."""
from __future__ import annotations

import numpy as np

from ...core.fourier import fft3_centred
from ...core.shells import radial_average, shell_index_3d
from ...ops.slicing import PADDING


def weights_of_sums(weight, box_size: int, n_operators: int = 1):
    """(d, d, d // 2 + 1) float32 N in the layout of rfftn, from the weights of a back-projection.

    weight : Hermitian half volume, Σ C²/σ² at each node of a volume padded twice, the mean over the point group's
    n_operators. Every image was seen under all of these, and a coefficient of the box is what the nodes within half a
    pixel of it say: their sum, those at the rim by half. N is of the unitary transform.
    """
    centre = weight.shape[0] // 2
    # x < 0 lies at the mates of x > 0
    mates = weight[::-1, ::-1, 1:2]
    line = np.concatenate([mates, weight], axis=2)
    for axis in range(3):
        before, at, after = (_part(line, axis, part) for part in (slice(None, -2), slice(1, -1), slice(2, None)))
        line = 0.5 * before + at + 0.5 * after
    # of the nodes that are left those at whole pixels: the centre is now at centre − 1
    first = (centre - 1) % PADDING
    found = line[first::PADDING, first::PADDING, ::PADDING]
    reach = found.shape[0] // 2
    reach_in = min(reach, (box_size - 1) // 2, found.shape[2] - 1)
    whole = np.zeros((box_size, box_size, box_size // 2 + 1), np.float32)
    line = np.arange(-reach_in, reach_in + 1)
    whole[np.ix_(line % box_size, line % box_size, np.arange(reach_in + 1))] = found[
        np.ix_(line + reach, line + reach, np.arange(reach_in + 1))]
    return whole * np.float32(n_operators * box_size ** 3)


def weights_of_halves(first, second):
    """(d, d, d // 2 + 1) float32 N of one of two half-maps of which nothing else is known: equal within a shell.

    What the signal has in common goes out with their difference, whose power is twice the noise of one. Beyond the last
    shell N is that of the last one.
    """
    box = first.shape[0]
    shells = np.minimum(shell_index_3d(box), box // 2)
    power = np.abs(fft3_centred(first - second)) ** 2
    noise = 0.5 * radial_average(power, shells, box // 2 + 1) / box ** 3
    return np.where(noise > 0, 1 / np.maximum(noise, 1e-30), 0).astype(np.float32)[shells]


def _part(array, axis, part):
    return array[(slice(None),) * axis + (part,)]
