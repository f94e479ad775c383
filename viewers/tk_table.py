"""A Tk window of names and values."""
from __future__ import annotations

import textwrap
import tkinter as tk
from itertools import zip_longest
from tkinter import ttk
from tkinter.font import Font

from pyworkflow.gui import Window

from .tk_figure import ViewerWindow, place_window

NAME_PX, VALUE_PX = 270, 560
MARGIN_PX, INDENT_PX = 16, 40      # beside the lettering of a cell, and before that of a name


class TableWindow(ViewerWindow):
    """rows : [(name, value)]; a value of None makes the name a heading. `texts()` is what is shown."""

    def __init__(self, title, rows, master=None):
        Window.__init__(self, title, master, minsize=(420, 300))
        frame = ttk.Frame(self.root)
        frame.grid(row=0, column=0, sticky="news")
        self.tree = ttk.Treeview(frame, columns=("value",), show="tree", selectmode="browse")
        self.tree.column("#0", width=NAME_PX + INDENT_PX, stretch=False)
        self.tree.column("value", width=VALUE_PX + MARGIN_PX, stretch=True)
        bar = ttk.Scrollbar(frame, orient=tk.VERTICAL, command=self.tree.yview)
        self.tree.configure(yscrollcommand=bar.set)
        self.tree.pack(side=tk.LEFT, fill=tk.BOTH, expand=True)
        bar.pack(side=tk.RIGHT, fill=tk.Y)
        self.tree.tag_configure("heading", font=("TkDefaultFont", 10, "bold"))
        parent, font = "", Font(font=ttk.Style(self.root).lookup("Treeview", "font") or "TkDefaultFont")
        for name, value in rows:
            if value is None:
                parent = self.tree.insert("", tk.END, text=name, open=True, tags=("heading",))
            else:
                # a row is one line high: long names and sentences go on in the next rows
                for first, second in zip_longest(fitting(name, font.measure, NAME_PX),
                                                 fitting(str(value), font.measure, VALUE_PX), fillvalue=""):
                    self.tree.insert(parent, tk.END, text=first, values=(second,))
        buttons = ttk.Frame(self.root, padding=4)
        buttons.grid(row=1, column=0, sticky="ew")
        ttk.Button(buttons, text="Close", command=self.close).pack(side=tk.RIGHT)
        place_window(self.root, NAME_PX + INDENT_PX + VALUE_PX + MARGIN_PX + 24, 620)

    def texts(self):
        """[(name, value)] as shown, line by line, headings with an empty value."""
        shown, waiting = [], list(self.tree.get_children())
        while waiting:
            item = waiting.pop(0)
            values = self.tree.item(item, "values")
            shown.append((self.tree.item(item, "text"), values[0] if values else ""))
            waiting = list(self.tree.get_children(item)) + waiting
        return shown


def fitting(text, measure, width_px) -> list:
    """A text in lines none of which measure(line) finds wider than so many px; words break only where one is wider."""
    characters = max(len(text), 1)
    while True:
        lines = textwrap.wrap(text, characters) or [""]
        widest = max(lines, key=measure)
        if measure(widest) <= width_px or characters == 1:
            return lines
        characters = max(1, min(characters, len(widest)) - 1)
