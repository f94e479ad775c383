"""What the protocols share that ask two half-maps how good they are: form, checks, the engine's input, outputs."""
from __future__ import annotations

import os

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import fsc_object, mask_object, volume_object, volume_to_mrc
from ..convert.maps import half_map_paths, map_shape
from ..core.errors import InputError
from ..core.masks import check_mask_frame
from ..core.settings import need
from ..engines.mask import EDGE_PX, MaskShape
from ..engines.validation.postprocess import PostprocessConfig
from ..io.result_folder import MASK, MODEL_FOLDER, SUMMARY, VOLUME, ResultFolder
from ..io.validation_folder import ValidationFolder
from .engine_run import EngineRun, sentence_of
from .form_fields import FilledForm, add
from .settled_outputs import SettledOutputs

SHAPE = MaskShape()


class HalfMapsRun(FilledForm, SettledOutputs, EngineRun):
    """Mixed into a protocol with the engine's COMMAND; the engine writes into extra/run.

    A subclass adds its own inputs by `_defineOwnParams`, `_ownSettings`, `_ownWords` and `_ownOutputs`.
    """
    COMMAND = ""

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputVolume", params.PointerParam, pointerClass="Volume", important=True,
                      label="Map with half-maps",
                      help="A map of any program with the two half-maps of its refinement, as they were reconstructed: "
                           "not masked, not filtered, not sharpened. Only the halves are read.")
        form.addParam("inputMask", params.PointerParam, pointerClass="VolumeMask", allowsNull=True,
                      label="Mask (optional)",
                      help="From 0 to 1 with an edge of 5 px or more, in the map's box and pixel size, wide enough for "
                           "all of the particle. Empty: a mask that follows the density is made, and is among the "
                           "outputs. Scipion itself fills in the mask of a run that is selected.")
        self._defineOwnParams(form)
        group = form.addGroup("Mask and shells", expertLevel=LEVEL_ADVANCED)
        add(group, "particleDiameter", params.FloatParam, None, "Particle diameter (Å)", allowsNull=True,
            help="Where no mask is given, one is made of the density within this sphere. Empty: 90 % of the box, right "
                 "for most. Give it where ice or neighbours get into the mask.")
        none_given = "inputMask is None"
        add(group, "maskThreshold", params.FloatParam, SHAPE.threshold, "Mask threshold", condition=none_given,
            help="Of the mask that is made: density that belongs to the particle, as a share of the brightest density "
                 "of the map low-passed to 15 Å, 0 to 1. Typical 0.1 to 0.3; the wand shows the mask on slices. Less "
                 "for weak parts, more where noise gets into the mask.")
        add(group, "maskExtend", params.FloatParam, SHAPE.extend_a, "Widen the mask by (Å)", condition=none_given,
            help="How far it is grown beyond that density. Typical 6; less than 3 cuts into the particle, more where "
                 "weak parts lie outside.")
        add(group, "maskEdge", params.FloatParam, SHAPE.edge_a, "Soft edge (Å)", condition=none_given,
            help=f"Beyond that. Typical 9; {EDGE_PX:g} px are taken at least, as a harder edge correlates by itself. "
                 "More where the summary says that the mask is too tight.")
        add(group, "halfPlane", params.BooleanParam, False, "Count shells as RELION does?",
            help="Yes counts the half transform, in which the coefficients of one plane are there twice. No counts "
                 "every coefficient once. Only the smallest shells differ; Yes to compare with RELION's table.")
        add(group, "seed", params.IntParam, 0, "Random seed",
            help="A whole number, 0 or more; any will do. Of the randomised phases: another one changes the curve by "
                 "its scatter only.")
        group = form.addGroup("Sharpening")
        group.addParam("bfactor", params.FloatParam, default=None, allowsNull=True, label="B-factor (Å²)",
                       help="Negative sharpens. Typical -40 to -150. Empty: fitted to the Guinier plot from 10 Å to "
                            "the resolution. Give one where that range is too short (maps coarser than 7 Å), or the "
                            "map looks too noisy; 0 for no sharpening.")
        group.addParam("mtfFile", params.FileParam, default=None, allowsNull=True, label="MTF of the detector",
                       help="RELION's STAR file of the detector and voltage, which is divided out before sharpening. "
                            "Empty: not corrected, the fitted B-factor then includes it.")
        group.addParam("mtfPixelSize", params.FloatParam, default=None, allowsNull=True,
                       label="Pixel size of the MTF (Å)",
                       help="Of the detector's own pixels on the specimen, before any binning. Typical 0.4 to 1.5. "
                            "Empty: the map's pixel size, right only for unbinned images.")

    def _defineOwnParams(self, form):
        pass

    # ---- steps
    def _insertAllSteps(self):
        settings = self._settings()
        self._insertFunctionStep(self.compareStep, settings, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, settings, needsGPU=False)

    def compareStep(self, settings):
        """Write what the engine reads, with Scipion's pixel size, and run it in its own process."""
        volume, halves = self.inputVolume.get(), [self._getTmpPath(f"half{number}.mrc") for number in (1, 2)]
        for source, path in zip(half_map_paths(volume), halves):
            volume_to_mrc(volume_object(source, volume.getSamplingRate()), path)
        words = self._ownWords()
        if self.inputMask.get() is not None:
            volume_to_mrc(self.inputMask.get(), self._getTmpPath("mask.mrc"))
            words += ["--mask", self._getTmpPath("mask.mrc")]
        else:
            shape = self._maskShape()
            words += ["--mask-threshold", shape.threshold, "--mask-extend", shape.extend_a, "--mask-edge", shape.edge_a]
        for option, value in (("--diameter", self.particleDiameter.get()), ("--bfactor", self.bfactor.get()),
                              ("--mtf", self.mtfFile.get()), ("--mtf-pixel-size", self.mtfPixelSize.get()),
                              ("--seed", self.seed.get())):
            # an equals sign: a negative number by itself would be taken for an option
            words += [f"{option}={value}"] if value not in (None, "") else []
        words += ["--half-plane"] if self.halfPlane else []
        pwutils.cleanPath(self._runPath())      # of a run that was stopped
        self._runEngine(self.COMMAND, [*halves, "-o", self._runPath(), *words],
                        os.path.join(self._runPath(), SUMMARY))

    def createOutputStep(self, settings):
        """The sharpened map with its half-maps, where the halves agree at all; curves, mask and what else there is."""
        folder, volume = ValidationFolder(self._runPath()), self.inputVolume.get()
        pixel_size = volume.getSamplingRate()
        curves = self._createSetOfFSCs()
        with_model = folder.curves(of_model=True) if folder.path(MODEL_FOLDER) is not None else []
        for label, frequencies, values in folder.curves() + with_model:
            curves.append(fsc_object(label, frequencies[1:], values[1:]))
        outputs = {"outputFSC": curves, "outputMask": mask_object(folder.path(MASK), pixel_size)}
        if folder.path(VOLUME) is not None:
            outputs["outputVolume"] = volume_object(folder.path(VOLUME), pixel_size, half_map_paths(volume))
        outputs.update(self._ownOutputs(folder, pixel_size))
        for output in outputs.values():
            if volume.hasOrigin() and output is not curves:
                output.setOrigin(volume.getOrigin().clone())
        self._defineOutputs(**outputs)
        for source in self._sources():
            for output in outputs.values():
                self._defineSourceRelation(source, output)

    def _sources(self):
        """Pointers to all inputs that are given."""
        return [pointer for _, pointer in self.iterInputAttributes() if pointer.get() is not None]

    def _settings(self):
        """All that settles the result, in plain types."""
        given = {name: pointer.getUniqueId() for name, pointer in self.iterInputAttributes()
                 if pointer.get() is not None}
        names = ("particleDiameter", "maskThreshold", "maskExtend", "maskEdge", "halfPlane", "seed", "bfactor",
                 "mtfFile", "mtfPixelSize", *self._ownSettings())
        return {**given, **{name: getattr(self, name).get() for name in names}}

    def _maskShape(self):
        return MaskShape(self.maskThreshold.get(), self.maskExtend.get(), self.maskEdge.get())

    def _ownSettings(self):
        return ()

    def _ownWords(self):
        return []

    def _ownOutputs(self, folder, pixel_size):
        return {}

    def _runPath(self):
        return self._getExtraPath("run")

    def _runSummary(self):
        """The dict of summary.json, or None before the run's end."""
        return ResultFolder(self._runPath()).summary() if os.path.isdir(self._runPath()) else None

    # ---- information
    def _validate(self):
        volume = self.inputVolume.get()
        if volume is None:
            return []  # Scipion itself says that it is empty
        errors = complaints_of_halves(volume)
        for check in (self._checkMask, self._checkNumbers, self._checkMtf, self._checkOwn):
            try:
                check()
            except InputError as error:
                errors.append(sentence_of(error))
        return errors

    def _checkMask(self):
        mask, volume = self.inputMask.get(), self.inputVolume.get()
        if mask is not None:
            check_mask_frame(map_shape(mask), volume.getXDim(), mask.getSamplingRate(), volume.getSamplingRate())

    def _checkNumbers(self):
        self._refuseEmptyFields()
        PostprocessConfig(self.bfactor.get(), self.halfPlane.get(), self.seed.get())
        self._maskShape()
        for name, words in (("particleDiameter", "a particle diameter"), ("mtfPixelSize", "a pixel size of the MTF")):
            value = getattr(self, name).get()
            need(value is None or value > 0, f"{words} of {value} Å is not positive; correct it, or leave it empty")

    def _checkMtf(self):
        path = self.mtfFile.get()
        need(path or self.mtfPixelSize.get() is None,
             "a pixel size of the MTF is given without the MTF; give its file, or leave the pixel size empty")
        need(not path or os.path.isfile(path), f"the MTF {path} is not there; check the path, or leave the field empty")

    def _checkOwn(self):
        pass

    def _warnings(self):
        found, volume = [], self.inputVolume.get()
        if (self.bfactor.get() or 0) > 0:
            found.append(f"A B-factor of {self.bfactor.get():g} Å² is positive, which blurs the map; sharpening takes "
                         "a negative one.")
        if self.mtfFile.get() and self.mtfPixelSize.get() is None and volume is not None:
            found.append(f"The MTF is taken for detector pixels of {volume.getSamplingRate():.4g} Å, the map's: right "
                         "only where the images were not binned.")
        return found


def complaints_of_halves(volume) -> list:
    """[], or a sentence on why a Volume has no two half-maps that can be read."""
    paths = half_map_paths(volume)
    if not paths:
        return ["The map has no half-maps; choose the map of a refinement that keeps them, or import it with its "
                "halves."]
    if len(paths) != 2:
        return [f"The map has {len(paths)} half-maps where there should be two; choose one with two."]
    return [f"The half-map {path} is not there; make or import it again." for path in paths
            if not os.path.exists(path)]
