"""Structures among the rows of a posterior (slices.py counts them), and their annealed similarity."""
from __future__ import annotations

import numpy as np

# a structure that explains an image e^40 times worse has lost its weights to rounding: similarity can't bring it back
LEAST_CLASS_MASS = 1e-12


def structures_of(rows, grid, count):
    """(d,) structure that each of the given rows belongs to; of all `count` rows where None."""
    return (np.arange(count) if rows is None else rows) // grid.n_directions


def class_mass(direction_mass, rows, grid, classes):
    """(K,) posterior of each structure, from that of each row."""
    return np.bincount(structures_of(rows, grid, len(direction_mass)), direction_mass, classes)


def mixing(mass, similarity):
    """(K,) factors that turn class posteriors r into (1 − similarity) r + similarity / K."""
    if similarity == 0:
        return np.ones(len(mass))
    wanted = (1 - similarity) * mass + similarity / len(mass)
    return np.where(mass > LEAST_CLASS_MASS, wanted / np.maximum(mass, LEAST_CLASS_MASS), 1.0)
