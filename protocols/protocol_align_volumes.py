"""Maps brought onto one of them, to be compared slice by slice."""
from __future__ import annotations

import pyworkflow.protocol.params as params
from pwem.objects import SetOfVolumes
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from ..convert import volume_object
from ..convert.maps import half_map_paths, volume_to_mrc
from ..io.result_folder import read_json
from .engine_run import EngineRun
from .form_fields import add_compared_resolution
from .kept_methods import PROGRAM, KeptMethods
from .map_inputs import maps_pointed_at
from .settled_outputs import SettledOutputs


class ProtCryosgdAlignVolumes(KeptMethods, SettledOutputs, EngineRun, EMProtocol):
    """Bring maps onto a reference: rotation, shift and hand, on the reference's grid.

    *You give*: a reference map, and maps, sets of maps or 3D classes of any programs, boxes and pixel sizes.
    *You get*: the maps in the reference's frame, with their half-maps, each with its correlation, so that they can be
    compared on the same slice or subtracted. The summary says for each which hand fitted, and how well.

    Particles are not moved with their maps: to go on with particles use their own map.
    """
    _label = "align volumes"
    _devStatus = BETA
    _possibleOutputs = {"outputVolumes": SetOfVolumes}

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputVolumes", params.MultiPointerParam, pointerClass="Volume, SetOfVolumes, SetOfClasses3D",
                      important=True, label="Maps",
                      help="Maps to move, in any number: single ones, sets, or the maps of 3D classes. Items that are "
                           "switched off are left out.")
        form.addParam("reference", params.PointerParam, pointerClass="Volume", important=True, label="Reference",
                      help="The map whose frame, box and pixel size all get.")
        add_compared_resolution(form)
        form.addParam("tryMirror", params.BooleanParam, default=True, label="Try the mirror image?",
                      help="Ab initio maps have either hand. No: the hands stay as they are.")

    # ---- steps
    def _insertAllSteps(self):
        settings = self._settings()
        self._insertFunctionStep(self.alignStep, settings, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, settings, needsGPU=False)

    def alignStep(self, settings):
        """One `cryosgd align` for each map."""
        target = self._getTmpPath("reference.mrc")
        volume_to_mrc(self.reference.get(), target)
        words = [] if settings["resolution"] is None else ["--resolution", settings["resolution"]]
        words += [] if settings["tryMirror"] else ["--no-mirror"]
        for number, (_, volume) in enumerate(self._maps(), start=1):
            moving = self._getTmpPath(f"map{number:03d}.mrc")
            volume_to_mrc(volume, moving)
            halves = []
            for half, path in enumerate(half_map_paths(volume), start=1):
                halves.append(self._getTmpPath(f"map{number:03d}_half{half}.mrc"))
                volume_to_mrc(volume_object(path, volume.getSamplingRate()), halves[-1])
            self._runEngine("align", [moving, target, "-o", self._moved(number), "--json", self._figures(number),
                                      "--overwrite", *words, *(["--half-maps", *halves] if halves else [])],
                            self._figures(number))

    def createOutputStep(self, settings):
        """The moved maps as a set."""
        output = self._createSetOfVolumes()
        output.setSamplingRate(self.reference.get().getSamplingRate())
        for number, (label, volume) in enumerate(self._maps(), start=1):
            halves = [self._moved(number).replace(".mrc", f"_half{half}.mrc") for half in (1, 2)]
            moved = volume_object(self._moved(number), output.getSamplingRate(),
                                  halves if volume.hasHalfMaps() else None, label=label)
            output.append(moved)
        self._defineOutputs(outputVolumes=output)
        for pointer in (*self.inputVolumes, self.reference):
            self._defineSourceRelation(pointer, output)
        self._keepMethods(self._methodsWords(output))

    def _settings(self):
        return {"reference": self.reference.getUniqueId(), "resolution": self.resolution.get(),
                "volumes": [pointer.getUniqueId() for pointer in self.inputVolumes], "tryMirror": self.tryMirror.get()}

    # ---- information
    def _validate(self):
        errors = []
        if self.resolution.get() is not None and self.resolution.get() <= 0:
            errors.append(f"A resolution of {self.resolution.get():g} Å is not positive; give for example 20, or leave "
                          "the field empty.")
        counts = {len(half_map_paths(volume)) for _, volume in self._maps()} - {0}
        if counts - {2}:
            errors.append(f"One of the maps has {max(counts - {2})} half-maps where there should be two; choose maps "
                          "with two, or with none.")
        given = [pointer.get() for pointer in self.inputVolumes]
        if not errors and given and None not in given and not self._maps():
            errors.append("No map is left to move: all items of the sets are switched off.")
        return errors

    def _summary(self):
        if not hasattr(self, "outputVolumes"):
            return ["The maps are not aligned yet."]
        words = [_words(label, read_json(self._figures(number)))
                 for number, (label, _) in enumerate(self._maps(), start=1)]
        output = self.outputVolumes
        return [*words, f"{_count(len(words))} brought into the reference's frame, {output.getXDim()} px at "
                        f"{output.getSamplingRate():.4g} Å/px."]

    def _methodsWords(self, output):
        found = [read_json(self._figures(number + 1)) for number in range(output.getSize())]
        hands = " and the hand" if self.tryMirror.get() else ""
        reached = f"{'at least ' if len(found) > 1 else ''}{min(one['correlation'] for one in found):.2f}"
        return (f"{_count(len(found))} aligned to a reference in {PROGRAM}, by the rotation, the shift{hands} of the "
                f"highest correlation up to {found[0]['compared_to_a']:.3g} Å, found on a grid of orientations "
                f"[Gorski2005] and refined from there. The correlation is {reached}.")

    def _citations(self):
        return ["Gorski2005"]

    # ---- helpers
    def _maps(self):
        return maps_pointed_at(self.inputVolumes)

    def _moved(self, number):
        return self._getExtraPath(f"aligned{number:03d}.mrc")

    def _figures(self, number):
        return self._getExtraPath(f"aligned{number:03d}.json")


def _count(maps):
    return "One map was" if maps == 1 else f"{maps} maps were"


def _words(label, found):
    words = f"{label}: correlation {found['correlation']:.3f} up to {found['compared_to_a']:.3g} Å, " + (
        "mirrored" if found["mirrored"] else "as it is")
    if found["hand_decided"] is False:
        words += ", but the other hand fits nearly alike"
    return words + "."
