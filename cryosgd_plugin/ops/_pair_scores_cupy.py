"""The kernels of pair_scores on a GPU: `_pair_scores.cu`."""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module
from ._cuda import launch
from .pair_scores import tiles

SOURCES = ("_pair_scores.cu",)
# threads that share a segment, or a pair's angles
SEGMENT_LANES, ANGLE_LANES = 256, 32


def shifted_harmonics(filtered, phases, image, shift):
    """As `pair_scores.shifted_harmonics`."""
    xp = array_module(filtered)
    rings, half = filtered.shape[1:]
    n = len(image)
    circles = xp.empty((_rounded(n), rings, 2 * half), xp.float32)
    launch(SOURCES, "shifted_circles", n * rings * half, xp.ascontiguousarray(filtered), xp.ascontiguousarray(phases),
           image, shift, np.int32(rings), np.int32(half), np.int64(n * rings * half), circles)
    return xp.fft.rfft(circles, axis=2)[:n]


def pair_scores(linear, square, shifted, ctf, slots, offsets, pairs, n_angles):
    """As `pair_scores.pair_scores`."""
    xp = array_module(linear)
    rings, m = linear.shape[1:]
    rectangle, first = tiles(pairs)
    products = xp.empty((_rounded(len(pairs)), m), xp.complex64)
    launch(SOURCES, "pair_products", len(rectangle) * m, linear, square, shifted, ctf, slots, offsets,
           np.int32(len(offsets)), pairs.image, pairs.row, pairs.height, pairs.first, pairs.count, pairs.start,
           np.int64(int(pairs.start[0])), pairs.shifts, rectangle, first, np.int32(rings), np.int32(m),
           np.int64(len(rectangle) * m), np.float32(1 / n_angles), products)
    return xp.fft.irfft(products, n=n_angles, axis=1, norm="forward")[:len(pairs)]


def segment_max(values, segments):
    """As `pair_scores.segment_max`."""
    xp = array_module(values)
    n = len(segments) - 1
    partial = xp.empty((n, SEGMENT_LANES), xp.float32)
    launch(SOURCES, "segment_max", partial.size, values, segments, np.int64(n), np.int32(SEGMENT_LANES), partial)
    return partial.max(axis=1)


def segment_sum(values, segments):
    """As `pair_scores.segment_sum`."""
    xp = array_module(values)
    n = len(segments) - 1
    partial = xp.empty((n, SEGMENT_LANES), xp.float64)
    launch(SOURCES, "segment_sum", partial.size, values, segments, np.int64(n), np.int32(SEGMENT_LANES), partial)
    return partial.sum(axis=1)


def pair_masses(scores, image, best, least):
    """As `pair_scores.pair_masses`."""
    xp = array_module(scores)
    p, angles = scores.shape
    partial = xp.empty((2, p, ANGLE_LANES), xp.float32)
    launch(SOURCES, "pair_masses", p * ANGLE_LANES, scores, image, best, least, np.int32(angles), np.int64(p),
           np.int32(ANGLE_LANES), partial)
    mass, moment = partial.sum(axis=2, dtype=xp.float64)
    return mass, moment


def score_counts(scores, image, best, least, bins, width, histogram):
    """As `pair_scores.score_counts`."""
    launch(SOURCES, "score_counts", scores.size, scores, image, best, least, np.int32(scores.shape[1]),
           np.int64(scores.size), np.int32(bins), np.float32(width), histogram)


def draw_angles(scores, row, image, mass, best, least):
    """As `pair_scores.draw_angles`."""
    xp = array_module(scores)
    angle = xp.empty(len(row), xp.int32)
    launch(SOURCES, "draw_angles", len(row), scores, row, image, mass, best, least, np.int32(scores.shape[1]),
           np.int64(len(row)), angle)
    return angle


def _rounded(n):
    """n or a little more, so that few sizes occur: cuFFT makes a plan for each."""
    step = 1 << max(0, n.bit_length() - 4)
    return -(-n // step) * step
