"""Several maps on the same slices, in the same greys and with the same contour; for a window or straight to PNG."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from .axes_pictures import COLOURS, GREY, GRID
from .comparison import ALL_PLANES, DENSITY, ComparisonView, compared, default_planes, voxel_at
from .pictures import _figure, _save
from .plane_panel import CONTOUR_COLOUR, PlanePanel

# inches: room for axis labels and titles around the panels, and for the histogram with its key below them
LEFT, RIGHT, TOP, BOTTOM, BETWEEN_COLUMNS, BETWEEN_ROWS = 0.62, 0.15, 0.40, 0.46, 0.62, 0.62
HISTOGRAM, KEY_LINE, KEY_WIDTH = 0.85, 0.16, 4.6
CHARACTERS_PER_INCH = 12.5


class ComparisonFigure:
    """The panels of [ComparedMap], drawn on `figure` as `view` (ComparisonView) asks."""

    def __init__(self, figure, maps, view=None):
        self.figure = figure
        self.show(maps, view or ComparisonView.of(maps))

    def show(self, maps, view):
        """Put other maps, or other planes of them, in place; InputError, and nothing changed, where one can't be."""
        states = view.section_states(maps)
        self.maps, self.view, self.drawn = maps, view, view.planes
        self.figure.clear()
        self.panels = [PlanePanel(self.figure.add_axes([0, 0, 1, 1], label=f"map {number}, plane {normal}"), one.data,
                                  state, normal, heading=one.data.label)
                       for number, (one, state) in enumerate(zip(maps, states)) for normal in view.planes]
        self.histogram = self.figure.add_axes([0, 0, 1, 1], label="histogram")
        self.lines, self.key = [], None
        self._draw_histogram()
        self.layout()
        self.update()

    def update(self):
        """Draw all panels as the view asks."""
        if self.view.planes != self.drawn:
            self.show(self.maps, self.view)
            return
        states = self.view.section_states(self.maps)
        for number, panel in enumerate(self.panels):
            panel.state = states[number // len(self.drawn)]
            panel.update()
            self._zoom(panel)
        self._draw_levels(states)

    def voxel_of_first(self):
        """The voxel [z, y, x] of the first map at the cross-hair."""
        return voxel_at(self.maps[0].data, self.view.position_a)

    def panel_of(self, axes):
        """The plane drawn on these axes, or None."""
        return next((panel for panel in self.panels if panel.axes is axes), None)

    def place_at(self, panel, x, y):
        """The cross-hair [z, y, x] in Å that a click on a plane asks for, within the first map's box."""
        place = list(self.view.position_a)
        first = self.maps[0].data
        for axis, at in ((panel.right, x), (panel.up, y)):
            low, high = first.extent_a(axis)
            place[axis] = float(np.clip(at, low, high))
        return place

    def layout(self):
        """Place the panels for the figure's size; margins for the lettering stay the same at any size."""
        across, up = self.figure.get_size_inches()
        key = max(HISTOGRAM, KEY_LINE * (len(self.maps) + 1))
        floor = BOTTOM + key + BETWEEN_ROWS
        columns, rows = self._grid(across, up - floor)
        width = max(0.3, (across - LEFT - RIGHT - (columns - 1) * BETWEEN_COLUMNS) / columns)
        height = max(0.3, (up - floor - TOP - (rows - 1) * BETWEEN_ROWS) / rows)
        for number, panel in enumerate(self.panels):
            row, column = divmod(number, columns)
            x, y = LEFT + column * (width + BETWEEN_COLUMNS), up - TOP - height - row * (height + BETWEEN_ROWS)
            panel.axes.set_position([x / across, y / up, width / across, height / up])
            label = self.maps[number // len(self.drawn)].data.label
            panel.heading = shortened(label, int(CHARACTERS_PER_INCH * (width + 0.3)) - len(", z = -100.0 Å"))
            panel.write_title()
        wide = max(1.0, across - LEFT - RIGHT - KEY_WIDTH)
        self.histogram.set_position([LEFT / across, BOTTOM / up, wide / across, key / up])

    def _grid(self, across, up):
        """(columns, rows): a row for each map where all planes are shown, else as large as the room lets them be."""
        if len(self.drawn) > 1:
            return len(self.drawn), len(self.maps)
        count = len(self.maps)
        return max(((columns, -(-count // columns)) for columns in range(1, count + 1)),
                   key=lambda grid: min((across - LEFT) / grid[0] - BETWEEN_COLUMNS, up / grid[1] - BETWEEN_ROWS))

    def _zoom(self, panel):
        """The same range in Å for all maps: about the cross-hair, within the largest box."""
        for axis, set_limits in ((panel.right, panel.axes.set_xlim), (panel.up, panel.axes.set_ylim)):
            ends = [one.data.extent_a(axis) for one in self.maps]
            low, high = min(end[0] for end in ends), max(end[1] for end in ends)
            half = (high - low) / 2 / self.view.zoom
            middle = np.clip(self.view.position_a[axis], low + half, high - half)
            set_limits(middle - half, middle + half)

    def _draw_histogram(self):
        axes = self.histogram
        for number, one in enumerate(self.maps):
            survey = one.data.survey
            # 200 bars of the survey's 2000 bins, in the first map's units
            edges = survey.edges[::10] * one.scale
            share = survey.counts.reshape(200, -1).sum(axis=1) / max(1, survey.counts.sum()) / np.diff(edges)
            # bars of no voxel stand on the floor of the logarithmic axis
            axes.stairs(np.maximum(share, share[share > 0].min() / 2), edges, baseline=None,
                        color=COLOURS[number % len(COLOURS)], lw=1.4)
        axes.set_yscale("log")
        axes.set_ylabel("share of voxels", fontsize=8, labelpad=2)
        axes.set_xlabel("density" + (" in the first map's units" if len(self.maps) > 1 else ""), fontsize=8, labelpad=1)
        axes.tick_params(labelsize=8, length=3)
        axes.tick_params(axis="y", which="both", labelleft=False)
        axes.grid(True, **GRID)

    def _draw_levels(self, states):
        for line in self.lines:
            line.remove()
        if self.view.unit == DENSITY:
            self.lines = [self.histogram.axvline(self.view.level, color=CONTOUR_COLOUR, lw=2)]
        else:
            self.lines = [self.histogram.axvline(state.level * one.scale, color=COLOURS[number % len(COLOURS)], lw=1.2,
                                                 ls="--")
                          for number, (one, state) in enumerate(zip(self.maps, states))]
        self._write_key(states)

    def _write_key(self, states):
        """A line for each map right of the histogram: its contour and how its densities were matched."""
        for text in self.key or ():
            text.remove()
        width, height = (self.histogram.get_position().size * self.figure.get_size_inches())
        title = (f"contour at {self.view.level:.4g}" if self.view.unit == DENSITY else
                 f"contour at {self.view.level:.2f} σ of each map")
        greys = "one grey scale" if self.view.one_grey_range else "each map in its own greys"
        rows = [(f"{title}; {greys}", GREY)]
        for number, (one, state) in enumerate(zip(self.maps, states)):
            at = f"{state.level:.3g} = {one.data.survey.in_sigma(state.level):.1f} σ"
            words = one.in_words()
            rows.append((f"{shortened(one.data.label, 24)}: {at}" + (f"; {words}" if words else ""),
                         COLOURS[number % len(COLOURS)]))
        self.key = [self.histogram.text(1 + 0.12 / width, 1 - row * KEY_LINE / height, words, fontsize=7.5,
                                        color=colour, transform=self.histogram.transAxes, ha="left", va="top")
                    for row, (words, colour) in enumerate(rows)]


def draw_comparison(figure, volumes, matched=True, **settings):
    """Draw [VolumeData] side by side on a Figure; returns the ComparisonFigure.

    matched : whether their densities are brought to the first one's units; settings : fields of ComparisonView in place
    of what suits the maps. Raises InputError for a volume without a finite voxel.
    """
    maps = compared(volumes, matched)
    return ComparisonFigure(figure, maps, replace(ComparisonView.of(maps), **settings))


def comparison_size(count, planes=ALL_PLANES):
    """(width, height) in inches of the picture of so many maps."""
    columns, rows = (len(planes), count) if len(planes) > 1 else (min(count, 3), -(-count // 3))
    panel = 3.0 if columns > 1 else 5.0
    return (max(LEFT + RIGHT + columns * panel + (columns - 1) * BETWEEN_COLUMNS, KEY_WIDTH + 3.5),
            TOP + BOTTOM + rows * (panel + BETWEEN_ROWS) + max(HISTOGRAM, KEY_LINE * (count + 1)))


def save_side_by_side_png(path, volumes, matched=True, **settings):
    """Save `draw_comparison` as a PNG; returns its [ComparedMap]."""
    figure = _figure(*comparison_size(len(volumes), settings.get("planes", default_planes(len(volumes)))), layout=None)
    drawn = draw_comparison(figure, volumes, matched, **settings)
    _save(figure, path)
    return drawn.maps


def shortened(label, characters):
    """A label of no more than so many characters, its middle left out."""
    if len(label) <= characters:
        return label
    kept = max(4, characters - 1)
    return label[:kept - kept // 2] + "…" + label[len(label) - kept // 2:]
