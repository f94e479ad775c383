"""A volume on a matplotlib Figure: three planes, the surface, the histogram; for a window or straight to PNG."""
from __future__ import annotations

import numpy as np

from .pictures import _figure, _save
from .plane_panel import CONTOUR_COLOUR, PlanePanel
from .surface_panel import SurfacePanel
from .view_state import ViewState

# inches: of the picture; room for axis labels and titles around the panels
VOLUME_SIZE = (9.2, 9.8)
LEFT, RIGHT, TOP, BOTTOM, BETWEEN_COLUMNS, BETWEEN_ROWS = 0.62, 0.15, 0.68, 0.44, 0.66, 0.60


class VolumeFigure:
    """The panels of a volume, drawn on `figure` from `data` (VolumeData) as `state` (ViewState) asks."""

    def __init__(self, figure, data, state=None):
        self.figure = figure
        self._build(data, state or ViewState.of(data))

    def show_data(self, data):
        """Put another volume in place and keep the settings where they still make sense.

        Raises InputError, and changes nothing, where the volume can't be shown.
        """
        survey = data.survey
        if data.shape != self.data.shape or not np.allclose(data.voxel_size_a, self.data.voxel_size_a):
            self._build(data, ViewState.of(data))
            return
        sigmas = self.data.survey.in_sigma(self.state.level)
        self.data = data
        # maps of one run differ in scale: the contour keeps its σ
        self.state.level = survey.from_sigma(sigmas)
        self.state.grey_range = ViewState.of(data).grey_range
        for panel in (*self.planes, self.surface, self.histogram):
            panel.data = data
        self.histogram.redraw()
        self._write_title()
        self.update()

    def update(self):
        """Draw all panels as the state asks."""
        self.update_planes()
        self.surface.update()
        self.histogram.update()

    def update_planes(self):
        """Draw the planes, after a change of position, mode, thickness, grey range or contour lines."""
        for plane in self.planes:
            plane.update()

    def panel_of(self, axes):
        """The panel drawn on these axes, or None."""
        for panel in (*self.planes, self.surface, self.histogram):
            if panel.axes is axes:
                return panel
        return None

    def layout(self):
        """Place the panels for the figure's size; margins for the lettering stay the same at any size."""
        across, up = self.figure.get_size_inches()
        histogram = min(max(0.45, 0.1 * up), 1.0)
        width = max(0.3, (across - LEFT - RIGHT - BETWEEN_COLUMNS) / 2)
        height = max(0.3, (up - TOP - BOTTOM - histogram - 2 * BETWEEN_ROWS) / 2)
        lower, right = BOTTOM + histogram + BETWEEN_ROWS, LEFT + width + BETWEEN_COLUMNS
        upper = lower + height + BETWEEN_ROWS
        xy, xz, yz = self.planes[0], self.planes[1], self.planes[2]
        for panel, (x, y, w, h) in ((xy, (LEFT, upper, width, height)), (yz, (right, upper, width, height)),
                                    (xz, (LEFT, lower, width, height)), (self.surface, (right, lower, width, height)),
                                    (self.histogram, (LEFT, BOTTOM, across - LEFT - RIGHT, histogram))):
            panel.axes.set_position([x / across, y / up, w / across, h / up])
        self.title.set_y(1 - 0.08 / up)
        self.remark.set_y(1 - 0.29 / up)

    def _build(self, data, state):
        figure = self.figure
        self.data, self.state = data, state
        figure.clear()
        self.planes = [PlanePanel(figure.add_axes([0, 0, 1, 1], label=f"plane {normal}"), data, state, normal)
                       for normal in (0, 1, 2)]
        self.surface = SurfacePanel(figure.add_axes([0, 0, 1, 1], label="surface"), data, state)
        self.histogram = HistogramPanel(figure.add_axes([0, 0, 1, 1], label="histogram"), data, state)
        self.title = figure.text(0.5, 1, "", ha="center", va="top", fontsize=11)
        self.remark = figure.text(0.5, 1, "", ha="center", va="top", fontsize=8, color="#c92a2a")
        self._write_title()
        self.layout()

    def _write_title(self):
        nz, ny, nx = self.data.shape
        size = self.data.voxel_size_a
        pixel = f"{size[2]:.4g}" if np.ptp(size) < 1e-3 * size[2] else " × ".join(f"{s:.4g}" for s in size[::-1])
        self.title.set_text(f"{self.data.label}   {nx} × {ny} × {nz} px,  {pixel} Å/px,  "
                            f"box {nx * size[2]:.0f} × {ny * size[1]:.0f} × {nz * size[0]:.0f} Å")
        remarks = [self.data.note] if self.data.note else []
        if self.data.survey.non_finite:
            remarks.append(f"{self.data.survey.non_finite} of {self.data.voxels.size} voxels are NaN or infinite")
        self.remark.set_text("; ".join(remarks))


class HistogramPanel:
    """Numbers of voxels against density, with the contour level and the grey range."""

    def __init__(self, axes, data, state):
        self.axes, self.data, self.state = axes, data, state
        self.redraw()

    def redraw(self):
        """Draw anew, for another volume."""
        survey, axes = self.data.survey, self.axes
        axes.clear()
        # 200 bars of the survey's 2000 bins
        counts = survey.counts.reshape(200, -1).sum(axis=1)
        axes.stairs(counts, survey.edges[::10], fill=True, color="#adb5bd")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, max(10, counts.max() * 2))
        axes.set_xlim(survey.edges[0], survey.edges[-1])
        every = f"  (of every {survey.section_step}th section)" if survey.section_step > 1 else ""
        axes.set_ylabel("voxels", fontsize=8, labelpad=2)
        axes.set_xlabel(f"density      mean {survey.mean:.3g},  σ {survey.sigma:.3g},  range {survey.minimum:.3g} "
                        f"to {survey.maximum:.3g}{every}", fontsize=8, labelpad=1)
        axes.tick_params(labelsize=8, length=3)
        axes.yaxis.set_major_locator(_decades(counts.max()))
        axes.yaxis.set_minor_locator(_no_ticks())
        self.greys = axes.axvspan(*self.state.grey_range, color="#74c0fc", alpha=0.25, lw=0)
        self.line = axes.axvline(self.state.level, color=CONTOUR_COLOUR, lw=2)
        self.text = axes.text(0.99, 0.92, "", transform=axes.transAxes, ha="right", va="top", fontsize=8)
        self.update()

    def update(self):
        """Move the level line and the grey range."""
        level, survey = self.state.level, self.data.survey
        self.line.set_xdata([level, level])
        low, high = self.state.grey_range
        self.greys.set_xy([[low, 0], [low, 1], [high, 1], [high, 0], [low, 0]])
        self.text.set_text(f"contour {level:.4g} = {survey.in_sigma(level):+.2f} σ")


def save_volume_picture(data, path):
    """Save the picture of a volume with default settings as a PNG; data : VolumeData.

    Raises InputError where no voxel is finite, the file can't be written, or matplotlib or scikit-image is missing.
    """
    figure = _figure(*VOLUME_SIZE, layout=None)
    VolumeFigure(figure, data)
    _save(figure, path)


def _decades(most):
    from matplotlib.ticker import FixedLocator
    return FixedLocator([0] + [10 ** k for k in range(0, int(np.log10(max(most, 10))) + 1, 2)])


def _no_ticks():
    from matplotlib.ticker import NullLocator
    return NullLocator()
