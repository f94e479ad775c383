"""The ab initio protocol in a real Scipion project: what it makes, what it cites, and what bad input is told."""
import importlib.util
import unittest
from pathlib import Path

import mrcfile
import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfParticles
from pwem.protocols import ProtImportVolumes
from pyworkflow.object import RELATION_SOURCE

from cryosgd_plugin.convert import table_from_set
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.abinitio.config import OPTIMISERS, QUADRATURES, AbInitioConfig
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.plugin import Plugin
from cryosgd_plugin.protocols import ProtCryosgdAbInitio, ProtCryosgdImportParticles
from cryosgd_plugin.tests.apoferritin import curve_to_model, least
from cryosgd_plugin.tests.protocol_project import DATA, Project, relations


class TestAbInitio(Project):
    def test_a_run_gives_volume_particles_and_fsc(self):
        protocol = self.ab_initio(maxParticles=200)
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        folder = ResultFolder(protocol._getExtraPath("run"))
        volume, particles = protocol.outputVolume, protocol.outputParticles
        self.assertEqual(volume.getDim(), (32, 32, 32))
        self.assertEqual(volume.getSamplingRate(), 8.0)
        halves = [read_volume(path)[0] for path in volume.getHalfMaps().split(",")]
        self.assertEqual([half.shape for half in halves], [(32, 32, 32)] * 2)
        self.assertGreater(fsc(*halves)[2], 0.5, "the halves are of one particle")
        # the particles are the input's, under their ids, with the engine's poses
        written, source = read_particles(folder.path("particles.star")), table_from_set(self.simulation.outputParticles)
        got = table_from_set(particles)
        self.assertTrue(particles.hasAlignmentProj())
        self.assertEqual(len(got), len(written))
        self.assertTrue(set(got.ids) <= set(source.ids))
        rows = np.searchsorted(source.ids, got.ids)
        np.testing.assert_array_equal(got.stack_index, source.stack_index[rows])
        order = np.argsort(written.extra["cryosgdParticleId"].astype(int))
        np.testing.assert_allclose(got.rotations, written.rotations[order], atol=1e-5)
        np.testing.assert_allclose(got.shifts_a, written.shifts_a[order], atol=1e-4)
        curve = protocol.outputFSC.getFirstItem()
        frequencies, values = curve.getData()
        self.assertEqual(len(frequencies), len(values))
        self.assertAlmostEqual(float(frequencies[0]), 1 / 256, places=6)
        self.assertEqual(protocol.summary()[0], folder.summary()["outcome"])
        self.assertIn("stochastic gradient descent", protocol.methods()[0])
        self.assertTrue(any("Punjani" in line for line in protocol.citations()))
        log = Path(protocol.getStdoutLog()).read_bytes()
        self.assertIn(b"\r", log, "progress lines that the log window merges")

    def test_apoferritin_from_a_random_start(self):
        """The main job: real particles, imported and reconstructed in a project without their poses."""
        star = DATA / "apoferritin" / "particles_72.star"
        if not star.exists():
            self.skipTest(f"the apoferritin set is not at {star}; set CRYOSGD_TEST_DATA to the folder of test data")
        imported = self.finished(ProtCryosgdImportParticles, starFile=str(star), readPoses=False)
        protocol = self.newProtocol(ProtCryosgdAbInitio, particleDiameter=140.0, symmetry="O", iterations=120,
                                    numberOfThreads=2)
        protocol.inputParticles.set(imported)
        protocol.inputParticles.setExtended("outputParticles")
        self.launchProtocol(protocol)
        volume = read_volume(protocol.outputVolume.getFileName())[0]
        curve, _, pixel = curve_to_model(volume, DATA / "apoferritin" / "halfmaps")
        self.assertGreaterEqual(least(curve, len(volume), pixel), 0.5, np.round(curve[:20], 2))

    def test_chain_with_other_settings_uses_each_in_the_engine(self):
        """Every field of the form reaches the engine: the run's own record says the same as the form."""
        protocol = self.ab_initio(symmetry="c2", seed=5, iterations=12, momentum=0.25, stepSizeStart=0.4,
                                  stepSizeEnd=0.2, significantPoses=0.02, shiftRange=12.0,
                                  symmetryStart=1.0,
                                  positivity=False, centring=False, start=1, maxParticles=150)
        self.launchProtocol(protocol)
        summary = ResultFolder(protocol._getExtraPath("run")).summary()
        self.assertEqual(AbInitioConfig.from_dict(summary["parameters"]), protocol.config())
        self.assertEqual(protocol.config().symmetry, "C2")

    def test_every_step_rule_and_quadrature_cites_its_paper(self):
        for choice, name in enumerate(OPTIMISERS):
            for scheme in range(len(QUADRATURES)):
                protocol = self.ab_initio(optimiser=choice, quadrature=scheme)
                keys = protocol._citations()
                self.assertEqual(len(set(keys)), len(keys))
                lines = " ".join(protocol.citations())
                for key in keys:
                    # a key that the plugin's list lacks would come out as it is
                    self.assertNotIn(key, lines, (name, lines))
        self.assertIn("Martens2010", self.ab_initio(optimiser=OPTIMISERS.index("hessian-free"))._citations())

    def test_bad_input_gets_a_sentence_before_computing(self):
        for values, sentence in (({"finalResolution": 5.0}, "beyond Nyquist"), ({"symmetry": "X9"}, "point group 'X9'"),
                                 ({"particleDiameter": 900.0}, "must lie between 0 and the box"),
                                 ({"initialResolution": 20.0}, "finer than the final one"),
                                 ({"numberOfClasses": 0}, "0 classes were asked for"),
                                 ({"restarts": 0}, "0 restarts were asked for"),
                                 ({"minibatchStart": None}, "one of the two fields of the minibatch is empty"),
                                 ({"iterations": None},
                                  f"iterations is empty; give a number, the default is {AbInitioConfig.iterations}"),
                                 ({"priorStrength": None}, "prior strength is empty"),
                                 ({"start": 2}, "a map to start from is asked for, but none is chosen"),
                                 ({"particleDiameter": None}, "Particle diameter")):
            errors = self.ab_initio(**values).validate()
            self.assertTrue(any(sentence.lower() in error.lower() for error in errors), (values, errors))

    def test_an_absent_gpu_is_refused_with_the_reason(self):
        usable, reason = Plugin.gpuReport()
        if usable:
            self.skipTest(f"a GPU is here: {reason}")
        errors = self.ab_initio(useGpu=True).validate()
        self.assertEqual(len(errors), 1)
        self.assertIn("A GPU is asked for, but none can be used", errors[0])
        self.assertIn(reason, errors[0])

    def test_particles_without_ctf_and_flipped_ones_are_refused(self):
        for change, sentence in ((lambda s: s.setHasCTF(False), "no CTF"),
                                 (lambda s: s.setIsPhaseFlipped(True), "phase-flipped")):
            protocol = self.ab_initio()
            particles = SetOfParticles(filename=self.simulation.outputParticles.getFileName())
            particles.loadAllProperties()
            particles.setObjId(10 ** 6)
            change(particles)
            protocol.inputParticles.set(particles)
            protocol.inputParticles.setExtended(None)
            self.assertTrue(any(sentence in error for error in protocol._validate()), protocol._validate())

    def test_a_start_from_a_map_uses_scipions_pixel_size(self):
        bare = Path(self.getOutputPath("bare.mrc"))
        with mrcfile.new(bare) as file:  # no pixel size in its header: that of the Scipion object counts
            file.set_data(read_volume(self.simulation.outputVolume.getFileName())[0])
        imported = self.finished(ProtImportVolumes, filesPath=str(bare), samplingRate=8.0)
        protocol = self.ab_initio(start=2, iterations=10, maxParticles=100)
        protocol.startVolume.set(imported)
        protocol.startVolume.setExtended("outputVolume")
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        self.assertEqual(read_volume(protocol._getExtraPath("start.mrc"))[1], 8.0)
        job = ResultFolder(protocol._getExtraPath("run")).job()
        self.assertEqual(job["parameters"]["start"], "map")
        self.assertIsNotNone(job["start_map"])
        self.assertIn("from a low-passed map", protocol.methods()[0])
        self.assertIn((RELATION_SOURCE, protocol.outputVolume.getObjId()), relations(protocol, imported))
