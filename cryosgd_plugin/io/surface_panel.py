"""The isosurface of a volume on matplotlib axes: picture, scale bar, axes and what was done to draw it."""
from __future__ import annotations

import numpy as np

from .plane_panel import AXIS_COLOURS
from .surface import build_mesh, render

PIXELS = 440
PIXELS_WHILE_TURNING = 260
BAR_LENGTHS_A = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class SurfacePanel:
    """The surface at the state's level; turned and zoomed through the state's rotation and half width."""

    def __init__(self, axes, data, state):
        self.axes, self.data, self.state = axes, data, state
        self.mesh, self._built_for = None, None
        self.image = axes.imshow(np.ones((2, 2, 3)), extent=(-1, 1, -1, 1), origin="upper", interpolation="bilinear")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlim(-1, 1)
        axes.set_ylim(-1, 1)
        for spine in axes.spines.values():
            spine.set_color("#adb5bd")
        self.bar, = axes.plot([], [], color="#212529", lw=2.5, solid_capstyle="butt")
        self.bar_text = axes.text(0, 0, "", fontsize=8, ha="center", va="bottom", color="#212529")
        self.arms = [axes.plot([], [], color=AXIS_COLOURS[2 - k], lw=1.8)[0] for k in range(3)]
        self.arm_texts = [axes.text(0, 0, "xyz"[k], fontsize=8, color=AXIS_COLOURS[2 - k], ha="center", va="center")
                          for k in range(3)]
        self.message = axes.text(0, 0, "", ha="center", va="center", fontsize=10, color="#c92a2a", wrap=True)
        self.note = axes.text(0.98, 0.97, "", transform=axes.transAxes, fontsize=7.5, ha="right", va="top",
                              color="#495057", linespacing=1.35)
        self.update()

    def update(self, turning=False):
        """Draw what the state asks for; `turning` draws a quicker, coarser picture."""
        state, survey = self.state, self.data.survey
        wanted = (id(self.data), state.level, state.hide_dust)
        if self._built_for != wanted:
            self.mesh, self._built_for = build_mesh(self.data, state.level, state.hide_dust), wanted
        if not state.half_width_a:
            state.half_width_a = self._fitting_half_width()
        self.image.set_data(render(self.mesh, state.rotation, PIXELS_WHILE_TURNING if turning else PIXELS,
                                   state.half_width_a, state.colour_by_radius, oversample=1 if turning else 2))
        self.message.set_text(self._message())
        self.note.set_text(self._note())
        self.axes.set_title(f"surface at {state.level:.4g}  ({survey.in_sigma(state.level):+.2f} σ)", fontsize=9, pad=4)
        self._draw_scale_bar()
        self._draw_arms()

    def _fitting_half_width(self):
        """Å that leaves a margin around the surface, or half the box where there is none."""
        box = max(high - low for low, high in (self.data.extent_a(axis) for axis in range(3)))
        return 1.2 * float(np.percentile(self.mesh.radii_a, 99)) if len(self.mesh.faces) else box / 2

    def _message(self):
        survey = self.data.survey
        if survey.sigma == 0:
            return f"the density is {survey.mean:.4g} everywhere:\nno surface"
        if self.state.level >= survey.maximum:
            return f"no density above {self.state.level:.4g};\nthe highest is {survey.maximum:.4g}"
        if not len(self.mesh.faces):
            return "no surface at this level"
        return ""

    def _note(self):
        data, lines = self.data, []
        if data.survey.factor > 1:
            coarse = data.survey.factor * data.voxel_size_a[2]
            lines.append(f"drawn from a copy binned {data.survey.factor}× ({coarse:.3g} Å/px)")
        if self.mesh.dust_hidden:
            lines.append(f"{self.mesh.dust_hidden} small pieces hidden")
        if self.state.colour_by_radius and len(self.mesh.faces):
            low, high = np.percentile(self.mesh.radii_a, (2, 98))
            lines.append(f"radius {low:.0f} Å blue, {high:.0f} Å red")
        if data.survey.non_finite:
            lines.append(f"{data.survey.non_finite} NaN or infinite voxels drawn as 0")
        return "\n".join(lines)

    def _draw_scale_bar(self):
        width_a = 2 * self.state.half_width_a
        length = max([bar for bar in BAR_LENGTHS_A if bar <= 0.3 * width_a], default=0.3 * width_a)
        share = length / self.state.half_width_a
        self.bar.set_data([0.92 - share, 0.92], [-0.90, -0.90])
        self.bar_text.set_position((0.92 - share / 2, -0.87))
        self.bar_text.set_text(f"{length:g} Å")

    def _draw_arms(self):
        middle, length = np.array([-0.80, -0.80]), 0.12
        for k in range(3):
            tip = np.asarray(self.state.rotation)[:2, k]
            self.arms[k].set_data(*zip(middle, middle + length * tip))
            self.arm_texts[k].set_position(middle + (length + 0.045) * tip)
            # an arm that points at the viewer has no direction to write its letter in
            self.arm_texts[k].set_visible(bool(np.hypot(*tip) > 0.25))
