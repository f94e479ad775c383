"""A Scipion project and a figure for the tests of the viewers."""
import os
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pwem.viewers import Chimera
from pyworkflow.project import Manager
from pyworkflow.utils import makePath

PATIENCE_S = 30
FREQUENCY = np.arange(33) / 256.0      # 64 px at 4 Å/px


def new_figure():
    canvas = FigureCanvasAgg(Figure(figsize=(9, 6), dpi=50))
    return canvas.figure


def texts(figure):
    figure.canvas.draw()
    found = [t.get_text() for t in figure.texts]
    if figure._suptitle is not None:
        found.append(figure._suptitle.get_text())
    return " | ".join(found)


def saved_viewer(project, protocol_class, viewer_class):
    """A viewer on a protocol "my run" in D2 that has been saved and has an empty run folder, and that folder."""
    protocol = project.newProtocol(protocol_class)
    protocol.setObjLabel("my run")
    protocol.symmetry.set("D2")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    viewer = viewer_class(project=project)
    viewer.setProtocol(protocol)
    return viewer, protocol._getExtraPath("run")


def views(viewer, name):
    """What the button of this name opens."""
    return viewer._getVisualizeDict()[name](name)


def without_chimerax(monkeypatch):
    """Scipion has a plugin for ChimeraX that knows of none."""
    monkeypatch.setitem(sys.modules, "chimera", SimpleNamespace(Plugin=SimpleNamespace(getHome=lambda: None)))
    monkeypatch.setattr(Chimera, "_program", None)


def stub_chimerax(monkeypatch, folder):
    """Scipion finds a ChimeraX through a plugin for it; returns a function that waits for the files it was opened with.
    """
    (folder / "bin").mkdir()
    program, told = folder / "bin" / "ChimeraX", folder / "told"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}.part && mv {told}.part {told}\n', encoding="utf-8")
    program.chmod(0o755)
    plugin = SimpleNamespace(Plugin=SimpleNamespace(getHome=lambda: str(folder)))
    monkeypatch.setitem(sys.modules, "chimera", plugin)
    monkeypatch.setattr(Chimera, "_program", None)

    def opened():
        end = time.monotonic() + PATIENCE_S
        while not told.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return told.read_text(encoding="utf-8").split("\n")[:-1]
    return opened


@contextmanager
def open_project(name):
    """A new project that is the current folder meanwhile."""
    here = os.getcwd()
    project = Manager().createProject(name)
    os.chdir(project.path)      # as Scipion's windows do: its paths are relative to the project
    makePath(project.getTmpPath())
    try:
        yield project
    finally:
        os.chdir(here)
