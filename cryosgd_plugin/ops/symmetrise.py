"""A point group imposed on back-projected sums: cheaper than inserting every image once for each operator.

The sums at a node become the mean over the group of the sums at its mates, read by trilinear interpolation. That widens
the kernel which images were inserted with, so the map gets a second envelope, which `symmetry_envelope` says: 1 for
operators that map the grid onto itself (those of O and its subgroups), sinc² of the turned position for others.
"""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module
from .slicing import PADDING


def symmetrise(half, operators, radius: int, padding: int = PADDING):
    """Mean over the operators (g, 3, 3) of a Hermitian half volume at each node's mates.

    half : complex64 or float32, made Hermitian; nodes beyond `radius` (Fourier px) become 0.
    """
    if len(operators) == 1:
        return half
    if array_module(half) is np:
        from ._symmetrise_numba import symmetrise as kernel
        return kernel(half, np.ascontiguousarray(operators, np.float64), float(radius * padding))
    return symmetrise_plain(half, operators, radius, padding)


def symmetrise_plain(half, operators, radius: int, padding: int = PADDING):
    """As `symmetrise`, in array operations: the truth for the numba kernel."""
    xp = array_module(half)
    centre = half.shape[0] // 2
    z, y, x = xp.meshgrid(xp.arange(-centre, centre + 1), xp.arange(-centre, centre + 1), xp.arange(half.shape[2]),
                          indexing="ij")
    inside = x ** 2 + y ** 2 + z ** 2 <= (radius * padding) ** 2
    nodes = xp.stack([x[inside], y[inside], z[inside]], axis=1).astype(float)
    total = xp.zeros(len(nodes), half.dtype)
    for operator in operators:
        total += _read(half, nodes @ xp.asarray(operator).T, centre, xp)
    result = xp.zeros_like(half)
    result[inside] = total / len(operators)
    return result


def symmetry_envelope(box_size: int, operators, padding: int = PADDING) -> np.ndarray:
    """(box,)*3 float32: what `symmetrise` multiplies the density with."""
    axis = np.arange(box_size) - box_size // 2
    position = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)[..., ::-1].astype(float)
    total = np.zeros((box_size,) * 3)
    for operator in operators:
        if np.allclose(np.abs(operator).max(axis=1), 1, atol=1e-6):
            total += 1
        else:
            turned = position @ np.asarray(operator).T / (box_size * padding)
            total += (np.sinc(turned) ** 2).prod(axis=-1)
    return (total / len(operators)).astype(np.float32)


def _read(half, points, centre, xp):
    flipped = points[:, 0] < 0
    x, y, z = xp.where(flipped[:, None], -points, points).T
    y, z = y + centre, z + centre
    x0, y0, z0 = (xp.clip(xp.floor(v + 1e-9).astype(int), 0, n - 2)
                  for v, n in ((x, half.shape[2]), (y, half.shape[1]), (z, half.shape[0])))
    fx, fy, fz = x - x0, y - y0, z - z0
    value = 0
    for dz, wz in ((0, 1 - fz), (1, fz)):
        for dy, wy in ((0, 1 - fy), (1, fy)):
            for dx, wx in ((0, 1 - fx), (1, fx)):
                value = value + wx * wy * wz * half[z0 + dz, y0 + dy, x0 + dx]
    return xp.where(flipped, xp.conj(value), value).astype(half.dtype)
