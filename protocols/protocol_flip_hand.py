"""The other hand of a map, with its half-maps and its particles."""
from __future__ import annotations

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles, Volume, VolumeMask
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA

from ..convert import particle_tools, volume_object
from ..convert.maps import half_maps_of, map_of
from ..core.hand import flip_volume
from ..io.volumes import write_volume
from .kept_methods import PROGRAM, KeptMethods


class ProtCryosgdFlipHand(KeptMethods, EMProtocol):
    """Mirror a map, its half-maps and the poses of its particles: the other hand.

    The images of untilted particles do not tell a structure from its mirror image, so that an ab initio map, and what
    is refined from it, has either hand. Proteins have right-handed α-helices: where a map of about 7 Å or better shows
    them left-handed, or where a model fits only the mirror image, flip the hand.

    *You give*: a map, and the particles with poses in it if you want to go on with them.
    *You get*: the map and its half-maps inverted through the centre of the box, voxel n//2, by which every point group
    keeps its axes; and the particles with the poses in which they show the new map just as they showed the old one.
    Nothing has to be refined again.

    A mask of the old map has to be flipped too: give it as a map to another run.
    """
    _label = "flip hand"
    _devStatus = BETA
    _possibleOutputs = {"outputVolume": Volume, "outputParticles": SetOfParticles}

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputVolume", params.PointerParam, pointerClass="Volume", important=True, label="Map",
                      help="Its half-maps, where it has them, are flipped with it.")
        form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles",
                      pointerCondition="hasAlignmentProj", allowsNull=True, label="Particles (optional)",
                      help="Particles with poses (projection alignment) in this map; disabled ones are left out. "
                           "Empty: only the map is flipped.")

    # ---- steps
    def _insertAllSteps(self):
        self._insertFunctionStep(self.flipMapStep, self.inputVolume.getUniqueId(), needsGPU=False)
        if self.inputParticles.get() is not None:
            self._insertFunctionStep(self.flipParticlesStep, self.inputParticles.getUniqueId(), needsGPU=False)

    def flipMapStep(self, volume):
        """Mirror the map and its half-maps."""
        source = self.inputVolume.get()
        pixel_size = source.getSamplingRate()
        paths = {name: self._getExtraPath(f"{name}.mrc") for name in ("volume", "half1", "half2")}
        write_volume(paths["volume"], flip_volume(map_of(source)), pixel_size)
        for name, half in zip(("half1", "half2"), half_maps_of(source)):
            write_volume(paths[name], flip_volume(half), pixel_size)
        halves = (paths["half1"], paths["half2"]) if source.hasHalfMaps() else None
        kind = VolumeMask if isinstance(source, VolumeMask) else Volume
        flipped = volume_object(paths["volume"], pixel_size, halves, kind=kind)
        if source.hasOrigin():
            # the middle of the box stays where it is
            flipped.setOrigin(source.getOrigin().clone())
        self._defineOutputs(outputVolume=flipped)
        self._defineTransformRelation(self.inputVolume, flipped)
        self._keepMethods(_methods_words("the map and its half-maps were" if halves else "the map was"))

    def flipParticlesStep(self, particles):
        """Write the particles with the poses of the mirrored map, one at a time."""
        output = self._createSetOfParticles()
        particle_tools.mirror_set(self.inputParticles.get(), output)
        self._defineOutputs(outputParticles=output)
        self._defineTransformRelation(self.inputParticles, output)
        self._keepMethods(f"{self.methodsVar.get()} The poses of {output.getSize()} particles were taken along: each "
                          "shows the new map as it showed the old one.")

    # ---- information
    def _validate(self):
        errors = []
        volume, particles = self.inputVolume.get(), self.inputParticles.get()
        if volume is not None and volume.hasHalfMaps() and len(volume.getHalfMaps(asList=True)) != 2:
            errors.append(f"The map has {len(volume.getHalfMaps(asList=True))} half-maps where there should be two; "
                          "choose a map with two, or with none.")
        if particles is not None and not particles.hasAlignmentProj():
            errors.append("The particles have no poses (projection alignment) to flip; leave them out, or choose those "
                          "that the map was made of.")
        return errors

    def _warnings(self):
        volume, particles = self.inputVolume.get(), self.inputParticles.get()
        if volume is None or particles is None:
            return []
        map_a, images_a = (item.getXDim() * item.getSamplingRate() for item in (volume, particles))
        if abs(map_a - images_a) > 0.01 * images_a:
            return [f"The map's box is {map_a:.0f} Å wide and the images' {images_a:.0f} Å: do these particles belong "
                    "to this map?"]
        return []

    def _summary(self):
        if not hasattr(self, "outputVolume"):
            return ["The map is not flipped yet."]
        with_it = ", its half-maps" if self.outputVolume.hasHalfMaps() else ""
        words = [f"The map{with_it} inverted through the centre of the box: the other hand."]
        if hasattr(self, "outputParticles"):
            words.append(f"{self.outputParticles.getSize()} particles have the poses of the mirrored map.")
        return words

    def _citations(self):
        return ["Rosenthal2003"]


def _methods_words(what):
    return ("As projections of untilted particles do not tell a structure from its mirror image [Rosenthal2003], "
            f"{what} inverted through the centre of the box in {PROGRAM}.")
