"""Particles that were picked or joined twice."""
from __future__ import annotations

from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from ..convert import particle_tools
from .kept_methods import PROGRAM, KeptMethods


class RemoveOutputs(Enum):
    outputParticles = SetOfParticles


class ProtCryosgdRemoveDuplicates(KeptMethods, EMProtocol):
    """Remove particles that are there twice: closer to each other than particles can be, or the very same image.

    Pickers find some particles twice, alignment moves neighbouring boxes onto the same particle, and joined sets
    overlap. A duplicate is the same noise twice: where one copy is in each half-set, the half-maps agree without any
    signal and the resolution is overestimated.

    *You give*: particles with coordinates, best after an alignment, so that the centres are known: coordinates less
    the shifts that the alignment found.
    *You get*: the particles without the duplicates, under their own ids. Of those too close the one with the highest
    score stays.
    """
    _label = "remove duplicates"
    _devStatus = BETA
    _possibleOutputs = RemoveOutputs

    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam("inputParticles", params.PointerParam, pointerClass="SetOfParticles", important=True,
                      label="Particles",
                      help="Of a projection alignment the shifts are applied; those of 2D classes are not used. "
                           "Disabled particles are left out.")
        form.addParam("distance", params.FloatParam, default=None, allowsNull=True, important=True,
                      label="Distance (Å)",
                      help="Particles of a micrograph whose centres are closer than this are duplicates. Typical a "
                           "third to a half of the particle's diameter, for example 50. 0 removes only the same image "
                           "twice, and needs no coordinates.")
        form.addParam("micPixelSize", params.FloatParam, default=None, allowsNull=True,
                      label="Micrograph pixel size (Å/px)",
                      help="Of the micrographs in which the particles' coordinates count: those that they were picked "
                           "in, or, where the coordinates were scaled, those that they were extracted from. Typical "
                           "0.5 to 2. Empty only for a distance of 0.")
        form.addParam("sameImage", params.BooleanParam, default=True, expertLevel=LEVEL_ADVANCED,
                      label="Remove the same image twice?",
                      help="Yes: an image (file and number) stays once, whatever its centre; of a symmetry-expanded "
                           "set one of the mates. No: for subunits of one particle that share its image.")
        form.addParam("score", params.StringParam, default="", expertLevel=LEVEL_ADVANCED, label="Score",
                      help="Attribute that says how good a particle is, the higher the better. Empty: "
                           "_rlnMaxValueProbDistribution, _rlnLogLikeliContribution or _rlnAutopickFigureOfMerit, the "
                           "first that the particles have; else the first in the set stays.")

    # ---- steps
    def _insertAllSteps(self):
        self._insertFunctionStep(self.removeStep, self.inputParticles.getUniqueId(), self.distance.get(),
                                 self.micPixelSize.get(), self.sameImage.get(), self.score.get(), needsGPU=False)

    def removeStep(self, particles, distance_a, micrograph_pixel_size, same_image, score):
        """Find the duplicates and copy the others."""
        source = self.inputParticles.get()
        found, chosen_by = particle_tools.find_duplicates(source, distance_a, micrograph_pixel_size,
                                                          score=score or None, same_image=same_image)
        output = self._createSetOfParticles()
        particle_tools.copy_without(source, output, found)
        kinds = list(found.values())
        best = f"the one of the highest {chosen_by}" if chosen_by else "the first in the set"
        words = [f"{len(found)} of {source.getSize()} particles are duplicates and left out: {kinds.count('distance')} "
                 f"closer than {distance_a:g} Å to another one, {kinds.count('image')} images that were there twice."]
        self.summaryVar.set(" ".join([*words, f"Of several, {best} stayed."]))
        self._defineOutputs(**{RemoveOutputs.outputParticles.name: output})
        self._defineTransformRelation(self.inputParticles, output)
        self._keepMethods(_methods_words(distance_a, same_image, best, output.getSize(), source.getSize()))

    # ---- information
    def _validate(self):
        errors = []
        particles, distance_a = self.inputParticles.get(), self.distance.get()
        if particles is not None and particles.getSize() == 0:
            errors.append("The input set holds no particles; choose another one.")
        if distance_a is None:
            errors.append("The distance is empty; give it in Å, or 0 to remove only the same image twice.")
        elif distance_a < 0:
            errors.append(f"The distance {distance_a:g} Å is negative; give 0 or more.")
        elif distance_a > 0:
            errors += self._validateDistance(particles)
        elif not self.sameImage.get():
            errors.append("With a distance of 0 and the same image allowed nothing would be removed; change one.")
        return errors

    def _validateDistance(self, particles):
        errors = []
        if self.micPixelSize.get() is None or not self.micPixelSize.get() > 0:
            errors.append("The micrographs' pixel size is missing or not positive; give it in Å/px, since the "
                          "particles' coordinates are in pixels.")
        if particles is not None and particles.getSize() and not particles.getFirstItem().hasCoordinate():
            errors.append("The particles have no coordinates, so their distances are not known; give a distance of 0 "
                          "to remove only the same image twice.")
        return errors

    def _warnings(self):
        particles, found = self.inputParticles.get(), []
        if particles is None or particles.getSize() == 0:
            return found
        box_a = particles.getXDim() * particles.getSamplingRate()
        if (self.distance.get() or 0) > box_a:
            found.append(f"A distance of {self.distance.get():g} Å is more than the images' box of {box_a:.0f} Å: true "
                         "neighbours will be taken for duplicates. Is it in Å?")
        if self.sameImage.get() and hasattr(particles.getFirstItem(), particle_tools.PARENT):
            found.append("The particles are symmetry-expanded: of each only one of its mates will stay.")
        return found

    def _summary(self):
        return [self.summaryVar.get()] if self.summaryVar.hasValue() else ["No duplicates are removed yet."]

    def _citations(self):
        return ["Scheres2012b"]


def _methods_words(distance_a, same_image, best, left, given):
    twice = ["images that occurred twice"] if same_image else []
    close = [f"particles closer than {distance_a:g} Å to another one of the same micrograph"] if distance_a else []
    return (f"So that no half-set shares a particle with the other one [Scheres2012b], {' and '.join(close + twice)} "
            f"were removed in {PROGRAM}; of several, {best} stayed, which left {left} of {given} particles.")
