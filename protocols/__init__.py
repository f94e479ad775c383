"""CryoSGD's protocols: forms, validation, steps and outputs; no arithmetic."""
from .protocol_ab_initio import ProtCryosgdAbInitio
from .protocol_align_volumes import ProtCryosgdAlignVolumes
from .protocol_consensus import ProtCryosgdConsensus
from .protocol_expand_symmetry import ProtCryosgdExpandSymmetry
from .protocol_find_symmetry import ProtCryosgdFindSymmetry
from .protocol_flip_hand import ProtCryosgdFlipHand
from .protocol_import_particles import ProtCryosgdImportParticles
from .protocol_postprocess import ProtCryosgdPostprocess
from .protocol_refine import ProtCryosgdRefine
from .protocol_refine_sparse_tv import ProtCryosgdRefineSparseTV
from .protocol_remove_duplicates import ProtCryosgdRemoveDuplicates
from .protocol_simulate import ProtCryosgdSimulate
from .protocol_split_by_class import ProtCryosgdSplitByClass
from .protocol_validate import ProtCryosgdValidate

__all__ = ["ProtCryosgdAbInitio", "ProtCryosgdAlignVolumes", "ProtCryosgdConsensus", "ProtCryosgdExpandSymmetry",
           "ProtCryosgdFindSymmetry", "ProtCryosgdFlipHand", "ProtCryosgdImportParticles", "ProtCryosgdPostprocess",
           "ProtCryosgdRefine", "ProtCryosgdRefineSparseTV", "ProtCryosgdRemoveDuplicates", "ProtCryosgdSimulate",
           "ProtCryosgdSplitByClass", "ProtCryosgdValidate"]
