"""What the viewers of ab initio runs and refinements show, found in its run folder: of all its structures or of some.

folder : ResultFolder; structures : list of their numbers, counted from 0. Everything raises InputError with a sentence
for the user where there is nothing to show yet.
"""
from __future__ import annotations

from functools import partial

from ..core.errors import InputError
from ..io.abinitio_pictures import symmetry_in_use
from ..io.fsc_star import read_fsc
from ..io.result_folder import FSC, PARTICLES, TRADITIONAL, result_name
from ..io.star_tables import block_tags, number_column, read_document
from ..io.volume_data import open_volume

MOST_SHOWN_FIRST = 4      # maps with which a comparison opens


def volume_paths(folder, structures, iterations=None):
    """[(label in a list, title, path)] of maps.

    iterations : a set of those wanted. Without it, one structure gives its whole history, the final map last; several
    give the newest map of each, whose label stays the same while the run goes on.
    """
    found = [(k, _maps(folder, k)) for k in structures]
    if not any(maps for _, maps in found):
        raise InputError("the run has written no volume yet; the first one comes after a few iterations")
    if iterations is not None:
        chosen = [(title, path) for _, maps in found for number, title, path in maps if number in iterations]
        if not chosen:
            there = ", ".join(str(number) for number, _, _ in found[0][1] if number is not None) or "none yet"
            raise InputError(f"no volume was kept of these iterations; there are: {there}")
        return [(title, title, path) for title, path in chosen]
    if len(structures) == 1:
        return [(title, title, path) for _, title, path in found[0][1]]
    return [(f"class {k + 1}", *maps[-1][1:]) for k, maps in found if maps]


def openers(paths):
    """What `volume_paths` gives as [(label, opener)] for the volume window."""
    return [(label, partial(open_volume, path, None, title)) for label, title, path in paths]


def half_maps(folder, structures):
    """[(label, opener)]: of each structure the final volume and its two half-maps."""
    found = []
    for k in structures:
        halves = folder.half_maps(k)
        if halves is None:
            raise InputError("there are no half-maps yet; they are made at the end of the run")
        paths = zip(("final volume", "half 1", "half 2"), (folder.volume(k), *halves))
        found += [(prefix(folder, k) + name, path) for name, path in paths if path is not None]
    return [(name, partial(open_volume, path, None, name)) for name, path in found]


def maps_to_compare(folder, structures):
    """([(label, opener)], indices of those to begin with): newest maps, Wiener's beside them, half-maps, older maps.

    It begins with the newest maps and, where they were regularised otherwise, Wiener's; of one map without it, with its
    half-maps.
    """
    state = "newest map" if folder.volume() is None else "final map"
    newest = [(prefix(folder, k).rstrip(", ") or state, folder.newest_volume(k)) for k in structures]
    found = [(name, path) for name, path in newest if path is not None]
    if not found:
        raise InputError("the run has written no volume yet; the first one comes after a few iterations")
    for k in structures:
        traditional = folder.path(result_name(TRADITIONAL, k, folder.classes()))
        if traditional is not None:
            found.append((f"{prefix(folder, k)}traditional (Wiener)", traditional))
    chosen = list(range(min(len(found), MOST_SHOWN_FIRST)))
    for k in structures:
        halves = folder.half_maps(k) or ()
        if len(structures) == 1 and len(found) == 1:
            chosen += range(len(found), len(found) + len(halves))
        found += [(f"{prefix(folder, k)}half {number}", path) for number, path in enumerate(halves, start=1)]
    for k in structures:
        found += [(title, path) for number, title, path in reversed(_maps(folder, k))
                  if number is not None and path != folder.newest_volume(k)]
    return [(label, partial(open_volume, path, None, label)) for label, path in found], chosen


def fsc_curves(folder, structures):
    """[(label, frequencies in 1/Å, values)] between the half-maps of each structure.

    Of several structures that have a corrected curve, this one alone. While a refinement goes on, the curve that its
    newest iteration trusts.
    """
    curves = []
    for k in structures:
        path = folder.path(result_name(FSC, k, folder.classes()))
        if path is None:
            curves.append(_curve_so_far(folder, k))
            continue
        frequency, values = read_fsc(path)
        if len(structures) > 1 and "corrected" in values:
            values = {"corrected": values["corrected"]}
        curves += [(f"{prefix(folder, k) or 'half-maps, '}{name}", frequency, curve) for name, curve in values.items()]
    return curves


def assigned_angles(folder, structures):
    """(rot, tilt) in degrees, each (n,), of the particles that belong to these structures at the end of the run."""
    path = folder.path(PARTICLES)
    if path is None:
        raise InputError("no particle has its final pose yet; they are assigned at the end of the run")
    block, *angles = angles_of(path)
    if len(structures) == folder.classes():
        return angles
    numbers = number_column(block, "rlnClassNumber", path)
    mine = sum(numbers == k + 1 for k in structures) > 0
    return [angle[mine] for angle in angles]


def angles_of(path):
    """(the gemmi block of a STAR file's particles, their rot (n,) and tilt (n,) in degrees), read without the rest."""
    for block in read_document(path):
        if "rlnAngleRot" in block_tags(block):
            return block, *(number_column(block, tag, path) for tag in ("rlnAngleRot", "rlnAngleTilt"))
    raise InputError(f"{path} holds no angles; start the run again")


def history_so_far(folder):
    """The records of the run's history."""
    history = folder.history()
    if not history:
        raise InputError("the run has written no history yet; it does so after its first iteration")
    return history


def searched_directions(folder):
    """(the importance distribution, the point group imposed so far)."""
    importance = folder.importance()
    if importance is None:
        raise InputError("there is no importance distribution yet; it is written with the first volume on the way")
    return importance, symmetry_in_use(folder.history())


def with_maps(folder):
    """The folder itself, once it holds a map."""
    volume_paths(folder, range(folder.classes()))
    return folder


def prefix(folder, structure):
    """What the names of a structure's maps and curves begin with; nothing where there is only one."""
    return "" if folder.classes() == 1 else f"class {structure + 1}, "


def _curve_so_far(folder, structure):
    """The newest iteration's curve of a structure, from the history."""
    history, frequency = folder.history(), folder.shell_frequencies()
    if not history or not history[-1].get("fsc") or frequency is None:
        raise InputError("there is no FSC yet; it is written at the end of the run, with the half-maps")
    label = f"{prefix(folder, structure)}iteration {history[-1]['iteration']}"
    # JSON's null is a NaN that was
    return label, frequency, [float("nan") if value is None else value for value in history[-1]["fsc"][structure]]


def _maps(folder, structure):
    """[(iteration, None for the final map; title; path)] in the order of the run."""
    name = prefix(folder, structure)
    maps = [(number, f"{name}iteration {number}", path) for number, path in folder.progress_volumes(structure)]
    final = folder.volume(structure)
    return maps if final is None else [*maps, (None, f"{name}final volume", final)]
