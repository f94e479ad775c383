"""From an ab initio run folder to the protocol's outputs, with their relations."""
from __future__ import annotations

import re

import numpy as np
from pwem.objects import SetOfClasses3D, SetOfFSCs, SetOfParticles, SetOfVolumes, Volume
from pyworkflow.object import Boolean, Integer, Pointer

from ..convert import copy_particles, fill_classes, fsc_object, table_from_star, volume_object
from ..io.fsc_star import read_fsc
from ..io.restarts import RESTARTS_JSON
from ..io.result_folder import FSC, PARTICLES, ResultFolder, read_json, result_name

# what the engine says of each particle besides its pose, kept with the output particles
PARTICLE_SCORES = ("rlnMaxValueProbDistribution", "rlnLogLikeliContribution", "cryosgdEffectivePoses")
POSTERIOR = re.compile(r"cryosgdClass\d+Posterior")
# outputs by name: an Enum would take two of one type for the same
OUTPUTS = {"outputVolume": Volume, "outputClasses": SetOfClasses3D, "outputVolumes": SetOfVolumes,
           "outputParticles": SetOfParticles, "outputFSC": SetOfFSCs,
           "outputRestarts": SetOfVolumes, "outputRestartsFSC": SetOfFSCs}
OF_ONE_CLASS, OF_CLASSES = ("outputVolume",), ("outputClasses", "outputVolumes")
OF_RESTARTS = ("outputRestarts", "outputRestartsFSC")


class AbInitioResults:
    """Mixed into the protocol: its outputs, which depend on the number of classes and on restarts."""

    _possibleOutputs = OUTPUTS

    def getPossibleOutputs(self):
        """Name → class of the outputs that this form leads to."""
        classes, restarts = self.numberOfClasses.get() or 1, self.restarts.get() or 1
        absent = (OF_ONE_CLASS if classes > 1 else OF_CLASSES) + (OF_RESTARTS if restarts == 1 else ())
        return {name: kind for name, kind in OUTPUTS.items() if name not in absent}

    def makePathsAndClean(self):
        """Before a launch, in the project's process: outputs that this form no longer leads to go (Continue with
        another number of classes). The run itself can't do it, since the project keeps what its own copy lists."""
        super().makePathsAndClean()
        wanted = self.getPossibleOutputs()
        for name, output in list(self.iterOutputAttributes()):
            if name not in wanted:
                self.deleteOutput(output)

    def _createOutputs(self, folder: ResultFolder):
        """Define all outputs of a finished run folder, and their relations."""
        particles = self._particlesOutput(folder)
        # the classes refer to it, so it has to be an output before they are filled
        self._defineOutputs(outputParticles=particles)
        maps = [volume_object(folder.volume(k), particles.getSamplingRate(), folder.half_maps(k),
                              label=f"class {k + 1}" if folder.classes() > 1 else "")
                for k in range(folder.classes())]
        outputs = {"outputFSC": self._curvesOutput(folder)}
        if len(maps) == 1:
            outputs["outputVolume"] = maps[0]
        else:
            outputs.update(self._classOutputs(maps, particles.getSamplingRate()))
        outputs.update(self._restartOutputs(folder, particles))
        self._defineOutputs(**outputs)
        self._defineTransformRelation(self.inputParticles, particles)
        for output in outputs.values():
            self._defineSourceRelation(self.inputParticles, output)
            if self.startsFromMap():
                self._defineSourceRelation(self.startVolume, output)

    # ---- the outputs
    def _particlesOutput(self, folder):
        table = table_from_star(folder.path(PARTICLES))
        aligned = self._createSetOfParticles()
        copy_particles(self.inputParticles.get(), aligned, table,
                       carry=[*PARTICLE_SCORES, *filter(POSTERIOR.fullmatch, table.extra)])
        return aligned

    def _classOutputs(self, maps, pixel_size):
        """Classes with their particles and maps, and the maps as a set; ids are the class numbers of the run."""
        volumes = self._createSetOfVolumes()
        volumes.setSamplingRate(pixel_size)
        for number, volume in enumerate(maps, start=1):
            volume.setClassId(number)
            volume.setObjId(number)
            volumes.append(volume)
        classes = self._createSetOfClasses3D(Pointer(self, extended="outputParticles"))
        fill_classes(classes, dict(enumerate(maps, start=1)))
        return {"outputClasses": classes, "outputVolumes": volumes}

    def _curvesOutput(self, folder):
        curves, classes = self._createSetOfFSCs(), folder.classes()
        for structure in range(classes):
            name = "half-maps" if classes == 1 else f"class {structure + 1}"
            frequencies, values = read_fsc(folder.path(result_name(FSC, structure, classes)))
            for word, curve in values.items():
                curves.append(fsc_object(f"{name}, {word}", frequencies[1:], curve[1:]))
        return curves

    def _restartOutputs(self, folder, particles):
        """The aligned maps of the restarts and the mean of their mutual FSC curves; {} of a single run."""
        path = folder.path(RESTARTS_JSON)
        if path is None:
            return {}
        pixel_size, extent = particles.getSamplingRate(), particles.getXDim() * particles.getSamplingRate()
        volumes, curves = self._createSetOfVolumes("_restarts"), self._createSetOfFSCs("_restarts")
        volumes.setSamplingRate(pixel_size)
        reports = read_json(path)["classes"]
        for number, report in enumerate(reports, start=1):
            prefix = f"class {number}, " if len(reports) > 1 else ""
            for entry in report["maps"]:
                volume = volume_object(folder.folder / entry["file"], pixel_size, label=prefix + entry["name"])
                volume._cryosgdSeed, volume._cryosgdAgrees = Integer(entry["seed"]), Boolean(entry["agrees"])
                volumes.append(volume)
            mean, spread = np.array(report["mean_fsc"]), np.array(report["sd_fsc"])
            frequencies = np.arange(len(mean)) / extent
            for words, values in (("mean of pairs", mean), ("mean - sd", mean - spread), ("mean + sd", mean + spread)):
                curves.append(fsc_object(prefix + words, frequencies[1:], values[1:]))
        return {"outputRestarts": volumes, "outputRestartsFSC": curves}
