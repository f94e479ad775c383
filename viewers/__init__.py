"""What Scipion discovers here: the viewers of volumes, FSC curves, particle poses and CryoSGD's runs."""
# ruff: noqa: F401  (Scipion looks at this module's names)
from .viewer_abinitio import CryosgdAbInitioViewer
from .viewer_classes import CryosgdClassSheetViewer
from .viewer_compare import CryosgdCompareViewer
from .viewer_consensus import CryosgdConsensusViewer
from .viewer_directions import CryosgdDirectionsViewer
from .viewer_fsc import CryosgdFscViewer as AACryosgdFscViewer
from .viewer_moved import CryosgdAlignedViewer, CryosgdHandViewer
from .viewer_refine import CryosgdRefineViewer
from .viewer_simulate import CryosgdSimulateViewer
from .viewer_symmetry import CryosgdSymmetryViewer
from .viewer_validate import CryosgdValidateViewer
from .viewer_volume import chimerax_is_installed

# Scipion offers the viewers of a class in the order of these names and opens the first one. FSC curves are to be seen,
# so that our picture goes before AMDViewer, Scipion's table. Where ChimeraX is
# installed it keeps its place before ours; elsewhere a volume would open with an error message, so ours goes before
# it, and behind AMDViewer, Scipion's table, with which sets of volumes open.
if chimerax_is_installed():
    from .viewer_volume import CryosgdVolumeViewer
else:
    from .viewer_volume import CryosgdVolumeViewer as ANCryosgdVolumeViewer
