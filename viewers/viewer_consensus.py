"""Results of a comparison of maps: pairs, groups, consensus and aligned maps."""
from __future__ import annotations

import pyworkflow.protocol.params as params

from ..core.errors import InputError
from ..io.agreement import CONSENSUS_JSON
from ..protocols import ProtCryosgdConsensus
from .agreement_views import MAPS_HELP, PAIRS_HELP, AgreementViews
from .result_viewer import ResultViewer


class CryosgdConsensusViewer(AgreementViews, ResultViewer):
    """How far each pair agrees, and the maps in one frame."""
    _label = "CryoSGD consensus results"
    _targets = [ProtCryosgdConsensus]

    def _defineParams(self, form):
        form.addSection(label="Visualization")
        form.addParam("showPairs", params.LabelParam, label="Agreement of the maps", help=PAIRS_HELP)
        self._defineDisplay(form, "side by side")
        form.addParam("showAligned", params.LabelParam, label="Maps and consensus side by side", help=MAPS_HELP)

    def _views(self):
        return {"showPairs": lambda: self._pairViews(self._report()),
                "showAligned": lambda: self._alignedViews(self._report())}

    def _report(self):
        path = self._folder().path(CONSENSUS_JSON)
        if path is None:
            raise InputError("the maps are not compared yet; look again in a moment")
        return path
