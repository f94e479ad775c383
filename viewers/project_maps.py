"""Scipion's own list dialog for the maps of a project."""
from __future__ import annotations

import pwem.objects as emobj
from pyworkflow.gui.dialog import ListDialog
from pyworkflow.gui.tree import TreeProvider

from ..core.errors import InputError
from .viewer_volume import volumes_of

MAPS = (emobj.Volume, emobj.SetOfVolumes, emobj.SetOfClasses3D)


class ProjectMap:
    """A run's output that holds maps. Scipion's tree writes its own id on it."""

    def __init__(self, run, name, output):
        self.run, self.name, self.output = run, name, output

    def volumes(self):
        """[(label, opener)]: of a set all of its maps, of a volume itself without its halves."""
        found = volumes_of(self.output)
        if isinstance(self.output, emobj.Volume):
            del found[1:]
        return [(f"{self.run.getRunName()}: {label}", opener) for label, opener in found]


class ProjectMaps(TreeProvider):
    """The volumes, sets of volumes and 3D classes among the outputs of a project's runs, the newest first; no masks."""

    def __init__(self, project):
        TreeProvider.__init__(self)
        self.outputs = [ProjectMap(run, name, output) for run in reversed(project.getRuns())
                        for name, output in run.iterOutputAttributes()
                        if isinstance(output, MAPS) and not isinstance(output, emobj.VolumeMask)]

    def getColumns(self):
        return [("Map", 440), ("Info", 300)]

    def getObjects(self):
        return self.outputs

    def getObjectInfo(self, entry):
        return {"key": f"{entry.run.getObjId()}.{entry.name}", "text": f"{entry.run.getRunName()} › {entry.name}",
                "values": (str(entry.output).replace(entry.output.getClassName(), "").strip(),), "selected": False,
                "parent": None}


def choose_maps(project, root) -> list:
    """[(label, opener)] of the outputs that are chosen in a dialog; [] where it is cancelled.

    Raises InputError where the project holds no map.
    """
    provider = ProjectMaps(project)
    if not provider.outputs:
        raise InputError("no run of this project has a map yet")
    dialog = ListDialog(root, "Maps of this project", provider, "Several can be chosen, with Ctrl.")
    if not dialog.resultYes():
        return []
    return [volume for entry in dialog.values for volume in entry.volumes()]
