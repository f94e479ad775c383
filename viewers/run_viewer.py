"""What the viewers of ab initio runs and refinements share: volumes, classes, FSC, view directions, summary."""
from __future__ import annotations

import os

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils

from ..core.errors import InputError
from ..io.map_pictures import COLUMNS, class_sizes, draw_classes, draw_progress, sheet_size
from ..io.view_pictures import draw_view_directions
from .class_list import ClassList
from .figure_view import TableView, summary_rows
from .plots import draw_fsc
from .result_viewer import ResultViewer
from .run_contents import fsc_curves, half_maps, maps_to_compare, openers, volume_paths, with_maps
from .viewer_classes import ClassSheetView
from .viewer_compare import CompareView
from .viewer_volume import VolumeView

LAST, SELECTION = 0, 1
ALL_CLASSES = 0

# of job.json, by which a run is known when it is continued: they say nothing to people
FINGERPRINTS = {"table", "poses", "half_sets", "references", "mask", "start_map"}


class RunViewer(ResultViewer):
    """Reads the files of the run folder, so that it shows what is there while the run goes on.

    A subclass defines `_defineRunParams(group)` for its own buttons, `_ownViews()` with their views, `_angles()`,
    `_fscNote()` and the FSC_HELP and KEPT sentences.
    """
    FSC_HELP = KEPT = ""

    def _defineParams(self, form):
        # Scipion calls this when it knows the run whose results are asked for
        sizes = class_sizes(self._folder()) if os.path.isdir(self._runPath()) else [("map", "")]
        several = str(len(sizes) > 1)
        form.addSection(label="Visualization")
        group = form.addGroup("Volume")
        group.addParam("structure", params.EnumParam, default=ALL_CLASSES, condition=several, label="Class",
                       choices=["all", *(f"{name} ({size})" if size else name for name, size in sizes)],
                       help="Whose volumes, half-maps, FSC and angular distribution are shown.")
        group.addParam("iteration", params.EnumParam, choices=["last", "selection"], default=LAST,
                       display=params.EnumParam.DISPLAY_HLIST, label="Iteration",
                       help="*last*: the final volume, or the newest one while the run goes on; the window's slider "
                            "leads back through the run, or through the classes where all are shown.\n*selection*: "
                            "the volumes of these iterations only.")
        group.addParam("selection", params.NumericRangeParam, default="1", condition=f"iteration == {SELECTION}",
                       label="Iterations", help=f"For example 100,200 or 50-400. {self.KEPT}")
        self._defineDisplay(group)
        group.addParam("showVolume", params.LabelParam, label="Volume",
                       help="Works while the run goes on: the window refreshes by its button or every few seconds.")
        group.addParam("showHalves", params.LabelParam, label="Half-maps and final volume",
                       help="Two independent reconstructions of half the particles each, and their average.")
        group.addParam("showCompare", params.LabelParam, label="Maps side by side",
                       help="The same slices and the same contour of several maps: classes, half-maps, iterations; "
                            "beside a sparse and smooth map Wiener's of the same poses. Others of the project, or "
                            "files, can be added.")
        group.addParam("showFsc", params.LabelParam, label="Fourier shell correlation", help=self.FSC_HELP)
        group.addParam("showDirections", params.LabelParam, label="Angular distribution",
                       help="Number of particles over the view directions, in an equal-area projection, with the "
                            "copies that the symmetry makes.")
        group = form.addGroup("Run")
        group.addParam("showClasses", params.LabelParam, label="All classes", condition=several,
                       help="Central slices of every class side by side, with number and share of its particles. After "
                            "the run the particles of classes that you tick become a set in one click.")
        group.addParam("showProgress", params.LabelParam, label="Progress of the volume",
                       help="Slices of the map through the run, with the resolution.")
        self._defineRunParams(group)
        group.addParam("showSummary", params.LabelParam, label="Summary",
                       help="Resolution, times, memory, device, versions, seed and every setting of the run.")

    def _views(self):
        return {"showVolume": self._volumeViews, "showHalves": self._halfMapViews, "showCompare": self._compareViews,
                "showFsc": self._fscViews, "showDirections": self._directionViews, "showClasses": self._classViews,
                "showProgress": self._progressViews, "showSummary": self._summaryViews, **self._ownViews()}

    # ---- the views
    def _volumeViews(self):
        paths = self._volumePaths()     # says now that there is none yet
        # one structure: its newest map; several: the first of them
        start = -1 if len(self._structures()) == 1 else 0
        return self._mapViews([path for _, _, path in paths], VolumeView(
            f"CryoSGD: {self.protocol.getRunName()}", lambda: openers(self._volumePaths()), self.formWindow,
            start=start, refreshable=True))

    def _halfMapViews(self):
        volumes = half_maps(self._folder(), self._structures())
        return [VolumeView(f"CryoSGD: half-maps of {self.protocol.getRunName()}", lambda: volumes, self.formWindow)]

    def _compareViews(self):
        offered, chosen = maps_to_compare(self._folder(), self._structures())
        return [CompareView(f"CryoSGD: maps of {self.protocol.getRunName()}, side by side", offered, chosen,
                            self.formWindow)]

    def _fscViews(self):
        structures = self._structures()
        return [self._fscView("Fourier shell correlation", lambda: fsc_curves(self._folder(), structures),
                              lambda figure, curves: draw_fsc(figure, curves, note=self._fscNote()))]

    def _directionViews(self):
        structures = self._structures()
        return [self._figureView(
            f"view directions{self._chosen()}", lambda: self._angles(self._folder(), structures),
            lambda figure, angles: draw_view_directions(figure, *angles, self.protocol.symmetry.get()),
            size=(10.0, 5.8))]

    def _classViews(self):
        classes = getattr(self.protocol, "outputClasses", None)
        if classes is not None:
            return [ClassSheetView(f"CryoSGD: classes of {self.protocol.getRunName()}",
                                   ClassList(self.getProject(), classes), self.formWindow)]
        size = sheet_size(3, self._folder().classes())
        return [self._figureView("classes", lambda: with_maps(self._folder()), draw_classes, size=size)]

    def _progressViews(self):
        size = sheet_size(self._folder().classes(), COLUMNS + 1)
        return [self._figureView("progress", lambda: with_maps(self._folder()), draw_progress, size=size)]

    def _summaryViews(self):
        folder = self._folder()
        summary, job = folder.summary(), folder.job()
        if summary is not None:
            return [TableView(f"CryoSGD: summary of {self.protocol.getRunName()}", summary_rows(summary),
                              self.formWindow)]
        if job is None:
            raise InputError("the run has not started yet")
        state = "is going on" if folder.writer() is not None else "is not finished"
        done = len(folder.history())
        rows = [("state", f"the run {state}, {done} {'iteration is' if done == 1 else 'iterations are'} done"),
                *summary_rows({name: value for name, value in job.items() if name not in FINGERPRINTS})]
        return [TableView(f"CryoSGD: settings of {self.protocol.getRunName()}", rows, self.formWindow)]

    # ---- what the form asks for
    def _structures(self):
        """Numbers of the structures that are shown, counted from 0."""
        if self.structure == ALL_CLASSES:
            return list(range(self._folder().classes()))
        return [self.structure.get() - 1]

    def _chosen(self):
        return "" if self.structure == ALL_CLASSES else f", class {self.structure.get()},"

    def _volumePaths(self):
        wanted = set(pwutils.getListFromRangeString(self.selection.get())) if self.iteration == SELECTION else None
        return volume_paths(self._folder(), self._structures(), wanted)
