"""CryoSGD's protocols: forms, validation, steps and outputs; no arithmetic."""
from .protocol_ab_initio import ProtCryosgdAbInitio
from .protocol_import_particles import ProtCryosgdImportParticles
from .protocol_refine import ProtCryosgdRefine
from .protocol_simulate import ProtCryosgdSimulate

__all__ = ["ProtCryosgdAbInitio", "ProtCryosgdImportParticles", "ProtCryosgdRefine", "ProtCryosgdSimulate"]
