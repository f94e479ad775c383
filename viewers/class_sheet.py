"""The class sheet: sizes and sections of all classes, tick boxes, and a button that makes particles of those ticked."""
from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from matplotlib.figure import Figure
from pyworkflow.gui import Window

from ..core.errors import InputError
from ..io.map_pictures import draw_class_columns, sheet_size
from .tk_figure import ViewerWindow, ask_and_save, place_canvas, place_window, project_window

DPI = 100
TICKED, UNTICKED = "#2b8a3e", "#adb5bd"
BARS_PX = 104       # height of the tick boxes, the scroll bar and the bar of buttons


class ClassSheetWindow(ViewerWindow):
    """A column for each class of a ClassList; a click on a map ticks or unticks it."""

    def __init__(self, title, classes, master=None):
        Window.__init__(self, title, master, minsize=(620, 520))
        self.classes, self.ticks = classes, {}
        size = sheet_size(3, len(classes.entries))
        self.figure = Figure(figsize=(size[0], size[1] + 0.2), dpi=DPI)
        drawn = [_words_and_sections(entry) for entry in classes.entries]
        self._scrolled = tk.Canvas(self.root, highlightthickness=0, background="white")
        self.canvas, widget = place_canvas(self._scrolled, self.figure)
        self.columns = draw_class_columns(self.figure, f"{len(drawn)} classes, central slices", drawn)
        width, height = (int(side * DPI) for side in self.figure.get_size_inches())
        self._scrolled.create_window(0, 0, window=widget, anchor="nw", width=width, height=height)
        for entry, panels in zip(classes.entries, self.columns):
            self._add_tick(entry, panels[0].get_position(), width, height)
        bar = ttk.Scrollbar(self.root, orient=tk.HORIZONTAL, command=self._scrolled.xview)
        self._scrolled.configure(xscrollcommand=bar.set, scrollregion=(0, 0, width, height + 30))
        self._scrolled.grid(row=0, column=0, sticky="news")
        bar.grid(row=1, column=0, sticky="ew")
        self._buttons()
        self.root.rowconfigure(0, weight=1)
        self.root.columnconfigure(0, weight=1)
        if place_window(self.root, max(width, 760), height + BARS_PX)[0] >= width:
            bar.grid_remove()
        self.canvas.mpl_connect("button_press_event", self._clicked)
        self.follow()

    def ticked(self) -> list:
        """The numbers of the classes that are ticked."""
        return [number for number, variable in self.ticks.items() if variable.get()]

    def tick(self, numbers):
        """Tick these classes and no others."""
        for number, variable in self.ticks.items():
            variable.set(number in numbers)
        self.follow()

    def follow(self):
        """Show what is ticked: frames, number and share of the particles."""
        chosen = [entry for entry in self.classes.entries if self.ticks[entry.number].get()]
        for entry, panels in zip(self.classes.entries, self.columns):
            ticked = entry in chosen
            panels[0].title.set_color(TICKED if ticked else "black")
            for spine in (spine for axes in panels for spine in axes.spines.values()):
                spine.set_color(TICKED if ticked else UNTICKED)
                spine.set_linewidth(2.5 if ticked else 1.0)
        self.canvas.draw_idle()
        sizes = [entry.size for entry in chosen]
        words = f"{len(chosen)} of {len(self.ticks)} classes ticked"
        if chosen and None not in sizes:
            words += f": {sum(sizes):,} particles, {100 * sum(entry.share for entry in chosen):.1f} %"
        self.status.configure(text=words)
        self.make.configure(state=tk.NORMAL if chosen and self.classes.classes is not None else tk.DISABLED)

    def make_particles(self):
        """Start the run that makes one set of the ticked classes' particles."""
        window = project_window(self)
        try:
            protocol = self.classes.particles_protocol(self.ticked())
        except InputError as error:
            self.status.configure(text=str(error))
            return
        view = None if window is None else window.getViewWidget()
        if hasattr(view, "executeProtocol"):
            # in the project's own turn, which then selects it and draws the graph anew
            view.executeProtocol(protocol)
        else:       # the project shows its data, or there is no window of it
            self.classes.project.launchProtocol(protocol)
        self.status.configure(text=f"Started '{protocol.getObjLabel()}': its outputParticles will be in the project")

    def _add_tick(self, entry, place, width, height):
        self.ticks[entry.number] = tk.BooleanVar(self.root, False)
        box = tk.Checkbutton(self._scrolled, text=f"class {entry.number}", variable=self.ticks[entry.number],
                             command=self.follow, background="white", activebackground="white", highlightthickness=0)
        self._scrolled.create_window(width * (place.x0 + place.x1) / 2, height - 6, window=box, anchor="n")

    def _buttons(self):
        frame = ttk.Frame(self.root, padding=4)
        frame.grid(row=2, column=0, sticky="ew")
        self.make = ttk.Button(frame, text="Make particles of the ticked classes", command=self.make_particles)
        self.make.pack(side=tk.LEFT, padx=2)
        for text, numbers in (("All", list(self.ticks)), ("None", [])):
            ttk.Button(frame, text=text, width=5, command=lambda numbers=numbers: self.tick(numbers)
                       ).pack(side=tk.LEFT, padx=2)
        ttk.Button(frame, text="Close", command=self.close).pack(side=tk.RIGHT, padx=2)
        ttk.Button(frame, text="Save picture…", command=lambda: ask_and_save(self.figure, self.root)
                   ).pack(side=tk.RIGHT, padx=2)
        self.status = ttk.Label(self.root, text="", padding=(8, 2), anchor="w")
        self.status.grid(row=3, column=0, sticky="ew")

    def _clicked(self, event):
        for entry, panels in zip(self.classes.entries, self.columns):
            if event.inaxes in panels:
                self.ticks[entry.number].set(not self.ticks[entry.number].get())
                self.follow()


def _words_and_sections(entry):
    """(words, ([central sections across z, y, x], Å/px)) of a class; no sections where its map can't be read."""
    try:
        data = entry.opener()
    except InputError:
        return f"{entry.in_words()}\nits map can't be read", None
    sections = [data.plane(axis, data.centre[axis]) for axis in range(3)]
    return entry.in_words(), (sections, float(data.voxel_size_a[2]))
