"""Results of a validation or post-processing: sharpened map, FSC, Guinier plot, local resolution, directions, model."""
from __future__ import annotations

import os
from functools import partial

import pyworkflow.protocol.params as params

from ..core.errors import InputError
from ..io.anisotropy_pictures import CONES_SIZE, SAMPLING_SIZE, draw_cones, draw_sampling
from ..io.result_folder import MASK, MODEL_FOLDER, MODEL_MAP, VOLUME
from ..io.validation_folder import ValidationFolder
from ..io.validation_pictures import (
    GUINIER_SIZE,
    LOCAL_SIZE,
    SCAN_SIZE,
    draw_guinier,
    draw_local_histogram,
    draw_local_sections,
    draw_pixel_scan,
)
from ..io.view_pictures import draw_view_directions
from ..io.volume_data import open_volume
from ..protocols import ProtCryosgdPostprocess, ProtCryosgdValidate
from .figure_view import TableView, summary_rows
from .plots import draw_fsc
from .result_viewer import ResultViewer
from .viewer_directions import directions_of
from .viewer_volume import VolumeView

MODEL_THRESHOLDS = (0.5, 0.143)


class CryosgdValidateViewer(ResultViewer):
    """A button for each part that the run was asked for."""
    _label = "CryoSGD validation results"
    _targets = [ProtCryosgdValidate, ProtCryosgdPostprocess]
    FOLDER = ValidationFolder

    def _defineParams(self, form):
        # Scipion calls this when it knows the run whose results are asked for
        given = {name for name, _ in self.protocol.iterInputAttributes()}
        form.addSection(label="Visualization")
        group = form.addGroup("Map")
        self._defineDisplay(group)
        group.addParam("showVolume", params.LabelParam, label="Sharpened map, half-maps, mask",
                       help="Slices, projections and surface; the slider leads from one to the next.")
        group.addParam("showFsc", params.LabelParam, label="Fourier shell correlation",
                       help="Between the half-maps: without a mask, within it, of randomised phases, corrected, with "
                            "the resolutions at 0.143 and 0.5. *Save for EMDB* writes a curve as a deposition asks.")
        group.addParam("showGuinier", params.LabelParam, label="Guinier plot",
                       help="Amplitudes over 1/d² before and after sharpening, and the line of the B-factor.")
        if isinstance(self.protocol, ProtCryosgdValidate):
            _define_local_and_cones(form)
        if "inputParticles" in given:
            _define_views(form)
        if "inputModel" in given:
            _define_model(form)
        group = form.addGroup("Run")
        group.addParam("showSummary", params.LabelParam, label="Summary", help="Every figure of the run.")

    def _views(self):
        return {"showVolume": self._volumeViews, "showFsc": self._fscViews, "showGuinier": self._guinierViews,
                "showLocal": self._localViews, "showLocalHistogram": self._histogramViews,
                "showCones": self._conesViews, "showViews": self._directionViews, "showSampling": self._samplingViews,
                "showModelFsc": self._modelFscViews, "showModel": self._modelViews,
                "showPixelScan": self._pixelScanViews, "showSummary": self._summaryViews}

    # ---- the views
    def _volumeViews(self):
        folder, volume = self._folder(), self.protocol.inputVolume.get()
        folder.part("postprocess")
        halves = volume.getHalfMaps(asList=True) if volume is not None and volume.hasHalfMaps() else []
        names = {"sharpened map": folder.path(VOLUME), "mask": folder.path(MASK),
                 **{f"half {number}": os.path.abspath(path) for number, path in enumerate(halves, start=1)}}
        return self._volumesViews("maps", names, volume.getSamplingRate() if volume is not None else None)

    def _fscViews(self):
        return [self._fscView("Fourier shell correlation", lambda: self._folder().curves(),
                              partial(draw_fsc, note=self._folder().part("postprocess")["convention"]))]

    def _guinierViews(self):
        return [self._pictureView("Guinier plot", lambda: self._folder().guinier(),
                                 lambda figure, found: draw_guinier(figure, found[0], **found[1]), GUINIER_SIZE)]

    def _localViews(self):
        return [self._pictureView(
            "local resolution", lambda: (self._folder().local(), *self._folder().sharpened()),
            lambda figure, found: draw_local_sections(figure, found[1], found[0], found[2], "the sharpened map"),
            LOCAL_SIZE)]

    def _histogramViews(self):
        return [self._pictureView(
            "local resolution", lambda: self._folder().local(),
            lambda figure, local: draw_local_histogram(figure, local, local.threshold, local.whole_a), SCAN_SIZE)]

    def _conesViews(self):
        return [self._pictureView("resolution by direction", lambda: self._folder().cones(), draw_cones, CONES_SIZE)]

    def _directionViews(self):
        particles = self.protocol.inputParticles.get()
        if particles is None:
            raise InputError("no particles were given whose views could be shown")
        return [self._figureView(
            "view directions", lambda: directions_of(particles),
            lambda figure, angles: draw_view_directions(figure, *angles, self.protocol.symmetry.get().strip().upper()),
            size=(10.0, 5.8))]

    def _samplingViews(self):
        return [self._pictureView("sampling", lambda: self._folder().sampling(), draw_sampling, SAMPLING_SIZE)]

    def _modelFscViews(self):
        return [self._fscView("FSC with the model", lambda: self._folder().curves(of_model=True),
                              partial(draw_fsc, thresholds=MODEL_THRESHOLDS))]

    def _modelViews(self):
        folder = self._folder()
        folder.part("model")
        return self._volumesViews("model", {"sharpened map": folder.path(VOLUME),
                                            "model": folder.path(f"{MODEL_FOLDER}/{MODEL_MAP}"),
                                            "mask": folder.path(f"{MODEL_FOLDER}/{MASK}")})

    def _pixelScanViews(self):
        return [self._pictureView("pixel size", lambda: self._folder().pixel_scan(),
                                 lambda figure, found: draw_pixel_scan(figure, *found), SCAN_SIZE)]

    def _summaryViews(self):
        self._folder().part("postprocess")
        summary = self._folder().summary()
        if isinstance(summary["outcome"], list):
            del summary["outcome"]      # each part says its own
        return [TableView(f"CryoSGD: summary of {self.protocol.getRunName()}", summary_rows(summary), self.formWindow)]

    def _volumesViews(self, title, names, pixel_size=None):
        """A window for {label: path}, of those that are there; pixel_size : Å/px, None as in the files."""
        there = {name: path for name, path in names.items() if path is not None}
        found = [(name, partial(open_volume, path, pixel_size, name)) for name, path in there.items()]
        return self._mapViews(there.values(), VolumeView(f"CryoSGD: {title} of {self.protocol.getRunName()}",
                                                         lambda: found, self.formWindow))


def _define_local_and_cones(form):
    group = form.addGroup("Resolution by place and direction")
    group.addParam("showLocal", params.LabelParam, label="Local resolution on slices",
                   help="The sharpened map, coloured by its local resolution.")
    group.addParam("showLocalHistogram", params.LabelParam, label="Local resolution, histogram",
                   help="How much of the mask is resolved to how many Å.")
    group.addParam("showCones", params.LabelParam, label="Resolution by direction",
                   help="FSC within cones of Fourier space: all curves, their resolutions, and where they lie.")


def _define_views(form):
    group = form.addGroup("Particles")
    group.addParam("showViews", params.LabelParam, label="View directions",
                   help="Number of particles over the view directions, symmetry mates included.")
    group.addParam("showSampling", params.LabelParam, label="Sampling of Fourier space",
                   help="How often the particles' views measured each direction of Fourier space.")


def _define_model(form):
    group = form.addGroup("Atomic model")
    group.addParam("showModelFsc", params.LabelParam, label="FSC with the map",
                   help="As they are, without spherical averages (which any ball of the right size has), and with the "
                        "model's mirror image.")
    group.addParam("showModel", params.LabelParam, label="Density on the map",
                   help="The sharpened map and the model's density in its frame, on the same slices.")
    group.addParam("showPixelScan", params.LabelParam, label="Pixel size at which it fits",
                   help="FSC with the model over pixel sizes around the stated one.")
