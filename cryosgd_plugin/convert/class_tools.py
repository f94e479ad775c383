"""Scipion's classes and sets of particles with classes, split by class."""
from __future__ import annotations

from pwem.objects import SetOfClasses

from ..core.classes import check_least, check_wanted, posterior_tag
from ..core.errors import InputError
from .columns import attribute_name


def split_set(source, output_of, wanted=None, least=0.0) -> dict:
    """Copy the particles of classes into sets: {class number: particles copied}; ids and all attributes stay.

    source : SetOfClasses2D or 3D, or SetOfParticles with class ids; output_of : class number → the set to fill, one for
    each or the same for several, asked for at each particle; wanted : numbers, or None for all that have particles;
    least : leave out particles whose posterior of their own class is below it.
    Disabled particles and classes are left out. Raises InputError: no classes, a class without particles, no
    posteriors where least > 0.
    """
    check_least(least)
    chosen, filled = check_wanted(wanted, class_ids(source)), []
    counts = dict.fromkeys(chosen, 0)
    for number, item, info in _classified(source):
        if number not in counts or (least > 0 and _posterior(item, number) < least):
            continue
        output = output_of(number)
        if not any(output is other for other in filled):
            output.copyInfo(info)
            filled.append(output)
        output.append(item.clone())
        counts[number] += 1
    return counts


def class_ids(source) -> list:
    """The class numbers that occur in a set; InputError where there are none."""
    if isinstance(source, SetOfClasses):
        return sorted(item.getObjId() for item in source.iterItems() if item.isEnabled() and item.getSize())
    # 0 is what a particle without class has after some conversions
    found = [number for number in source.getUniqueValues("_classId") if number]
    if not found:
        raise InputError("the particles have no classes; give those of a classification")
    return sorted(found)


def _classified(source):
    """(class number, particle, the set that it is of) of every enabled particle."""
    if isinstance(source, SetOfClasses):
        for group in source.iterItems():
            if group.isEnabled():
                yield from ((group.getObjId(), item, group) for item in group.iterItems() if item.isEnabled())
    else:
        yield from ((item.getClassId(), item, source) for item in source.iterItems(orderBy="id") if item.isEnabled())


def _posterior(item, number):
    name = attribute_name(posterior_tag(number))
    value = item.getAttributeValue(name)
    if value is None:
        raise InputError(f"particle {item.getObjId()} has no {name}, so how sure its class is can't be told; leave the "
                         "least posterior at 0")
    return value
