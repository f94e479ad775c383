"""How far a refinement looks in each iteration, and when it ends."""
from __future__ import annotations

import numpy as np

# the FSC at which a shell is used for poses
USED = 0.143
# shells beyond the last such one that are used as well, once the halves agree so far
MARGIN, MARGIN_SHARE = 2, 0.1
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


def next_radius(curve, radius_maps: int, least: int, box_size: int) -> int:
    """The radius that poses may use next: what both halves agree on, and a little more; never less than `least`.

    One low shell with good ones beyond is the CTF's, not the end.
    """
    low = np.asarray(curve[1:radius_maps + 1]) < USED
    below = np.flatnonzero(low[:-1] & low[1:])
    agreed = int(below[0]) if len(below) else radius_maps - int(low[-1])
    return int(min(box_size // 2 - 1, max(least, agreed + max(MARGIN, round(MARGIN_SHARE * agreed)))))


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
            self.last, self.reason = True, ("the resolution and the poses no longer changed" if settled else
                                            "the resolution no longer got better")
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
