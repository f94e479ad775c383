"""Scipion's viewer for 3D classes as a sheet, of which sets of particles are made."""
from __future__ import annotations

import pwem.objects as emobj
import pyworkflow.viewer as pwviewer

from ..core.errors import InputError
from .class_list import ClassList
from .viewer_volume import title_of


class CryosgdClassSheetViewer(pwviewer.Viewer):
    """Sizes and sections of all classes; the particles of those ticked become a set in one click."""
    _name = "CryoSGD class sheet"
    _environments = [pwviewer.DESKTOP_TKINTER]
    _targets = [emobj.SetOfClasses3D, emobj.SetOfVolumes]

    def _visualize(self, obj, **kwargs):
        try:
            classes = ClassList(self.getProject(), obj)
        except InputError as error:
            return [self.errorMessage(str(error), "Class sheet")]
        return [ClassSheetView(f"CryoSGD: {title_of(obj, classes.run)}, class sheet", classes, self.formWindow)]


class ClassSheetView(pwviewer.View):
    """The class sheet's window for a ClassList."""

    def __init__(self, title, classes, master=None):
        self.title, self.classes, self.master, self.window = title, classes, master, None

    def show(self):
        """Open the window."""
        from .class_sheet import ClassSheetWindow  # Tk only where there is a display
        self.window = ClassSheetWindow(self.title, self.classes, self.master)
        self.window.show()
