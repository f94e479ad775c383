"""The refinement protocol before it computes: input that can't be used, choices that are seldom meant, progress."""
import importlib.util
import unittest
from pathlib import Path
from unittest.mock import patch

import mrcfile
import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfParticles, Volume
from pwem.protocols import ProtImportMask
from pyworkflow.object import Integer, Pointer

from cryosgd_plugin.convert import half_sets_of
from cryosgd_plugin.engines.refine.config import REGULARISATIONS
from cryosgd_plugin.plugin import Plugin
from cryosgd_plugin.tests.protocol_project import Project

SPARSE = REGULARISATIONS.index("sparse-tv")


class TestRefineInput(Project):
    """What is told before anything is computed."""

    def test_bad_settings_get_the_engines_sentence(self):
        for values, sentence in (({"symmetry": "X9"}, "point group 'X9'"), ({"initialResolution": 5.0}, "Nyquist"),
                                 ({"particleDiameter": 900.0}, "must lie between 0 and the box"),
                                 ({"sharedResolution": 45.0}, "halves would share"),
                                 ({"deviations": None}, "deviations is empty; give a number, the default is 4.0"),
                                 ({"iterations": 0}, "0 iterations are too few"),
                                 ({"maxParticles": 1}, "max particles 1 must be at least 2"),
                                 ({"numberOfClasses": 0}, "0 classes were asked for"),
                                 ({"numberOfClasses": 3, "references": [(None, "outputVolume")] * 2},
                                  "2 references were given for 3 classes"),
                                 ({"particleDiameter": None}, "Particle diameter")):
            errors = self.refine(**values).validate()
            self.assertTrue(any(sentence.lower() in error.lower() for error in errors), (values, errors))

    def test_bad_penalties_get_the_engines_sentence(self):
        for values, sentence in (({"epsilon": 0.0}, "ε of 0.0 is not positive"),
                                 ({"alpha": -0.5, "beta": 1.0}, "alpha -0.5 is negative"),
                                 ({"alpha": 0.5}, "chosen together"), ({"gamma": -1.0}, "gamma -1 is negative"),
                                 ({"alpha": 0.5, "beta": float("inf")}, "beta inf is no finite number"),
                                 ({"epsilonRatio": 0.0}, "out of bounds")):
            errors = self.refine(regularisation=SPARSE, **values).validate()
            self.assertTrue(any(sentence in error.lower() for error in errors), (values, errors))

    def test_penalties_far_from_the_papers_are_asked_about(self):
        said = self.refine(regularisation=SPARSE, alpha=50.0, beta=1.0)._warnings()
        self.assertTrue(any(sentence.startswith("α 50 is far from what is usual") for sentence in said), said)
        self.assertEqual(self.refine(regularisation=SPARSE)._warnings(), self.refine()._warnings())

    def test_without_a_reference_nothing_starts(self):
        errors = self.refine(references=()).validate()
        self.assertTrue(any("Reference map" in error for error in errors), errors)

    def test_a_gpu_is_asked_for_by_the_form(self):
        with patch.object(Plugin, "gpuReport", return_value=(True, "one GPU")):
            self.assertEqual(self.refine(useGpu=True).validate(), [])
            several = self.refine(useGpu=True, gpuList="0,1")
            self.assertTrue(any("this program uses one GPU" in error for error in several.validate()))
        with patch.object(Plugin, "gpuReport", return_value=(False, "no driver")):
            errors = self.refine(useGpu=True).validate()
            self.assertEqual(len(errors), 1)
            self.assertIn("none can be used: no driver", errors[0])
            self.assertEqual(self.refine().validate(), [])
        self.assertEqual(self.refine(useGpu=True)._device(), "cuda:0")
        self.assertEqual(self.refine()._device(), "cpu")

    def changed(self, change):
        """The simulated particles as another set, with a change."""
        particles = SetOfParticles(filename=self.simulation.outputParticles.getFileName())
        particles.loadAllProperties()
        particles.setObjId(10 ** 6)
        change(particles)
        protocol = self.refine()
        protocol.inputParticles.set(particles)
        protocol.inputParticles.setExtended(None)
        return protocol

    def test_particles_that_can_not_be_refined_are_refused(self):
        for change, sentence in ((lambda s: s.setHasCTF(False), "no CTF"),
                                 (lambda s: s.setIsPhaseFlipped(True), "phase-flipped"),
                                 (lambda s: s._size.set(0), "holds no particles")):
            errors = self.changed(change)._validate()
            self.assertTrue(any(sentence in error for error in errors), errors)

    def test_a_local_search_needs_poses(self):
        protocol = self.refine(search=2)
        self.assertFalse(protocol.inputParticles.get().hasAlignmentProj())
        self.assertTrue(any("these particles have none" in error for error in protocol._validate()))

    def with_maps(self, reference=None, mask=None):
        """A refinement whose reference or mask is an object of no protocol."""
        protocol = self.refine()
        if reference is not None:
            protocol.inputVolumes.set([Pointer(reference)])
        if mask is not None:
            protocol.inputMask.set(mask)
        return protocol

    def map_of(self, shape, sampling_rate, value=None):
        """A Volume that no protocol made: noise, or one value everywhere."""
        path = Path(self.getOutputPath(f"map {shape} {value}.mrc"))
        density = np.random.default_rng(0).random(shape, np.float32) if value is None else np.full(
            shape, value, np.float32)
        mrcfile.write(path, density, overwrite=True, voxel_size=1.0)
        volume = Volume(location=str(path))
        volume.setObjId(10 ** 6)
        volume.setSamplingRate(sampling_rate)
        return volume

    def test_maps_that_do_not_fit_are_refused_by_their_headers(self):
        missing = Volume(location="nowhere.mrc")
        missing.setSamplingRate(8.0)
        missing.setObjId(10 ** 6)
        for arguments, sentence in (({"reference": self.map_of((16, 16, 16), 2.0)}, "far smaller than the particle"),
                                    ({"reference": self.map_of((16, 32, 32), 8.0)}, "is not a cube"),
                                    ({"reference": self.map_of((32, 32, 32), None)}, "pixel size 0"),
                                    ({"reference": missing}, "nowhere.mrc is not there"),
                                    ({"mask": self.map_of((16, 16, 16), 8.0)}, "Mask of 16 × 16 × 16 px differs"),
                                    ({"mask": self.map_of((32, 32, 32), 4.0)}, "Mask of 4 Å/px differs"),
                                    ({"mask": missing}, "nowhere.mrc is not there")):
            errors = self.with_maps(**arguments)._validate()
            self.assertEqual(len(errors), 1, (sentence, errors))
            self.assertIn(sentence, errors[0])
        self.assertEqual(self.with_maps(reference=self.map_of((20, 20, 20), 12.0))._validate(), [])

    def test_a_mask_that_is_none_fails_with_the_engines_sentence(self):
        volume = self.map_of((32, 32, 32), 8.0, value=0)
        imported = self.finished(ProtImportMask, maskPath=volume.getFileName(), samplingRate=8.0)
        protocol = self.refine()
        protocol.inputMask.set(imported)
        protocol.inputMask.setExtended("outputMask")
        self.assertEqual(protocol.validate(), [])
        self.proj.launchProtocol(protocol, wait=True)
        self.assertTrue(self.updated(protocol).isFailed())
        self.assertIn("the mask is empty", protocol.getErrorMessage())

    def test_odd_choices_are_warned_of(self):
        self.assertEqual(self.refine(particleDiameter=140.0).warnings(), [])
        for values, sentence in (({"initialResolution": 17.0}, "keep their details down to 17 Å"),
                                 ({"search": 1}, "many times longer"), ({"particleDiameter": 240.0}, "hardly larger"),
                                 ({"references": [(None, "outputVolume")] * 2}, "given more than once")):
            found = self.refine(**values).warnings()
            self.assertEqual(len(found), 1, (values, found))
            self.assertIn(sentence, found[0])

    def test_half_sets_that_are_none_are_warned_of(self):
        path = Path(self.getOutputPath("halves.sqlite"))
        for halves, words in (((1, 1), "The half-sets given are 1 where"), ((1, 2), None)):
            path.unlink(missing_ok=True)
            particles = SetOfParticles(filename=str(path))
            particles.copyInfo(self.simulation.outputParticles)
            for item in map(SetOfParticles.ITEM_TYPE.clone, self.simulation.outputParticles.iterItems()):
                item._rlnRandomSubset = Integer(halves[item.getObjId() % 2])
                particles.append(item)
            particles.write()
            particles.setObjId(10 ** 6)
            self.assertEqual(half_sets_of(particles), sorted(set(halves)))
            protocol = self.refine()
            protocol.inputParticles.set(particles)
            protocol.inputParticles.setExtended(None)
            found = protocol._warnings()
            self.assertEqual([words in sentence for sentence in found], [True] if words else [], found)
            particles.close()
        self.assertEqual(half_sets_of(self.simulation.outputParticles), [])

    def test_progress_is_told(self):
        protocol = self.refine()
        self.assertEqual(protocol.summary(), ["No iteration is finished yet."])
        folder = Path(protocol._getExtraPath("run"))
        folder.mkdir(parents=True)
        (folder / "history.json").write_text('[{"n_images": 600, "resolution_a": 49.0, "resolved_a": [null]}]')
        self.assertIn("the halves do not agree", protocol.summary()[0])
        (folder / "history.json").write_text('[{"n_images": 600, "resolved_a": [null]}, '
                                              '{"n_images": 900, "resolved_a": [21.34, null]}]')
        self.assertIn("2 iterations are finished, the last of them with 900 particles", protocol.summary()[0])
        self.assertIn("the halves agree to 21.3 Å", protocol.summary()[0])
        # of a version that did not tell what is evidence
        (folder / "history.json").write_text('[{"n_images": 600, "resolution_a": 49.0}]')
        self.assertIn("with 600 particles. 'Analyze", protocol.summary()[0])
