"""Whether several maps show the same structure, and the mean of those that do."""
from __future__ import annotations

import os
import re

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pwem.objects import SetOfFSCs, SetOfVolumes, Volume
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from ..convert import volume_object, volume_to_mrc
from ..convert.maps import box_of, map_shape
from ..core.errors import InputError
from ..core.masks import check_mask_frame
from ..core.settings import need
from ..engines.align_grid import MAGNIFICATION
from ..engines.align_maps import compared_radius
from ..engines.consensus import sphere_radius
from ..io.agreement import CONSENSUS_JSON, read_agreements
from .agreement_results import append_aligned, append_curves, consensus_words, pair_words
from .engine_run import EngineRun, sentence_of
from .form_fields import add_compared_resolution
from .kept_methods import PROGRAM, KeptMethods
from .map_inputs import maps_pointed_at
from .settled_outputs import SettledOutputs

LONGEST_NAME = 60


class ProtCryosgdConsensus(KeptMethods, SettledOutputs, EngineRun, EMProtocol):
    """Compare maps pair by pair, in both hands, group those that agree, and average the largest group.

    Maps of other random starts, of other programs, or of other parts of the data: what they agree on can be trusted,
    what only one of them shows can not. Every pair is aligned and compared by its Fourier shell correlation.

    *You give*: two maps or more, sets of maps or 3D classes, of one box and pixel size (*align volumes* brings others
    to one grid).
    *You get*: a verdict in words; the aligned maps, in the frame of the one that is most like the others of its group;
    their consensus, the mean of the largest group, each map with the same spectrum; the FSC of the pairs with their
    mean. Where no two maps agree there is no consensus.

    The consensus has no half-maps: maps of the same images share their noise, which halves would take for signal. An
    FSC between such maps says that they agree, not to which resolution they are right.
    """
    _label = "consensus of volumes"
    _devStatus = BETA
    _possibleOutputs = {"outputVolume": Volume, "outputVolumes": SetOfVolumes, "outputFSC": SetOfFSCs}

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputVolumes", params.MultiPointerParam, pointerClass="Volume, SetOfVolumes, SetOfClasses3D",
                      important=True, label="Maps",
                      help="Two or more in all: single ones, sets, or the maps of 3D classes. Items that are switched "
                           "off are left out. Fifteen maps are 105 pairs, which take about a minute.")
        add_compared_resolution(form)
        form.addParam("inputMask", params.PointerParam, pointerClass="VolumeMask", allowsNull=True,
                      label="Mask on the first map (optional)",
                      help="From 0 to 1 with a soft edge: all maps are brought onto the first one, and compared within "
                           "it. Empty: a sphere. Scipion itself fills in the mask of a run that is selected.")
        form.addParam("particleDiameter", params.FloatParam, default=None, allowsNull=True,
                      condition="inputMask is None", label="Particle diameter (Å)",
                      help="Diameter of the sphere within which maps are compared. Empty: 90 % of the box, right for "
                           "most. Give the particle's, and a tenth more, where noise or neighbours lie around it.")

    # ---- steps
    def _insertAllSteps(self):
        settings = self._settings()
        self._insertFunctionStep(self.compareStep, settings, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, settings, needsGPU=False)

    def compareStep(self, settings):
        """`cryosgd consensus` of files that have the maps' names."""
        maps = self._maps()
        files = [self._getTmpPath(f"{name}.mrc") for name in file_names([label for label, _ in maps])]
        for file, (_, volume) in zip(files, maps):
            volume_to_mrc(volume, file)
        words = [] if settings["resolution"] is None else ["--resolution", settings["resolution"]]
        if self.inputMask.get() is not None:
            mask = self._getTmpPath(".mask.mrc")        # no map's name begins with a dot
            volume_to_mrc(self.inputMask.get(), mask)
            words += ["--mask", mask]
        elif settings["particleDiameter"] is not None:
            words += ["--diameter", settings["particleDiameter"]]
        pwutils.cleanPath(self._runPath())      # of a run that was stopped
        self._runEngine("consensus", [*files, "-o", self._runPath(), *words], self._reportPath())

    def createOutputStep(self, settings):
        """The aligned maps, their curves and, where some agree, the mean of these."""
        agreement, pixel_size = self.agreement(), self._maps()[0][1].getSamplingRate()
        aligned, curves = self._createSetOfVolumes(), self._createSetOfFSCs()
        aligned.setSamplingRate(pixel_size)
        append_aligned(aligned, agreement, pixel_size)
        append_curves(curves, [agreement])
        outputs = {"outputVolumes": aligned, "outputFSC": curves}
        if agreement.agree:
            outputs["outputVolume"] = volume_object(agreement.consensus, pixel_size)
        self._defineOutputs(**outputs)
        for pointer in self.inputVolumes:
            for output in outputs.values():
                self._defineSourceRelation(pointer, output)
        self._keepMethods(_methods_words(agreement))

    def _settings(self):
        mask = self.inputMask.getUniqueId() if self.inputMask.get() is not None else None
        return {"volumes": [pointer.getUniqueId() for pointer in self.inputVolumes], "mask": mask,
                "resolution": self.resolution.get(), "particleDiameter": self.particleDiameter.get()}

    # ---- information
    def _validate(self):
        if not self.inputVolumes or any(pointer.get() is None for pointer in self.inputVolumes):
            return []  # Scipion itself says that they are empty
        errors = []
        try:
            self._checkMaps()
        except InputError as error:
            errors.append(sentence_of(error))
        return errors

    def _checkMaps(self):
        maps = self._maps()
        need(len(maps) >= 2, f"{len(maps)} map is given, where two or more are needed to be compared; add maps, or "
                             "switch on more items of the set" if len(maps) == 1 else
                             "no map is left to be compared: all items of the sets are switched off; switch on two")
        (first, volume), *others = maps
        box, pixel_size = box_of(volume), volume.getSamplingRate()
        for label, other in others:
            need(box_of(other) == box and abs(other.getSamplingRate() / pixel_size - 1) <= MAGNIFICATION,
                 f"the maps differ: {first} has {box} px at {pixel_size:.4g} Å/px, {label} {box_of(other)} px at "
                 f"{other.getSamplingRate():.4g} Å/px; bring them to one grid with 'align volumes'")
        compared_radius(box, pixel_size, resolution_a=self.resolution.get())
        mask = self.inputMask.get()
        if mask is None:
            sphere_radius(self.particleDiameter.get(), box, pixel_size)
        else:
            check_mask_frame(map_shape(mask), box, mask.getSamplingRate(), pixel_size)

    def _summary(self):
        agreement = self.agreement()
        if agreement is None:
            return ["The maps are not compared yet."]
        return [agreement.verdict, pair_words(agreement), consensus_words(agreement)]

    def _citations(self):
        return ["Punjani2017b", "Harauz1986", "Gorski2005"]

    # ---- helpers
    def agreement(self):
        """What was found, as an `io.agreement.Agreement`, or None before the maps are compared."""
        return read_agreements(self._reportPath())[0] if os.path.exists(self._reportPath()) else None

    def _maps(self):
        return maps_pointed_at(self.inputVolumes)

    def _runPath(self):
        return self._getExtraPath("run")

    def _reportPath(self):
        return os.path.join(self._runPath(), CONSENSUS_JSON)


def file_names(labels) -> list:
    """Labels of maps as file names, numbered where two are alike."""
    names = [re.sub(r"[^\w .,()+-]+", "_", label).strip(" .")[:LONGEST_NAME] or "map" for label in labels]
    if len(set(names)) == len(names):
        return names
    return [f"{number:02d} {name}" for number, name in enumerate(names, start=1)]


def _methods_words(agreement):
    words = (f"{len(agreement.maps)} maps were aligned in pairs, in both hands, on a grid of orientations [Gorski2005] "
             f"refined from there, and compared by Fourier shell correlation [Harauz1986] in {PROGRAM}, as proposed "
             "for the maps of random starts [Punjani2017b].")
    if not agreement.agree:
        return f"{words} No two of them agree."
    return f"{words} Those that agree, {len(agreement.groups[0])}, were brought to one spectrum and averaged."
