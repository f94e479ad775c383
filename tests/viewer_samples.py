"""A Scipion project and a figure for the tests of the viewers."""
import os
from contextlib import contextmanager

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pyworkflow.project import Manager
from pyworkflow.utils import makePath

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
