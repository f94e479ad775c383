"""What the posterior of a minibatch leaves (expectation.py): of each image, and summed over all."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from .slices import SliceSums


@dataclass
class ImageResult:
    """One image.

    log_evidence : nats, T log of the prior mean of exp(log likelihood / T), without the image's own −½ Σ|X|²/σ²
    effective_poses : 1 / Σ p²; n_poses : poses of the whole quadrature; evaluated : scores computed, all levels
    class_mass : (K,) posterior of each structure; structure, rotation (A), shift_a (Å), best_mass : of the best pose
    marginals : what importance.py remembers of it, where the gradient was summed
    """

    log_evidence: float
    effective_poses: float
    n_poses: int
    evaluated: int
    class_mass: np.ndarray
    structure: int
    rotation: np.ndarray
    shift_a: np.ndarray
    best_mass: float
    marginals: Optional["PoseMarginals"] = None


@dataclass
class PoseMarginals:
    """Posterior marginals of one image over the points that hold nearly all of it.

    rows, row_mass : rows of the grid; shifts_a (s, 2), shift_mass; angles_deg, angle_mass : in-plane, relative to the
    best pose carried over to each direction without twist (core.poses.parallel_transport_psi)
    """

    rows: np.ndarray
    row_mass: np.ndarray
    shifts_a: np.ndarray
    shift_mass: np.ndarray
    angles_deg: np.ndarray
    angle_mass: np.ndarray


@dataclass
class BatchResult:
    """A minibatch: the sums per row, each image's result in order, and for the noise the ring powers of the masked
    images with the share of noise that the mask leaves (MatchedImages); grid : of the finest level."""

    sums: SliceSums
    images: list = field(default_factory=list)
    power: np.ndarray = None
    noise_share: float = 1.0
    grid: object = None
    values: object = None
    _rings: tuple = None

    def rings(self):
        """(numerator, weight) of `SliceSums.rings`, computed once."""
        if self._rings is None:
            self._rings = self.sums.rings()
        return self._rings
