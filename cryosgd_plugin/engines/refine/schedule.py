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
# what the resolution must win to count as better, in shells
HALF_A_SHELL = 0.5
# the first sample of each half-set, for each class; how many times more are drawn next; the largest sample, as a share
# of the half-set; iterations with samples, at most
FIRST_SAMPLE, MORE, LARGEST_SAMPLE, MOST_SAMPLED = 300, 3, 0.6, 40
# shells by which the radius in use may grow: at least, and as a share of it; with samples and with all particles
SLOW_GROWTH, FAST_GROWTH = (1, 0.1), (2, 0.25)
# poses have settled that move by less than this share of their own width, and of the turn that moves the particle's
# edge by half of the resolution in use: of broad posteriors the width alone says nothing (apoferritin's would have
# ended an ångström early)
SETTLED = 0.3
# classes still part where a particle's share in them changes by more than this, on average
PARTING = 0.02


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


def grown(radius: int, sampled: bool) -> int:
    """The largest radius that may follow; slowly as long as iterations are cheap (see `Convergence`)."""
    least, share = SLOW_GROWTH if sampled else FAST_GROWTH
    return radius + max(least, round(share * radius))


class Convergence:
    """Watches the iterations' records: how many particles the next one uses, and when all of it ends.

    A low-passed reference leaves its mark on the poses, and so on the next maps, of both halves alike: their FSC does
    not show it. It fades by a part with each iteration, however many particles that has. So a first phase draws a
    sample of each half-set anew for each iteration and lets the resolution in use grow slowly; where that no longer
    helps the sample grows, and at last all particles are used.

    sample : particles of each half-set to draw, 0 for all of them; last : set for the iteration to Nyquist;
    done : after it; reason : why it came, in words. iterations : with all particles, before the last one; extent_a :
    side of the box, Å; n_half : particles of a half-set, of which samples may be drawn, 0 for no samples
    """

    def __init__(self, iterations: int, extent_a: float, n_half: int = 0, classes: int = 1):
        self.iterations, self.extent_a, self.n_half = iterations, extent_a, n_half
        self.sample = self._at_most(FIRST_SAMPLE * classes)
        self.last = self.done = False
        self.reason = None
        self.best = np.zeros(classes)
        self.best_radius, self.since, self.sampled, self.whole = 0, 0, 0, 0

    def note(self, record: dict, next_radius: int = 0) -> None:
        """Take an iteration's record, and the radius that poses will use next."""
        if self.last:
            self.done = True
            return
        shells = self.extent_a / np.asarray(record["resolutions_a"], float)
        # of each class; small gains add up until they count
        won = shells > self.best + HALF_A_SHELL
        better = bool(won.any())
        self.best = np.where(won, shells, self.best)
        # with samples an iteration costs little: it is worth while as long as the resolution in use may grow
        self.since = 0 if better or (self.sample and next_radius > self.best_radius > 0) else self.since + 1
        self.best_radius = max(self.best_radius, next_radius)
        if self.sample:
            self.sampled += 1
            if self.since >= PATIENCE or self.sampled >= MOST_SAMPLED:
                self.since = 0
                self.sample = self._at_most(MORE * self.sample) if self.sampled < MOST_SAMPLED else 0
            return
        self.whole += 1
        still = SETTLED * min(record["width_deg"], record["edge_deg"])
        settled = record["change_deg"] is not None and record["change_deg"] < still
        # several classes may part for long at the same resolution
        parting = len(self.best) > 1 and (record["change_class"] is None or record["change_class"] > PARTING)
        if not parting and (self.since >= PATIENCE or (self.since >= 1 and settled)):
            self.last, self.reason = True, ("the resolution and the poses no longer changed" if settled else
                                            "the resolution no longer got better")
        elif self.whole >= self.iterations:
            self.last, self.reason = True, f"{self.iterations} iterations were made"

    def state(self) -> dict:
        """What `note` has learned, as plain values."""
        return {**{name: getattr(self, name) for name in self._saved}, "best": self.best, "reason": self.reason or ""}

    _saved = ("last", "done", "best_radius", "since", "sample", "sampled", "whole")

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        for name in self._saved:
            setattr(self, name, np.asarray(state[name]).item())
        self.best = np.asarray(state["best"])
        self.reason = str(state["reason"]) or None

    def _at_most(self, count):
        """A sample of that many, or 0 where it would be most of a half-set."""
        return count if count <= LARGEST_SAMPLE * self.n_half else 0
