"""How far two half-maps agree, as evidence: what both had in common from the beginning is none."""
from __future__ import annotations

import numpy as np


def resolved(resolution_a: float, shared_shells: int, box_size: int, pixel_size: float) -> float:
    """A curve's crossing in Å if it is evidence, infinity if not.

    resolution_a : where the FSC of two half-maps falls below its threshold; shared_shells : the last Fourier shell that
    both maps were given. At least the next one must lie above the threshold: a crossing between the two is only their
    interpolation. The Nyquist line, which no image tells of, is none.
    """
    first = shared_shells + 1
    # a hair of room: the crossing may lie on that very shell
    reached = first <= box_size * pixel_size / resolution_a + 1e-6 and first < box_size // 2
    return float(resolution_a) if reached else np.inf


def agreement(*resolutions_a) -> str:
    """How far halves agree, in words; of several maps the best.

    resolutions_a : Å as of `resolved`, infinity (or None, as JSON has it) where nothing is
    """
    best = min((one for one in resolutions_a if one is not None), default=np.inf)
    return f"agree to {best:.1f} Å" if np.isfinite(best) else "do not agree beyond what both began with"
