"""The Gaussian kernel of paper 3 (eq. 26-29), truncated to 27 nodes: its envelope, and its plain numpy truth.

A coefficient at q (in *padded* Fourier pixels) is spread over the 27 nodes n with |n − round(q)| ≤ 1 on every axis, of
weight exp(−|n − q|²/h), h = 2. That is the Gaussian as the paper prints it below eq. 28 and as its program has it,
exp(−d²/2): the "bandwidth" h is in squared pixels, twice the variance, so the standard deviation is one padded pixel.
(Its general form K(|n − q|/h) would make exp(−d²/4) of it, nearly flat over the 27 nodes.) Pixels are those of the
padded volume because [h, k, l] of eq. 24 counts the nodes inserted into, which are RELION's, padded twice: 0.70 of the
density is left at 0.35 of the box along an axis, where in unpadded pixels it would be 0.16.

Half volumes need no margin beyond that of trilinear: the farthest node is round(q) + 1, and round(q) ≤ padding ·
radius. What falls on kx = −1 is put onto its Friedel mate at kx = 1; the plane kx = 0 is completed by
`slicing.hermitian`.
"""
from __future__ import annotations

from math import erf, exp, pi, sqrt

import numpy as np

# h of exp(−d²/h), padded Fourier pixels squared
BANDWIDTH = 2.0
# farthest distance along an axis between a coefficient and a node of its 27
HALF_WIDTH = 1.5
# mean over sub-pixel positions of the sum of an axis's three weights. Weights are divided by it, so that sums keep the
# unit that trilinear insertion gives them: what the coefficients about a node are worth
MEAN_SUM = sqrt(pi * BANDWIDTH) * erf(HALF_WIDTH / sqrt(BANDWIDTH))
# exp(−1/h): the neighbours' weights are exp(−f²/h) · exp(∓2f/h) times this, which saves exponentials
STEP = exp(-1 / BANDWIDTH)


def gaussian_envelope(box_size: int, padding: int, xp=np):
    """(box_size,) float32 along one axis: what back-projection by this kernel multiplies the density with.

    A node of numerator / weight is the mean of the coefficients about it, Σ K(n − q) V̂(q) / Σ K(n − q). Where these lie
    densely that is the convolution with K / ∫K, so the envelope is K's Fourier transform, 1 at the centre: what the
    weight cancels is the kernel's sum, not its shape. K includes the truncation,
    ∫ exp(−u²/h) cos(2πux / padded box) du / ∫ exp(−u²/h) du over |u| ≤ 1.5. A ridge in the denominator that is smooth
    over the kernel only scales it.
    """
    nodes, weights = np.polynomial.legendre.leggauss(32)
    u = HALF_WIDTH * nodes
    kernel = weights * np.exp(-u ** 2 / BANDWIDTH)
    position = (np.arange(box_size) - box_size // 2) / (box_size * padding)
    return xp.asarray(np.cos(2 * np.pi * np.outer(position, u)) @ kernel / kernel.sum(), dtype=np.float32)


def slice_points(half, rotations, points):
    """Gaussian sums of a half volume's 27 nodes about Aᵀ (x, y, 0): (n, p) complex64; the adjoint of `insert_points`.

    rotations : (n, 3, 3); points : (p, 2) in padded Fourier pixels
    """
    values = np.zeros((len(rotations), len(points)), np.complex128)
    for index, weight, mate in _footprint(half.shape, rotations, points):
        values += weight * np.where(mate, np.conj(half[index]), half[index])
    return values.astype(np.complex64)


def insert_points(values, weights, rotations, points, numerator, weight_volume):
    """Add (n, p) values and weights into half volumes, in place; arguments as in `slice_points`."""
    for index, weight, mate in _footprint(numerator.shape, rotations, points):
        np.add.at(numerator, index, (weight * np.where(mate, np.conj(values), values)).astype(np.complex64))
        np.add.at(weight_volume, index, (weight * weights).astype(np.float32))


def _footprint(shape, rotations, points):
    """For each of the 27 nodes: indices (z, y, x), weight, and whether it is the Friedel mate that is stored there."""
    centre = shape[0] // 2
    frequency = np.einsum("pi,nij->npj", points.astype(np.float64), rotations[:, :2, :].astype(np.float64))
    flipped = frequency[..., 0] < 0
    frequency = np.where(flipped[..., None], -frequency, frequency)
    nearest = np.floor(frequency + 0.5).astype(int)
    for offset in np.ndindex(3, 3, 3):
        node = nearest + offset - 1
        weight = np.exp(-((frequency - node) ** 2).sum(axis=-1) / BANDWIDTH) / MEAN_SUM ** 3
        beyond = node[..., 0] < 0
        node = np.where(beyond[..., None], -node, node)
        yield (node[..., 2] + centre, node[..., 1] + centre, node[..., 0]), weight, flipped ^ beyond
