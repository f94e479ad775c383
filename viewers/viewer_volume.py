"""Scipion's viewer for volumes, sets of volumes and 3D classes: slices, projections and surface."""
from __future__ import annotations

import os
from functools import partial
from shutil import which

import pwem.objects as emobj
import pyworkflow.viewer as pwviewer
from pwem.viewers import Chimera

from ..convert import volumes_in
from ..core.errors import InputError
from ..io.result_folder import LOCAL_MAP, VOLUME
from ..io.validation_folder import ValidationFolder
from ..io.validation_pictures import LOCAL_SIZE, draw_local_sections
from ..io.volume_data import open_volume
from .figure_view import FigureView


class CryosgdVolumeViewer(pwviewer.Viewer):
    """Opens in a window of its own; needs no other program."""
    _name = "CryoSGD volume viewer"
    _environments = [pwviewer.DESKTOP_TKINTER]
    _targets = [emobj.Volume, emobj.SetOfVolumes, emobj.SetOfClasses3D]

    def _visualize(self, obj, **kwargs):
        try:
            volumes = volumes_of(obj)
        except InputError as error:
            return [self.errorMessage(str(error), "Volume")]
        title = f"CryoSGD: {title_of(obj, self.protocol)}"
        if _is_local_resolution(obj):
            return [FigureView(title, partial(_draw_local, os.path.abspath(obj.getFileName())), self.formWindow,
                               LOCAL_SIZE, layout="constrained")]
        return [VolumeView(title, lambda: volumes, self.formWindow)]


class VolumeView(pwviewer.View):
    """The volume window for a list of volumes; see `volume_window.VolumeWindow` for the arguments."""

    def __init__(self, title, list_volumes, master=None, start=0, refreshable=False):
        self.title, self.list_volumes, self.master = title, list_volumes, master
        self.start, self.refreshable, self.window = start, refreshable, None

    def show(self):
        """Open the window, or say why it can't be opened."""
        from .volume_window import VolumeWindow  # Tk only where there is a display
        try:
            self.window = VolumeWindow(self.title, self.list_volumes, self.master, self.start, self.refreshable)
        except InputError as error:
            pwviewer.MessageView(str(error), "Volume", pwviewer.MSG_ERROR, tkParent=_root(self.master)).show()
            return
        self.window.show()


def volumes_of(obj):
    """[(label, opener)] of a Volume with its half-maps, of the items of a SetOfVolumes, or of 3D classes.

    opener() gives a VolumeData. Raises InputError for an empty set and an object without a file.
    """
    found = volumes_in(obj)
    if not found:
        raise InputError("this set holds no volume yet; look again when its job has gone further")
    openers = []
    for label, volume in found:
        openers.append((label, opener_of(volume, label)))
        if volume.hasHalfMaps():
            for number, path in enumerate(volume.getHalfMaps().split(","), start=1):
                name = f"{label}, half {number}"
                openers.append((name, partial(_open, path, 0, volume.getSamplingRate(), name)))
    return openers


def opener_of(volume, label):
    """What opens the map of a Scipion Volume as VolumeData; InputError where it has no file."""
    if not volume.getFileName():
        raise InputError(f"{label} has no file yet; look again when its job has gone further")
    return partial(_open, volume.getFileName(), volume.getIndex(), volume.getSamplingRate(), label)


def title_of(obj, protocol):
    """What a window says it shows: the object and, where it is known, the run."""
    name = obj.getObjLabel() or obj.getClassName()
    return f"{name} of {protocol.getRunName()}" if protocol is not None else name


def chimerax_is_installed():
    """Whether Scipion would find ChimeraX; of a plugin for it without a home it has no program."""
    program = Chimera.getProgram()
    return program is not None and which(program) is not None


def _is_local_resolution(obj):
    """Whether a volume is the local resolution of a validation, in whose folder is the map that it colours."""
    folder, name = os.path.split(obj.getFileName() or "")
    return name == LOCAL_MAP and os.path.exists(os.path.join(folder, VOLUME))


def _draw_local(path, figure):
    folder = ValidationFolder(os.path.dirname(path))
    volume, pixel_size = folder.sharpened()
    draw_local_sections(figure, volume, folder.local(), pixel_size, "the sharpened map")


def _open(path, index, pixel_size, label):
    # Scipion's paths are relative to the project, in which its windows run; 0 stands for "no index"
    return open_volume(os.path.abspath(path), pixel_size, label, index or None)


def _root(master):
    return master.getRoot() if master is not None else None
