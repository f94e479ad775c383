"""The volume window: the planes, the surface and the histogram of `io.volume_pictures`, moved by mouse and sliders."""
from __future__ import annotations

from ..core.errors import InputError
from ..io.surface import turn
from ..io.volume_pictures import VolumeFigure
from .compare_window import CompareWindow
from .controls import Controls
from .map_window import ZOOM_STEP, MapWindow


class VolumeWindow(MapWindow):
    """Shows one of a list of volumes.

    list_volumes() : [(label, opener)], opener() gives a VolumeData; called again at each refresh, so that the volumes
        of a running job come in as they are written; raises InputError where there is none yet
    start : index of the volume shown first (negative counts from the end)
    """

    def __init__(self, title, list_volumes, master=None, start=0, refreshable=False):
        super().__init__(title, master, (760, 560), (8.6, 8.8))
        self.list_volumes, self._drag, self._wanted = list_volumes, None, {}
        self.volumes = list_volumes()
        self.shown = range(len(self.volumes))[start]
        self.picture = VolumeFigure(self.figure, self.volumes[self.shown][1]())
        self.controls = Controls(self, refreshable)
        self._arrange(1030, 900)
        self.say("click a slice to move the cross-hair · drag the surface to turn it, wheel to zoom · "
                 "click the histogram to set the contour")

    # what the controls call
    def show_volume(self, number):
        """Open the volume at this place of the list; an unreadable one is reported and the old one stays."""
        label, opener = self.volumes[number]
        try:
            data = opener()
            self.picture.show_data(data)
        except InputError as error:
            self.say(f"{label}: {error}")
            return
        self.shown = number
        self.controls.follow()
        self.canvas.draw_idle()
        self.say(f"showing {label}")

    def refresh(self):
        """List the volumes anew; one that shows the newest goes on to the new newest."""
        at_newest = self.shown == len(self.volumes) - 1
        label = self.volumes[self.shown][0]
        try:
            volumes = self.list_volumes()
        except InputError as error:
            self.say(str(error))
            return
        self.volumes = volumes
        labels = [name for name, _ in volumes]
        self.controls.list(labels)
        self.show_volume(len(volumes) - 1 if at_newest or label not in labels else labels.index(label))

    def compare(self):
        """Open the comparison window with this volume and its neighbour in the list."""
        chosen = [self.shown, self.shown + 1 if self.shown + 1 < len(self.volumes) else self.shown - 1]
        try:
            window = CompareWindow(f"{self.root.title()}, side by side", self.volumes,
                                   [number for number in chosen if number >= 0], self.master or self)
        except InputError as error:
            self.say(str(error))
            return
        window.show()

    def redraw_planes(self):
        """Draw the planes at the next idle moment."""
        self._later("planes", self.picture.update_planes)

    def redraw_all(self):
        """Draw planes, surface and histogram at the next idle moment."""
        self._later("all", self.picture.update)

    # mouse
    def _press(self, event):
        panel = self.picture.panel_of(event.inaxes)
        if event.button != 1 or panel is None:
            return
        if panel is self.picture.surface:
            self._drag = (event.x, event.y)
        elif panel is self.picture.histogram:
            self.set_level(event.xdata)
        elif not panel.projecting:
            self._drag = panel
            self._follow_cross_hair(event)

    def _move(self, event):
        if isinstance(self._drag, tuple):
            # mouse motion outruns the drawing: the events between are merged
            self._later("turn", lambda: self._turn_to(event.x, event.y), self.picture.surface.axes)
        elif self._drag is not None and event.inaxes is self._drag.axes:
            self._follow_cross_hair(event)
        else:
            panel = self.picture.panel_of(event.inaxes)
            if panel in self.picture.planes:
                self.say(panel.describe(event.xdata, event.ydata))

    def _release(self, event):
        turned, self._drag = isinstance(self._drag, tuple), None
        if turned:
            self._later("surface", self.picture.surface.update)

    def _scroll(self, event):
        panel = self.picture.panel_of(event.inaxes)
        if panel is self.picture.surface:
            self.picture.state.half_width_a *= ZOOM_STEP ** -event.step
            self._later("surface", self.picture.surface.update)
        elif panel in self.picture.planes:
            state = self.picture.state
            state.position[panel.normal] = min(max(0, state.position[panel.normal] + int(event.step)),
                                               self.picture.data.shape[panel.normal] - 1)
            self.controls.follow()
            self.redraw_planes()

    def set_level(self, density):
        """Put the contour at a density and draw it."""
        self.picture.state.level = float(density)
        self.controls.follow()
        self.redraw_all()

    def _follow_cross_hair(self, event):
        voxel = self._drag.voxel_at(event.xdata, event.ydata)
        if voxel is not None:
            self.picture.state.position[:] = voxel
            self.say(self._drag.describe(event.xdata, event.ydata))
            self.controls.follow()
            self.redraw_planes()

    def _turn_to(self, x, y):
        if not isinstance(self._drag, tuple):
            return
        width = self.picture.surface.axes.bbox.width
        state = self.picture.state
        state.rotation = turn(state.rotation, (x - self._drag[0]) / width, (y - self._drag[1]) / width)
        self._drag = (x, y)
        self.picture.surface.update(turning=True)

    def _later(self, name, update, axes=None):
        """Call update() and draw when Tk is idle; axes : all that it changes lies inside these, or None."""
        self._wanted[name] = update, axes
        self._draw_soon()

    def _draw(self):
        wanted, self._wanted = self._wanted, {}
        if not wanted:
            return
        for update, _ in wanted.values():
            update()
        changed = {axes for _, axes in wanted.values()}
        if changed == {self.picture.surface.axes}:
            # the rest of the figure stays as it is: this keeps pace with the mouse
            self.picture.surface.axes.redraw_in_frame()
            self.canvas.blit(self.picture.surface.axes.bbox)
        else:
            self.canvas.draw()
