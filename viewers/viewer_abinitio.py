"""Results of an ab initio run, finished or going on: volumes, FSC, view directions, convergence, summary."""
from __future__ import annotations

import os
from functools import partial

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
import pyworkflow.viewer as pwviewer
from pwem.viewers import ChimeraView, EmProtocolViewer

from ..core.errors import InputError
from ..io.fsc_star import read_fsc
from ..io.result_folder import FSC, PARTICLES, VOLUME, ResultFolder
from ..io.star_tables import block_tags, number_column, read_document
from ..protocols import ProtCryosgdAbInitio
from .direction_map import draw_view_directions
from .figure_view import FigureView, TableView, summary_rows
from .plots import draw_fsc, draw_history
from .viewer_volume import VolumeView, chimerax_is_installed
from .volume_data import open_volume

LAST, SELECTION = 0, 1
WITH_CRYOSGD, WITH_CHIMERAX = 0, 1
RUN_FOLDER = "run"
FSC_NOTE = ("The poses of both halves come from one map: this says how consistent the images are, "
            "and is no gold-standard resolution.")


class CryosgdAbInitioViewer(EmProtocolViewer):
    """Reads the files of the run folder, so that it shows what is there while the run goes on."""
    _label = "CryoSGD ab initio results"
    _environments = [pwviewer.DESKTOP_TKINTER]
    _targets = [ProtCryosgdAbInitio]

    def _defineParams(self, form):
        form.addSection(label="Visualization")
        group = form.addGroup("Volume")
        group.addParam("iteration", params.EnumParam, choices=["last", "selection"], default=LAST,
                       display=params.EnumParam.DISPLAY_HLIST, label="Iteration",
                       help="*last*: the final volume, or the newest one while the run goes on; the window's slider "
                            "leads back through the run.\n*selection*: the volumes of these iterations only.")
        group.addParam("selection", params.NumericRangeParam, default="1", condition=f"iteration == {SELECTION}",
                       label="Iterations", help="For example 100,200 or 50-400. Volumes are kept every few iterations; "
                                                "those within the selection are shown.")
        group.addParam("display", params.EnumParam, choices=["slices and surface", "ChimeraX"], default=WITH_CRYOSGD,
                       display=params.EnumParam.DISPLAY_HLIST, label="Show with",
                       help="*slices and surface*: three planes, projections, isosurface and histogram in a window of "
                            "CryoSGD.\n*ChimeraX*: where it is installed.")
        group.addParam("showVolume", params.LabelParam, label="Volume",
                       help="Works while the run goes on: the window refreshes by its button or every few seconds.")
        group.addParam("showHalves", params.LabelParam, label="Half-maps and final volume",
                       help="Two independent reconstructions of half the particles each, and their average.")
        group = form.addGroup("Run")
        group.addParam("showFsc", params.LabelParam, label="Fourier shell correlation",
                       help="Between the half-maps, with the resolutions at 0.143 and 0.5.")
        group.addParam("showDirections", params.LabelParam, label="Angular distribution",
                       help="Number of particles over the view directions, in an equal-area projection, with the "
                            "copies that the symmetry makes.")
        group.addParam("showHistory", params.LabelParam, label="Convergence",
                       help="Resolution in use, log-likelihood, change of the map, effective share of poses, noise "
                            "inflation and step size over the iterations.")
        group.addParam("showSummary", params.LabelParam, label="Summary",
                       help="Resolution, times, memory, device, versions, seed and every setting of the run.")

    def _getVisualizeDict(self):
        views = {"showVolume": self._volumeViews, "showHalves": self._halfMapViews, "showFsc": self._fscViews,
                 "showDirections": self._directionViews, "showHistory": self._historyViews,
                 "showSummary": self._summaryViews}
        return {name: partial(self._orMessage, make) for name, make in views.items()}

    # ---- the views
    def _volumeViews(self):
        self._listVolumes()     # says now that there is none yet
        if self.display == WITH_CHIMERAX:
            if not chimerax_is_installed():
                return [self.errorMessage("ChimeraX is not installed where Scipion looks for it; choose 'slices and "
                                          "surface'.", "ChimeraX")]
            return [ChimeraView([str(path) for _, path in self._volumePaths()])]
        return [VolumeView(f"CryoSGD: {self.protocol.getRunName()}", self._listVolumes, self.formWindow, start=-1,
                           refreshable=True)]

    def _halfMapViews(self):
        halves = self._folder().half_maps()
        if halves is None:
            raise InputError("there are no half-maps yet; they are made at the end of the run")
        names = zip(("half 1", "half 2"), halves)
        volumes = [(name, partial(open_volume, path, None, name)) for name, path in names]
        final = self._folder().path(VOLUME)
        if final is not None:
            volumes.insert(0, ("final volume", partial(open_volume, final, None, "final volume")))
        return [VolumeView(f"CryoSGD: half-maps of {self.protocol.getRunName()}", lambda: volumes, self.formWindow)]

    def _fscViews(self):
        return [self._figureView("Fourier shell correlation", self._curves,
                                 lambda figure, curves: draw_fsc(figure, curves, note=FSC_NOTE))]

    def _directionViews(self):
        return [self._figureView("view directions", self._directions, lambda figure, angles: draw_view_directions(
            figure, *angles, self.protocol.symmetry.get()), size=(10.0, 5.8))]

    def _historyViews(self):
        return [self._figureView("convergence", self._history, draw_history, size=(11.5, 6.6))]

    def _summaryViews(self):
        folder = self._folder()
        summary, job = folder.summary(), folder.job()
        if summary is not None:
            return [TableView(f"CryoSGD: summary of {self.protocol.getRunName()}", summary_rows(summary),
                              self.formWindow)]
        if job is None:
            raise InputError("the run has not started yet")
        state = "is going on" if folder.writer() is not None else "is not finished"
        rows = [("state", f"the run {state}, {len(folder.history())} iterations are done"), *summary_rows(job)]
        return [TableView(f"CryoSGD: settings of {self.protocol.getRunName()}", rows, self.formWindow)]

    # ---- what the run folder holds
    def _folder(self):
        path = self.protocol._getExtraPath(RUN_FOLDER)
        if not os.path.isdir(path):
            raise InputError("the run has written nothing yet; look again in a moment")
        return ResultFolder(path)

    def _volumePaths(self):
        """[(label, path)] in the order of the run, as the form asks; InputError where there is none."""
        folder = self._folder()
        progress = folder.progress_volumes()
        if self.iteration == SELECTION:
            wanted = set(pwutils.getListFromRangeString(self.selection.get()))
            chosen = [(f"iteration {number}", path) for number, path in progress if number in wanted]
            if not chosen:
                there = ", ".join(str(number) for number, _ in progress) or "none yet"
                raise InputError(f"no volume was kept of iteration {self.selection.get()}; there are: {there}")
            return chosen
        found = [(f"iteration {number}", path) for number, path in progress]
        final = folder.path(VOLUME)
        if final is not None:
            found.append(("final volume", final))
        if not found:
            raise InputError("the run has written no volume yet; the first one comes after a few iterations")
        return found

    def _listVolumes(self):
        return [(label, partial(open_volume, path, None, label)) for label, path in self._volumePaths()]

    def _curves(self):
        path = self._folder().path(FSC)
        if path is None:
            raise InputError("there is no FSC yet; it is written at the end of the run, with the half-maps")
        frequency, curves = read_fsc(path)
        return [(f"half-maps, {name}", frequency, values) for name, values in curves.items()]

    def _directions(self):
        path = self._folder().path(PARTICLES)
        if path is None:
            raise InputError("no particle has its final pose yet; they are assigned at the end of the run")
        for block in read_document(path):
            if "rlnAngleRot" in block_tags(block):
                return number_column(block, "rlnAngleRot", path), number_column(block, "rlnAngleTilt", path)
        raise InputError(f"{path} holds no angles; start the run again")

    def _history(self):
        history = self._folder().history()
        if not history:
            raise InputError("the run has written no history yet; it does so after its first iteration")
        return history

    # ---- how they are shown
    def _figureView(self, title, read, draw, size=(9.0, 6.0)):
        """A window that draws what read() gives, anew at each refresh; InputError where there is nothing yet."""
        read()
        return FigureView(f"CryoSGD: {title} of {self.protocol.getRunName()}", lambda figure: draw(figure, read()),
                          self.formWindow, size, refreshable=True)

    def _orMessage(self, make, _param=None):
        """The views, or a message where there is nothing to show yet."""
        try:
            return make()
        except InputError as error:
            return [self.infoMessage(str(error)[:1].upper() + str(error)[1:], "Not there yet")]
