"""The comparison window: several maps on the same slices with one contour, moved together by mouse and sliders."""
from __future__ import annotations

from dataclasses import replace

from ..core.errors import InputError
from ..io.comparison import SIGMA, ComparisonView, compared, default_planes
from ..io.comparison_pictures import ComparisonFigure
from ..io.volume_data import AXES
from .compare_controls import CompareControls
from .map_window import ZOOM_STEP, MapWindow

MOST_MAPS = 9
MOST_ZOOM = 8.0


class CompareWindow(MapWindow):
    """Shows some of a list of maps side by side.

    offered : [(label, opener)], opener() gives a VolumeData; chosen : indices of those shown first
    Raises InputError where one of these can't be opened.
    """

    def __init__(self, title, offered, chosen, master=None):
        self.offered, self.chosen = list(offered), list(chosen)
        self.matched, self._opened, self._dragged = True, {}, None
        maps = compared(self._open(self.chosen))     # before there is a window that would be left behind
        super().__init__(title, master, (860, 620), (11.0, 8.6))
        self.picture = ComparisonFigure(self.figure, maps)
        self.controls = CompareControls(self)
        self._arrange(1340, 900)
        self.say("click a slice to move all cross-hairs · wheel: next section · Ctrl and wheel: zoom · "
                 "click the histogram to set the contour")

    @property
    def view(self) -> ComparisonView:
        """What is shown of the maps."""
        return self.picture.view

    @property
    def maps(self):
        """[ComparedMap] shown."""
        return self.picture.maps

    # what the controls call
    def choose(self, numbers):
        """Show the maps at these places of the list; where one can't be opened, say so and keep those shown."""
        label = ""
        try:
            if not numbers:
                raise InputError("choose a map, or two to compare")
            if len(numbers) > MOST_MAPS:
                raise InputError(f"{len(numbers)} maps don't fit into one window; choose {MOST_MAPS} at most")
            usual, planes = default_planes(len(numbers)), self.view.planes
            if usual != default_planes(len(self.maps)):
                planes = usual
            self._show(compared(self._open(numbers), self.matched), planes)
            self.chosen = list(numbers)
            label = ", ".join(self.offered[number][0] for number in numbers)
        except InputError as error:
            self.say(str(error))
        self.controls.follow()
        if label:
            self.say(f"showing {label}")

    def add(self, volumes):
        """Offer more maps, [(label, opener)], and show them beside the others."""
        first = len(self.offered)
        self.offered += volumes
        self.controls.list()
        self.choose([*self.chosen, *range(first, len(self.offered))])

    def match(self, matched):
        """Bring densities to the first map's units, or leave them as they are."""
        self.matched = matched
        self._show(compared([one.data for one in self.maps], matched), self.view.planes)

    def set_level(self, level):
        """Put the contour at a level, in the view's unit."""
        self.view.level = float(level)
        self.controls.follow()
        self.redraw_planes()

    def redraw_planes(self):
        """Draw the planes, with histogram and key, at the next idle moment."""
        self._draw_soon()

    def _open(self, numbers):
        for number in numbers:
            if number not in self._opened:
                label, opener = self.offered[number]
                self._opened[number] = opener()
                # what the list says, which tells maps of several runs apart
                self._opened[number].label = label
        return [self._opened[number] for number in numbers]

    def _show(self, maps, planes):
        view = self.view
        if maps[0].data is not self.maps[0].data and view.unit != SIGMA:
            # another map's units: the contour stays as many σ above its mean
            view = replace(view, level=maps[0].data.survey.from_sigma(view.in_unit(SIGMA, self.maps)))
        self.picture.show(maps, replace(view, planes=planes))
        self.canvas.draw_idle()

    def _draw(self):
        self.picture.update()
        self.canvas.draw()

    # mouse
    def _press(self, event):
        panel = self.picture.panel_of(event.inaxes)
        if event.button != 1:
            return
        if panel is not None:
            self._dragged = panel
            self._follow(event)
        elif event.inaxes is self.picture.histogram:
            survey = self.maps[0].data.survey
            self.set_level(survey.in_sigma(event.xdata) if self.view.unit == SIGMA else event.xdata)

    def _move(self, event):
        if self._dragged is not None and event.inaxes is self._dragged.axes:
            self._follow(event)
            return
        panel = self.picture.panel_of(event.inaxes)
        if panel is not None:
            self.say(self._describe(panel, event))

    def _release(self, _):
        self._dragged = None

    def _scroll(self, event):
        panel = self.picture.panel_of(event.inaxes)
        if panel is None:
            return
        if event.key == "control":
            self.view.zoom = min(max(1.0, self.view.zoom * ZOOM_STEP ** event.step), MOST_ZOOM)
        else:
            self.move_section(panel.normal, int(event.step))
        self.controls.follow()
        self.redraw_planes()

    def move_section(self, axis, steps):
        """Go so many sections of the first map along an axis."""
        data = self.maps[0].data
        index = self.picture.voxel_of_first()[axis] + steps
        self.view.position_a[axis] = data.position_a(axis, min(max(0, index), data.shape[axis] - 1))

    def _follow(self, event):
        self.view.position_a = self.picture.place_at(self._dragged, event.xdata, event.ydata)
        self.say(self._describe(self._dragged, event))
        self.controls.follow()
        self.redraw_planes()

    def _describe(self, panel, event):
        """The place under the cursor, and the density of each map there in its own units."""
        place = self.picture.place_at(panel, event.xdata, event.ydata)
        found = ", ".join(f"{AXES[axis]} {place[axis]:.1f}" for axis in (2, 1, 0)) + " Å"
        for one, state in zip(self.maps, self.view.at(place).section_states(self.maps)):
            found += f"   {one.data.label}: {one.data.voxels[tuple(state.position)]:.4g}"
        return found
