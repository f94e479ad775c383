"""Results of an ab initio run, finished or going on: volumes, classes, FSC, view directions, convergence, summary."""
from __future__ import annotations

import pyworkflow.protocol.params as params

from ..core.errors import InputError
from ..io.abinitio_pictures import CONVERGENCE_SIZE, directions_size
from ..io.agreement import RESTARTS_JSON
from ..io.convergence_pictures import draw_convergence
from ..io.direction_pictures import draw_importance
from ..protocols import ProtCryosgdAbInitio
from .agreement_views import MAPS_HELP, PAIRS_HELP, AgreementViews
from .run_contents import assigned_angles, history_so_far, searched_directions
from .run_viewer import RunViewer

FSC_NOTE = ("The poses of both halves come from one map: this says how consistent the images are, "
            "and is no gold-standard resolution.")


class CryosgdAbInitioViewer(AgreementViews, RunViewer):
    """Volumes, half-maps, FSC, view directions found and searched, convergence, restarts and summary."""
    _label = "CryoSGD ab initio results"
    _targets = [ProtCryosgdAbInitio]
    FSC_HELP = "Between the half-maps, with the resolutions at 0.143 and 0.5."
    KEPT = "Volumes are kept every few iterations; those within the selection are shown."

    def _defineRunParams(self, group):
        group.addParam("showHistory", params.LabelParam, label="Convergence",
                       help="Objective and held-out error with the resolution in use, fraction of quadrature points, "
                            "change of the view directions between visits, shares of the classes, gradient and step, "
                            "noise inflation over the iterations.")
        group.addParam("showImportance", params.LabelParam, label="View directions searched",
                       help="Importance distribution: where the particles' poses are looked for, the mean over the "
                            "particles, in an equal-area projection.")
        several = str(self.protocol is not None and (self.protocol.restarts.get() or 1) > 1)
        group.addParam("showRestarts", params.LabelParam, label="Agreement of the restarts", condition=several,
                       help=PAIRS_HELP)
        group.addParam("showAligned", params.LabelParam, label="Restarts and consensus side by side",
                       condition=several, help=MAPS_HELP)

    def _ownViews(self):
        return {"showHistory": self._historyViews, "showImportance": self._importanceViews,
                "showRestarts": lambda: self._pairViews(self._restarts(), self._structures()),
                "showAligned": lambda: self._alignedViews(self._restarts(), self._structures())}

    def _fscNote(self):
        return FSC_NOTE

    def _angles(self, folder, structures):
        return assigned_angles(folder, structures)

    def _historyViews(self):
        return [self._figureView("convergence", lambda: history_so_far(self._folder()), draw_convergence,
                                 size=CONVERGENCE_SIZE)]

    def _restarts(self):
        """Path of restarts.json; InputError where there is none (yet)."""
        path = self._folder().path(RESTARTS_JSON)
        if path is None:
            raise InputError("there is no comparison: the restarts are compared when all have ended"
                             if self.protocol.restarts.get() > 1 else
                             "this is a single run; ask for several restarts to see whether they agree")
        return path

    def _importanceViews(self):
        size = directions_size(self._folder().classes())
        return [self._figureView("view directions searched", lambda: searched_directions(self._folder()),
                                 lambda figure, found: draw_importance(figure, *found), size=size)]
