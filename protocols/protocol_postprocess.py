"""Resolution and sharpened map of two half-maps."""
from __future__ import annotations

from pwem.objects import SetOfFSCs, Volume, VolumeMask
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from .half_maps import HalfMapsRun
from .validation_words import of_postprocessing


class ProtCryosgdPostprocess(HalfMapsRun, EMProtocol):
    """Resolution of two half-maps, and their mean as a map that can be looked at.

    The half-maps are compared by Fourier shell correlation without a mask, within one, with randomised phases, and
    corrected by that for what the mask itself correlates (Chen et al. 2013). Their mean is divided by the detector's
    MTF if you give it, weighted by the FSC, sharpened by a B-factor, and low-passed at the resolution.

    *You give*: a map with half-maps, of any program, and a mask if you want one of your own.
    *You get*: the sharpened map, the FSC curves, and the mask that was used. A mask that is too tight or hard is
    named, and so are halves that were masked, filtered or are one map; no resolution is read from what flatters.

    *validate* does this, and more: local resolution, directions, views, and an atomic model.
    """
    _label = "postprocess"
    _devStatus = BETA
    _possibleOutputs = {"outputVolume": Volume, "outputFSC": SetOfFSCs, "outputMask": VolumeMask}
    COMMAND = "postprocess"

    def _summary(self):
        summary = self._runSummary()
        return ["The half-maps are not compared yet."] if summary is None else [summary["outcome"]]

    def _methods(self):
        summary = self._runSummary()
        return [] if summary is None else [of_postprocessing(summary, summary["version"], bool(self.mtfFile.get()))]

    def _citations(self):
        return ["Rosenthal2003", "Chen2013"]
