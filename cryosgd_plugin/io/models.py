"""Atomic models (PDB, mmCIF) by gemmi: positions and elements, nothing else."""
from __future__ import annotations

import os

import gemmi
import numpy as np

from ..core.errors import InputError
from .files import explained

# stands for a file's first biological assembly, where it defines one
FIRST = "first"


def read_model(path, assembly=None):
    """Atoms of the first model of a PDB or mmCIF file.

    path : .pdb, .ent, .cif or .mmcif, gzipped or not. assembly : name of a biological assembly of the file ('1'),
    FIRST for the first one where the file defines any, or None for the chains as they are.
    Water and hydrogens are left out; of alternative conformations the first is taken. Occupancies and B-factors are not
    read: every atom that is kept counts in full, as the first conformation then should.
    Returns (positions (n, 3) float64 Å in the file's frame, elements: list of n symbols).
    Raises InputError: missing or unreadable file, no atoms, an assembly that the file doesn't define.
    """
    path = os.fspath(path)
    with explained("read", path), open(path, "rb"):
        pass  # only to have the system's reason where it can't be opened
    try:
        structure = gemmi.read_structure(path)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is no PDB or mmCIF file that gemmi can read ({error})") from error
    if not len(structure):
        raise InputError(f"{path} holds no model; give a PDB or mmCIF file with coordinates")
    structure.setup_entities()
    if assembly is not None:
        _make_assembly(structure, str(assembly), path)
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    structure.remove_waters()
    atoms = [site.atom for site in structure[0].all()]
    if not atoms:
        raise InputError(f"{path} holds no atoms besides water and hydrogen; give a model with coordinates")
    return np.array([atom.pos.tolist() for atom in atoms]), [atom.element.name for atom in atoms]


def _make_assembly(structure, name, path):
    known = [assembly.name for assembly in structure.assemblies]
    if name == FIRST:
        if not known:
            return
        name = known[0]
    if name not in known:
        raise InputError(f"{path} defines no assembly '{name}'; it has {', '.join(known) if known else 'none'}")
    structure.transform_to_assembly(name, gemmi.HowToNameCopiedChain.AddNumber)
