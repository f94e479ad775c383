"""One of the three orthogonal planes of a volume, as a slice or a projection, on matplotlib axes in Å."""
from __future__ import annotations

import numpy as np

from .section_state import PROJECTIONS
from .volume_data import AXES

# normal axis (0, 1, 2 = z, y, x) → axes drawn to the right and upwards
SCREEN_AXES = {0: (2, 1), 1: (2, 0), 2: (0, 1)}
AXIS_COLOURS = ("#3566cc", "#2b8a3e", "#c92a2a")      # planes across z, y, x, and their traces in the other planes
CONTOUR_COLOUR = "#ff9f1c"
CONTOUR_PIXELS = 256      # a contour line is traced on no finer a grid: it must follow a slider


class PlanePanel:
    """The plane across one axis (`normal` = 0, 1, 2 for z, y, x) of a volume.

    state : SectionState; heading : whose plane it is, where several maps are side by side
    """

    def __init__(self, axes, data, state, normal, heading=""):
        self.axes, self.data, self.state, self.normal, self.heading = axes, data, state, normal, heading
        self.right, self.up = SCREEN_AXES[normal]
        self.contour = None
        extent = (*data.extent_a(self.right), *data.extent_a(self.up))
        self.image = axes.imshow(np.zeros((2, 2)), cmap="gray", origin="lower", extent=extent, aspect="equal",
                                 interpolation="nearest")
        lines = [axes.axvline(0, color=AXIS_COLOURS[self.right], lw=0.9, alpha=0.85),
                 axes.axhline(0, color=AXIS_COLOURS[self.up], lw=0.9, alpha=0.85)]
        self.cross_hair = lines
        axes.set_xlabel(f"{AXES[self.right]} (Å)", labelpad=1, fontsize=9)
        axes.set_ylabel(f"{AXES[self.up]} (Å)", labelpad=0, fontsize=9)
        axes.tick_params(labelsize=8, length=3)
        for spine in axes.spines.values():
            spine.set_color(AXIS_COLOURS[normal])
            spine.set_linewidth(1.6)
        self.update()

    @property
    def projecting(self):
        return self.state.mode == PROJECTIONS

    def update(self):
        """Draw what the state asks for."""
        picture = self.picture()
        self.image.set_data(picture)
        low, high = _projection_greys(picture) if self.projecting else self.state.grey_range
        self.image.set_clim(low, high)
        for line, axis in zip(self.cross_hair, (self.right, self.up)):
            at = self.data.position_a(axis, self.state.position[axis])
            line.set_visible(self.state.cross_hair and not self.projecting)
            line.set_xdata([at, at]) if axis == self.right else line.set_ydata([at, at])
        self._trace(picture)
        self.write_title()

    def write_title(self):
        """Say which section of what is shown."""
        self.axes.set_title(self._title(), fontsize=9, color=AXIS_COLOURS[self.normal], pad=4)

    def picture(self):
        """The 2-D array drawn: rows upwards, columns to the right."""
        if self.projecting:
            plane = self.data.survey.projections[AXES[self.normal]]
        else:
            plane = self.data.plane(self.normal, self.state.position[self.normal], self.state.thickness)
        # planes come with their axes in the order z, y, x
        return plane if self.up < self.right else plane.T

    def voxel_at(self, x, y):
        """The voxel [z, y, x] under a point of the axes (Å); None outside the box."""
        voxel = list(self.state.position)
        for axis, position in ((self.right, x), (self.up, y)):
            voxel[axis] = int(round(position / self.data.voxel_size_a[axis])) + self.data.shape[axis] // 2
            if not 0 <= voxel[axis] < self.data.shape[axis]:
                return None
        return voxel

    def describe(self, x, y):
        """Position and density under a point of the axes, in words."""
        voxel = self.voxel_at(x, y)
        if voxel is None:
            return ""
        if self.projecting:
            value = self.picture()[voxel[self.up], voxel[self.right]]
            return (f"projection along {AXES[self.normal]}: {AXES[self.right]} {x:.1f} Å, {AXES[self.up]} {y:.1f} Å, "
                    f"mean density {value:.4g}")
        value = self.picture()[voxel[self.up], voxel[self.right]]
        place = ", ".join(f"{AXES[axis]} {self.data.position_a(axis, voxel[axis]):.1f}" for axis in (2, 1, 0))
        return (f"{place} Å (voxel x {voxel[2]}, y {voxel[1]}, z {voxel[0]}): density {value:.4g} "
                f"= {self.data.survey.in_sigma(value):+.2f} σ")

    def _title(self):
        axis = AXES[self.normal]
        if self.projecting:
            return f"projection along {axis}"
        index, thickness = self.state.position[self.normal], self.state.thickness
        if self.heading:
            return f"{self.heading}, {axis} = {self.data.position_a(self.normal, index):.1f} Å"
        averaged = f", mean of {thickness} sections" if thickness > 1 else ""
        return (f"{axis} = {self.data.position_a(self.normal, index):.1f} Å"
                f"  (section {index + 1} of {self.data.shape[self.normal]}{averaged})")

    def _trace(self, picture):
        if self.contour is not None:
            self.contour.remove()
            self.contour = None
        level = self.state.level
        if self.projecting or not self.state.contours or not np.nanmin(picture) < level < np.nanmax(picture):
            return
        step = -(-max(picture.shape) // CONTOUR_PIXELS)
        columns = self.data.position_a(self.right, np.arange(0, picture.shape[1], step))
        rows = self.data.position_a(self.up, np.arange(0, picture.shape[0], step))
        self.contour = self.axes.contour(columns, rows, picture[::step, ::step], levels=[level],
                                         colors=CONTOUR_COLOUR, linewidths=0.9)


def _projection_greys(picture):
    low, high = np.percentile(picture, (0.5, 99.8))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
