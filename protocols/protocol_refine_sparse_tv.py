"""Refinement whose maps are kept sparse and smooth (paper 3)."""
from __future__ import annotations

from .protocol_refine import ProtCryosgdRefine


class ProtCryosgdRefineSparseTV(ProtCryosgdRefine):
    """Refine one or several maps to high resolution, with maps that are kept sparse and smooth.

    The same refinement as *refine (branch and bound)*: only the maps that particles are compared with are made
    otherwise, as empty in the solvent and as smooth in the molecule as the data allow (log-norm sparsity and log total
    variation). Try it where views are few or uneven, or the signal is weak, and compare with the other: a flexible or
    disordered part may be taken for noise.

    Each half-set chooses how strong both penalties are by data that it holds back. The half-maps among
    the outputs are *not* regularised, and the FSC is theirs: regularised halves also agree on what the penalties make
    of noise.
    """
    _label = "refine (sparse + TV)"
    _regularisation = "sparse-tv"
