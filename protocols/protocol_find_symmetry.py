"""Which point group a map has, and the map on its axes."""
from __future__ import annotations

import os

import pyworkflow.protocol.params as params
import pyworkflow.utils as pwutils
from pwem.objects import Volume
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from ..convert import volume_object, volume_to_mrc
from ..convert.maps import box_of, half_map_paths
from ..core.errors import InputError
from ..core.settings import need
from ..core.symmetry import point_group
from ..engines.align_maps import compared_radius
from ..io.result_folder import read_json
from .engine_run import EngineRun, sentence_of
from .form_fields import add_compared_resolution
from .kept_methods import PROGRAM, KeptMethods
from .settled_outputs import SettledOutputs

# of a run that tried them all, groups that its summary lists
MOST_LISTED = 8


class ProtCryosgdFindSymmetry(KeptMethods, SettledOutputs, EngineRun, EMProtocol):
    """Try point groups on a map, say which one it has, and turn the map onto that group's axes.

    An ab initio map made in C1 lies in any orientation. Its axes are looked for, for each of C2 to Cn, and of D2 to Dn,
    T, O and I for those whose axes were found. A group is judged by the operator that fits worst: the correlation of
    the map with itself, every shell weighing the same, is 0.5 to 1 for a group that is there.

    *You give*: a map, of any program; a group if you want that one alone to be tried.
    *You get*: the figures of each group and a verdict in words; and, unless the verdict is C1, the map with its
    half-maps in the orientation in which RELION and *refine* take this symmetry: a reference to refine from with it.

    Particles are not turned with the map; *refine* finds their poses anew. A symmetry that a low-resolution map shows
    may be a pseudo-symmetry: refine in C1 as well, and compare.
    """
    _label = "find symmetry"
    _devStatus = BETA
    _possibleOutputs = {"outputVolume": Volume}

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputVolume", params.PointerParam, pointerClass="Volume", important=True, label="Map",
                      help="A cube. Made without symmetry: a symmetry that was imposed is found again. Its half-maps, "
                           "where it has them, are turned with it.")
        add_compared_resolution(form)
        form.addParam("symmetry", params.StringParam, default="", label="Try this group only",
                      help="For example D7; the map is then turned onto its axes whether they fit or not. Empty: all "
                           "groups.")
        form.addParam("maxFold", params.IntParam, default=12, condition="not symmetry", label="Largest fold",
                      help="Of the groups Cn and Dn that are tried, 2 to 60. Typical 12; more for large rings, fewer "
                           "to be done sooner.")
        form.addParam("symmetrise", params.BooleanParam, default=False, label="Average over the group?",
                      help="Yes: the output is also averaged over the group, which lowers the noise and hides what "
                           "does not follow the symmetry. No: it is turned only.")

    # ---- steps
    def _insertAllSteps(self):
        settings = self._settings()
        self._insertFunctionStep(self.searchStep, settings, needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, settings, needsGPU=False)

    def searchStep(self, settings):
        """`cryosgd symmetry`, which writes the figures, and the turned map where there is a group."""
        pwutils.cleanPath(self._runPath())      # of a run that was stopped
        pwutils.makePath(self._runPath())
        volume, given = self.inputVolume.get(), self._getTmpPath("map.mrc")
        volume_to_mrc(volume, given)
        halves = [self._getTmpPath(f"half{number}.mrc") for number in (1, 2)] if half_map_paths(volume) else []
        for source, path in zip(half_map_paths(volume), halves):
            volume_to_mrc(volume_object(source, volume.getSamplingRate()), path)
        words = [] if settings["resolution"] is None else ["--resolution", settings["resolution"]]
        words += ["--group", settings["symmetry"]] if settings["symmetry"] else ["--max-fold", settings["maxFold"]]
        words += ["--symmetrise"] if settings["symmetrise"] else []
        words += ["--half-maps", *halves] if halves else []
        self._runEngine("symmetry", [given, "-o", self._turned(), "--json", self._figuresPath(), *words],
                        self._figuresPath())

    def createOutputStep(self, settings):
        """The map on the group's axes; none where the verdict is C1."""
        source = self.inputVolume.get()
        self._keepMethods(self._methodsWords(self.figures()))
        if self.figures()["turned_to"] == "C1":
            return
        halves = [self._turned(half) for half in (1, 2)] if source.hasHalfMaps() else None
        turned = volume_object(self._turned(), source.getSamplingRate(), halves)
        if source.hasOrigin():
            # it was turned about the middle of the box, which stays where it is
            turned.setOrigin(source.getOrigin().clone())
        self._defineOutputs(outputVolume=turned)
        self._defineTransformRelation(self.inputVolume, turned)

    def _settings(self):
        return {"volume": self.inputVolume.getUniqueId(), "resolution": self.resolution.get(),
                "symmetry": (self.symmetry.get() or "").strip().upper(), "maxFold": self.maxFold.get(),
                "symmetrise": self.symmetrise.get()}

    # ---- information
    def _validate(self):
        volume = self.inputVolume.get()
        if volume is None:
            return []  # Scipion itself says that it is empty
        errors = []
        for check in (self._checkMap, self._checkGroup):
            try:
                check(volume)
            except InputError as error:
                errors.append(sentence_of(error))
        return errors

    def _checkMap(self, volume):
        halves = len(half_map_paths(volume))
        need(halves in (0, 2), f"the map has {halves} half-maps where there should be two; choose a map with two, or "
                               "with none")
        compared_radius(box_of(volume), volume.getSamplingRate(), resolution_a=self.resolution.get())

    def _checkGroup(self, _):
        group, largest = self._settings()["symmetry"], self.maxFold.get()
        if group:
            need(len(point_group(group)) > 1, "C1 has no axes to look for; leave the group empty to try all")
        else:
            need(largest is not None and 2 <= largest <= 60,
                 f"a largest fold of {largest} is not between 2 and 60; give 12 for most particles")

    def _summary(self):
        figures = self.figures()
        if figures is None:
            return ["The symmetry is not looked for yet."]
        turned = figures["turned_to"]
        words = [figures["verdict"], "No map is written: C1 has no axes to turn it to." if turned == "C1" else
                 f"The output is the map on the axes of {turned}"
                 f"{', averaged over the group' if self.symmetrise else ''}."]
        ranked = sorted(figures["groups"], key=lambda row: row["weakest"], reverse=True)
        words.append(f"Up to {figures['resolution_a']:.3g} Å, of each group the score (what its subgroups alone would "
                     "give) and the correlation under its weakest operator:")
        words += [f"{row['group']}: {row['score']:.3f} ({row['expected']:.3f}), {row['weakest']:.2f}"
                  for row in ranked[:MOST_LISTED]]
        if len(ranked) > MOST_LISTED:
            words.append(f"{len(ranked) - MOST_LISTED} others fit worse; 'Analyze results' shows all.")
        if figures["left_out"]:
            words.append(f"Not searched, as their axes by themselves do not fit: {', '.join(figures['left_out'])}.")
        return words

    def _methodsWords(self, figures):
        tried = self._settings()["symmetry"] or f"point groups up to {self.maxFold}-fold"
        words = (f"The axes of {tried} were searched in the map in {PROGRAM}, by its correlation with itself over a "
                 "grid of orientations [Gorski2005], refined from there. ")
        row = next((row for row in figures["groups"] if row["group"] == figures["turned_to"]), None)
        if row is None:
            return words + "No point group was found under which the map correlates with itself."
        averaged = " and averaged over the group" if self.symmetrise.get() else ""
        return (f"{words}The map was turned onto the axes of {row['group']}{averaged}; under the weakest operator of "
                f"the group it correlates with itself by {row['weakest']:.2f} up to {figures['resolution_a']:.3g} Å.")

    def _citations(self):
        return ["Gorski2005"]

    # ---- files
    def figures(self):
        """The dict of symmetry.json, or None before the search is done."""
        return read_json(self._figuresPath()) if os.path.exists(self._figuresPath()) else None

    def _runPath(self):
        return self._getExtraPath("run")

    def _figuresPath(self):
        return os.path.join(self._runPath(), "symmetry.json")

    def _turned(self, half=None):
        return os.path.join(self._runPath(), "on_axes.mrc" if half is None else f"on_axes_half{half}.mrc")
