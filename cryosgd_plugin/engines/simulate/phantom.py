"""The built-in phantom: a protein-like complex of ideal secondary structure that needs no download.

Five domains of different fold and size, placed so that no rotation or mirror takes the whole to itself: a tall bundle
of helices (body), a seven-bladed β-propeller on its tilted top (head), a right-handed superhelix of helical hairpins
that leaves the foot and curls forward (arm), a three-helix knob at the arm's end (hand), and a β-sandwich (side lobe).
About 2,200 residues and 170 Å across; 155 kDa as the polyalanine it is, some 240 kDa with natural side chains.
At 8-12 Å its helices are rods; at 15-20 Å its ring, arm and body still tell it from its mirror image.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ._backbone import ATOM_ELEMENTS, Element, chain, mass_kda
from .density import centre_of_mass

_HELIX_SPACING_A = 10.0
_STRAND_SPACING_A = 4.8
_SHEET_SPACING_A = 10.0
_HELIX_RISE_A = 1.5


def phantom_atoms():
    """Atoms of the phantom, always the same.

    Returns
    -------
    (positions (n, 3) float64 Å, (x, y, z), centre of mass at 0; elements, a list of n symbols)
    """
    residues = np.concatenate(list(phantom_domains().values()))
    elements = list(ATOM_ELEMENTS) * len(residues)
    positions = residues.reshape(-1, 3)
    return positions - centre_of_mass(positions, elements), elements


def phantom_domains() -> dict:
    """Domain name → backbone (residues, 5, 3) Å, in one frame (not yet centred)."""
    return {
        "body": chain(_bundle(row_lengths=((26, 32, 38, 44), (30, 36, 42, 46, 46), (28, 34, 40, 46, 46, 40),
                                           (26, 32, 38, 44, 42), (24, 30, 36, 38), (18, 26, 28)))),
        "head": _placed(chain(_propeller(blades=7, strands=4, residues=7)), (8, -46, 25), (-31, 2, 70)),
        "arm": _placed(chain(_solenoid(repeats=16, residues=17)), (90, 90, 0), (35, 12, 51)),
        "hand": _placed(chain(_bundle(row_lengths=((18, 24), (27,)))), (60, 0, 40), (24, -35, 82)),
        "side lobe": _placed(chain(_sandwich(strands=6, residues=9)), (25, 35, 20), (-12, 41, 16)),
    }


def phantom_mass_kda() -> float:
    """Mass of the phantom's polyalanine, kDa (side chains beyond CB would add about half as much again)."""
    return sum(mass_kda(domain) for domain in phantom_domains().values())


def _bundle(row_lengths):
    """Antiparallel helices along z on a hexagonal lattice, feet level, one tuple of lengths (residues) a row."""
    rows = len(row_lengths)
    elements = []
    for row, lengths in enumerate(row_lengths):
        y = (row - (rows - 1) / 2) * _HELIX_SPACING_A * np.sqrt(3) / 2
        xs = [(column - (len(lengths) - 1) / 2 + 0.25 * (-1) ** row) * _HELIX_SPACING_A
              for column in range(len(lengths))]
        serpentine = list(zip(xs, lengths))[::-1 if row % 2 else 1]     # so that each loop joins neighbours
        for x, residues in serpentine:
            up = 1 if len(elements) % 2 == 0 else -1
            elements.append(Element("helix", residues, (x, y, residues * _HELIX_RISE_A / 2), (0, 0, up),
                                    spin_deg=37.0 * len(elements)))
    return elements


def _propeller(blades, strands, residues):
    """A ring of small antiparallel sheets about z; each strand is turned against its inner neighbour."""
    elements = []
    for blade in range(blades):
        angle = 2 * np.pi * blade / blades
        outward, around = np.array([np.cos(angle), np.sin(angle), 0]), np.array([-np.sin(angle), np.cos(angle), 0])
        for strand in range(strands):
            turn = np.radians(-8.0 - 18.0 * strand)
            direction = (np.cos(turn) * np.array([0, 0, 1]) + np.sin(turn) * around) * (-1) ** strand
            elements.append(Element("strand", residues, tuple((9.5 + _STRAND_SPACING_A * strand) * outward),
                                    tuple(direction)))
    return elements


def _solenoid(repeats, residues, radius=45.0, pitch=74.0, step=10.0):
    """Helical hairpins on a right-handed superhelix about z that starts at its lower end (α-solenoid)."""
    elements = []
    turn_per_repeat = step / np.hypot(radius, pitch / (2 * np.pi))
    for repeat in range(repeats):
        angle = turn_per_repeat * repeat
        outward = np.array([np.cos(angle), np.sin(angle), 0])
        centre = radius * outward + np.array([0, 0, pitch * angle / (2 * np.pi)])
        across = np.array([0.25 * np.sin(angle), -0.25 * np.cos(angle), 1.0])
        for layer, sign in ((+1, +1), (-1, -1)):
            elements.append(Element("helix", residues, tuple(centre + layer * 5.0 * outward), tuple(sign * across),
                                    spin_deg=50.0 * repeat))
    return elements


def _sandwich(strands, residues, twist_deg=-16.0):
    """Two antiparallel sheets face to face, strands along z at the middle, twisting along x."""
    elements = []
    for sheet in (-1, 1):
        order = range(strands) if sheet < 0 else reversed(range(strands))
        for strand in order:
            offset = strand - (strands - 1) / 2
            turn = np.radians(twist_deg * offset + 7.0 * sheet)
            up = (-1) ** len(elements)
            elements.append(Element("strand", residues, (offset * _STRAND_SPACING_A, sheet * _SHEET_SPACING_A / 2, 0),
                                    (0, up * np.sin(turn), up * np.cos(turn))))
    return elements


def _placed(atoms, xyz_deg, shift_a):
    """Turned about x, then y, then z (degrees) and moved (Å)."""
    turned = Rotation.from_euler("xyz", xyz_deg, degrees=True).apply(atoms.reshape(-1, 3)) + np.asarray(shift_a, float)
    return turned.reshape(atoms.shape)
