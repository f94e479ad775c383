"""Symmetry expansion: each particle once for every pose that the point group calls equivalent."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import InputError
from .particles import ParticleTable
from .settings import need
from .symmetry import point_group, symmetry_mates

# which particle a row came from, and which of its mates it is (1: the pose as it was)
PARENT_TAG, MATE_TAG = "cryosgdParentId", "cryosgdSymmetryMate"
# angles that a local search starts from instead of the pose itself: they would lead the mates back to one pose
_PRIORS = ("rlnAngleRotPrior", "rlnAngleTiltPrior", "rlnAnglePsiPrior")


def expansion_group(symmetry) -> np.ndarray:
    """The operators (g, 3, 3) of a point group to expand by, the identity first; InputError for C1 and unknown ones."""
    operators = point_group(symmetry)
    if len(operators) == 1:
        raise InputError(f"{str(symmetry).strip().upper()} has no mates to expand to; give the group under which the "
                         "poses were found, such as C4, D7 or O")
    return operators


def expand_symmetry(table: ParticleTable, operators, rng) -> ParticleTable:
    """The n particles as n·g rows: row g·i + k is particle i with the pose A·S_k, S_k = operators[k].

    A map with the symmetry has the same image under all of them, so the map of the rows reconstructed without
    symmetry is that of the particles reconstructed with it. Shifts and all other columns stay. The columns PARENT_TAG
    (`ids` of the particle; of a set that was expanded before, of the first one) and MATE_TAG (1 … g) are added.
    Without half-sets they are drawn in equal numbers with the numpy Generator rng, by particle: mates in both halves
    would be the same noise twice.
    Raises InputError where the table has no poses.
    """
    return _expanded(halved(table, rng), operators)


def expanded_blocks(table: ParticleTable, operators, rng, rows_at_once=100_000):
    """The rows of `expand_symmetry` in tables of about rows_at_once, one after the other: a sixtyfold set may be large.

    Raises InputError at once, before the first table is asked for.
    """
    _need_poses(table)
    table, step = halved(table, rng), max(1, rows_at_once // len(operators))
    return (_expanded(table.take(slice(first, first + step)), operators) for first in range(0, len(table), step))


def halved(table: ParticleTable, rng) -> ParticleTable:
    """The table with its half-sets, else with such as are drawn by particle with the numpy Generator rng."""
    if table.half_set is not None:
        return table
    return replace(table, half_set=draw_halves_of(_particles(table), rng))


def draw_halves_of(particles, rng) -> np.ndarray:
    """(n,) int8 of 1 and 2, the same for rows of one particle; both get as many particles, or one more.

    particles : (n,) what names the particle of each row.
    """
    _, place = np.unique(np.asarray(particles), return_inverse=True)
    place = place.ravel()
    return rng.permutation(1 + np.arange(place.max() + 1) % 2).astype(np.int8)[place]


def doubts(table: ParticleTable) -> list:
    """Sentences on a table that is about to be expanded: done before, halves that share images, priors on the poses."""
    said = []
    images, place = np.unique(table.image_id, return_inverse=True)
    repeats = len(table) - len(images)
    if PARENT_TAG in table.extra:
        said.append(f"the particles were expanded already (they have the column {PARENT_TAG}): expanding by the same "
                    "group again only repeats every pose.")
    elif repeats:
        said.append(f"{repeats} of {len(table)} rows show an image that an earlier row shows: if that is because the "
                    "set is expanded already, expanding it again only repeats every pose.")
    if repeats and table.half_set is not None:
        split = sum(len(np.unique(place.ravel()[table.half_set == half])) for half in (1, 2)) - len(images)
        if split:
            said.append(f"{split} images are in both half-sets, which then agree without any signal: put them into one "
                        "before you trust a resolution.")
    priors = [tag for tag in _PRIORS if tag in table.extra]
    if priors:
        said.append(f"{', '.join(priors)} are kept as they are: a local search that starts from them brings all mates "
                    "back to one pose; remove these columns before one.")
    return said


def _expanded(table, operators):
    _need_poses(table)
    order = len(operators)
    parents = np.asarray(table.extra.get(PARENT_TAG, table.ids)).astype(np.int64)
    before = np.asarray(table.extra.get(MATE_TAG, np.ones(len(table)))).astype(np.int64) - 1
    expanded = table.take(np.repeat(np.arange(len(table)), order))
    # A·S, where `symmetry_mates` gives A·Sᵀ: the same mates, in the order of the operators
    expanded.rotations = symmetry_mates(table.rotations, np.transpose(operators, (0, 2, 1))).reshape(-1, 3, 3)
    expanded.extra[PARENT_TAG] = np.repeat(parents, order)
    expanded.extra[MATE_TAG] = (before[:, None] * order + np.arange(1, order + 1)).ravel()
    return expanded


def _need_poses(table):
    need(table.rotations is not None, "the particles have no poses (rlnAngleRot, rlnAngleTilt, rlnAnglePsi) to expand; "
         "give the particles of a refinement")


def _particles(table):
    """(n,) what names the particle of each row, also where an expansion by another program left no column for it."""
    return table.extra[PARENT_TAG] if PARENT_TAG in table.extra else table.image_id
