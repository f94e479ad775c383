"""The maps that a protocol's list of inputs points at."""
from __future__ import annotations

from pwem.objects import Volume
from pyworkflow.protocol import Protocol

from ..convert.maps import volumes_in


def maps_pointed_at(pointers) -> list:
    """[(label, Volume)] of what a PointerList's items point at, without what was switched off in Scipion's tables.

    A map that has no label of its own is named after the run whose output it is: files of different runs are alike.
    """
    return [(_run_name(pointer) or label, volume) for pointer in pointers if pointer.get() is not None
            for label, volume in volumes_in(pointer.get(), disabled=False)]


def _run_name(pointer):
    """The run's name, or None where the map has a label, is one of a set, or the pointer knows no run."""
    run, output = pointer.getObjValue(), pointer.get()
    if isinstance(output, Volume) and isinstance(run, Protocol) and not output.getObjLabel():
        return run.getRunName()
    return None
