"""Imposing a point group late: first find where its axes lie in the map that grew without it."""
from __future__ import annotations

import numpy as np

from ...core.symmetry import point_group, symmetrise
from ..align import align_to_group


class Symmetriser:
    """Keeps the map in C1 until its time, then turns it onto the group's axes and imposes the group.

    group : point group name; start : share of the run after which it is imposed.
    current : the group in force; operators : (g, 3, 3) of it.
    score : once imposed, the share of the map's power that the group explained at that moment (1: all of it).
    """

    def __init__(self, group: str, start: float):
        self.group, self.start = group.upper(), start
        self.current = "C1"
        self.score = None

    @property
    def operators(self) -> np.ndarray:
        return point_group(self.current)

    @property
    def fixes_centre(self) -> bool:
        """Whether the operators in force leave only one centre."""
        return len(self.operators) > 1

    def is_due(self, iteration: int, iterations: int) -> bool:
        return self.current != self.group and self.group != "C1" and iteration >= self.start * iterations

    def impose(self, volume, radius: int) -> np.ndarray:
        """Turn the map onto the group's axes, average it over the group, and keep the group from now on.

        volume : (d, d, d) float32; radius : Fourier px it is known to. Returns (d, d, d) float32.
        """
        alignment, self.score = align_to_group(volume, self.group, radius=min(radius, volume.shape[0] // 2 - 1))
        self.current = self.group
        return symmetrise(alignment.apply(volume), self.group)
