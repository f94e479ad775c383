"""Whether a reference has the point group that is to be imposed on it, on the group's own axes."""
from __future__ import annotations

import numpy as np

from ...core.masks import spherical_average
from ...core.symmetry import point_group, symmetrise

# mean correlation of a map with its mates, less its spherical average, below which the group is not the map's
LEAST_CORRELATION = 0.5
# share of the power that is not spherical, below which there is nothing to tell by
ROUND = 0.003


def correlation_with_mates(volume, group: str) -> float:
    """Mean correlation of a map (d, d, d) with itself under each operator of a point group but the identity.

    The spherical average is left out, which every group has. 1 for C1, and for a map too round to tell.
    """
    order = len(point_group(group))
    uneven = volume - spherical_average(volume)
    power = float(np.sum(uneven.astype(np.float64) ** 2))
    if order == 1 or power < ROUND * float(np.sum(volume.astype(np.float64) ** 2)):
        return 1.0
    # averaging over the group is a projection: what it keeps is (1 + Σ correlations) / order
    kept = float(np.sum(symmetrise(uneven, group).astype(np.float64) ** 2)) / power
    return (order * kept - 1) / (order - 1)
