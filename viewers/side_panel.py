"""The panel of controls at the side of a window of maps: one column of headed groups, those of its planes shared."""
from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from ..io.volume_data import AXES

WIDTH = 236


class SidePanel:
    """A frame that grows downwards; a subclass adds its groups and says what they set.

    state : what check boxes and sliders set; data : the VolumeData through whose sections the sliders lead;
    section(axis) : the index of the one shown; show_section(axis, index) : note that this one is to be shown
    """

    def __init__(self, window):
        self.window, self._following = window, False
        self.frame = ttk.Frame(window.root, padding=(10, 8), width=WIDTH)
        self.frame.columnconfigure(0, weight=1)
        self._row = 0

    @property
    def state(self):
        raise NotImplementedError

    @property
    def data(self):
        raise NotImplementedError

    def section(self, axis):
        raise NotImplementedError

    def show_section(self, axis, index):
        raise NotImplementedError

    def _check(self, text, name, redraw):
        variable = tk.BooleanVar(self.frame, getattr(self.state, name))

        def changed():
            setattr(self.state, name, variable.get())
            redraw()
        self._place(ttk.Checkbutton(self.frame, text=text, variable=variable, command=changed))
        return variable

    def _radio(self, parent, variable, choices, command):
        """Radio buttons beside one another: choices : [(text, value)]."""
        for text, value in choices:
            ttk.Radiobutton(parent, text=text, value=value, variable=variable, command=command
                            ).pack(side=tk.LEFT, padx=(0, 8))

    def _section_sliders(self):
        """A slider through the sections along each axis, and "average N sections"."""
        self.sliders = {}
        for axis in range(3):
            text = tk.StringVar(self.frame)
            self._place(ttk.Label(self.frame, textvariable=text), pady=(4, 0))
            slider = self._place(ttk.Scale(self.frame, from_=0, to=1,
                                           command=lambda value, axis=axis: self._section_moved(axis, value)))
            self.sliders[axis] = (slider, text)
        row = self._place(ttk.Frame(self.frame), pady=(6, 0))
        ttk.Label(row, text="average").pack(side=tk.LEFT)
        self.thickness = tk.IntVar(self.frame, 1)
        ttk.Spinbox(row, from_=1, to=99, width=4, textvariable=self.thickness, command=self._thickness_changed
                    ).pack(side=tk.LEFT, padx=4)
        ttk.Label(row, text="sections").pack(side=tk.LEFT)

    def _follow_sections(self):
        """Set the sliders to the sections that are shown."""
        for axis, (slider, _) in self.sliders.items():
            slider.configure(to=self.data.shape[axis] - 1)
            slider.set(self.section(axis))
            self._name_section(axis)

    def _name_section(self, axis):
        self.sliders[axis][1].set(f"{AXES[axis]}  {self.data.position_a(axis, self.section(axis)):8.1f} Å")

    def _section_moved(self, axis, value):
        index = int(round(float(value)))
        if self._following or index == self.section(axis):
            return
        self.show_section(axis, index)
        self._name_section(axis)
        self.window.redraw_planes()

    def _thickness_changed(self):
        self.state.thickness = max(1, self.thickness.get())
        self.window.redraw_planes()

    def _contrast_slider(self, command):
        slider = self._place(ttk.Scale(self.frame, from_=-1.5, to=1.5, value=0, command=command))
        row = self._place(ttk.Frame(self.frame))
        ttk.Label(row, text="softer").pack(side=tk.LEFT)
        ttk.Label(row, text="harder").pack(side=tk.RIGHT)
        return slider

    def _buttons(self):
        """What every such window ends with: save and close."""
        row = self._place(ttk.Frame(self.frame), pady=(16, 0))
        ttk.Button(row, text="Save picture…", command=self.window.save).pack(side=tk.LEFT)
        ttk.Button(row, text="Close", command=self.window.close).pack(side=tk.RIGHT)

    def _heading(self, text, first=False):
        label = ttk.Label(self.frame, text=text, font=("TkDefaultFont", 10, "bold"))
        self._place(label, pady=(0 if first else 14, 2))

    def _place(self, widget, pady=(0, 2)):
        widget.grid(row=self._row, column=0, sticky="ew", pady=pady)
        self._row += 1
        return widget
