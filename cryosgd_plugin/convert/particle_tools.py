"""Tools on Scipion's sets of particles, one particle at a time: memory does not grow with what they write."""
from __future__ import annotations

import numpy as np
from pwem.objects import Transform
from pyworkflow.object import Integer

from ..core.errors import InputError
from ..core.expansion import MATE_TAG, PARENT_TAG, draw_halves_of
from ..core.hand import mirror_signs
from .columns import attribute_name
from .transforms import mate_transforms, mirrored_transform, refuse_no_rotations

PARENT, MATE, HALF = attribute_name(PARENT_TAG), attribute_name(MATE_TAG), "_rlnRandomSubset"


def expand_set(particles, output, operators, rng) -> int:
    """Fill an empty set with each particle in all poses A·S of the operators (g, 3, 3); how many particles there were.

    The rows get new ids; PARENT holds the id of the particle (of a set that was expanded before, of the first one),
    MATE which of its mates it is, from 1. All else stays. Without half-sets they are drawn with the numpy Generator
    rng, by particle. Raises InputError where a particle has no pose.
    """
    output.copyInfo(particles)
    output.setAlignmentProj()
    first = particles.getFirstItem()
    expanded, halved = hasattr(first, PARENT), hasattr(first, HALF)
    half_of = {} if halved else _draw_halves(particles, expanded, rng)
    count, order = 0, len(operators)
    for item in particles.iterItems(orderBy="id"):
        if not item.isEnabled():
            continue
        # the set hands out one object again and again: what is set on it would still be there at the next particle
        mate = item.clone()
        parent = getattr(item, PARENT).get() if expanded else item.getObjId()
        before = getattr(item, MATE).get() - 1 if hasattr(first, MATE) else 0
        setattr(mate, PARENT, Integer(parent))
        if not halved:
            setattr(mate, HALF, Integer(half_of[_particle_key(item, expanded)]))
        transform = Transform()
        mate.setTransform(transform)
        for number, matrix in enumerate(mate_transforms(_pose_of(item), operators), start=1):
            transform.setMatrix(matrix)
            setattr(mate, MATE, Integer(before * order + number))
            mate.cleanObjId()
            output.append(mate)
        count += 1
    return count


def repeated_image_count(particles) -> int:
    """How many particles of a set show an image that another one shows too."""
    images = particles.getUniqueValues(["_index", "_filename"])
    return particles.getSize() - len(images["_index"])


def mirror_set(particles, output, axis="xyz"):
    """Fill an empty set with the particles in the poses of the mirrored map (core/hand.py); ids and all else stay."""
    signs = mirror_signs(axis)

    def update(item, _):
        item.setTransform(Transform(matrix=mirrored_transform(_pose_of(item), signs)))

    output.copyInfo(particles)
    output.copyItems(particles, updateItemCallback=update)


def _pose_of(item):
    transform = item.getTransform()
    if transform is None:
        raise InputError(f"particle {item.getObjId()} has no pose; take the particles from a 3D refinement")
    matrix = transform.getMatrix()
    refuse_no_rotations(np.transpose(matrix[:3, :3])[None], [item.getObjId()])
    return matrix


def _particle_key(item, expanded):
    """What names the particle that a row came from: by the image where another program expanded the set."""
    return getattr(item, PARENT).get() if expanded else item.getLocation()


def _draw_halves(particles, expanded, rng):
    """{what names a particle: 1 or 2}, in equal numbers."""
    if expanded:
        keys = particles.getUniqueValues(PARENT)
    else:
        images = particles.getUniqueValues(["_index", "_filename"])
        keys = list(zip(images["_index"], images["_filename"]))
    return dict(zip(keys, draw_halves_of(np.arange(len(keys)), rng).tolist()))
