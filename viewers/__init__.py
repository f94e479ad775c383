"""What Scipion discovers here: the viewers of volumes, FSC curves, particle poses and CryoSGD's runs."""
# ruff: noqa: F401  (Scipion looks at this module's names)
from .viewer_abinitio import CryosgdAbInitioViewer
from .viewer_classes import CryosgdClassSheetViewer
from .viewer_compare import CryosgdCompareViewer
from .viewer_consensus import CryosgdConsensusViewer
from .viewer_directions import CryosgdDirectionsViewer
from .viewer_fsc import CryosgdFscViewer
from .viewer_refine import CryosgdRefineViewer
from .viewer_symmetry import CryosgdSymmetryViewer
from .viewer_validate import CryosgdValidateViewer
from .viewer_volume import chimerax_is_installed

# Scipion offers the viewers of a class in the order of these names and opens the first one. Where ChimeraX is
# installed it keeps its place before ours; elsewhere a volume would open with an error message, so ours goes before
# it, and behind AMDViewer, Scipion's table, with which sets of volumes open.
if chimerax_is_installed():
    from .viewer_volume import CryosgdVolumeViewer
else:
    from .viewer_volume import CryosgdVolumeViewer as ANCryosgdVolumeViewer
