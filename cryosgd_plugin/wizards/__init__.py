"""What Scipion discovers here: the wands beside fields of the forms."""
# ruff: noqa: F401  (Scipion looks at this module's names)
from .diameter import CryosgdDiameterWizard, CryosgdHalvesDiameterWizard, CryosgdMapsDiameterWizard
from .gpus import CryosgdGpuWizard
from .mask import CryosgdMaskWizard
from .resolution import CryosgdReferenceResolutionWizard, CryosgdResolutionWizard
from .symmetry import CryosgdMapSymmetryWizard, CryosgdSymmetryWizard
