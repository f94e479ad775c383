"""The wand that shows the machine's GPUs and fills "GPU IDs" above the form."""
from __future__ import annotations

import subprocess
import tkinter as tk
from dataclasses import dataclass
from tkinter import ttk

from pyworkflow.gui.dialog import Dialog
from pyworkflow.wizard import DESKTOP_TKINTER, Wizard

from ..core.errors import InputError
from ..plugin import Plugin
from ..protocols import ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV
from .figure_dialog import WholeDialog

QUERY = ["nvidia-smi", "--query-gpu=index,name,memory.total,memory.used,utilization.gpu",
         "--format=csv,noheader,nounits"]
TIMEOUT_S = 20
BUSY_SHARE = 0.2        # of its memory, from which on a GPU is named busy


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi shows it: number, name, MiB of memory in all and in use, % of the time at work."""

    number: int
    name: str
    memory_mib: int
    used_mib: int
    busy_percent: int

    def in_words(self):
        """Name, memory and load."""
        busy = "   in use by others" if self.used_mib > BUSY_SHARE * self.memory_mib else ""
        return (f"{self.number}   {self.name}   {(self.memory_mib - self.used_mib) / 1024:.0f} of "
                f"{self.memory_mib / 1024:.0f} GiB free, {self.busy_percent} % at work{busy}")


class CryosgdGpuWizard(Wizard):
    """Choose GPUs among those that the machine shows."""
    _targets = [(protocol, ["gpuWizard"]) for protocol in (
        ProtCryosgdAbInitio, ProtCryosgdRefine, ProtCryosgdRefineSparseTV)]
    _environments = [DESKTOP_TKINTER]

    def show(self, form, *params):
        try:
            gpus = list_gpus()
        except InputError as error:
            form.showInfo(f"No GPU can be chosen: {error}. The run goes on the CPU; under a queue, give the numbers of "
                          "the GPUs that it lends, from 0.")
            return
        usable, sentence = Plugin.gpuReport()
        protocol = form.protocol
        dialog = GpuDialog(form.root, gpus, protocol.getGpuList() if protocol.usesGpu() else [],
                           "" if usable else f"The engines can't use them yet: {sentence}")
        if dialog.resultYes():
            # the row above the form, which Scipion itself draws
            form.useGpuVar.set(int(bool(dialog.chosen)))
            if dialog.chosen:
                form.gpuListVar.set(",".join(map(str, dialog.chosen)))


class GpuDialog(WholeDialog):
    """A tick box for each GPU. After OK, `chosen` holds the numbers of those ticked; none for a run on the CPU.

    gpus : [Gpu]; chosen : numbers ticked at first; remark : a sentence below, or ""
    """

    def __init__(self, parent, gpus, chosen, remark=""):
        self._gpus, self.chosen, self._remark = gpus, list(chosen), remark
        Dialog.__init__(self, parent, "GPUs")

    def body(self, frame):
        """The tick boxes and a word."""
        ttk.Label(frame, text="The run shares its work among the GPUs that you tick; none: on the CPU."
                  ).grid(row=0, column=0, sticky="w", pady=(0, 8))
        self.ticks = {gpu.number: tk.BooleanVar(self, gpu.number in self.chosen) for gpu in self._gpus}
        for row, gpu in enumerate(self._gpus, start=1):
            ttk.Checkbutton(frame, text=gpu.in_words(), variable=self.ticks[gpu.number], command=self._ticked
                            ).grid(row=row, column=0, sticky="w")
        if self._remark:
            ttk.Label(frame, text=self._remark, wraplength=560, foreground="#c92a2a"
                      ).grid(row=len(self._gpus) + 1, column=0, sticky="w", pady=(8, 0))

    def _ticked(self):
        self.chosen = [number for number, variable in self.ticks.items() if variable.get()]


def list_gpus() -> list:
    """[Gpu] of this machine, as nvidia-smi numbers them; InputError where it shows none."""
    try:
        answer = subprocess.run(QUERY, text=True, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"nvidia-smi does not answer ({error})") from error
    if answer.returncode:
        raise InputError(f"nvidia-smi says: {(answer.stderr or answer.stdout).strip() or 'nothing'}")
    gpus = []
    for line in filter(None, map(str.strip, answer.stdout.splitlines())):
        number, name, *figures = [part.strip() for part in line.split(",")]
        # "[N/A]" where a card keeps no count
        gpus.append(Gpu(int(number), name, *(int(figure) if figure.isdigit() else 0 for figure in figures)))
    if not gpus:
        raise InputError("nvidia-smi shows none")
    return gpus
