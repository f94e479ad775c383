"""Scipion's viewer for the view directions of any particles with a projection alignment."""
from __future__ import annotations

import os
import sqlite3

import numpy as np
import pwem.objects as emobj
import pyworkflow.viewer as pwviewer

from ..core.errors import InputError
from ..io.view_pictures import draw_view_directions
from .figure_view import FigureView

MATRIX = "_transform._matrix"
BLOCK = 20_000      # rows in memory as text at a time


class CryosgdDirectionsViewer(pwviewer.Viewer):
    """The particles' view directions on an equal-area map."""
    _name = "CryoSGD angular distribution"
    _environments = [pwviewer.DESKTOP_TKINTER]
    _targets = [emobj.SetOfParticles]

    @classmethod
    def can_handle_this_instance(cls, instance):
        return instance.hasAlignmentProj()

    def _visualize(self, obj, **kwargs):
        try:
            angles = directions_of(obj)
        except InputError as error:
            return [self.errorMessage(str(error), "Angular distribution")]
        return [FigureView("CryoSGD: angular distribution", lambda figure: draw_view_directions(figure, *angles),
                           self.formWindow, size=(10.0, 5.8))]


def directions_of(particles):
    """(rot, tilt) in degrees, each (n,), of the enabled particles of a set with a projection alignment.

    Read straight from the set's database: a million particles take seconds, where Scipion's objects take minutes.
    Raises InputError where the set has no transforms or isn't written yet.
    """
    path = particles.getFileName()
    if not path or not os.path.exists(path):
        raise InputError("this set is not written yet; look again when its job has gone further")
    connection = sqlite3.connect(f"file:{os.path.abspath(path)}?mode=ro", uri=True)
    try:
        column = connection.execute("SELECT column_name FROM Classes WHERE label_property = ?", (MATRIX,)).fetchone()
        vectors = [] if column is None else [_third_columns(rows) for rows in _blocks(connection.execute(
            f"SELECT {column[0]} FROM Objects WHERE enabled = 1 AND {column[0]} IS NOT NULL"))]
    except (sqlite3.Error, ValueError, IndexError) as error:
        raise InputError(f"{path} can't be read ({error}); look again when its job has gone further") from error
    finally:
        connection.close()
    if not vectors:
        raise InputError("these particles have no poses to show")
    # the third column of Scipion's projection transform is the view direction in the volume
    x, y, z = np.concatenate(vectors).T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arccos(np.clip(z, -1, 1)))


def _blocks(cursor):
    return iter(lambda: cursor.fetchmany(BLOCK), [])


def _third_columns(rows):
    """(n, 3) float64: entries 02, 12, 22 of transforms in Scipion's text, "[[a, b, c, d], [...], ...]" each.

    Only the numbers that are wanted are parsed, which is most of the time of a large set.
    """
    numbers = []
    for text, in rows:
        part = text.split(",", 11)
        # a flat list: one of lists would keep Python's garbage collector busy for as long again
        numbers += (float(part[2]), float(part[6]), float(part[10]))
    return np.array(numbers).reshape(-1, 3)
