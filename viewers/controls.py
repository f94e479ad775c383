"""The side panel of the volume window: which volume, which sections, contrast, contour and surface."""
from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from ..io.section_state import PROJECTIONS, SLICES, harder
from ..io.surface import view_along
from ..io.view_state import ViewState
from .side_panel import SidePanel
from .tk_figure import refresh_widgets

SIGMA_RANGE = (-3.0, 12.0)


class Controls(SidePanel):
    """Widgets that change the window's ViewState and ask it to draw; `follow` sets them after the state changed."""

    def __init__(self, window, refreshable):
        super().__init__(window)
        self._volumes(refreshable)
        self._sections()
        self._contrast()
        self._contour()
        self._surface()
        self._buttons()
        self.list([label for label, _ in window.volumes])
        self.follow()

    @property
    def state(self):
        return self.window.picture.state

    @property
    def data(self):
        return self.window.picture.data

    def section(self, axis):
        return self.state.position[axis]

    def show_section(self, axis, index):
        self.state.position[axis] = index

    def list(self, labels):
        """Offer these volumes."""
        self.chooser.configure(values=labels)
        last = max(len(labels) - 1, 1)
        self.history.configure(to=last)
        self.history_frame.grid() if len(labels) > 2 else self.history_frame.grid_remove()

    def follow(self):
        """Set every widget to what the state says, without drawing."""
        self._following = True
        self.chooser.current(self.window.shown)
        self.history.set(self.window.shown)
        self._follow_sections()
        survey = self.data.survey
        self.level_slider.configure(from_=max(SIGMA_RANGE[0], survey.in_sigma(survey.minimum)),
                                    to=max(1.0, survey.in_sigma(survey.maximum)))
        self.level_slider.set(survey.in_sigma(self.state.level))
        self.level_sigma.set(f"{survey.in_sigma(self.state.level):.2f}")
        self.level_density.set(f"{self.state.level:.4g}")
        self._following = False

    # sections of the panel
    def _volumes(self, refreshable):
        self._heading("Volume", first=True)
        self.chooser = self._place(ttk.Combobox(self.frame, state="readonly", width=26))
        self.chooser.bind("<<ComboboxSelected>>", lambda _: self.window.show_volume(self.chooser.current()))
        self.history_frame = self._place(ttk.Frame(self.frame))
        ttk.Label(self.history_frame, text="first").pack(side=tk.LEFT)
        self.history = ttk.Scale(self.history_frame, from_=0, to=1, command=self._history_moved)
        self.history.pack(side=tk.LEFT, fill=tk.X, expand=True, padx=4)
        ttk.Label(self.history_frame, text="last").pack(side=tk.LEFT)
        self._place(ttk.Button(self.frame, text="Compare with…", command=self.window.compare))
        if refreshable:
            button, automatic = refresh_widgets(self._place(ttk.Frame(self.frame)), self.window)
            button.pack(side=tk.LEFT)
            automatic.pack(side=tk.LEFT, padx=8)

    def _sections(self):
        self._heading("Planes")
        self.mode = tk.StringVar(self.frame, SLICES)
        self._radio(self._place(ttk.Frame(self.frame)), self.mode, [(SLICES, SLICES), (PROJECTIONS, PROJECTIONS)],
                    self._mode_changed)
        self._section_sliders()
        self.cross_hair = self._check("cross-hair", "cross_hair", self.window.redraw_planes)

    def _contrast(self):
        self._heading("Contrast")
        self.contrast = self._contrast_slider(self._contrast_moved)

    def _contour(self):
        self._heading("Contour")
        self.level_slider = self._place(ttk.Scale(self.frame, from_=SIGMA_RANGE[0], to=SIGMA_RANGE[1],
                                                  command=self._level_moved))
        row = self._place(ttk.Frame(self.frame))
        self.level_sigma, self.level_density = tk.StringVar(self.frame), tk.StringVar(self.frame)
        for variable, unit, entered in ((self.level_sigma, "σ  =", self._sigma_entered),
                                        (self.level_density, "", self._density_entered)):
            entry = ttk.Entry(row, textvariable=variable, width=9)
            entry.bind("<Return>", entered)
            entry.pack(side=tk.LEFT)
            ttk.Label(row, text=unit).pack(side=tk.LEFT, padx=4)
        self._check("lines on the slices", "contours", self.window.redraw_planes)

    def _surface(self):
        self._heading("Surface")
        row = self._place(ttk.Frame(self.frame))
        ttk.Label(row, text="along").pack(side=tk.LEFT)
        for axis in ("x", "y", "z"):
            ttk.Button(row, text=axis, width=3, command=lambda axis=axis: self._look_along(axis)
                       ).pack(side=tk.LEFT, padx=3)
        ttk.Button(row, text="reset", width=6, command=self._reset).pack(side=tk.RIGHT)
        self._check("hide small pieces", "hide_dust", self.window.redraw_all)
        self._check("colour by radius", "colour_by_radius", self.window.redraw_all)

    # what the widgets do
    def _history_moved(self, value):
        number = int(round(float(value)))
        if self._following or number == self.window.shown:
            return
        # a volume takes longer to open than the slider to pass it
        self.window.timers.start("history", 120, lambda: self.window.show_volume(number))

    def _mode_changed(self):
        self.state.mode = self.mode.get()
        self.window.redraw_planes()

    def _contrast_moved(self, value):
        if self._following:
            return
        self.state.grey_range = harder(ViewState.of(self.data).grey_range, float(value))
        self.window.redraw_planes()
        self.window.picture.histogram.update()

    def _level_moved(self, value):
        if not self._following:
            self.window.set_level(self.data.survey.from_sigma(float(value)))

    def _sigma_entered(self, _):
        self._enter(self.level_sigma, self.data.survey.from_sigma)

    def _density_entered(self, _):
        self._enter(self.level_density, float)

    def _enter(self, variable, to_density):
        try:
            self.window.set_level(to_density(float(variable.get())))
        except ValueError:
            self.window.say(f"'{variable.get()}' is not a number: type the contour as 3.0 σ or as a density")

    def _look_along(self, axis):
        self.state.rotation = view_along(axis)
        self.window.redraw_all()

    def _reset(self):
        fresh = ViewState.of(self.data)
        self.state.rotation, self.state.half_width_a = fresh.rotation, 0.0
        self.window.set_level(fresh.level)
