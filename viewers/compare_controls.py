"""The side panel of the comparison window: which maps, which sections, greys and contour."""
from __future__ import annotations

import tkinter as tk
from tkinter import filedialog, ttk

from ..core.errors import InputError
from ..io.comparison import ALL_PLANES, DENSITY, SIGMA
from ..io.volume_data import AXES, MRC_ENDINGS, open_volume
from .project_maps import choose_maps
from .side_panel import SidePanel
from .tk_figure import project_window

LIST_ROWS, LIST_CHARACTERS = 7, 30
SELECTED = "#3566cc"
SIGMA_RANGE = (-1.0, 12.0)
ALL = "all"


class CompareControls(SidePanel):
    """Widgets that change the window's ComparisonView and ask it to draw; `follow` sets them after it changed."""

    def __init__(self, window):
        super().__init__(window)
        self._maps()
        self._sections()
        self._greys()
        self._contour()
        self._buttons()
        self.list()
        self.follow()

    @property
    def state(self):
        return self.window.view

    @property
    def data(self):
        return self.window.maps[0].data

    def section(self, axis):
        return self.window.picture.voxel_of_first()[axis]

    def show_section(self, axis, index):
        self.state.position_a[axis] = self.data.position_a(axis, index)

    def list(self):
        """Offer the window's maps."""
        self.chooser.delete(0, tk.END)
        for label, _ in self.window.offered:
            self.chooser.insert(tk.END, label)
        self.chooser.configure(height=min(LIST_ROWS, len(self.window.offered)))
        longest = max(len(label) for label, _ in self.window.offered)
        for bar, needed in zip(self.bars, (len(self.window.offered) > LIST_ROWS, longest > LIST_CHARACTERS)):
            bar.grid() if needed else bar.grid_remove()

    def follow(self):
        """Set every widget to what the view says, without drawing."""
        self._following = True
        self.chooser.selection_clear(0, tk.END)
        for number in self.window.chosen:
            self.chooser.selection_set(number)
        self._follow_sections()
        self.planes.set(ALL if len(self.state.planes) > 1 else AXES[self.state.planes[0]])
        self.zoom.set(self.state.zoom)
        self.unit.set(self.state.unit)
        low, high = SIGMA_RANGE if self.state.unit == SIGMA else (self.data.survey.from_sigma(s) for s in SIGMA_RANGE)
        self.level_slider.configure(from_=low, to=high)
        self.level_slider.set(self.state.level)
        self.level.set(f"{self.state.level:.4g}")
        self._following = False

    # sections of the panel
    def _maps(self):
        self._heading("Maps", first=True)
        frame = self._place(ttk.Frame(self.frame))
        self.chooser = tk.Listbox(frame, selectmode=tk.MULTIPLE, exportselection=False, width=LIST_CHARACTERS,
                                  selectbackground=SELECTED, selectforeground="white")
        self.bars = (ttk.Scrollbar(frame, orient=tk.VERTICAL, command=self.chooser.yview),
                     ttk.Scrollbar(frame, orient=tk.HORIZONTAL, command=self.chooser.xview))
        self.chooser.configure(yscrollcommand=self.bars[0].set, xscrollcommand=self.bars[1].set)
        self.chooser.grid(row=0, column=0, sticky="news")
        self.bars[0].grid(row=0, column=1, sticky="ns")
        self.bars[1].grid(row=1, column=0, sticky="ew")
        frame.columnconfigure(0, weight=1)
        self.chooser.bind("<<ListboxSelect>>", lambda _: self.window.choose(list(self.chooser.curselection())))
        row = self._place(ttk.Frame(self.frame), pady=(4, 2))
        ttk.Label(row, text="add a map:").pack(side=tk.LEFT)
        ttk.Button(row, text="file…", width=6, command=self._add_files).pack(side=tk.LEFT, padx=3)
        if project_window(self.window) is not None:
            ttk.Button(row, text="project…", width=9, command=self._add_of_project).pack(side=tk.LEFT, padx=3)
        self.matched = tk.BooleanVar(self.frame, True)
        self._place(ttk.Checkbutton(self.frame, text="densities in the first map's units", variable=self.matched,
                                    command=self._matched_changed))

    def _sections(self):
        self._heading("Planes")
        self.planes = tk.StringVar(self.frame)
        self._radio(self._place(ttk.Frame(self.frame)), self.planes, [(name, name) for name in (*AXES, ALL)],
                    self._planes_changed)
        self._section_sliders()
        row = self._place(ttk.Frame(self.frame), pady=(4, 0))
        ttk.Label(row, text="zoom").pack(side=tk.LEFT)
        self.zoom = ttk.Scale(row, from_=1, to=8, command=self._zoom_moved)
        self.zoom.pack(side=tk.LEFT, fill=tk.X, expand=True, padx=4)
        self._check("cross-hair", "cross_hair", self.window.redraw_planes)

    def _greys(self):
        self._heading("Greys")
        self.common = tk.BooleanVar(self.frame, self.state.one_grey_range)
        self._radio(self._place(ttk.Frame(self.frame)), self.common, [("one scale", True), ("each its own", False)],
                    self._greys_changed)
        self.contrast = self._contrast_slider(self._contrast_moved)

    def _contour(self):
        self._heading("Contour")
        self.unit = tk.StringVar(self.frame)
        self._radio(self._place(ttk.Frame(self.frame)), self.unit, [("density", DENSITY), ("σ of each map", SIGMA)],
                    self._unit_changed)
        self.level_slider = self._place(ttk.Scale(self.frame, from_=0, to=1, command=self._level_moved))
        self.level = tk.StringVar(self.frame)
        row = self._place(ttk.Frame(self.frame))
        ttk.Label(row, text="at").pack(side=tk.LEFT)
        entry = ttk.Entry(row, textvariable=self.level, width=10)
        entry.bind("<Return>", self._level_entered)
        entry.pack(side=tk.LEFT, padx=4)
        self._check("lines on the slices", "contours", self.window.redraw_planes)

    # what the widgets do
    def _add_files(self):
        endings = " ".join(f"*{ending}" for ending in MRC_ENDINGS)
        paths = filedialog.askopenfilenames(parent=self.window.root, title="Maps to compare",
                                            filetypes=[("maps", endings), ("all files", "*")])
        self.window.add([(path.rsplit("/", 1)[-1], lambda path=path: open_volume(path)) for path in paths])

    def _add_of_project(self):
        try:
            self.window.add(choose_maps(project_window(self.window).project, self.window.root))
        except InputError as error:
            self.window.say(str(error))

    def _matched_changed(self):
        self.window.match(self.matched.get())

    def _planes_changed(self):
        chosen = self.planes.get()
        self.state.planes = ALL_PLANES if chosen == ALL else (AXES.index(chosen),)
        self.window.redraw_planes()

    def _zoom_moved(self, value):
        if not self._following:
            self.state.zoom = float(value)
            self.window.redraw_planes()

    def _greys_changed(self):
        self.state.one_grey_range = self.common.get()
        self.window.redraw_planes()

    def _contrast_moved(self, value):
        if not self._following:
            self.state.contrast = float(value)
            self.window.redraw_planes()

    def _unit_changed(self):
        if self.unit.get() != self.state.unit:
            level = self.state.in_unit(self.unit.get(), self.window.maps)
            self.state.unit = self.unit.get()
            self.window.set_level(level)

    def _level_moved(self, value):
        if not self._following:
            self.window.set_level(float(value))

    def _level_entered(self, _):
        try:
            self.window.set_level(float(self.level.get()))
        except ValueError:
            self.window.say(f"'{self.level.get()}' is not a number: type the contour as a density, or as 3.0 σ")
