"""Imposing a point group late: first find where its axes lie in the maps that grew without it."""
from __future__ import annotations

import numpy as np

from ...core.symmetry import point_group, symmetrise
from ..align import align_to_group

# progress is a sum of steps: its rounding is no reason to be late
ROUNDING = 1e-9


class Symmetriser:
    """Keeps the maps in C1 until their time, then turns each onto the group's axes and imposes the group.

    group : point group name; start : share of the run after which it is imposed.
    current : the group in force; operators : (g, 3, 3) of it.
    scores : once imposed, per map the share of its power that the group explained at that moment (1: all of it).
    imposed : iterations that were done before it was imposed; None before that, and for C1.
    """

    def __init__(self, group: str, start: float):
        self.group, self.start = group.upper(), start
        self.current = "C1"
        self.scores = self.imposed = None

    @property
    def operators(self) -> np.ndarray:
        return point_group(self.current)

    @property
    def fixes_centre(self) -> bool:
        """Whether the operators in force leave only one centre."""
        return len(self.operators) > 1

    @property
    def outstanding(self) -> bool:
        """Whether the group is still to be imposed."""
        return self.current != self.group

    def is_due(self, progress: float) -> bool:
        return self.outstanding and progress >= self.start - ROUNDING

    def impose(self, volumes, radius: int, iteration: int) -> np.ndarray:
        """Turn each map onto the group's axes, average it over the group, and keep the group from now on.

        volumes : (K, d, d, d) float32; radius : Fourier px they are known to; iteration : iterations done. Returns the
        same shape.
        """
        reach = min(radius, volumes.shape[-1] // 2 - 1)
        found = [align_to_group(volume, self.group, radius=reach) for volume in volumes]
        self.scores = np.array([score for _, score in found])
        self.current, self.imposed = self.group, iteration
        return np.stack([symmetrise(alignment.apply(volume), self.group)
                         for (alignment, _), volume in zip(found, volumes)])
