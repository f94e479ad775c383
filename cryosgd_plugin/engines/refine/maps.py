"""From the sums of both halves to maps: unregularised halves and their FSC, the Wiener solution, the shared low end."""
from __future__ import annotations

import numpy as np

from ...core.backend import array_module
from ...core.fourier import fft3_centred, ifft3_centred
from ...core.shells import shell_index_3d
from ...ops.slicing import PADDING, from_half_volume, half_volume_radius

# share of a shell's mean weight that no voxel's is taken to lie below in an unregularised map
FLOOR = 1e-3
# what an FSC is taken to be at least and at most where a signal-to-noise ratio is made of it
LEAST_FSC, MOST_FSC = 1e-3, 0.999


def shell_means(weight, radius: int) -> np.ndarray:
    """(radius + 1,) mean weight of each shell of a Hermitian half volume; on the host, wherever that lies."""
    xp = array_module(weight)
    if xp is not np:
        from ...ops._pose_cupy import node_sums
        total, count = (node_sums(values, radius, PADDING) for values in (weight, xp.ones(weight.shape, np.float32)))
        return total / np.maximum(count, 1)
    shell = node_shells(radius).ravel()
    total = np.bincount(shell, weights=weight.ravel(), minlength=radius + 2)
    return (total / np.maximum(np.bincount(shell, minlength=radius + 2), 1))[:radius + 1]


def solve(numerator, weight, radius: int, box_size: int, inverse_tau2=None,
          kernel: str = "trilinear"):
    """(box,)*3 float32: numerator / (weight + 1/τ²) up to a radius, corrected for the kernel it was inserted with.

    numerator, weight : Hermitian half volumes, where the map is wanted
    inverse_tau2 : (radius + 1,) 1/τ² of each shell, in the weight's units; None for the unregularised map, whose
    weights are only kept from vanishing.
    """
    xp = array_module(weight)
    shell = node_shells(radius, xp)
    nearest = xp.minimum(shell, radius)
    if inverse_tau2 is None:
        below = xp.maximum(weight, xp.asarray((FLOOR * shell_means(weight, radius)).astype(np.float32))[nearest])
    else:
        below = weight + xp.asarray(np.asarray(inverse_tau2, np.float32))[nearest]
    solved = xp.where(shell <= radius, numerator / xp.maximum(below, 1e-30), 0)
    return from_half_volume(solved.astype(np.complex64), box_size, kernel=kernel)


def inverse_tau2(curve, mean_weight) -> np.ndarray:
    """1/τ² of each shell from the FSC of two unregularised maps and the mean weight of one of them.

    The signal-to-noise ratio of a map is FSC / (1 − FSC), and it is τ² times its mean weight.
    """
    curve = np.clip(np.asarray(curve, float), LEAST_FSC, MOST_FSC)
    return mean_weight * (1 - curve) / curve


def of_both(curve) -> np.ndarray:
    """The FSC that two maps of twice the data would have."""
    curve = np.maximum(curve, 0)
    return 2 * curve / (1 + curve)


def share_low(first, second, shells: float):
    """Two maps with the coefficients below a Fourier radius (px) replaced by their mean."""
    box = first.shape[0]
    a, b = fft3_centred(first), fft3_centred(second)
    low = shell_index_3d(box) < shells
    mean = 0.5 * (a + b)
    return [ifft3_centred(np.where(low, mean, one), box) for one in (a, b)]


def node_shells(radius: int, xp=np):
    """Shell of each node of a half volume, in unpadded Fourier px; radius + 1 for all beyond the radius."""
    return xp.minimum(xp.rint(half_volume_radius(radius, xp=xp)), radius + 1).astype(int)


def low_passed(volume, radius: int):
    """A map without what lies beyond a Fourier radius, with an edge of two shells."""
    box = volume.shape[0]
    return ifft3_centred(fft3_centred(volume) * low_pass(shell_index_3d(box), radius), box)


def low_pass(shells, radius: int):
    """Weights in [0, 1] float32 of the given Fourier shells: 1 up to a radius, 0 beyond an edge of two shells."""
    edge = np.clip((radius + 1 - shells.astype(np.float32)) / 2, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * edge)).astype(np.float32)
