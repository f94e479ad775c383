"""Scores of pairs of direction and shift over all in-plane angles, and what a search picks of them, for many images.

What `polar.correlate` does for one image at a time, laid out for a GPU: harmonics last, so that neighbouring threads
read neighbouring numbers, and only those pairs that are asked for (pairs.py). Bytes for each pair, of R rings and A
angles: its products with one direction and one image, 4 A written; copied by CuPy before they are transformed back, 4
A read and written; transformed to scores, 4 A read and written, and read once more by whoever picks. For each
rectangle of 4 × 4 pairs 8 numbers a ring and harmonic are read, mostly from the caches, for 16 products.

Scores stay on the GPU: one number is kept of each pair, and the few poses that count come back.
"""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module
from .pairs import TILE, Pairs
from .polar import harmonics


def shifted_harmonics(filtered, phases, image, shift):
    """(n, R, A/2 + 1) complex64 harmonics of images under shifts.

    filtered : (images, R, A/2) complex64, on the half circle; phases : (shifts, R, A/2) complex64, of the shifts
    image, shift : (n,) int32, which of each
    """
    if array_module(filtered) is np:
        return harmonics(filtered[image] * phases[shift])
    from ._pair_scores_cupy import shifted_harmonics as kernel
    return kernel(filtered, phases, image, shift)


def pair_scores(linear, square, shifted, ctf, slots, offsets, pairs: Pairs, n_angles: int):
    """(len(pairs), n_angles) float32 log probabilities of each pair's poses, up to the image's own constant.

    linear (d, R, A/2 + 1), square (d, R, A/4 + 1) : complex64 harmonics of the directions' slices and of their power,
    weighted by ring (abinitio/slices.py); shifted : of `shifted_harmonics`; ctf : (images, R, A/4 + 1) complex64
    harmonics of C² / σ²; slots : (images, shifts) int32, where in `shifted` an image's shift is
    offsets : (shifts,) float32, added to the scores; pairs : whose rows are those of `linear`
    """
    if array_module(linear) is np:
        return pair_scores_plain(linear, square, shifted, ctf, slots, offsets, pairs, n_angles)
    from ._pair_scores_cupy import pair_scores as kernel
    return kernel(linear, square, shifted, ctf, slots, offsets, pairs, n_angles)


def pair_scores_plain(linear, square, shifted, ctf, slots, offsets, pairs, n_angles):
    """As `pair_scores`, pair by pair in numpy: the truth for the CUDA kernel."""
    image, row, shift = pairs.expanded()
    scores = np.empty((len(pairs), n_angles), np.float32)
    for p, (i, d, s) in enumerate(zip(image, row, shift)):
        product = (linear[d] * shifted[slots[i, s]].conj()).sum(axis=0)
        product[::2] -= 2 * (square[d] * ctf[i].conj()).sum(axis=0)
        product[0] += n_angles * offsets[s]
        scores[p] = np.fft.irfft(product, n_angles)
    return scores


def segment_max(values, segments):
    """(n,) float32: the largest of the values in each segment; segments : (n + 1,) int64, none of them empty."""
    if array_module(values) is np:
        return np.maximum.reduceat(values, segments[:-1])
    from ._pair_scores_cupy import segment_max as kernel
    return kernel(values, segments)


def segment_sum(values, segments):
    """(n,) float64: the sum of the float64 values in each segment; segments : as in `segment_max`."""
    if array_module(values) is np:
        return np.add.reduceat(values, segments[:-1])
    from ._pair_scores_cupy import segment_sum as kernel
    return kernel(values, segments)


def pair_masses(scores, image, best, least):
    """(Σ exp(score − best), the same times (score − best)), (p,) float64 each, of the scores that are at least `least`.

    scores : (p, A) float32; image : (p,) int32; best, least : (images,) float32
    """
    if array_module(scores) is np:
        kept = scores >= least[image][:, None]
        below = np.where(kept, scores - best[image][:, None], 0).astype(float)
        weight = np.where(kept, np.exp(below), 0)
        return weight.sum(axis=1), (weight * below).sum(axis=1)
    from ._pair_scores_cupy import pair_masses as kernel
    return kernel(scores, image, best, least)


def score_counts(scores, image, best, least, bins: int, width: float, histogram) -> None:
    """Count the scores that are at least `least` by how far they lie below `best`, into (images, bins) uint64.

    width : of a bin, nats; the rest as in `pair_masses`
    """
    if array_module(scores) is np:
        pair, angle = np.nonzero(scores >= least[image][:, None])
        below = ((best[image[pair]] - scores[pair, angle]) / np.float32(width)).astype(int)
        np.add.at(histogram, (image[pair], np.clip(below, 0, bins - 1)), np.uint64(1))
    else:
        from ._pair_scores_cupy import score_counts as kernel
        kernel(scores, image, best, least, bins, width, histogram)


def draw_angles(scores, row, image, mass, best, least):
    """(d,) int32: the angle of scores[row] at which Σ exp(score − best) of those that are at least `least` reaches
    `mass`, the last such where it never does; row, image : (d,) int32; mass : (d,) float32."""
    if array_module(scores) is np:
        kept = scores[row] >= least[image][:, None]
        weight = np.where(kept, np.exp(scores[row] - best[image][:, None]), 0).astype(np.float32)
        reached = (np.cumsum(weight, axis=1) >= mass[:, None]) & kept
        last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
        return np.where(reached.any(axis=1), reached.argmax(axis=1), last).astype(np.int32)
    from ._pair_scores_cupy import draw_angles as kernel
    return kernel(scores, row, image, mass, best, least)


def tiles(pairs: Pairs):
    """(rectangle, first), (t,) int32 each: the pairs in tiles of TILE × TILE, none of which leaves its rectangle."""
    xp = array_module(pairs.image)
    end = xp.cumsum((pairs.count + TILE - 1) // TILE)
    number = xp.arange(int(end[-1]) if len(end) else 0)
    rectangle = xp.searchsorted(end, number, side="right")
    before = xp.concatenate([xp.zeros(1, end.dtype), end])[rectangle]
    return rectangle.astype(xp.int32), (TILE * (number - before)).astype(xp.int32)
