"""Scipion's own list dialog for the maps of a project."""
from __future__ import annotations

import pwem.objects as emobj
from pyworkflow.gui.dialog import ListDialog
from pyworkflow.gui.tree import TreeProvider

from ..core.errors import InputError
from .viewer_volume import volumes_of

MAPS = (emobj.Volume, emobj.SetOfVolumes, emobj.SetOfClasses3D)


class ProjectMaps(TreeProvider):
    """The volumes, sets of volumes and 3D classes among the outputs of a project's runs, the newest first."""

    def __init__(self, project):
        TreeProvider.__init__(self)
        self.outputs = [(run, name, output) for run in reversed(project.getRuns())
                        for name, output in run.iterOutputAttributes() if isinstance(output, MAPS)]

    def getColumns(self):
        return [("Map", 340), ("Info", 300)]

    def getObjects(self):
        return self.outputs

    def getObjectInfo(self, entry):
        run, name, output = entry
        return {"key": f"{run.getObjId()}.{name}", "text": f"{run.getRunName()} › {name}",
                "values": (str(output).replace(output.getClassName(), "").strip(),), "selected": False, "parent": None}


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
    return [(f"{run.getRunName()}: {label}", opener) for run, _, output in dialog.values
            for label, opener in volumes_of(output)[:None if isinstance(output, MAPS[1:]) else 1]]
