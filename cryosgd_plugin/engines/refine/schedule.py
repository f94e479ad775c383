"""How far a refinement looks in each iteration, and when it ends."""
from __future__ import annotations

import numpy as np

# the FSC at which a shell is used for poses
USED = 0.143
# shells beyond the last such one that are used as well, once the halves agree so far
MARGIN, MARGIN_SHARE = 2, 0.1
# no poses are found with fewer shells
FEWEST = 4
# maps are made to so many times the radius in use: how far poses of one resolution carry is seen at once
REACH, REACH_SHELLS = 1.5, 8
# iterations without a better shell after which nothing is expected any more
PATIENCE = 2
# poses that move by less than this share of their own width have settled
SETTLED = 0.3


def radius_of_maps(radius: int, box_size: int, last: bool) -> int:
    """Fourier radius of the maps of an iteration whose poses use `radius`."""
    nyquist = box_size // 2 - 1
    return nyquist if last else int(min(nyquist, max(REACH * radius, radius + REACH_SHELLS)))


def next_radius(curve, radius_maps: int, box_size: int) -> int:
    """The radius that poses may use next: what both halves agree on, and a little more."""
    below = np.flatnonzero(np.asarray(curve[1:radius_maps + 1]) < USED)
    agreed = int(below[0]) if len(below) else radius_maps
    return int(min(box_size // 2 - 1, max(FEWEST, agreed + max(MARGIN, round(MARGIN_SHARE * agreed)))))


class Convergence:
    """Watches the iterations' records: `last` is set for the one to Nyquist, `done` after it; `reason` in words."""

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.last = self.done = False
        self.reason = None
        self.best, self.since = np.inf, 0

    def note(self, record: dict) -> None:
        """Take an iteration's record."""
        if self.last:
            self.done = True
            return
        better = record["resolution_a"] < 0.995 * self.best
        self.since = 0 if better else self.since + 1
        self.best = min(self.best, record["resolution_a"])
        settled = record["change_deg"] is not None and record["change_deg"] < SETTLED * record["width_deg"]
        if self.since >= PATIENCE or (self.since >= 1 and settled):
            self.last, self.reason = True, "the resolution and the poses no longer changed"
        elif record["iteration"] >= self.iterations:
            self.last, self.reason = True, f"{self.iterations} iterations were made"

    def state(self) -> dict:
        """What `note` has learned, as plain values."""
        return dict(last=self.last, done=self.done, reason=self.reason or "", best=self.best, since=self.since)

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.last, self.done = bool(state["last"]), bool(state["done"])
        self.reason = str(state["reason"]) or None
        self.best, self.since = float(state["best"]), int(state["since"])
