"""The classes of a Scipion object for the class sheet: maps, sizes, resolutions, and which particles they stand for."""
from __future__ import annotations

import os
from dataclasses import dataclass

import pwem.objects as emobj
from pyworkflow.protocol import Protocol

from ..core.errors import InputError
from ..io.result_folder import ResultFolder
from ..protocols import ProtCryosgdSplitByClass
from .result_viewer import RUN_FOLDER
from .viewer_volume import opener_of

# what RELION's classes carry
RELION_RESOLUTION = "_rlnEstimatedResolution"


@dataclass(frozen=True)
class ClassEntry:
    """One class: number (Scipion's id), opener() → VolumeData, particles and their share or None, Å or None."""

    number: int
    opener: object
    size: int | None = None
    share: float | None = None
    resolution_a: float | None = None

    def in_words(self):
        """Name, size and resolution, a line each."""
        size = "size not known" if self.size is None else f"{self.size:,} particles, {100 * self.share:.1f} %"
        resolution = "" if self.resolution_a is None else f"\n{self.resolution_a:.3g} Å"
        return f"class {self.number}\n{size}{resolution}"


class ClassList:
    """The classes of a SetOfClasses3D, or of a SetOfVolumes beside one.

    project : pyworkflow Project; obj : the set; entries : [ClassEntry]; run : the protocol whose output it is, or None
    classes : the SetOfClasses3D that knows the particles, or None
    Raises InputError where the set is empty or its maps have no file.
    """

    def __init__(self, project, obj):
        self.project, self.obj = project, obj
        self.run = _run_of(project, obj)
        self.classes = obj if isinstance(obj, emobj.SetOfClasses3D) else self._beside(obj)
        sizes = {} if self.classes is None else {item.getObjId(): item.getSize() for item in self.classes.iterItems()}
        total, resolutions = max(1, sum(sizes.values())), self._resolutions()
        self.entries = []
        for item in obj.iterItems():
            number = self._number(item)
            size = None if self.classes is None else sizes.get(number, 0)
            volume = item.getRepresentative() if isinstance(item, emobj.Class3D) else item
            self.entries.append(ClassEntry(
                number, opener_of(volume.clone(), f"class {number}"), size, None if size is None else size / total,
                resolutions.get(number, item.getAttributeValue(RELION_RESOLUTION))))
        if not self.entries:
            raise InputError("this set holds no class yet; look again when its job has gone further")

    def particles_protocol(self, numbers):
        """A protocol, not launched, whose output is one set of the particles of some classes.

        Raises InputError where the classes and their particles are not known to the project, or it can't run.
        """
        if self.classes is None or self.run is None:
            raise InputError("these maps have no classes with particles beside them, of which a set could be made")
        if not numbers:
            raise InputError("no class is ticked; tick those whose particles you want")
        listed = ", ".join(map(str, sorted(numbers)))
        protocol = self.project.newProtocol(ProtCryosgdSplitByClass, classes=listed, together=True)
        protocol.setObjLabel(f"{'class' if len(numbers) == 1 else 'classes'} {listed} of {self.run.getRunName()}")
        protocol.inputClasses.set(self.run)
        protocol.inputClasses.setExtended(next(
            name for name, output in self.run.iterOutputAttributes() if output.getObjId() == self.classes.getObjId()))
        complaints = protocol.validate()
        if complaints:
            raise InputError(" ".join(complaints))
        return protocol

    def _beside(self, volumes):
        """The 3D classes of the same run whose numbers the volumes carry, or None. A class may have no particle."""
        numbers = {item.getClassId() for item in volumes.iterItems()}
        for _, output in self.run.iterOutputAttributes() if self.run is not None else ():
            if isinstance(output, emobj.SetOfClasses3D) and {item.getObjId() for item in output.iterItems()} <= numbers:
                return output
        return None

    def _number(self, item):
        of_class = self.classes is not None and not isinstance(item, emobj.Class3D)
        return item.getClassId() if of_class else item.getObjId()

    def _resolutions(self):
        """{class number: Å}, where the run is one of this plugin's."""
        folder = self.run._getExtraPath(RUN_FOLDER) if self.run is not None else ""
        summary = ResultFolder(folder).summary() if os.path.isdir(folder) else None
        found = (summary or {}).get("resolution_a")
        return {} if not isinstance(found, list) else {
            number: value for number, value in enumerate(found, start=1) if value is not None}


def _run_of(project, obj):
    """The protocol whose output an object is, or None."""
    parent = project.mapper.getParent(obj) if obj.hasObjId() else None
    return parent if isinstance(parent, Protocol) else None
