"""Bringing maps onto each other, and onto the axes of a point group: the public names of the `align_*` files."""
from __future__ import annotations

from .align_group import align_to_group
from .align_maps import Alignment, PreparedMap, align_hands, align_prepared, align_volume, mirror

__all__ = ["Alignment", "PreparedMap", "align_hands", "align_prepared", "align_to_group", "align_volume", "mirror"]
