"""A Tk window of Scipion's kind around a matplotlib figure, alive beside the other windows of a project."""
from __future__ import annotations

import tkinter as tk
from tkinter import filedialog, ttk

from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg
from matplotlib.figure import Figure
from pyworkflow.gui import Window

from ..core.errors import InputError
from ..io.fsc_xml import write_fsc_xml

REFRESH_SECONDS = 10
BAR_PX = 44      # height of the bar of buttons


class Timers:
    """Tk timers of one window by name; all are cancelled when the window is destroyed, by whatever way."""

    def __init__(self, root):
        self._root, self._pending = root, {}
        root.bind("<Destroy>", self._destroyed, add=True)

    def start(self, name, milliseconds, action):
        """Call action() once, after this time; a pending timer of the same name is replaced."""
        self.cancel(name)

        def run():
            del self._pending[name]
            action()
        self._pending[name] = self._root.after(milliseconds, run)

    def repeat(self, name, seconds, action):
        """Call action() every so many seconds; 0 stops."""
        if seconds:
            self.start(name, int(seconds * 1000), lambda: (action(), self.repeat(name, seconds, action)))
        else:
            self.cancel(name)

    def pending(self, name):
        """Whether a timer of this name waits."""
        return name in self._pending

    def cancel(self, name):
        """Forget the timer, where there is one."""
        if name in self._pending:
            self._root.after_cancel(self._pending.pop(name))

    def _destroyed(self, event):
        if event.widget is self._root:      # children's events arrive here too
            for name in list(self._pending):
                self.cancel(name)


class ViewerWindow(Window):
    """A window that is shown and closed beside others, those of a project or of other viewers."""

    def show(self, center=True, modal=False):
        """Appear beside the caller's windows; enter Tk's main loop only where no other window runs one."""
        self.root.deiconify()
        self.root.lift()
        self.root.update_idletasks()
        if self.master is None:
            self.root.mainloop()

    def close(self, e=None):
        """Close this window only; ends the main loop of one without master."""
        if self.master is None:
            self.root.quit()
        self.root.destroy()


class FigureWindow(ViewerWindow):
    """A figure with a bar of buttons: refresh (by hand or every few seconds), save, close.

    draw(figure) : draws, called at the start and at each refresh; raises InputError where there is nothing to show
    refreshable : whether the buttons for refreshing are offered (a job may go on)
    curves() : [(label, frequencies in 1/Å, values)] of the FSC curves that are drawn, to be saved for the EMDB; None
        for another figure
    figure : one of `new_figure` that draw was called with, to be shown as it is; None to draw one here
    """

    def __init__(self, title, draw, master=None, size=(9.0, 6.0), refreshable=False, curves=None,
                 layout=None, figure=None):
        Window.__init__(self, title, master, minsize=(420, 320))
        self._draw, self.timers = draw, Timers(self.root)
        self.figure = new_figure(size, layout) if figure is None else figure
        self.canvas, self.canvas_widget = place_canvas(self.root, self.figure)
        self.canvas_widget.grid(row=0, column=0, sticky="news")
        self.root.rowconfigure(0, weight=1)
        self.root.columnconfigure(0, weight=1)
        bar = ttk.Frame(self.root, padding=4)
        bar.grid(row=1, column=0, sticky="ew")
        self.status = ttk.Label(bar, text="")
        self.status.pack(side=tk.LEFT, padx=6)
        ttk.Button(bar, text="Close", command=self.close).pack(side=tk.RIGHT, padx=2)
        ttk.Button(bar, text="Save picture…", command=lambda: ask_and_save(self.figure, self.root)
                   ).pack(side=tk.RIGHT, padx=2)
        if curves is not None:
            curve_menu(bar, curves).pack(side=tk.RIGHT, padx=2)
        if refreshable:
            button, automatic = refresh_widgets(bar, self)
            button.pack(side=tk.RIGHT, padx=2)
            automatic.pack(side=tk.RIGHT, padx=6)
        # as large as the screen lets it be: margins in inches are drawn for this size
        wanted = int(size[0] * 100), int(size[1] * 100) + BAR_PX
        width, height = place_window(self.root, *wanted)
        self.figure.set_size_inches(width / 100, (height - BAR_PX) / 100)
        if figure is None or (width, height) != wanted:
            self.refresh()

    def refresh(self):
        """Draw anew from what is there now."""
        try:
            self._draw(self.figure)
            self.status.configure(text="")
        except InputError as error:        # a file half written by the running job: keep the window, say what it is
            self.status.configure(text=str(error))
        self.canvas.draw_idle()


def refresh_widgets(parent, window):
    """A button that refreshes a window with `refresh` and `timers`, and a check box that does so every few seconds."""
    wanted = tk.BooleanVar(parent, False)
    automatic = ttk.Checkbutton(parent, text=f"every {REFRESH_SECONDS} s", variable=wanted,
                                command=lambda: window.timers.repeat(
                                    "refresh", REFRESH_SECONDS if wanted.get() else 0, window.refresh))
    return ttk.Button(parent, text="Refresh", command=window.refresh), automatic


def new_figure(size, layout=None):
    """An empty figure for a window. size : inches; layout : "constrained" for a drawing that leaves its margins to
    matplotlib."""
    return Figure(figsize=size, dpi=100, layout=layout)


def place_canvas(parent, figure):
    """The canvas that draws a figure in a Tk parent, and its widget (not yet placed)."""
    canvas = FigureCanvasTkAgg(figure, master=parent)
    return canvas, canvas.get_tk_widget()


def place_window(root, width, height):
    """Give a window its size and a place in the middle of the screen, inside it; (width, height) that it got, px."""
    root.update_idletasks()
    screen_width, screen_height = root.winfo_screenwidth(), root.winfo_screenheight()
    width, height = min(width, screen_width - 40), min(height, screen_height - 80)
    root.geometry(f"{width}x{height}+{(screen_width - width) // 2}+{max(20, (screen_height - height) // 2 - 20)}")
    return width, height


def project_window(window):
    """The window of the project above a Scipion window; None where it was opened without one."""
    while window is not None and not hasattr(window, "getViewWidget"):
        window = window.master
    return window


def curve_menu(parent, list_curves):
    """A button "Save for EMDB", whose menu names the FSC curves there are when it is opened."""
    button = ttk.Menubutton(parent, text="Save for EMDB…", direction="above")
    button.menu = tk.Menu(button, tearoff=False)

    def fill():
        button.menu.delete(0, tk.END)
        for curve in list_curves():
            button.menu.add_command(label=curve[0], command=lambda chosen=curve: ask_and_export(chosen, parent))
    button.menu.configure(postcommand=fill)
    button["menu"] = button.menu
    return button


def ask_and_export(curve, parent):
    """Ask for a file name and write an FSC curve (label, frequencies in 1/Å, values) there as the EMDB's XML."""
    path = filedialog.asksaveasfilename(parent=parent, title=f"Save {curve[0]}", defaultextension=".xml",
                                        initialfile="fsc.xml", filetypes=[("EMDB's FSC", "*.xml")])
    if path:
        label, frequencies, values = curve
        write_fsc_xml(path, frequencies, values, f"FSC: {label}")


def ask_and_save(figure, parent):
    """Ask for a file name and write the figure there as it is shown (PNG, PDF or SVG by its ending)."""
    path = filedialog.asksaveasfilename(parent=parent, title="Save picture", defaultextension=".png",
                                        filetypes=[("PNG", "*.png"), ("PDF", "*.pdf"), ("SVG", "*.svg")])
    if path:
        figure.savefig(path, dpi=150)
