"""Importance sampling of the quadrature (paper 1 §3.4): how few points are drawn, and what each then stands for.

Three independent distributions, over rows (structure and direction), in-plane angles and shifts, are each a mixture
(eq. 20) of the image's last marginals, annealed and blurred onto the present grid by kernels (eq. 21-23), with a floor
that reaches every point. The paper draws N = s0 / Σ q² points with replacement, few of them different; here twice as
many different points are drawn as are expected among these, with inclusion probabilities min(1, c q), each standing for
1 / probability points (Horvitz and Thompson): as unbiased, and a point that surely matters is evaluated once, with no
noise. What the distributions are made of: pose_memory.py.
"""
from __future__ import annotations

import numpy as np

# iterations of paper 1's runs, in whose units its annealing is given
PAPER_ITERATIONS = 5000
# points drawn for each different one of the paper's: what the unlikely ones stand for is all the noise there is (of the
# ribosome at 20 Å and strongly inflated noise log p is off by 0.05 nat where this is 1)
SPARE = 2


def mixing_proportion(progress: float) -> float:
    """α of eq. 20 for a last visit at this share of the run."""
    return float(max(0.05, 2 ** (-0.25 * (PAPER_ITERATIONS * progress // 50))))


def annealing_temperature(progress: float) -> float:
    """T of eq. 20; before the paper's iteration 50, where its formula divides by zero, that of iteration 50."""
    return float(max(1.25, 2 ** (10.0 / max(1.0, PAPER_ITERATIONS * progress // 50))))


def effective_size(q) -> float:
    """1 / Σ q² of a distribution."""
    return 1 / float(np.square(q).sum())


def sample_size(q, oversampling: float) -> int:
    """Points to draw of a distribution q: SPARE for each different one expected among N = s0 / Σ q² drawn with
    replacement, all at most; oversampling : s0."""
    count = np.ceil(oversampling * effective_size(q))
    different = -np.expm1(count * np.log1p(-np.minimum(q, 1 - 1e-12))).sum()
    return int(min(len(q), np.ceil(SPARE * different)))


def draw(q, count: int, rng):
    """`count` different points of a distribution q > 0, unbiased: (sorted indices, log of what each stands for).

    Inclusion probabilities are min(1, c q) with c such that they sum to `count`; the draw is systematic in the order
    of the points, so that neighbours are spread evenly.
    """
    n = len(q)
    if count >= n:
        return np.arange(n), np.zeros(n)
    descending = np.sort(q)[::-1]
    rest = np.cumsum(descending[::-1])[::-1]
    # the largest points are certain: the first k for which the others' probabilities stay below one
    certain = int(np.argmax((count - np.arange(count)) * descending[:count] <= rest[:count]))
    probability = np.minimum(1.0, (count - certain) / rest[certain] * q)
    sure = probability >= 1 - 1e-12
    ladder = np.cumsum(np.where(sure, 0.0, probability))
    picked = np.diff(np.floor(ladder + rng.random()), prepend=0) > 0
    # the ladder begins at the random offset, below one: a first step onto 1 is a pick
    indices = np.flatnonzero(sure | picked)
    return indices, -np.log(np.where(sure, 1.0, probability)[indices])


def mixture(own, average, alpha):
    """(1 − α) own + α (half the data set's average, half uniform), each summing to 1 (eq. 20). Arrays (n,) of weights
    ≥ 0, of any scale; alpha : 0 to 1."""
    floor = 0.5 * average / average.sum() + 0.5 / len(own)
    return (1 - alpha) * own / own.sum() + alpha * floor
