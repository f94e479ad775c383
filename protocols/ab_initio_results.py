"""From an ab initio run folder to the protocol's outputs, with their relations."""
from __future__ import annotations

import numpy as np
from pwem.objects import SetOfClasses3D, SetOfFSCs, SetOfParticles, SetOfVolumes, Volume
from pyworkflow.object import Boolean, Integer

from ..convert import fsc_object, volume_object
from ..io.restarts import RESTARTS_JSON
from ..io.result_folder import ResultFolder, read_json
from .map_results import OF_CLASSES, OF_ONE_CLASS, MapResults

# outputs by name: an Enum would take two of one type for the same
OUTPUTS = {"outputVolume": Volume, "outputClasses": SetOfClasses3D, "outputVolumes": SetOfVolumes,
           "outputParticles": SetOfParticles, "outputFSC": SetOfFSCs,
           "outputRestarts": SetOfVolumes, "outputConsensus": SetOfVolumes, "outputRestartsFSC": SetOfFSCs}
OF_RESTARTS = ("outputRestarts", "outputConsensus", "outputRestartsFSC")


class AbInitioResults(MapResults):
    """Mixed into the protocol: its outputs, which depend on the number of classes and on restarts."""

    PARTICLE_SCORES = ("rlnMaxValueProbDistribution", "rlnLogLikeliContribution", "cryosgdEffectivePoses")
    _possibleOutputs = OUTPUTS

    def getPossibleOutputs(self):
        """Name → class of the outputs that this form leads to."""
        classes, restarts = self.numberOfClasses.get() or 1, self.restarts.get() or 1
        absent = (OF_ONE_CLASS if classes > 1 else OF_CLASSES) + (OF_RESTARTS if restarts == 1 else ())
        return {name: kind for name, kind in OUTPUTS.items() if name not in absent}

    def _createOutputs(self, folder: ResultFolder):
        """Define all outputs of a finished run folder, and their relations."""
        particles = self._particlesOutput(folder)
        # the classes refer to it, so it has to be an output before they are filled
        self._defineOutputs(outputParticles=particles)
        outputs = {"outputFSC": self._curvesOutput(folder), **self._mapOutputs(folder, particles.getSamplingRate())}
        outputs.update(self._restartOutputs(folder, particles))
        self._defineOutputs(**outputs)
        self._defineTransformRelation(self.inputParticles, particles)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)
            if self.startsFromMap():
                self._defineSourceRelation(self.startVolume, output)

    def _restartOutputs(self, folder, particles):
        """The aligned maps of the restarts, for each class the mean of those that agree, and the mean of their mutual
        FSC curves; {} of a single run."""
        path = folder.path(RESTARTS_JSON)
        if path is None:
            return {}
        pixel_size, extent = particles.getSamplingRate(), particles.getXDim() * particles.getSamplingRate()
        volumes, curves = self._createSetOfVolumes("_restarts"), self._createSetOfFSCs("_restarts")
        agreed = self._createSetOfVolumes("_consensus")
        volumes.setSamplingRate(pixel_size)
        agreed.setSamplingRate(pixel_size)
        reports = read_json(path)["classes"]
        for number, report in enumerate(reports, start=1):
            prefix = f"class {number}, " if len(reports) > 1 else ""
            for entry in report["maps"]:
                volume = volume_object(folder.folder / entry["file"], pixel_size, label=prefix + entry["name"])
                volume._cryosgdSeed, volume._cryosgdAgrees = Integer(entry["seed"]), Boolean(entry["agrees"])
                volumes.append(volume)
            agreed.append(volume_object(folder.folder / report["consensus"], pixel_size, label=f"{prefix}consensus"))
            mean, spread = np.array(report["mean_fsc"]), np.array(report["sd_fsc"])
            frequencies = np.arange(len(mean)) / extent
            for words, values in (("mean of pairs", mean), ("mean - sd", mean - spread), ("mean + sd", mean + spread)):
                curves.append(fsc_object(prefix + words, frequencies[1:], values[1:]))
        return {"outputRestarts": volumes, "outputConsensus": agreed, "outputRestartsFSC": curves}
