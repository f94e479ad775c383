"""The refinement protocol in a real Scipion project: what it makes, and what can be chained."""
import importlib.util
import os
import unittest
from pathlib import Path

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import VolumeMask
from pyworkflow.object import RELATION_SOURCE, RELATION_TRANSFORM

from cryosgd_plugin.convert import table_from_set, table_from_star
from cryosgd_plugin.core.poses import angular_distance_deg
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

    def test_a_local_search_begins_at_the_poses(self):
        run = self.run_of_one
        near = self.launchProtocol(self.refine(run, [(run, "outputVolume")], search=2, localAngle=12.0,
                                               maxParticles=60))
        self.assertIn("rlnAngleRot", Path(near._getExtraPath("input_particles.star")).read_text())
        before, after = self.as_written(run), self.as_written(near)
        before = before.take(np.searchsorted(before.ids, after.ids))
        # the grid is coarse here: its nearest pose and a step of the climb may lie a little beyond the range
        moved = angular_distance_deg(before.rotations, after.rotations)
        self.assertLess(np.median(moved), 30)
        self.assertIn("within 12° and 5 Å of their former poses", near._methods()[0])

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
