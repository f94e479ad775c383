"""The window of maps: a figure of their planes, a panel of controls at its side, a line of words below."""
from __future__ import annotations

from tkinter import ttk

from matplotlib.figure import Figure
from pyworkflow.gui import Window

from .tk_figure import Timers, ViewerWindow, ask_and_save, place_canvas, place_window

ZOOM_STEP = 1.15


class MapWindow(ViewerWindow):
    """A subclass makes `picture` in the figure and `controls` (a SidePanel), calls `_arrange`, draws by `_draw` and
    answers the mouse by `_press`, `_move`, `_release` and `_scroll`."""

    def __init__(self, title, master, minsize, figsize):
        Window.__init__(self, title, master, minsize=minsize)
        self.timers = Timers(self.root)
        self.figure = Figure(figsize=figsize, dpi=96)
        self.canvas, self._canvas_widget = place_canvas(self.root, self.figure)
        self.status = ttk.Label(self.root, text="", padding=(8, 2), anchor="w")

    # what the controls call
    def say(self, sentence):
        """Write into the line below the picture."""
        self.status.configure(text=sentence)

    def save(self):
        """Ask for a file and write the picture."""
        ask_and_save(self.figure, self.root)

    # for subclasses
    def _arrange(self, width, height):
        """Place picture, controls and words in a window of this size, px, and listen to the mouse."""
        self._canvas_widget.grid(row=0, column=0, sticky="news")
        self.controls.frame.grid(row=0, column=1, sticky="ns")
        # below the controls as well: what the mouse does is a long sentence
        self.status.grid(row=1, column=0, columnspan=2, sticky="ew")
        self.root.rowconfigure(0, weight=1)
        self.root.columnconfigure(0, weight=1)
        place_window(self.root, width, height)
        self.canvas.mpl_connect("resize_event", lambda event: self.picture.layout())
        for event, handler in (("button_press_event", self._press), ("motion_notify_event", self._move),
                               ("button_release_event", self._release), ("scroll_event", self._scroll)):
            self.canvas.mpl_connect(event, handler)

    def _draw_soon(self):
        """Call `_draw` at the next idle moment: a slider sends more positions than can be drawn."""
        if not self.timers.pending("draw"):
            self.timers.start("draw", 5, self._draw)
