"""Scipion's viewer for maps side by side: items of a set of volumes, 3D classes, a volume with its half-maps."""
from __future__ import annotations

import pwem.objects as emobj
import pyworkflow.viewer as pwviewer

from ..convert import volumes_in
from ..core.errors import InputError
from .viewer_volume import title_of, volumes_of

SHOWN_FIRST = 3


class CryosgdCompareViewer(pwviewer.Viewer):
    """The same slices and the same contour of several maps; others of the project, or files, can be added."""
    _name = "CryoSGD maps side by side"
    _environments = [pwviewer.DESKTOP_TKINTER]
    _targets = [emobj.SetOfVolumes, emobj.SetOfClasses3D, emobj.Volume]

    def _visualize(self, obj, **kwargs):
        try:
            volumes = volumes_of(obj)
        except InputError as error:
            return [self.errorMessage(str(error), "Maps side by side")]
        # of a set the maps themselves, of a single map its halves beside it
        labels = [label for label, _ in volumes_in(obj)]
        maps = [number for number, (label, _) in enumerate(volumes) if label in labels]
        chosen = maps[:SHOWN_FIRST] if len(maps) > 1 else list(range(len(volumes)))
        return [CompareView(f"CryoSGD: {title_of(obj, self.protocol)}, side by side", volumes, chosen,
                            self.formWindow)]


class CompareView(pwviewer.View):
    """The comparison window; see `compare_window.CompareWindow` for the arguments."""

    def __init__(self, title, offered, chosen, master=None):
        self.title, self.offered, self.chosen, self.master, self.window = title, offered, chosen, master, None

    def show(self):
        """Open the window, or say why it can't be opened."""
        from .compare_window import CompareWindow  # Tk only where there is a display
        try:
            self.window = CompareWindow(self.title, self.offered, self.chosen, self.master)
        except InputError as error:
            root = self.master.getRoot() if self.master is not None else None
            pwviewer.MessageView(str(error), "Maps side by side", pwviewer.MSG_ERROR, tkParent=root).show()
            return
        self.window.show()
