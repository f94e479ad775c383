"""Where the time of an iteration goes."""
from __future__ import annotations

import time
from contextlib import contextmanager

import numpy as np


class Phases:
    """Seconds by the name of a phase, as `with phases(name):` blocks add them up; no block within another.

    xp : numpy, or cupy, whose queue is waited for at both ends: work is counted where it is asked for
    """

    def __init__(self, xp=np):
        self.xp, self.seconds = xp, {}

    @contextmanager
    def __call__(self, name: str):
        started = self._now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - started

    def add(self, other: "Phases") -> None:
        """Take another's seconds as well."""
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _now(self):
        if self.xp is not np:
            self.xp.cuda.get_current_stream().synchronize()
        return time.perf_counter()
