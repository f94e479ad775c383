"""From an ab initio run folder to the protocol's outputs, with their relations."""
from __future__ import annotations

from pwem.objects import SetOfClasses3D, SetOfFSCs, SetOfParticles, SetOfVolumes, Volume

from ..convert import volume_object
from ..io.agreement import RESTARTS_JSON, read_agreements
from ..io.result_folder import ResultFolder
from .agreement_results import append_aligned, append_curves
from .map_results import OF_CLASSES, OF_ONE_CLASS, MapResults
from .settled_outputs import SettledOutputs

# outputs by name: an Enum would take two of one type for the same
OUTPUTS = {"outputVolume": Volume, "outputClasses": SetOfClasses3D, "outputVolumes": SetOfVolumes,
           "outputParticles": SetOfParticles, "outputFSC": SetOfFSCs,
           "outputRestarts": SetOfVolumes, "outputConsensus": SetOfVolumes, "outputRestartsFSC": SetOfFSCs}
OF_RESTARTS = ("outputRestarts", "outputConsensus", "outputRestartsFSC")


class AbInitioResults(MapResults, SettledOutputs):
    """Mixed into the protocol: its outputs, which depend on the number of classes and on restarts."""

    PARTICLE_SCORES = ("rlnMaxValueProbDistribution", "rlnLogLikeliContribution", "cryosgdEffectivePoses")
    _possibleOutputs = OUTPUTS

    def getPossibleOutputs(self):
        """Name → class of the outputs that this form leads to."""
        classes, restarts = self.numberOfClasses.get() or 1, self.restarts.get() or 1
        absent = (OF_ONE_CLASS if classes > 1 else OF_CLASSES) + (OF_RESTARTS if restarts == 1 else ())
        return {name: kind for name, kind in OUTPUTS.items() if name not in absent}

    def _isUncertain(self, name):
        return name in OF_RESTARTS

    def _createOutputs(self, folder: ResultFolder):
        """Define all outputs of a finished run folder, and their relations."""
        particles = self._particlesOutput(folder)
        # the classes refer to it, so it has to be an output before they are filled
        self._defineOutputs(outputParticles=particles)
        outputs = {"outputFSC": self._curvesOutput(folder), **self._mapOutputs(folder, particles.getSamplingRate())}
        outputs.update(self._restartOutputs(folder, particles.getSamplingRate()))
        self._defineOutputs(**outputs)
        self._defineTransformRelation(self.inputParticles, particles)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)
            if self.startsFromMap():
                self._defineSourceRelation(self.startVolume, output)

    def _restartOutputs(self, folder, pixel_size):
        """The aligned maps of the restarts, of each class the mean of those that agree (where any do), and their FSC;
        {} of a single run."""
        agreements = self._agreements(folder)
        if not agreements:
            return {}
        aligned, consensus = self._createSetOfVolumes("_restarts"), self._createSetOfVolumes("_consensus")
        for volumes in (aligned, consensus):
            volumes.setSamplingRate(pixel_size)
        for number, agreement in enumerate(agreements, start=1):
            prefix = f"class {number}, " if len(agreements) > 1 else ""
            append_aligned(aligned, agreement, pixel_size, prefix)
            if agreement.agree:
                consensus.append(volume_object(agreement.consensus, pixel_size, label=f"{prefix}consensus"))
        curves = self._createSetOfFSCs("_restarts")
        append_curves(curves, agreements)
        outputs = {"outputRestarts": aligned, "outputRestartsFSC": curves}
        return {**outputs, "outputConsensus": consensus} if consensus.getSize() else outputs

    def _agreements(self, folder):
        """What was found of the restarts of each structure; [] of a single run, or before they are compared."""
        path = folder.path(RESTARTS_JSON)
        return [] if path is None else read_agreements(path)
