"""Results of a search for symmetry: how well each group fits, and the map on the axes of one."""
from __future__ import annotations

from functools import partial

import pyworkflow.protocol.params as params

from ..core.errors import InputError
from ..io.symmetry_pictures import SYMMETRY_SIZE, draw_symmetry
from ..io.volume_data import open_volume
from ..protocols import ProtCryosgdFindSymmetry
from .figure_view import TableView
from .result_viewer import ResultViewer
from .viewer_compare import CompareView
from .viewer_volume import opener_of


class CryosgdSymmetryViewer(ResultViewer):
    """The groups' figures as a picture and as a table, and the turned map beside the one that came."""
    _label = "CryoSGD symmetry results"
    _targets = [ProtCryosgdFindSymmetry]

    def _defineParams(self, form):
        form.addSection(label="Visualization")
        form.addParam("showGroups", params.LabelParam, label="Which group fits?",
                      help="Of each group the correlation of the map with itself under the operator that fits worst, "
                           "and the score; and by shell the correlation with the symmetrised map.")
        form.addParam("showTable", params.LabelParam, label="All figures", help="Of every group that was tried.")
        self._defineDisplay(form, "side by side")
        form.addParam("showTurned", params.LabelParam, label="The map on its axes, beside the input",
                      help="On the same slices; of a Cn or Dn the n-fold lies along z.")

    def _views(self):
        return {"showGroups": self._groupViews, "showTable": self._tableViews, "showTurned": self._turnedViews}

    def _figures(self):
        figures = self.protocol.figures()
        if figures is None:
            raise InputError("the symmetry is not looked for yet; look again in a moment")
        return figures

    def _groupViews(self):
        return [self._pictureView("symmetry", self._figures, draw_symmetry, SYMMETRY_SIZE)]

    def _tableViews(self):
        figures = self._figures()
        rows = [("verdict", figures["verdict"])]
        for row in sorted(figures["groups"], key=lambda row: row["weakest"], reverse=True):
            rows += [(row["group"], None), ("order", str(row["order"])), ("score", f"{row['score']:.3f}"),
                     ("score that its subgroups alone would give", f"{row['expected']:.3f}"),
                     ("correlation under its weakest operator", f"{row['weakest']:.3f}"),
                     (f"FSC with the symmetrised map at {figures['resolution_a']:.3g} Å", f"{row['fsc']:.3f}")]
        return [TableView(f"CryoSGD: symmetry of {self.protocol.getRunName()}", rows, self.formWindow)]

    def _turnedViews(self):
        label = f"on the axes of {self._figures()['turned_to']}"
        turned, source = getattr(self.protocol, "outputVolume", None), self.protocol.inputVolume.get()
        if turned is None:
            raise InputError("no map was turned: the verdict is C1, which has no axes")
        offered = [(label, opener_of(turned, label))]
        offered += [(f"{label}, half {number}", partial(open_volume, path, turned.getSamplingRate(), f"half {number}"))
                    for number, path in enumerate(turned.getHalfMaps(asList=True) if turned.hasHalfMaps() else (), 1)]
        if source is not None:
            offered.insert(1, ("as it came", opener_of(source, "as it came")))
        files = [volume.getFileName() for volume in (turned, source) if volume is not None]
        return self._mapViews(files, CompareView(f"CryoSGD: {self.protocol.getRunName()}, before and after", offered,
                                                 list(range(min(2, len(offered)))), self.formWindow))
