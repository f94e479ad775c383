"""What the wizards' dialogs share: a place on the screen; a figure, sliders below it, a line that says something."""
from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg
from matplotlib.figure import Figure
from pyworkflow.gui.dialog import Dialog

DPI = 100
PATIENCE_MS = 250       # a slider that moves on is not followed
BORDER_PX = 50          # of the screen, for a title bar and a task bar


class WholeDialog(Dialog):
    """A dialog of which everything is on the screen; Scipion's own hangs off a form that is low on it, OK and all."""

    def deiconify(self):
        """Become visible, near the form."""
        self.update_idletasks()
        room = (self.winfo_screenwidth() - self.winfo_reqwidth(), self.winfo_screenheight() - self.winfo_reqheight())
        beside = (self.parent.winfo_rootx() + BORDER_PX, self.parent.winfo_rooty() + BORDER_PX)
        x, y = (max(0, min(place, free - BORDER_PX)) for place, free in zip(beside, room))
        self.geometry(f"+{x}+{y}")
        Dialog.deiconify(self)


class FigureDialog(WholeDialog):
    """A subclass places figure and sliders in `body` and draws in `draw`, which `draw_soon` calls when sliders rest."""

    def place_figure(self, frame, size, **options):
        """The Figure of so many inches, placed on top of the dialog."""
        figure = Figure(figsize=size, dpi=DPI, **options)
        self.canvas = FigureCanvasTkAgg(figure, master=frame)
        self.canvas.get_tk_widget().grid(row=0, column=0, sticky="news")
        self._rows, self._pending = 1, None
        return figure

    def place_slider(self, frame, label, low, high, value, command, resolution=1.0):
        """A slider with its number below what is there; command(float) at each move."""
        slider = tk.Scale(frame, from_=low, to=high, orient=tk.HORIZONTAL, length=600, label=label,
                          resolution=resolution)
        slider.set(value)
        # not before the value: setting it is no choice
        slider.configure(command=lambda text: command(float(text)))
        slider.grid(row=self._rows, column=0, sticky="ew")
        self._rows += 1
        return slider

    def place_line(self, frame):
        """A label below what is there, for sentences."""
        line = ttk.Label(frame, text="", anchor="w", padding=(4, 4))
        line.grid(row=self._rows, column=0, sticky="ew")
        self._rows += 1
        return line

    def draw_soon(self):
        """Call `draw` once no slider has moved for a moment."""
        if self._pending is not None:
            self.after_cancel(self._pending)
        self._pending = self.after(PATIENCE_MS, self._draw_now)

    def draw(self):
        """Draw on the figure what the sliders ask for."""
        raise NotImplementedError

    def validate(self):
        """Before OK: a slider tells of its last move only when Tk draws it."""
        self.update_idletasks()
        return True

    def destroy(self):
        """Destroy the window; a drawing that waits is forgotten."""
        if self._pending is not None:
            self.after_cancel(self._pending)
            self._pending = None
        Dialog.destroy(self)

    def _draw_now(self):
        self._pending = None
        self.draw()
        self.canvas.draw_idle()
