"""The panel of controls at the side of a window: one column of headed groups."""
from __future__ import annotations

import tkinter as tk
from tkinter import ttk

WIDTH = 236


class SidePanel:
    """A frame that grows downwards; `state` is what its check boxes set."""

    def __init__(self, window):
        self.window, self._following = window, False
        self.frame = ttk.Frame(window.root, padding=(10, 8), width=WIDTH)
        self.frame.columnconfigure(0, weight=1)
        self._row = 0

    @property
    def state(self):
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

    def _sections_averaged(self, command):
        """"average N sections"; the variable that holds N."""
        row = self._place(ttk.Frame(self.frame), pady=(6, 0))
        ttk.Label(row, text="average").pack(side=tk.LEFT)
        thickness = tk.IntVar(self.frame, 1)
        ttk.Spinbox(row, from_=1, to=99, width=4, textvariable=thickness, command=command).pack(side=tk.LEFT, padx=4)
        ttk.Label(row, text="sections").pack(side=tk.LEFT)
        return thickness

    def _contrast_slider(self, command):
        slider = self._place(ttk.Scale(self.frame, from_=-1.5, to=1.5, value=0, command=command))
        row = self._place(ttk.Frame(self.frame))
        ttk.Label(row, text="softer").pack(side=tk.LEFT)
        ttk.Label(row, text="harder").pack(side=tk.RIGHT)
        return slider

    def _heading(self, text, first=False):
        label = ttk.Label(self.frame, text=text, font=("TkDefaultFont", 10, "bold"))
        self._place(label, pady=(0 if first else 14, 2))

    def _place(self, widget, pady=(0, 2)):
        widget.grid(row=self._row, column=0, sticky="ew", pady=pady)
        self._row += 1
        return widget
