"""Scipion views that open a figure, or a table of settings, in a window of its own."""
from __future__ import annotations

import pyworkflow.viewer as pwviewer

from ..core.errors import InputError

UNITS = {"a": "Å", "a2": "Å²", "deg": "°", "px": "px", "gb": "GB", "mb": "MB", "s": "s", "kv": "kV", "mm": "mm"}
WHOLE_NAMES = {"pixel_size": "pixel size (Å/px)", "working_pixel_size": "working pixel size (Å/px)",
               "box_size": "box size (px)", "n_particles": "particles", "total_seconds": "time (s)",
               "cpu_seconds": "CPU time (s)", "half_fsc_0143_a": "FSC of the halves 0.143 at (Å)",
               "resolution_05_a": "resolution at FSC 0.5 (Å)", "resolution_shell_a": "last shell above 0.143 (Å)",
               "bfactor": "B-factor (Å²)", "fsc_0.5_a": "FSC 0.5 at (Å)", "fsc_0.143_a": "FSC 0.143 at (Å)",
               "shape_fsc_05_a": "without spherical averages, FSC 0.5 at (Å)", "scf": "SCF", "scf_star": "SCF*",
               "deposition": "for the EMDB"}


class FigureView(pwviewer.View):
    """draw(figure) draws on a matplotlib Figure and may raise InputError, which is shown as a message.

    options : curves and layout, as of `tk_figure.FigureWindow`
    """

    def __init__(self, title, draw, master=None, size=(9.0, 6.0), refreshable=False, **options):
        self.title, self.draw, self.master, self.size = title, draw, master, size
        self.refreshable, self.options, self.window = refreshable, options, None

    def show(self):
        """Open the window, or say why there is nothing to show."""
        from .tk_figure import FigureWindow, new_figure  # Tk only where there is a display
        figure = new_figure(self.size, self.options.get("layout"))
        try:
            self.draw(figure)       # an empty window with a message in its corner would be missed
        except InputError as error:
            root = self.master.getRoot() if self.master is not None else None
            pwviewer.MessageView(str(error), self.title, pwviewer.MSG_ERROR, tkParent=root).show()
            return
        self.window = FigureWindow(self.title, self.draw, self.master, self.size, self.refreshable,
                                   figure=figure, **self.options)
        self.window.show()


class TableView(pwviewer.View):
    """rows : [(name, value)], a name with value None is a heading."""

    def __init__(self, title, rows, master=None):
        self.title, self.rows, self.master, self.window = title, rows, master, None

    def show(self):
        """Open the window."""
        from .tk_table import TableWindow
        self.window = TableWindow(self.title, self.rows, self.master)
        self.window.show()


def summary_rows(summary):
    """summary.json as rows for a TableView: nested dicts become headings, units are written out, lists shortened."""
    plain = [(_with_unit(name), _in_words(value)) for name, value in summary.items() if not isinstance(value, dict)]
    rows = []
    for name, value in summary.items():
        if isinstance(value, dict):
            rows.append((_with_unit(name), None))
            rows.extend((_with_unit(inner), _in_words(entry)) for inner, entry in value.items())
    return plain + rows


def _with_unit(name):
    """`final_resolution_a` → "final resolution (Å)"."""
    if name in WHOLE_NAMES:
        return WHOLE_NAMES[name]
    words = str(name).split("_")
    if len(words) > 1 and words[-1] in UNITS:
        return f"{' '.join(words[:-1])} ({UNITS[words[-1]]})"
    return " ".join(words)


def _in_words(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if value in (None, [], ()):
        return "none"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_in_words(entry) for entry in value[:12])
        return shown + (f", … ({len(value)} in all)" if len(value) > 12 else "")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(entry)}" for name, entry in value.items())
    return str(value)
