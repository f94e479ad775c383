"""The grid of penalties of paper 3 (§2.5), and the figure that its Fig. 1-3 plot over it.

The paper refines with each point of the grid and takes the one whose halves agree farthest. Of two half-maps alone,
`scanned` makes the maps of their next iteration, and tells where the FSC of these falls below 0.143. The penalties
bring noise into agreement too, so that is no resolution, and nothing is chosen by it: each half chooses by what it
foretells of the truth (choose.py), for the same points.
"""
from __future__ import annotations

from itertools import product

import numpy as np

from ...core.shells import fsc
from .choose import LARGEST_BOX, shell_of_crossing
from .coarse import coarse
from .config import SparseTVConfig
from .solver import EmptyMap, step_after_wiener

# α, β, γ, in its units
GRID = (0.4, 0.5), (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6), (0.05, 0.1, 0.2)
THRESHOLD = 0.143
# times the shell to which half-maps agree that a scan's box holds
MARGIN = 1.25


def scanned(halves, config: SparseTVConfig, *, epsilon: float, largest_box: int, grid=GRID) -> dict:
    """{(α, β, γ): Fourier radius, px, to which the regularised maps of both halves agree}; nan where one is empty.

    halves : FourierData of each, numpy; largest_box : px, of which maps are at most
    """
    small = [coarse(one, config, epsilon, largest_box) for one in halves]
    found = {}
    for penalties in product(*grid):
        try:
            maps = [step_after_wiener(one.data, one.settings(*penalties), epsilon=one.epsilon).volume for one in small]
        except EmptyMap:
            found[penalties] = np.nan
            continue
        found[penalties] = shell_of_crossing(fsc(*maps), THRESHOLD, small[0].data.box)
    return found


def box_of_scan(measured) -> int:
    """px of an even box that reaches beyond the resolution of half-maps with this FSC, at least LARGEST_BOX."""
    reached = shell_of_crossing(measured, THRESHOLD, 2 * (len(measured) - 1))
    return max(LARGEST_BOX, 2 * int(np.ceil(MARGIN * reached)))
