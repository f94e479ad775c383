"""Everything that can be asked of two half-maps, their particles and a model."""
from __future__ import annotations

import pyworkflow.protocol.params as params
from pwem.objects import SetOfFSCs, Volume, VolumeMask
from pwem.protocols import EMProtocol, ProtClassify3D, ProtInitialVolume, ProtRefine3D
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import table_from_set, table_to_star, volume_object
from ..core.settings import need
from ..core.symmetry import point_group
from ..engines.validation.local import LocalConfig
from ..engines.validation.model_fsc import ModelConfig
from ..io.models import FIRST
from ..io.result_folder import LOCAL_MAP
from .form_fields import add
from .half_maps import HalfMapsRun
from .validation_words import methods


class ProtCryosgdValidate(HalfMapsRun, EMProtocol):
    """How good a map is, from its half-maps: what a reviewer asks, in one run.

    *You give*: a map with half-maps, of any program. If you want a mask of your own, the particles with the poses that
    gave the map, and an atomic model.
    *You get*: the sharpened map, the FSC curves, the mask and a map of the local resolution; in the summary and in
    pictures
    - the FSC without a mask, within it, with randomised phases and corrected (Chen et al. 2013), and whether the mask
      is too tight;
    - the Guinier plot with the B-factor;
    - the local resolution, and the resolution by direction (conical FSC);
    - how evenly the particles' views sample Fourier space (SCF*, efficiency);
    - the FSC with the model in both hands, and the pixel size at which the model fits best.

    Halves that were masked or filtered, or are one map, are named, and no resolution is read from what flatters. *Save
    for EMDB* in the FSC's window writes the curve that a deposition asks for.
    """
    _label = "validate"
    _devStatus = BETA
    _possibleOutputs = {"outputVolume": Volume, "outputFSC": SetOfFSCs, "outputMask": VolumeMask,
                        "outputLocalResolution": Volume}
    COMMAND = "validate"

    def _defineOwnParams(self, form):
        form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles",
                      pointerCondition="hasAlignmentProj", allowsNull=True, label="Particles (optional)",
                      help="With the poses (projection alignment) that gave this map: tells which views there are, and "
                           "how evenly they measure Fourier space. Empty: not told.")
        form.addParam("symmetry", params.StringParam, default="C1", label="Symmetry",
                      help="Point group that was imposed on the map, in RELION's notation: C1, C4, D2, T, O, I1 … Each "
                           "particle's view counts for all its mates. Used only with particles.")
        form.addParam("inputModel", params.PointerParam, pointerClass="AtomStruct", allowsNull=True,
                      label="Atomic model (optional)",
                      help="PDB or mmCIF, anywhere: it is brought onto the map, in either hand, and its density is "
                           "compared by FSC. Best one that was not refined against this map. Every atom counts in full "
                           "and with one B-factor: its file's occupancies and B-factors are not read. Empty: not "
                           "compared.")
        group = form.addGroup("Local resolution and model", expertLevel=LEVEL_ADVANCED)
        add(group, "localWindow", params.FloatParam, None, "Window of the local resolution (Å)", allowsNull=True,
            help="Full width at half maximum of the Gaussian window around each voxel. Empty: 5 times the resolution, "
                 "half the box at most, right for most. Smaller ones show finer differences and scatter more.")
        add(group, "assembly", params.StringParam, FIRST, "Assembly of the model",
            help="Biological assembly that the map shows, by the name in the model's file; *first*: the first one, or "
                 "the chains as they are where the file has none; *none*: the chains as they are.")
        add(group, "scan", params.FloatParam, 100 * ModelConfig.scan, "Scan the pixel size by (%)",
            help="The model is compared at pixel sizes within ± this of the stated one. Typical 3: calibrations are "
                 "off by 1 to 2 %. 5 where the pixel size is a guess, 0 for no scan.")

    # ---- steps
    def _ownSettings(self):
        return "symmetry", "localWindow", "assembly", "scan"

    def _ownWords(self):
        words = ["--symmetry", self._group(), "--assembly", self.assembly.get(), "--scan", self.scan.get()]
        if self.localWindow.get() is not None:
            words += ["--window", self.localWindow.get()]
        if self.inputParticles.get() is not None:
            star = self._getTmpPath("particles.star")
            table_to_star(table_from_set(self.inputParticles.get()), star)
            words += ["--particles", star]
        if self.inputModel.get() is not None:
            words += ["--model", self.inputModel.get().getFileName()]
        return words

    def _ownOutputs(self, folder, pixel_size):
        local = folder.path(LOCAL_MAP)
        return {} if local is None else {"outputLocalResolution": volume_object(local, pixel_size)}

    def _group(self):
        return (self.symmetry.get() or "").strip().upper()

    # ---- information
    def _checkOwn(self):
        point_group(self._group())
        LocalConfig(self.localWindow.get())
        ModelConfig(scan=self.scan.get() / 100)
        need((self.assembly.get() or "").strip(), "the assembly of the model is empty; give its name, first or none")
        particles = self.inputParticles.get()
        need(particles is None or particles.hasAlignmentProj(),
             "the particles have no poses (projection alignment), so their views can't be counted; leave them out, or "
             "choose those that the map was made of")

    def _warnings(self):
        found, volume, particles = super()._warnings(), self.inputVolume.get(), self.inputParticles.get()
        if particles is None and self._group() != "C1":
            found.append(f"The symmetry {self._group()} counts only for the views of particles, and there are none; "
                         "the map itself is taken as it is.")
        imposed = None if particles is None else _symmetry_of(self.inputParticles.getObjValue())
        if imposed not in (None, self._group()):
            found.append(f"The particles got their poses under {imposed}, and {self._group()} is given here: the views "
                         "are counted with other mates than the map was made of.")
        if volume is not None and particles is not None:
            map_a, images_a = (item.getXDim() * item.getSamplingRate() for item in (volume, particles))
            if abs(map_a - images_a) > 0.01 * images_a:
                found.append(f"The map's box is {map_a:.0f} Å wide and the images' {images_a:.0f} Å: do these "
                             "particles belong to this map?")
        return found

    def _summary(self):
        summary = self._runSummary()
        return ["The map is not validated yet."] if summary is None else summary["outcome"]

    def _methods(self):
        summary = self._runSummary()
        return [] if summary is None else methods(summary, bool(self.mtfFile.get()))

    def _citations(self):
        views = [] if self.inputParticles.get() is None else ["Baldwin2020", "Baldwin2021", "Naydenova2017"]
        model = [] if self.inputModel.get() is None else ["Brown2015"]
        return ["Rosenthal2003", "Chen2013", "Cardone2013", "Tan2017", *views, *model]


def _symmetry_of(run):
    """The point group that a run imposed, of this or another plugin, or None where that isn't known."""
    if not isinstance(run, (ProtInitialVolume, ProtRefine3D, ProtClassify3D)):
        return None
    named = [getattr(run, name).get() for name in ("symmetry", "symmetryGroup") if hasattr(run, name)]
    return named[0].strip().upper() if named and isinstance(named[0], str) else None
