"""Polyalanine from ideal geometry: helices and strands by their torsion angles, loops along a smooth path.

A residue is five atoms in the order N, CA, C, O, CB; arrays are (residues, 5, 3) in Å.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

ATOM_ELEMENTS = ("N", "C", "C", "O", "C")
# (φ, ψ) of the right-handed α helix (Arnott & Dover 1967, J. Mol. Biol. 30, 209) and of the twisted strands of globular
# proteins (Chothia 1973, J. Mol. Biol. 75, 295), degrees
TORSIONS_DEG = {"helix": (-57.0, -47.0), "strand": (-118.0, 128.0)}
# bond lengths (Å) and angles (deg) of Engh & Huber (1991), Acta Cryst. A47, 392
_N_CA, _CA_C, _C_N, _C_O = 1.458, 1.525, 1.329, 1.231
_N_CA_C, _CA_C_N, _C_N_CA, _CA_C_O = 111.2, 116.2, 121.7, 120.8
_LOOP_STEP_A = 3.4            # CA to CA along a loop's path: an extended chain, slightly slack
_HYDROGENS = 5                # of an alanine residue, counted in the mass only


@dataclass(frozen=True)
class Element:
    """One helix or strand: n residues centred at `centre` (Å), running along `direction`, turned by spin_deg."""

    kind: str
    residues: int
    centre: tuple
    direction: tuple
    spin_deg: float = 0.0

    def atoms(self):
        """(residues, 5, 3) Å."""
        ideal = ideal_element(self.kind, self.residues)
        turned = Rotation.from_euler("z", self.spin_deg, degrees=True).apply(ideal.reshape(-1, 3))
        placed = _from_z_to(self.direction).apply(turned) + np.asarray(self.centre, dtype=float)
        return placed.reshape(ideal.shape)


def chain(elements):
    """Elements in sequence joined by loops: (residues, 5, 3) Å."""
    built = [element.atoms() for element in elements]
    pieces = [built[0]]
    for i, after in enumerate(built[1:]):
        pieces += [_loop(built[i], after, elements[i].direction, elements[i + 1].direction), after]
    return np.concatenate(pieces)


def ideal_element(kind, residues):
    """Ideal helix or strand along z, centred on the origin, its screw axis on the z axis: (residues, 5, 3) Å."""
    phi, psi = TORSIONS_DEG[kind]
    atoms = [np.array([0.0, 0, 0]), np.array([_N_CA, 0, 0])]
    angle = np.radians(180 - _N_CA_C)
    atoms.append(atoms[1] + _CA_C * np.array([np.cos(angle), np.sin(angle), 0]))
    for _ in range(residues):
        atoms.append(_next_atom(*atoms[-3:], _C_N, _CA_C_N, psi))
        atoms.append(_next_atom(*atoms[-3:], _N_CA, _C_N_CA, 180.0))
        atoms.append(_next_atom(*atoms[-3:], _CA_C, _N_CA_C, phi))
    trace = np.array(atoms).reshape(-1, 3, 3)
    following = trace[1:, 0]
    trace = trace[:-1]
    # O lies in the plane of CA, C and the next N, opposite to it
    oxygen = np.array([_next_atom(n_next, c_alpha, c, _C_O, _CA_C_O, 180.0)
                       for n_next, c_alpha, c in zip(following, trace[:, 1], trace[:, 2])])
    return _on_screw_axis(_with_side_atoms(trace, oxygen))


def mass_kda(atoms) -> float:
    """Mass of residues (n, 5, 3) as polyalanine, kDa."""
    residue = 12.011 * 3 + 14.007 + 15.999 + _HYDROGENS * 1.008
    return len(atoms) * residue / 1000


def _next_atom(a, b, c, length, angle_deg, torsion_deg):
    """Atom d with the given c–d length, b–c–d angle and a–b–c–d torsion."""
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    angle, torsion = np.radians(angle_deg), np.radians(torsion_deg)
    return c + length * (-np.cos(angle) * axis + np.sin(angle) * np.cos(torsion) * np.cross(normal, axis)
                         + np.sin(angle) * np.sin(torsion) * normal)


def _with_side_atoms(trace, oxygen):
    """(n, 5, 3) from N, CA, C (n, 3, 3) and O: CB at the L configuration's tetrahedral place."""
    b = trace[:, 1] - trace[:, 0]
    c = trace[:, 2] - trace[:, 1]
    a = np.cross(b, c)
    # the tetrahedral direction opposite N and C, turned out of their plane to the L side
    in_plane = b / np.linalg.norm(b, axis=1)[:, None] - c / np.linalg.norm(c, axis=1)[:, None]
    in_plane /= np.linalg.norm(in_plane, axis=1)[:, None]
    out_of_plane = -a / np.linalg.norm(a, axis=1)[:, None]
    half = np.radians(109.5 / 2)
    beta = trace[:, 1] + 1.53 * (np.cos(half) * in_plane + np.sin(half) * out_of_plane)
    return np.concatenate([trace, oxygen[:, None], beta[:, None]], axis=1)


def _on_screw_axis(atoms):
    """Turn residues that repeat by one screw so that its axis is z, pointing along the chain, centre at 0."""
    first, second = atoms[:-1, :3].reshape(-1, 3), atoms[1:, :3].reshape(-1, 3)
    turn, _ = Rotation.align_vectors(second - second.mean(axis=0), first - first.mean(axis=0))
    step = second.mean(axis=0) - turn.apply(first.mean(axis=0))
    axis = turn.as_rotvec() / np.linalg.norm(turn.as_rotvec())
    rise = step @ axis
    point = np.linalg.lstsq(np.eye(3) - turn.as_matrix(), step - rise * axis, rcond=None)[0]
    axis *= np.sign(rise)
    along = ((atoms[:, 1] - point) @ axis).mean()
    flat = (atoms - point - along * axis).reshape(-1, 3)
    return _from_z_to(axis).inv().apply(flat).reshape(atoms.shape)


def _from_z_to(direction):
    """The shortest rotation that takes z to the direction (about x for −z)."""
    direction = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    axis = np.cross([0, 0, 1.0], direction)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return Rotation.from_rotvec([0 if direction[2] > 0 else np.pi, 0, 0])
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, direction[2]))


def _loop(before, after, leaving, arriving):
    """Residues on a cubic Hermite path from the end of one element to the start of the next: (n, 5, 3).

    Its CA atoms are spaced as in a chain; the peptides between them are not ideal (loops are a blur in most maps).
    """
    start, stop = before[-1, 1], after[0, 1]
    gap = np.linalg.norm(stop - start)
    reach = max(1.2 * gap, 9.0)
    leave, arrive = _unit(leaving) * reach, _unit(arriving) * reach
    t = np.linspace(0, 1, 400)[:, None]
    path = ((2 * t ** 3 - 3 * t ** 2 + 1) * start + (t ** 3 - 2 * t ** 2 + t) * leave
            + (-2 * t ** 3 + 3 * t ** 2) * stop + (t ** 3 - t ** 2) * arrive)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    steps = max(2, int(round(length[-1] / _LOOP_STEP_A)))
    marks = np.linspace(0, length[-1], steps + 1)
    alpha = np.stack([np.interp(marks, length, path[:, i]) for i in range(3)], axis=1)
    along = np.array([_unit(d) for d in np.diff(alpha, axis=0)])
    side = np.cross(along, [0.3, 0.5, 0.81])
    side /= np.linalg.norm(side, axis=1)[:, None]
    side[1::2] *= -1            # successive peptides of an extended chain face opposite sides
    carbon = alpha[:-1] + 1.42 * along + 0.55 * side
    nitrogen = alpha[1:] - 1.37 * along - 0.50 * side
    trace = np.stack([nitrogen[:-1], alpha[1:-1], carbon[1:]], axis=1)
    return _with_side_atoms(trace, carbon[1:] + _C_O * side[1:])


def _unit(vector):
    vector = np.asarray(vector, dtype=float)
    return vector / np.linalg.norm(vector)
