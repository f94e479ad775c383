"""Windows on how well maps agree, for the restarts of a run and for maps that were compared."""
from __future__ import annotations

from functools import partial

from ..io.agreement import read_agreements
from ..io.consensus_pictures import AGREEMENT_SIZE, draw_agreement
from ..io.volume_data import open_volume
from .viewer_compare import CompareView

MOST_SHOWN_FIRST = 4      # maps with which a comparison opens, the consensus among them
PAIRS_HELP = ("The Fourier shell correlation of every pair of aligned maps, their mean and standard deviation; and to "
              "how many Å each pair agrees, maps that agree side by side.")
MAPS_HELP = ("The consensus (the mean of the maps that agree) and the aligned maps on the same slices and contour; "
             "those that agree come first.")


class AgreementViews:
    """Mixed into a `ResultViewer`."""

    def _pairViews(self, path, structures=(0,)):
        """A picture of each of these structures; path : restarts.json or consensus.json."""
        several = len(read_agreements(path)) > 1
        return [self._pictureView(f"agreement{f', class {k + 1},' if several else ''}",
                                  lambda k=k: read_agreements(path)[k], draw_agreement, AGREEMENT_SIZE)
                for k in structures]

    def _alignedViews(self, path, structures=(0,)):
        """The comparison window of the consensus and the aligned maps of each of these structures."""
        found, views = read_agreements(path), []
        for k in structures:
            offered = [("consensus", found[k].consensus)] if found[k].agree else []
            ranked = sorted(found[k].maps, key=lambda entry: not entry["agrees"])
            offered += [(entry["name"] if entry["agrees"] or not found[k].agree else f"{entry['name']} (differs)",
                         entry["file"]) for entry in ranked]
            title = f"aligned maps{f' of class {k + 1}' if len(found) > 1 else ''} of {self.protocol.getRunName()}"
            views += self._mapViews([file for _, file in offered], CompareView(
                f"CryoSGD: {title}, side by side",
                [(label, partial(open_volume, file, None, label)) for label, file in offered],
                list(range(min(len(offered), MOST_SHOWN_FIRST))), self.formWindow))
        return views
