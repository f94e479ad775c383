"""The ab initio protocol with several classes: its outputs, and what other protocols make of them."""
import importlib.util
import os
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import SetOfVolumes, Volume
from pwem.protocols import ProtClassesSelector, ProtUserSubSet
from pyworkflow.object import RELATION_SOURCE, RELATION_TRANSFORM
from pyworkflow.protocol import MODE_RESUME

from cryosgd_plugin.convert import table_from_set, table_from_star
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.protocol_project import Project, relations
from cryosgd_plugin.viewers.class_list import ClassList


class TestClasses(Project):
    """Two classes, from the run folder to what other protocols make of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_of_two = cls.launchProtocol(cls.two_classes())

    @classmethod
    def two_classes(cls, **values):
        return cls.ab_initio(numberOfClasses=2, **{"iterations": 10, "minibatchStart": 20, "minibatchEnd": 20,
                                                   "maxParticles": 150, **values})

    def as_written(self):
        """The run's particles in the order of their Scipion ids."""
        table = table_from_star(ResultFolder(self.run_of_two._getExtraPath("run")).path("particles.star"))
        return table.take(np.argsort(table.ids))

    def test_particles_carry_class_pose_and_posteriors(self):
        written, particles = self.as_written(), self.run_of_two.outputParticles
        got = table_from_set(particles)
        self.assertTrue(particles.hasAlignmentProj())
        np.testing.assert_array_equal(got.ids, written.ids)
        np.testing.assert_array_equal(got.class_id, written.class_id)
        np.testing.assert_allclose(got.rotations, written.rotations, atol=1e-5)
        posteriors = np.array([got.extra[f"cryosgdClass00{k}Posterior"] for k in (1, 2)])
        np.testing.assert_allclose(posteriors.sum(axis=0), 1, atol=1e-5)
        np.testing.assert_allclose(posteriors[0], written.extra["cryosgdClass001Posterior"].astype(float), atol=1e-6)

    def test_classes_hold_their_particles_and_maps(self):
        written, classes = self.as_written(), self.reopened(self.run_of_two).outputClasses
        self.assertEqual([c.getObjId() for c in classes], sorted(set(written.class_id.tolist())))
        self.assertEqual(classes.getImages().getObjId(), self.run_of_two.outputParticles.getObjId())
        for item in classes:
            number = item.getObjId()
            mine = written.take(np.flatnonzero(written.class_id == number))
            self.assertEqual(item.getSize(), len(mine))
            self.assertTrue(item.hasAlignmentProj())
            got = table_from_set(item)
            np.testing.assert_array_equal(got.ids, mine.ids)
            np.testing.assert_allclose(got.rotations, mine.rotations, atol=1e-5)
            np.testing.assert_allclose(got.shifts_a, mine.shifts_a, atol=1e-4)
            self.check_map(item.getRepresentative(), number)

    def test_volumes_are_a_set_with_half_maps(self):
        volumes = self.reopened(self.run_of_two).outputVolumes
        self.assertEqual((volumes.getSize(), volumes.getSamplingRate()), (2, 8.0))
        for volume in volumes:
            self.check_map(volume, volume.getObjId())
            self.assertEqual(volume.getObjLabel(), f"class {volume.getObjId()}")

    def check_map(self, volume, number):
        self.assertEqual(os.path.basename(volume.getFileName()), f"class{number:03d}.mrc")
        self.assertEqual((volume.getSamplingRate(), volume.getClassId()), (8.0, number))
        halves = volume.getHalfMaps().split(",")
        self.assertEqual([os.path.basename(half) for half in halves],
                         [f"class{number:03d}_half{h}.mrc" for h in (1, 2)])
        for half in halves:
            self.assertEqual(read_volume(half)[0].shape, (32, 32, 32))

    def test_curves_summary_methods_and_relations(self):
        run = self.run_of_two
        self.assertEqual([curve.getObjLabel() for curve in run.outputFSC], ["class 1, masked", "class 2, masked"])
        sizes = np.bincount(self.as_written().class_id, minlength=3)[1:]
        for number, size in enumerate(sizes, start=1):
            self.assertIn(f"class {number} with {size} particles ({size / 150:.0%})", run.summary()[0])
        self.assertIn("2 initial maps were reconstructed from 150 particles", run.methods()[0])
        self.assertIn(f"classes of {sizes[0]} and {sizes[1]} particles", run.methods()[0])
        self.assertFalse(hasattr(run, "outputVolume"))
        made_of = relations(run, self.simulation)
        for name in ("outputClasses", "outputVolumes", "outputFSC"):
            self.assertIn((RELATION_SOURCE, getattr(run, name).getObjId()), made_of, name)
        self.assertIn((RELATION_TRANSFORM, run.outputParticles.getObjId()), made_of)

    def test_a_class_taken_as_a_subset_can_be_used(self):
        classes = self.run_of_two.outputClasses
        largest = max(classes, key=lambda item: item.getSize()).getObjId()
        mine = self.as_written()
        mine = mine.take(np.flatnonzero(mine.class_id == largest))
        ids = Path(self.run_of_two._getExtraPath("selected.txt"))
        ids.write_text(str(largest))
        taken = {}
        for kind in ("SetOfParticles", "SetOfVolumes", "SetOfClasses3D"):
            subset = self.newProtocol(ProtUserSubSet, outputClassName=kind, sqliteFile=f"{ids},")
            subset.inputObject.set(self.run_of_two)
            subset.inputObject.setExtended("outputClasses")
            self.launchProtocol(subset)
            taken[kind] = next(output for _, output in subset.iterOutputAttributes())
        got = table_from_set(taken["SetOfParticles"])
        np.testing.assert_array_equal(got.ids, mine.ids)
        np.testing.assert_allclose(got.rotations, mine.rotations, atol=1e-5)
        self.check_map(taken["SetOfVolumes"].getFirstItem(), largest)
        self.assertEqual([item.getSize() for item in taken["SetOfClasses3D"]], [len(mine)])
        again = self.ab_initio(maxParticles=50)
        again.inputParticles.set(taken["SetOfParticles"])
        again.inputParticles.setExtended(None)
        self.assertEqual(again._validate(), [])
        selector = self.newProtocol(ProtClassesSelector, firstNElements=1)
        selector.inputClasses.set(self.run_of_two)
        selector.inputClasses.setExtended("outputClasses")
        self.launchProtocol(selector)
        got = table_from_set(selector.output)
        np.testing.assert_allclose(got.rotations, mine.rotations, atol=1e-5)

    def test_the_class_sheet_knows_sizes_resolutions_and_makes_a_set(self):
        summary = ResultFolder(self.run_of_two._getExtraPath("run")).summary()
        for name in ("outputClasses", "outputVolumes"):
            classes = ClassList(self.proj, getattr(self.run_of_two, name))
            self.assertEqual([entry.number for entry in classes.entries], [1, 2], name)
            self.assertEqual([entry.size for entry in classes.entries], summary["class_sizes"], name)
            self.assertEqual({entry.resolution_a for entry in classes.entries}, {None}, "an ab initio run states none")
            self.assertAlmostEqual(sum(entry.share for entry in classes.entries), 1)
            first = classes.entries[0]
            np.testing.assert_array_equal(first.opener().voxels, read_volume(
                self.run_of_two._getExtraPath("run", "class001.mrc"))[0])
            self.assertIn(f"{first.size} particles, {100 * first.share:.1f} %", first.in_words())
        with mock.patch.object(ResultFolder, "summary", lambda folder: {"resolution_a": [9.04, None]}):
            refined = ClassList(self.proj, self.run_of_two.outputClasses).entries
        self.assertEqual([entry.resolution_a for entry in refined], [9.04, None])
        self.assertTrue(refined[0].in_words().endswith("\n9.04 Å"))
        protocol = classes.particles_protocol([2])
        self.launchProtocol(protocol)
        mine = self.as_written()
        np.testing.assert_array_equal(table_from_set(protocol.outputParticles).ids, mine.ids[mine.class_id == 2])
        self.assertEqual(protocol.getObjLabel(), f"class 2 of {self.run_of_two.getRunName()}")
        with self.assertRaisesRegex(InputError, "no class is ticked"):
            classes.particles_protocol([])

    def test_maps_without_classes_have_no_particles_to_make(self):
        volumes = SetOfVolumes(filename=self.proj.getTmpPath("volumes.sqlite"))
        volumes.setSamplingRate(8.0)
        for number in (1, 2):
            volume = Volume(location=self.run_of_two._getExtraPath("run", f"class00{number}.mrc"))
            volume.setSamplingRate(8.0)
            volumes.append(volume)
        volumes.write()
        classes = ClassList(self.proj, volumes)
        self.assertEqual([entry.in_words() for entry in classes.entries],
                         ["class 1\nsize not known", "class 2\nsize not known"])
        with self.assertRaisesRegex(InputError, "no classes with particles beside them"):
            classes.particles_protocol([1])
        with self.assertRaisesRegex(InputError, "no class yet"):
            ClassList(self.proj, SetOfVolumes(filename=":memory:"))

    def test_classes_of_the_input_are_not_mistaken_for_the_results(self):
        protocol = self.ab_initio(self.run_of_two, iterations=10, maxParticles=40)
        self.launchProtocol(protocol)
        self.assertNotIn("rlnClassNumber", Path(protocol._getExtraPath("input_particles.star")).read_text())
        got, before = table_from_set(protocol.outputParticles), self.as_written()
        rows = np.searchsorted(before.ids, got.ids)
        np.testing.assert_array_equal(got.class_id, before.class_id[rows])

    def test_continue_with_one_class_replaces_the_outputs(self):
        protocol = self.launchProtocol(self.two_classes(maxParticles=60))
        protocol.runMode.set(MODE_RESUME)
        protocol.numberOfClasses.set(1)
        self.launchProtocol(protocol)
        for run in (protocol, self.reopened(protocol)):
            self.assertEqual({name for name, _ in run.iterOutputAttributes()},
                             {"outputVolume", "outputParticles", "outputFSC"})
        self.assertIn("A map from 60 particles", protocol.summary()[0])
