"""The protocols that bring particles into a Scipion project: simulated ones and those of a STAR file."""
import importlib.util
import os
import unittest
from pathlib import Path

import mrcfile
import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from cryosgd_plugin.convert import table_from_set
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.protocols import ProtCryosgdImportParticles, ProtCryosgdSimulate
from cryosgd_plugin.tests.protocol_project import DATA, Project


class TestSimulate(Project):
    def test_outputs_are_what_the_engine_wrote(self):
        particles, volume = self.simulation.outputParticles, self.simulation.outputVolume
        self.assertEqual((particles.getSize(), particles.getXDim(), particles.getSamplingRate()), (240, 32, 8.0))
        self.assertTrue(particles.hasCTF())
        self.assertFalse(particles.hasAlignmentProj(), "true poses were not asked for")
        self.assertEqual(volume.getSamplingRate(), 8.0)
        table = table_from_set(particles)
        truth = read_particles(self.simulation._getExtraPath("run", "truth.star"))
        np.testing.assert_allclose(np.sort(table.defocus_u), np.sort(truth.defocus_u), atol=1e-3)
        with mrcfile.mmap(table.stack_paths[0]) as stack:
            self.assertEqual(stack.data.shape, (240, 32, 32))
        self.assertIn("Simulated 240 images", self.simulation.summary()[0])
        self.assertIn("without their true poses", self.simulation.summary()[1])
        self.assert_for_a_paper(self.simulation, "noise at a signal-to-noise ratio of 0.5", "in uniformly distributed")

    def test_maps_of_the_project_are_projected_with_their_poses(self):
        protocol = self.newProtocol(ProtCryosgdSimulate, source=1, nParticles=20, boxSize=32, pixelSize=8.0,
                                    addNoise=False, keepPoses=True, fractions="0.75, 0.25")
        for _ in range(2):
            protocol.inputVolumes.append(self.simulation)
            protocol.inputVolumes[-1].setExtended("outputVolume")
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        self.assertTrue(protocol.outputParticles.hasAlignmentProj())
        self.assertEqual(protocol.outputVolumes.getSize(), 2)
        table = table_from_set(protocol.outputParticles)
        truth = read_particles(protocol._getExtraPath("run", "truth.star"))
        np.testing.assert_allclose(table.rotations, truth.rotations, atol=1e-6)
        np.testing.assert_allclose(table.shifts_a, truth.shifts_a, atol=1e-5)

    def test_bad_values_get_a_sentence(self):
        for values, sentence in (({"boxSize": 8}, "Box 8 px is too small"), ({"snr": -1.0}, "SNR -1.0 is not positive"),
                                 ({"source": 1}, "Choose at least one map or model")):
            protocol = self.newProtocol(ProtCryosgdSimulate, **values)
            self.assertTrue(any(sentence in error for error in protocol.validate()), protocol.validate())

    def test_odd_settings_are_told(self):
        for values, sentence in (({"snr": 50.0}, "leaves hardly any noise"),
                                 ({"boxSize": 50, "pixelSize": 2.0}, "The images are 100 Å wide and the phantom")):
            warning, = self.newProtocol(ProtCryosgdSimulate, **values).warnings()
            self.assertIn(sentence, warning)
        for box, pixel_size, sentence in ((16, 8.0, "a map's box 256 Å: what the map holds beyond"),
                                          (64, 4.0, "a map 8 Å/px: nothing finer than 16 Å"), (32, 8.0, None)):
            protocol = self.newProtocol(ProtCryosgdSimulate, source=1, boxSize=box, pixelSize=pixel_size)
            protocol.inputVolumes.append(self.simulation)
            protocol.inputVolumes[-1].setExtended("outputVolume")
            words = protocol.warnings()
            self.assertEqual(len(words), 0 if sentence is None else 1)
            self.assertTrue(sentence is None or sentence in words[0], words)
        self.assertEqual(self.newProtocol(ProtCryosgdSimulate).warnings(), [])


class TestImport(Project):
    def test_numbers_in_other_units_are_told(self):
        usual = {"pixelSize": 1.06, "voltage": 300.0, "sphericalAberration": 2.7, "amplitudeContrast": 0.1}
        self.assertEqual(self.newProtocol(ProtCryosgdImportParticles, starFile=__file__, **usual).warnings(), [])
        odd = {"pixelSize": 0.106, "voltage": 300000.0, "sphericalAberration": 2700.0, "amplitudeContrast": 7.0}
        words = self.newProtocol(ProtCryosgdImportParticles, starFile=__file__, **odd).warnings()
        self.assertEqual(len(words), 4)
        self.assertIn("The amplitude contrast of 7 is unusual, 0 to 0.5 is not: it is a fraction, not in %.", words)

    def test_import_of_a_star_file_links_or_copies(self):
        star = os.path.abspath(self.simulation._getExtraPath("run", "truth.star"))
        wanted = read_particles(star)
        for copy_files in (False, True):
            protocol = self.finished(ProtCryosgdImportParticles, starFile=star, copyFiles=copy_files)
            table = table_from_set(protocol.outputParticles)
            self.assertEqual(os.path.islink(table.stack_paths[0]), not copy_files)
            self.assertTrue(table.stack_paths[0].startswith(os.path.abspath(protocol.getPath())))
            np.testing.assert_allclose(table.rotations, wanted.rotations, atol=1e-6)
            np.testing.assert_allclose(table.shifts_a, wanted.shifts_a, atol=1e-6)
            np.testing.assert_allclose(table.defocus_u, wanted.defocus_u, atol=1e-6)
            self.assertIn("240 particles of 32 px at 8 Å/px", protocol.summary()[0])
        bare = self.finished(ProtCryosgdImportParticles, starFile=star, readPoses=False)
        self.assertFalse(bare.outputParticles.hasAlignmentProj())
        self.assert_for_a_paper(bare, "240 particle images of 32 px at 8 Å/px were imported with their CTF from a STAR")

    def test_missing_file_and_missing_stack_get_a_sentence(self):
        protocol = self.newProtocol(ProtCryosgdImportParticles, starFile="/nowhere/x.star")
        self.assertIn("/nowhere/x.star does not exist", protocol.validate()[0])
        star = Path(self.getOutputPath("lost.star"))
        text = Path(self.simulation._getExtraPath("run", "particles.star")).read_text()
        star.write_text(text.replace("particles.mrcs", "lost.mrcs"))
        protocol = self.newProtocol(ProtCryosgdImportParticles, starFile=str(star))
        self.proj.launchProtocol(protocol, wait=True)
        self.assertTrue(protocol.isFailed())
        self.assertIn("lost.mrcs", protocol.getErrorMessage())

    def test_what_is_odd_about_the_stacks_stays_in_the_summary(self):
        folder = Path(self.getOutputPath("odd"))
        folder.mkdir(parents=True)
        run = Path(self.simulation._getExtraPath("run"))
        stack = bytearray((run / "particles.mrcs").read_bytes())
        # nz: five images fewer than the file holds and the particles ask for
        stack[8:12] = (240 - 5).to_bytes(4, "little")
        (folder / "particles.mrcs").write_bytes(stack)
        (folder / "particles.star").write_text((run / "particles.star").read_text())
        protocol = self.finished(ProtCryosgdImportParticles, starFile=str(folder / "particles.star"))
        self.assertTrue(any("235" in line for line in self.reopened(protocol).summary()[1:]),
                        self.reopened(protocol).summary())

    def test_apoferritin(self):
        star = DATA / "apoferritin" / "particles_72.star"
        if not star.exists():
            self.skipTest(f"the apoferritin set is not at {star}; set CRYOSGD_TEST_DATA to the folder of test data")
        protocol = self.finished(ProtCryosgdImportParticles, starFile=str(star))
        self.assertEqual(protocol.outputParticles.getSize(), 2563)
        self.assertAlmostEqual(protocol.outputParticles.getSamplingRate(), 2.666667, places=5)
