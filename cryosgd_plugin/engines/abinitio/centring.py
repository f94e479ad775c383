"""Where each structure's centre of mass belongs: where the particles' shifts spread evenly about zero.

A map may lie anywhere as far as the likelihood is concerned, and wanders. To hold its centre of mass in the box centre
is right in the beginning, when shifts say nothing yet. But boxes are centred by whoever picked them: a structure that
lacks a domain, or that was picked by its brightest part, has its mass elsewhere, and every shift is then off by as
much. Those that fall out of the searched range get a wrong pose, and the wrong structure too (measured on a mixture of
three: 5 % of the particles, all for this reason).
"""
from __future__ import annotations

import numpy as np

# share of what the last minibatch asks for that is followed: a few of them settle it, one can't throw a map about
GAIN = 0.2
# a structure's views may leave one axis of the centre open: as if this share of them had found it right
RIDGE = 0.1
# a centre of mass further from the box centre than this share of the diameter is none
FURTHEST = 0.15


class Centring:
    """`targets` (K, 3): x, y, z in Å from the box centre, where the structures' centres of mass are to be held."""

    def __init__(self, classes: int, diameter_a: float):
        self.targets = np.zeros((classes, 3))
        self.furthest = FURTHEST * diameter_a

    def follow(self, images) -> None:
        """Move the targets against the mean shift of a minibatch's posteriors, [ImageResult] with marginals."""
        for structure, target in enumerate(self.targets):
            members = [image for image in images if image.structure == structure]
            if not members:
                continue
            axes = np.stack([image.rotation[:2] for image in members]).reshape(-1, 3)
            shifts = np.concatenate([_mean_shift(image.marginals) for image in members])
            # content moved by d moves every shift by A d (CONVENTIONS.md)
            offset = np.linalg.solve(axes.T @ axes + RIDGE * len(members) * np.eye(3), axes.T @ shifts)
            target -= GAIN * offset
            target *= min(1.0, self.furthest / max(np.linalg.norm(target), 1e-9))


def _mean_shift(marginals):
    return marginals.shift_mass @ marginals.shifts_a / marginals.shift_mass.sum()
