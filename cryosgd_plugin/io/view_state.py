"""What a volume window shows, apart from the volume: kept when another volume takes its place."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .section_state import SectionState
from .surface import turn, view_along


@dataclass
class ViewState(SectionState):
    """Settings of a volume picture: those of its planes, and of the surface.

    hide_dust, colour_by_radius : of the surface; rotation : (3, 3) of the surface
    half_width_a : Å from the middle to the edge of the surface's panel, 0 fits it
    """

    hide_dust: bool = False
    colour_by_radius: bool = False
    rotation: np.ndarray = field(default_factory=lambda: turn(view_along("z"), 0.08, 0.12))
    half_width_a: float = 0.0
