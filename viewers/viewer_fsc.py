"""Scipion's viewer for Fourier shell correlations, with Å on the axis and its own reading of the resolution."""
from __future__ import annotations

import pwem.objects as emobj
import pyworkflow.viewer as pwviewer

from ..core.errors import InputError
from .figure_view import FigureView
from .plots import draw_fsc


class CryosgdFscViewer(pwviewer.Viewer):
    """All curves of a set in one picture, each with its resolution at 0.143 and 0.5."""
    _name = "CryoSGD FSC viewer"
    _environments = [pwviewer.DESKTOP_TKINTER]
    _targets = [emobj.FSC, emobj.SetOfFSCs]

    def _visualize(self, obj, **kwargs):
        try:
            curves = curves_of(obj)
        except InputError as error:
            return [self.errorMessage(str(error), "FSC")]
        return [FigureView("CryoSGD: Fourier shell correlation", lambda figure: draw_fsc(figure, curves),
                           self.formWindow, curves=lambda: curves)]


def curves_of(obj):
    """[(label, frequencies in 1/Å, values)] of an FSC or a SetOfFSCs; InputError where there is none."""
    items = [obj] if isinstance(obj, emobj.FSC) else [item.clone() for item in obj.iterItems()]
    curves = []
    for number, item in enumerate(items, start=1):
        frequency, values = item.getData()
        curves.append((item.getObjLabel() or f"FSC {number}", list(map(float, frequency)), list(map(float, values))))
    if not curves:
        raise InputError("this set holds no FSC curve yet; look again when its job has gone further")
    return curves
