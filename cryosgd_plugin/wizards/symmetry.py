"""The wand beside a symmetry: point groups with a word about each and, where there is a map, how well each fits it."""
from __future__ import annotations

import os
import subprocess
import tempfile
import tkinter as tk
from tkinter import ttk

from pyworkflow.gui.dialog import Dialog
from pyworkflow.wizard import DESKTOP_TKINTER, Wizard

from ..convert.maps import map_of
from ..core.errors import InputError
from ..core.fourier import resample_volume
from ..core.symmetry import point_group
from ..engines.align_maps import DEFAULT_SHELLS
from ..engines.refine.symmetry_check import correlation_with_mates
from ..io.result_folder import read_json
from ..io.volumes import write_volume
from ..plugin import Plugin
from ..protocols import (
    ProtCryosgdAbInitio,
    ProtCryosgdExpandSymmetry,
    ProtCryosgdFindSymmetry,
    ProtCryosgdRefine,
    ProtCryosgdRefineSparseTV,
    ProtCryosgdValidate,
)
from .figure_dialog import WholeDialog

POLL_MS = 200
# a map is looked at in no larger a box: its coarse features tell
LOOKED_AT_PX, LIES_PX = 64, 32
LARGEST_FOLD = 12
LEAST_SHELLS = 3
OF_LIST = "Axes as in RELION. Other folds, such as C17 or D9, can be typed into the form."
OF_MAP = ("Correlation of the map with itself under each group: as it lies, and on the axes that suit it best, which "
          "takes a minute. A group that is there gives 0.5 to 1.")
GROUPS = {
    "C1": "no symmetry: right when in doubt",
    "C2": "a two-fold axis along z",
    "C3": "a three-fold axis along z (viral spikes)",
    "C4": "a four-fold axis along z (potassium and TRP channels)",
    "C5": "a five-fold axis along z (pentameric receptor channels)",
    "C6": "a six-fold axis along z (connexins, AAA+ rings)",
    "C7": "a seven-fold axis along z (GroEL with one GroES)",
    "D2": "two-folds along x, y and z (β-galactosidase)",
    "D3": "a three-fold along z and two-folds across it",
    "D4": "a four-fold along z and two-folds across it (RuBisCO)",
    "D5": "a five-fold along z and two-folds across it",
    "D6": "a six-fold along z and two-folds across it (glutamine synthetase)",
    "D7": "a seven-fold along z and two-folds across it (20S proteasome)",
    "T": "tetrahedral: a three-fold along z",
    "O": "octahedral: four-folds along x, y and z (ferritin)",
    "I1": "icosahedral: two-folds along x, y and z, five-folds in xz (viruses)",
    "I2": "icosahedral: I1 turned by 90° about z",
    "I3": "icosahedral: a five-fold along z, two-folds in xz",
    "I4": "icosahedral: I3 turned by 180° about z",
}


class CryosgdSymmetryWizard(Wizard):
    """Choose the point group of particles from a list."""
    _targets = [(protocol, ["symmetry"]) for protocol in (ProtCryosgdExpandSymmetry, ProtCryosgdFindSymmetry)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        protocol = form.protocol
        try:
            dialog = SymmetryDialog(form.root, protocol.symmetry.get(), *self.map_of(protocol))
        except InputError as error:
            form.showError(str(error)[:1].upper() + str(error)[1:])
            return
        if dialog.resultYes() and dialog.group:
            form.setVar("symmetry", dialog.group)

    def map_of(self, protocol):
        """(label, (d, d, d) float32, Å/px) of the map that the form gives, or ()."""
        return ()


class CryosgdMapSymmetryWizard(CryosgdSymmetryWizard):
    """Choose the point group from a list, beside which the form's map says how well each group fits it."""
    _targets = [(protocol, ["symmetry"]) for protocol in (
        ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV, ProtCryosgdValidate)]
    _environments = [DESKTOP_TKINTER]

    def map_of(self, protocol):
        """As above: the reference, the map to start from, or the map that is validated."""
        if isinstance(protocol, ProtCryosgdRefine):
            maps = protocol.references()
        elif isinstance(protocol, ProtCryosgdAbInitio):
            maps = [("start", protocol.startVolume.get())] if protocol.startsFromMap() else []
        else:
            maps = [("map", protocol.inputVolume.get())]
        maps = [(label, volume) for label, volume in maps if volume is not None]
        return (maps[0][0], map_of(maps[0][1]), maps[0][1].getSamplingRate()) if maps else ()


class SymmetryDialog(WholeDialog):
    """A list of point groups. After OK, `group` is the one that is selected.

    group : selected at first; label, volume, pixel_size : of a map (d, d, d) that "Fit" tries them on, or None
    """

    def __init__(self, parent, group, label=None, volume=None, pixel_size=None):
        self.group = (group or "").strip().upper()
        self._label, self._volume, self._search = label, volume, None
        self._extent_a = len(volume) * pixel_size if volume is not None else None
        Dialog.__init__(self, parent, "Symmetry")

    def body(self, frame):
        """The list, the button that fits, and a line below."""
        columns = ("order", "words", "lies", "fits")
        # what the form says may be a group that isn't listed, such as C17
        groups = [*GROUPS, *([self.group] if self.group not in GROUPS and _is_group(self.group) else [])]
        self.tree = ttk.Treeview(frame, columns=columns, selectmode="browse", height=len(groups))
        for name, title, width, anchor in (("#0", "group", 70, tk.W), ("order", "operators", 90, tk.E),
                                           ("words", "what it is", 520, tk.W), ("lies", "as it lies", 90, tk.E),
                                           ("fits", "on any axes", 100, tk.E)):
            self.tree.heading(name, text=title, anchor=anchor)
            self.tree.column(name, width=width, anchor=anchor, stretch=name == "words")
        for group in groups:
            self.tree.insert("", tk.END, iid=group, text=group,
                             values=(len(point_group(group)), GROUPS.get(group, "as the form says"), "", ""))
        if self.tree.exists(self.group):
            self.tree.selection_set(self.group)
        self.tree.bind("<<TreeviewSelect>>", lambda _: self._selected())
        self.tree.grid(row=0, column=0, sticky="news")
        frame.columnconfigure(0, weight=1)
        row = ttk.Frame(frame)
        row.grid(row=1, column=0, sticky="ew", pady=(6, 0))
        self.fit = ttk.Button(row, text=f"Fit to {self._label}", command=self.start)
        if self._volume is None:
            self.tree.configure(displaycolumns=("order", "words"))
        else:
            self.fit.pack(side=tk.LEFT, padx=(0, 8))
            self.resolution = tk.StringVar(self, f"{self._extent_a / min(DEFAULT_SHELLS, self._finest()):.3g}")
            ttk.Label(row, text="up to").pack(side=tk.LEFT)
            ttk.Entry(row, textvariable=self.resolution, width=6).pack(side=tk.LEFT, padx=3)
            ttk.Label(row, text="Å").pack(side=tk.LEFT, padx=(0, 12))
        self.line = ttk.Label(frame, anchor="w", justify=tk.LEFT, wraplength=800,
                              text=OF_LIST if self._volume is None else OF_MAP)
        self.line.grid(row=2, column=0, sticky="ew", pady=(6, 0))
        self.initial_focus = self.tree

    def start(self):
        """Try the groups on the map, in the background."""
        try:
            radius = round(self._extent_a / float(self.resolution.get()))
        except (ValueError, ZeroDivisionError):
            radius = 0
        if not LEAST_SHELLS <= radius <= self._finest():
            self.line.configure(text=f"'{self.resolution.get()}' is no resolution that is looked at here: give Å from "
                                     f"{self._extent_a / self._finest():.3g} to {self._extent_a / LEAST_SHELLS:.3g}.")
            return
        self.fit.configure(state=tk.DISABLED)
        small = self._volume if len(self._volume) <= LOOKED_AT_PX else resample_volume(self._volume, LOOKED_AT_PX)
        self._search = _Search(small, self._extent_a / len(small), radius)
        self._seconds, self._waiting = 0.0, list(self.tree.get_children())
        self._smaller = small if len(small) <= LIES_PX else resample_volume(small, LIES_PX)
        self._poll()

    def destroy(self):
        """Destroy the window; a search that goes on is given up."""
        if self._search is not None:
            self.after_cancel(self._pending)
            self._search.end()
        Dialog.destroy(self)

    def _finest(self):
        return min(len(self._volume), LOOKED_AT_PX) // 2 - 1

    def _poll(self):
        if self._waiting:
            # one at a time: the window stays alive
            group = self._waiting.pop(0)
            self.tree.set(group, "lies", f"{correlation_with_mates(self._smaller, group):.2f}")
        if self._search.going_on() or self._waiting:
            self._seconds += POLL_MS / 1000
            self.line.configure(text=f"searching for axes … {self._seconds:.0f} s")
            self._pending = self.after(POLL_MS, self._poll)
            return
        self.fit.configure(state=tk.NORMAL)
        try:
            report = self._search.report()
        except InputError as error:
            self.line.configure(text=str(error))
            return
        # the sentence is that of the command line
        self.line.configure(text=report["verdict"].replace("--resolution", "resolution"))
        for fit in report["groups"]:
            for group in ("I1", "I2", "I3", "I4") if fit["group"] == "I" else (fit["group"],):
                if self.tree.exists(group):
                    self.tree.set(group, "fits", f"{fit['weakest']:.2f}")

    def _selected(self):
        chosen = self.tree.selection()
        self.group = chosen[0] if chosen else self.group


class _Search:
    """`cryosgd symmetry` on a map, in a process of its own: Tk bears no thread that makes and drops objects."""

    def __init__(self, volume, pixel_size, radius):
        self._folder = tempfile.TemporaryDirectory(prefix="cryosgd_symmetry_")
        given, self._answer = (os.path.join(self._folder.name, name) for name in ("map.mrc", "symmetry.json"))
        write_volume(given, volume, pixel_size)
        self._process = subprocess.Popen(
            [Plugin.getEnginePython(), "-m", "cryosgd_plugin.cli", "symmetry", given, "--radius", str(radius),
             "--max-fold", str(LARGEST_FOLD), "--json", self._answer],
            env=Plugin.getEnviron(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def going_on(self) -> bool:
        """Whether there is no answer yet."""
        return self._process.poll() is None

    def report(self) -> dict:
        """What the command writes as JSON; InputError with its own sentence where it failed."""
        _, complaint = self._process.communicate()
        if self._process.returncode:
            raise InputError(complaint.strip().splitlines()[-1] if complaint.strip() else "the search ended early")
        return read_json(self._answer)

    def end(self):
        """Stop it, where it goes on, and remove its files."""
        if self.going_on():
            self._process.terminate()
            self._process.wait()
        self._folder.cleanup()


def _is_group(name):
    try:
        point_group(name)
    except InputError:
        return False
    return True
