"""What the tools that move a map did to it: aligned maps beside their reference, the other hand beside the first."""
from __future__ import annotations

import pyworkflow.viewer as pwviewer

from ..core.errors import InputError
from ..protocols import ProtCryosgdAlignVolumes, ProtCryosgdFlipHand
from .viewer_compare import SHOWN_FIRST, CompareView
from .viewer_volume import opener_of, volumes_of


class MovedMapsViewer(pwviewer.Viewer):
    """A subclass names the OUTPUT and what it is BESIDE, the name of an input and its words."""
    _environments = [pwviewer.DESKTOP_TKINTER]
    OUTPUT = BESIDE = WORDS = ""

    def _visualize(self, obj, **kwargs):
        output, beside = getattr(obj, self.OUTPUT, None), getattr(obj, self.BESIDE).get()
        if output is None:
            return [self.infoMessage("The run has no map yet; look again in a moment.", "Not there yet")]
        try:
            # a half-map may be added in the window, but says little beside the maps
            moved = sorted(volumes_of(output), key=lambda found: ", half " in found[0])
            offered = moved if beside is None else [(self.WORDS, opener_of(beside, self.WORDS)), *moved]
        except InputError as error:
            return [self.errorMessage(str(error), "Maps side by side")]
        maps = [number for number, (label, _) in enumerate(offered) if ", half " not in label]
        return [CompareView(f"CryoSGD: {obj.getRunName()}, side by side", offered, maps[:SHOWN_FIRST],
                            self.formWindow)]


class CryosgdAlignedViewer(MovedMapsViewer):
    """The maps in the reference's frame, on the same slices as the reference."""
    _name = "CryoSGD aligned maps"
    _targets = [ProtCryosgdAlignVolumes]
    OUTPUT, BESIDE, WORDS = "outputVolumes", "reference", "reference"


class CryosgdHandViewer(MovedMapsViewer):
    """The map in the other hand, on the same slices as the one that came."""
    _name = "CryoSGD other hand"
    _targets = [ProtCryosgdFlipHand]
    OUTPUT, BESIDE, WORDS = "outputVolume", "inputVolume", "as it came"
