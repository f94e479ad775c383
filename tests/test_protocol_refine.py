"""The refinement protocol in a real Scipion project: what it makes, what can be chained, what bad input is told."""
import importlib.util
import os
import unittest
from pathlib import Path

import mrcfile
import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfParticles, Volume, VolumeMask
from pwem.protocols import ProtImportMask
from pyworkflow.object import RELATION_SOURCE, RELATION_TRANSFORM, Pointer

from cryosgd_plugin.convert import half_sets_of, table_from_set, table_from_star
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.protocols import ProtCryosgdImportParticles
from cryosgd_plugin.tests.protocol_project import Project, relations


class TestRefine(Project):
    """One map from one reference, and what others make of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_of_one = cls.launchProtocol(cls.refine())

    def as_written(self, protocol):
        """The run's particles in the order of their Scipion ids."""
        table = table_from_star(ResultFolder(protocol._getExtraPath("run")).path("particles.star"))
        return table.take(np.argsort(table.ids))

    def test_map_half_maps_mask_and_curves(self):
        run = self.reopened(self.run_of_one)
        self.assertEqual({name for name, _ in run.iterOutputAttributes()},
                         {"outputVolume", "outputParticles", "outputFSC", "outputMask"})
        volume, truth = run.outputVolume, read_volume(self.simulation.outputVolume.getFileName())[0]
        self.assertEqual((volume.getDim(), volume.getSamplingRate()), ((32, 32, 32), 8.0))
        self.assertGreater(fsc(read_volume(volume.getFileName())[0], truth)[4], 0.8)
        halves = [read_volume(path)[0] for path in volume.getHalfMaps().split(",")]
        curves = {curve.getObjLabel(): np.array(curve.getData(), float) for curve in run.outputFSC}
        self.assertEqual(list(curves), [f"half-maps, {word}" for word in
                                        ("unmasked", "masked", "randomised", "corrected")])
        frequencies, values = curves["half-maps, unmasked"]
        self.assertAlmostEqual(frequencies[0], 1 / 256, places=6)
        np.testing.assert_allclose(values, fsc(*halves)[1:], atol=1e-3)
        mask = run.outputMask
        self.assertIsInstance(mask, VolumeMask)
        self.assertEqual((mask.getDim(), mask.getSamplingRate()), ((32, 32, 32), 8.0))
        masked = fsc(*halves, mask=read_volume(mask.getFileName())[0])[1:]
        np.testing.assert_allclose(curves["half-maps, masked"][1], masked, atol=1e-3)

    def test_particles_keep_their_ids_and_get_all_that_was_found(self):
        particles, written = self.run_of_one.outputParticles, self.as_written(self.run_of_one)
        got, source = table_from_set(particles), table_from_set(self.simulation.outputParticles)
        self.assertTrue(particles.hasAlignmentProj())
        np.testing.assert_array_equal(got.ids, source.ids)
        np.testing.assert_array_equal(got.stack_index, source.stack_index)
        np.testing.assert_allclose(got.rotations, written.rotations, atol=1e-5)
        np.testing.assert_allclose(got.shifts_a, written.shifts_a, atol=1e-4)
        np.testing.assert_array_equal(got.half_set, written.half_set)
        self.assertEqual(np.bincount(got.half_set).tolist(), [0, 120, 120])
        given = read_particles(self.run_of_one._getExtraPath("input_particles.star")).extra
        found = set(written.extra) - set(given)
        self.assertIn("cryosgdEntropy", found)
        for tag in found:
            np.testing.assert_allclose(got.extra[tag], written.extra[tag].astype(float), atol=1e-6, err_msg=tag)

    def test_relations_summary_methods_and_citations(self):
        run = self.run_of_one
        made_of = relations(run, self.simulation)
        for name in ("outputVolume", "outputMask", "outputFSC"):
            self.assertIn((RELATION_SOURCE, getattr(run, name).getObjId()), made_of, name)
        self.assertIn((RELATION_TRANSFORM, run.outputParticles.getObjId()), made_of)
        summary = ResultFolder(run._getExtraPath("run")).summary()
        self.assertEqual(run.summary()[0], summary["outcome"])
        words = run.methods()[0]
        for part in ("A map was refined from 240 particles by a branch-and-bound search", "120 and 120 particles",
                     "low-passed to 50 Å", f"agree to {summary['resolution_a']:.1f} Å"):
            self.assertIn(part, words)
        for key in run._citations():
            # a key that the plugin's list lacks would come out as it is
            self.assertNotIn(key, " ".join(run.citations()), key)
            self.assertIn(f"[{key}]", words) if key != "Gorski2005" else None
        self.assertIn("[Scheres2012]", words)
        self.assertNotIn("Scheres2012", self.refine(marginal=1)._citations())

    def test_a_second_refinement_keeps_the_half_sets_and_takes_map_and_mask(self):
        first = self.run_of_one
        again = self.refine(first, [(first, "outputVolume")], maxParticles=100, initialResolution=40.0)
        again.inputMask.set(first)
        again.inputMask.setExtended("outputMask")
        self.assertEqual(again.validate(), [])
        self.launchProtocol(again)
        before, after = self.as_written(first), self.as_written(again)
        self.assertEqual(len(after), 100)
        np.testing.assert_array_equal(after.half_set, before.half_set[np.searchsorted(before.ids, after.ids)])
        np.testing.assert_allclose(read_volume(again.outputMask.getFileName())[0],
                                   read_volume(first.outputMask.getFileName())[0], atol=1e-6)
        parameters = ResultFolder(again._getExtraPath("run")).summary()["parameters"]
        self.assertEqual(RefineConfig.from_dict(parameters), again.config())
        self.assertEqual(again.config().mask, "map")
        self.assertIn((RELATION_SOURCE, again.outputVolume.getObjId()), relations(again, first))
        for output in (again.outputVolume, again.outputFSC):
            sources = {row["object_parent_extended"] for row in again.getRelations()
                       if row["object_child_id"] == output.getObjId() and row["name"] == RELATION_SOURCE}
            self.assertEqual(sources, {"outputParticles", "outputVolume", "outputMask"})

    def test_imported_poses_are_not_read(self):
        star = self.simulation._getExtraPath("run", "truth.star")
        imported = self.finished(ProtCryosgdImportParticles, starFile=star)
        self.assertTrue(imported.outputParticles.hasAlignmentProj())
        protocol = self.launchProtocol(self.refine(imported, maxParticles=60))
        self.assertNotIn("rlnAngleRot", Path(protocol._getExtraPath("input_particles.star")).read_text())
        self.assertEqual(protocol.outputParticles.getSize(), 60)

    def test_relions_post_process_takes_it(self):
        if importlib.util.find_spec("relion") is None:
            self.skipTest("scipion-em-relion is not installed here")
        import relion
        from relion.protocols import ProtRelionPostprocess
        run = self.run_of_one
        post = self.newProtocol(ProtRelionPostprocess)
        classes = post.getParam("protRefine").pointerClass.get().replace(" ", "").split(",")
        self.assertTrue(set(classes) & {base.__name__ for base in type(run).__mro__}, "its form offers our run")
        post.protRefine.set(run)
        post.solventMask.set(run)
        post.solventMask.setExtended("outputMask")
        if not os.path.exists(relion.Plugin.getHome("bin", "relion_postprocess")):
            self.skipTest("RELION is not installed where RELION_HOME says; our run is a fitting input of its form")
        self.launchProtocol(post)
        self.assertEqual(post.outputVolume.getDim(), (32, 32, 32))


class TestRefineClasses(Project):
    """The classes of an ab initio run, refined together."""

    def test_from_ab_initio_classes_to_refined_ones(self):
        first = self.launchProtocol(self.ab_initio(numberOfClasses=2, iterations=10, minibatchStart=20, minibatchEnd=20,
                                                   maxParticles=150))
        for outputs, count in ((["outputClasses"], 2), (["outputVolumes"], 2), (["outputVolumes", "outputClasses"], 4)):
            protocol = self.refine(first, [(first, name) for name in outputs])
            self.assertEqual((protocol.validate(), protocol.config().classes), ([], count))
        protocol = self.refine(first, [(first, "outputClasses")], maxParticles=100)
        self.assertEqual(dict(protocol.iterOutputAttributes(includePossible=True)).keys(),
                         {"outputClasses", "outputVolumes", "outputParticles", "outputFSC", "outputMask"})
        self.launchProtocol(protocol)
        run = self.reopened(protocol)
        folder = ResultFolder(run._getExtraPath("run"))
        written = table_from_star(folder.path("particles.star"))
        sizes = np.bincount(written.class_id, minlength=3)[1:]
        self.assertEqual({item.getObjId(): item.getSize() for item in run.outputClasses},
                         {k + 1: size for k, size in enumerate(sizes) if size})
        self.assertEqual([Path(volume.getFileName()).name for volume in run.outputVolumes],
                         ["class001.mrc", "class002.mrc"])
        self.assertTrue(all(volume.hasHalfMaps() for volume in run.outputVolumes))
        self.assertEqual([curve.getObjLabel() for curve in run.outputFSC],
                         [f"class {k}, {word}" for k in (1, 2) for word in
                          ("unmasked", "masked", "randomised", "corrected")])
        got = table_from_set(run.outputParticles)
        posterior = np.array([got.extra[f"cryosgdClass00{k}Posterior"] for k in (1, 2)])
        np.testing.assert_allclose(posterior.sum(axis=0), 1, atol=1e-3)
        self.assertIn("2 maps were refined from 100 particles", run.methods()[0])
        self.assertIn(f"(class 2, {sizes[1]} particles)", run.methods()[0])
        for number in (1, 2):
            # the references are the classes' maps, as they are
            path = run._getExtraPath(f"reference{number:03d}.mrc")
            np.testing.assert_array_equal(read_volume(path)[0],
                                          read_volume(first._getExtraPath("run", f"class{number:03d}.mrc"))[0])


class TestRefineInput(Project):
    """What is told before anything is computed."""

    def test_bad_settings_get_the_engines_sentence(self):
        for values, sentence in (({"symmetry": "X9"}, "point group 'X9'"), ({"initialResolution": 5.0}, "Nyquist"),
                                 ({"particleDiameter": 900.0}, "must lie between 0 and the box"),
                                 ({"sharedResolution": 45.0}, "halves would share"),
                                 ({"deviations": None}, "deviations is empty; give a number, the default is 4.0"),
                                 ({"iterations": 0}, "0 iterations are too few"),
                                 ({"maxParticles": 1}, "max particles 1 must be at least 2"),
                                 ({"particleDiameter": None}, "Particle diameter")):
            errors = self.refine(**values).validate()
            self.assertTrue(any(sentence.lower() in error.lower() for error in errors), (values, errors))

    def test_without_a_reference_nothing_starts(self):
        errors = self.refine(references=()).validate()
        self.assertTrue(any("Reference map" in error for error in errors), errors)

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
        from pyworkflow.object import Integer
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
        (folder / "history.json").write_text('[{"iteration": 1, "resolution_a": null}]')
        self.assertIn("the halves do not agree", protocol.summary()[0])
        (folder / "history.json").write_text('[{"resolution_a": null}, {"resolution_a": 21.34}]')
        self.assertIn("2 iterations are finished", protocol.summary()[0])
        self.assertIn("the halves agree to 21.3 Å", protocol.summary()[0])
