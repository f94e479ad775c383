"""From a run folder with maps of one or several structures to Scipion: what ab initio and refinement share."""
from __future__ import annotations

from pyworkflow.object import Pointer

from ..convert import copy_particles, fill_classes, fsc_object, table_from_star, volume_object
from ..io.fsc_star import read_fsc
from ..io.result_folder import FSC, PARTICLES, ResultFolder, result_name

# outputs of one structure, and of several
OF_ONE_CLASS, OF_CLASSES = ("outputVolume",), ("outputClasses", "outputVolumes")


class MapResults:
    """Mixed into a protocol with `inputParticles`, `_possibleOutputs` {name: class} and `getPossibleOutputs()`.

    PARTICLE_SCORES : columns of the run's particles.star, besides the poses, that the output particles keep
    """

    PARTICLE_SCORES = ()

    def makePathsAndClean(self):
        """Before a launch, in the project's process: outputs that this form no longer leads to go (Continue with
        another number of classes). The run itself can't do it, since the project keeps what its own copy lists."""
        super().makePathsAndClean()
        wanted = self.getPossibleOutputs()
        for name, output in list(self.iterOutputAttributes()):
            if name not in wanted:
                self.deleteOutput(output)

    def _particlesOutput(self, folder: ResultFolder):
        """The input particles with the run's poses, half-sets, classes, scores and class posteriors."""
        posteriors = [f"cryosgdClass{k + 1:03d}Posterior" for k in range(folder.classes())]
        aligned = self._createSetOfParticles()
        copy_particles(self.inputParticles.get(), aligned, table_from_star(folder.path(PARTICLES)),
                       carry=[*self.PARTICLE_SCORES, *(posteriors if folder.classes() > 1 else ())])
        return aligned

    def _mapOutputs(self, folder: ResultFolder, pixel_size):
        """The map with its half-maps, or the classes and the maps as a set; `outputParticles` has to be there."""
        several = folder.classes() > 1
        maps = [volume_object(folder.volume(k), pixel_size, folder.half_maps(k),
                              label=f"class {k + 1}" if several else "") for k in range(folder.classes())]
        return self._classOutputs(maps, pixel_size) if several else {"outputVolume": maps[0]}

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

    def _curvesOutput(self, folder: ResultFolder):
        """The FSC curves of every structure's half-maps."""
        curves, classes = self._createSetOfFSCs(), folder.classes()
        for structure in range(classes):
            name = "half-maps" if classes == 1 else f"class {structure + 1}"
            frequencies, values = read_fsc(folder.path(result_name(FSC, structure, classes)))
            for word, curve in values.items():
                curves.append(fsc_object(f"{name}, {word}", frequencies[1:], curve[1:]))
        return curves
