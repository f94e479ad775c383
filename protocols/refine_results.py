"""From a refinement's run folder to the protocol's outputs, with their relations."""
from __future__ import annotations

from pwem.objects import SetOfClasses3D, SetOfFSCs, SetOfParticles, SetOfVolumes, Volume, VolumeMask

from ..convert import mask_object
from ..io.result_folder import MASK, ResultFolder
from .map_results import OF_CLASSES, OF_ONE_CLASS, MapResults

OUTPUTS = {"outputVolume": Volume, "outputClasses": SetOfClasses3D, "outputVolumes": SetOfVolumes,
           "outputParticles": SetOfParticles, "outputFSC": SetOfFSCs, "outputMask": VolumeMask}


class RefineResults(MapResults):
    """Mixed into the protocol: its outputs, which depend on the number of classes."""

    PARTICLE_SCORES = ("rlnLogLikeliContribution", "cryosgdEntropy", "cryosgdPoseWidth", "cryosgdScale",
                       "cryosgdAngularChange", "cryosgdShiftChange")
    _possibleOutputs = OUTPUTS

    def getPossibleOutputs(self):
        """Name → class of the outputs that this form leads to."""
        absent = OF_ONE_CLASS if self.classes() > 1 else OF_CLASSES
        return {name: kind for name, kind in OUTPUTS.items() if name not in absent}

    def _createOutputs(self, folder: ResultFolder):
        """Define all outputs of a finished run folder, and their relations."""
        particles = self._particlesOutput(folder)
        # the classes refer to it, so it has to be an output before they are filled
        self._defineOutputs(outputParticles=particles)
        pixel_size = particles.getSamplingRate()
        outputs = {"outputFSC": self._curvesOutput(folder), "outputMask": mask_object(folder.path(MASK), pixel_size),
                   **self._mapOutputs(folder, pixel_size)}
        self._defineOutputs(**outputs)
        self._defineTransformRelation(self.inputParticles, particles)
        sources = [self.inputParticles, *self.inputVolumes]
        if self.inputMask.get() is not None:
            sources.append(self.inputMask)
        for source in sources:
            for output in outputs.values():
                self._defineSourceRelation(source, output)
