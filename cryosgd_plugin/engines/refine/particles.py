"""What a refinement knows of each particle."""
from __future__ import annotations

import numpy as np

from ...core.poses import angular_distance_deg


class ParticleResults:
    """Per particle, in table order: rotations (n, 3, 3), shifts_a (n, 2), structures (n,), class_mass (n, K),
    log_gain, entropy, width_deg (see posing.PosedImages), change_deg, change_a and change_class, the share that went to
    other classes, since it was last drawn (nan before it was twice), scale: how strong its signal is, posed: whether it
    has a pose yet."""

    _saved = ("rotations", "shifts_a", "structures", "class_mass", "log_gain", "entropy", "width_deg", "change_deg",
              "change_a", "change_class", "scale", "posed")

    def __init__(self, n: int, classes: int):
        self.rotations, self.shifts_a = np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 2))
        self.structures, self.class_mass = np.zeros(n, int), np.zeros((n, classes))
        self.log_gain, self.entropy, self.width_deg = np.zeros(n), np.zeros(n), np.zeros(n)
        self.change_deg, self.change_a, self.change_class = (np.full(n, np.nan) for _ in range(3))
        self.scale, self.posed = np.ones(n), np.zeros(n, bool)

    def begin(self, table) -> None:
        """Take the poses that the particles of a ParticleTable have."""
        self.rotations, self.shifts_a = np.array(table.rotations, float), np.array(table.shifts_a, float)
        self.posed[:] = True

    def keep(self, rows, result, operators) -> None:
        """Take the PosedImages of some rows; operators : of the symmetry, whose mates are one pose."""
        known = self.posed[rows]
        moved = np.min([angular_distance_deg(result.rotations @ operator, self.rotations[rows])
                        for operator in operators], axis=0)
        self.change_deg[rows] = np.where(known, moved, np.nan)
        self.change_a[rows] = np.where(known, np.hypot(*(result.shifts_a - self.shifts_a[rows]).T), np.nan)
        # a pose that was given comes without a class
        known = known & self.class_mass[rows].any(axis=1)
        gone = 0.5 * np.abs(result.class_mass - self.class_mass[rows]).sum(axis=1)
        self.change_class[rows] = np.where(known, gone, np.nan)
        self.posed[rows] = True
        for name in ("rotations", "shifts_a", "structures", "class_mass", "log_gain", "entropy", "width_deg"):
            getattr(self, name)[rows] = getattr(result, name)

    def state(self) -> dict:
        """All of it, as arrays."""
        return {name: getattr(self, name) for name in self._saved}

    def restore(self, state: dict) -> None:
        """Take what `state` gave."""
        for name in self._saved:
            setattr(self, name, np.asarray(state[name]))
