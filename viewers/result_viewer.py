"""What the viewers of all our runs share: the folder that the engine writes, windows, and messages."""
from __future__ import annotations

import os
from functools import partial

import pyworkflow.protocol.params as params
import pyworkflow.viewer as pwviewer
from pwem.viewers import ChimeraView, EmProtocolViewer

from ..core.errors import InputError
from ..io.result_folder import ResultFolder
from .figure_view import FigureView
from .viewer_volume import chimerax_is_installed

RUN_FOLDER = "run"
WITH_CRYOSGD, WITH_CHIMERAX = 0, 1


class ResultViewer(EmProtocolViewer):
    """A subclass defines `_defineParams(form)` with a button for each of `_views()`, {name: function that gives views}.
    """
    _environments = [pwviewer.DESKTOP_TKINTER]
    FOLDER = ResultFolder

    @classmethod
    def getClassLabel(cls, prependPackageName=True):
        """The title of the form with the buttons; the label names the program, which Scipion would put before it."""
        return cls._label

    def _defineDisplay(self, group, label="slices and surface"):
        """The choice of who shows maps, where there is one; label : of our own window."""
        group.addParam("display", params.EnumParam, choices=[label, "ChimeraX"], default=WITH_CRYOSGD,
                       display=params.EnumParam.DISPLAY_HLIST, label="Show maps with",
                       condition=str(chimerax_is_installed()),
                       help=f"*{label}*: planes and contours in a window of CryoSGD.\n*ChimeraX*: opens the files.")

    def _mapViews(self, files, view):
        """[view], or where ChimeraX was chosen these files (paths) in it; view : of our own window."""
        return [ChimeraView([os.path.abspath(file) for file in files]) if self.display == WITH_CHIMERAX else view]

    def _getVisualizeDict(self):
        return {name: partial(self._orMessage, make) for name, make in self._views().items()}

    def _runPath(self):
        return self.protocol._getExtraPath(RUN_FOLDER)

    def _folder(self):
        """The run's folder as a FOLDER; InputError before there is one."""
        if not os.path.isdir(self._runPath()):
            raise InputError("the run has written nothing yet; look again in a moment")
        return self.FOLDER(self._runPath()).in_progress()

    def _figureView(self, title, read, draw, size=(9.0, 6.0), **options):
        """A window that draws what read() gives, anew at each refresh; InputError where there is nothing yet."""
        first = [read()]    # a million particles take seconds: the first picture needn't wait for them twice

        def draw_newest(figure):
            draw(figure, first.pop() if first else read())
        return FigureView(f"CryoSGD: {title} of {self.protocol.getRunName()}", draw_newest, self.formWindow, size,
                          refreshable=True, **options)

    def _fscView(self, title, read, draw):
        """As `_figureView`, of the curves that read() gives; each can be saved for the EMDB."""
        return self._figureView(title, read, draw, curves=read)

    def _pictureView(self, title, read, draw, size):
        """As `_figureView`, of a drawing that leaves its margins to matplotlib."""
        return self._figureView(title, read, draw, size, layout="constrained")

    def _orMessage(self, make, _param=None):
        """The views, or a message where there is nothing to show yet."""
        try:
            return make()
        except InputError as error:
            return [self.infoMessage(str(error)[:1].upper() + str(error)[1:], "Not there yet")]
