"""Tools on Scipion's sets of particles. They write one particle at a time, so memory does not grow with the result."""
from __future__ import annotations

import numpy as np
from pwem.objects import Transform
from pyworkflow.object import Float, Integer

from ..core.duplicates import centres_of, repeated_images, score_column, too_close
from ..core.errors import InputError
from ..core.expansion import MATE_TAG, PARENT_TAG, draw_halves_of
from ..core.hand import mirror_signs
from ..core.settings import need
from .columns import attribute_name, exact_position, tag_of
from .transforms import mate_transforms, mirrored_transform, poses_from_transforms, refuse_no_rotations

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


def find_duplicates(particles, distance_a, micrograph_pixel_size=None, *, score=None, same_image=True):
    """Which particles of a set are there twice: {id: "image" or "distance"}, and the attribute that was the score.

    distance_a : Å, see core/duplicates.py; 0 compares images alone; micrograph_pixel_size : of the coordinates, Å/px,
    needed for a distance; score : attribute, the higher the better, None for the first known one (and None is returned
    where there is none); same_image : whether an image may stay only once. Shifts of a projection alignment are
    applied; disabled particles count for nothing. Raises InputError: no coordinates or micrographs, an unknown score.
    """
    first = particles.getFirstItem()
    names = {tag_of(name): name for name, value in first.getAttributes() if isinstance(value, (Integer, Float))}
    score_tag = score_column(names, tag_of(score) if score else None)
    ids, images, micrographs, positions, transforms, scores = [], [], [], [], [], []
    aligned = particles.hasAlignmentProj()
    for item in particles.iterItems(orderBy="id"):
        if not item.isEnabled():
            continue
        ids.append(item.getObjId())
        images.append("{}@{}".format(*item.getLocation()))
        value = item.getAttributeValue(names[score_tag]) if score_tag else 0.0
        scores.append(np.nan if value is None else value)
        if distance_a != 0:
            micrographs.append(_micrograph_of(item))
            positions.append(exact_position(item.getCoordinate()))
            if aligned:
                transforms.append(_pose_of(item))
    twice = repeated_images(images, scores) if same_image else np.zeros(len(ids), bool)
    close = np.zeros(len(ids), bool)
    if distance_a != 0:
        need(micrograph_pixel_size is not None, "the pixel size of the micrographs, in which the coordinates count, is "
             "not given; give it, or a distance of 0")
        pixel_size = particles.getSamplingRate()
        shifts_a = poses_from_transforms(np.array(transforms), pixel_size)[1] if aligned else None
        centres_a = centres_of(positions, micrograph_pixel_size, shifts_a)
        close = too_close(micrographs, centres_a, distance_a, scores, left_out=twice)
    found = {ids[row]: "image" for row in np.flatnonzero(twice)}
    found.update({ids[row]: "distance" for row in np.flatnonzero(close)})
    return found, names.get(score_tag)


def copy_without(particles, output, left_out):
    """Copy a set to an empty one without the particles of some ids (a set or dict)."""
    def update(item, _):
        item._appendItem = item.getObjId() not in left_out

    output.copyInfo(particles)
    output.copyItems(particles, updateItemCallback=update)


def _micrograph_of(item):
    if not item.hasCoordinate():
        raise InputError(f"particle {item.getObjId()} has no coordinates, so its distances are not known; give a "
                         "distance of 0 to remove the same image twice alone")
    name = item.getCoordinate().getMicName() or item.getMicId()
    if not name:
        raise InputError(f"particle {item.getObjId()} names no micrograph, so its distances are not known; give a "
                         "distance of 0 to remove the same image twice alone")
    return str(name)


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
