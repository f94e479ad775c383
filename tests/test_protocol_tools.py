"""The small protocols in a project: symmetry expansion, the other hand, duplicates."""
import importlib.util
import unittest

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

import pyworkflow.utils as pwutils
from pwem.objects import Coordinate, Volume, VolumeMask
from pyworkflow.object import Float, Integer, Pointer

from cryosgd_plugin.convert import table_from_set
from cryosgd_plugin.core.expansion import MATE_TAG, PARENT_TAG
from cryosgd_plugin.core.hand import flip_poses, flip_volume
from cryosgd_plugin.core.poses import euler_to_matrix
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.core.symmetry import rotate_volume, symmetry_mates
from cryosgd_plugin.engines.reconstruct import reconstruct
from cryosgd_plugin.io.source import ParticleSource
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.protocols import (
    ProtCryosgdAlignVolumes,
    ProtCryosgdExpandSymmetry,
    ProtCryosgdFlipHand,
    ProtCryosgdRemoveDuplicates,
    ProtCryosgdSimulate,
    ProtCryosgdSplitByClass,
)
from cryosgd_plugin.protocols.map_inputs import maps_pointed_at
from cryosgd_plugin.tests.protocol_project import Project, relations


class Posed(Project):
    """The project's simulated particles once more, with poses."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.posed = cls.finished(ProtCryosgdSimulate, nParticles=60, boxSize=32, pixelSize=8.0, snr=0.5, keepPoses=True)

    @classmethod
    def with_particles(cls, protocol_class, particles, **values):
        protocol = cls.newProtocol(protocol_class, **values)
        protocol.inputParticles.set(particles)
        protocol.inputParticles.setExtended("outputParticles")
        return protocol


class TestExpandSymmetry(Posed):
    def test_expanded_particles(self):
        protocol = self.with_particles(ProtCryosgdExpandSymmetry, self.posed, symmetry="d3")
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.assertIn("not expanded yet", protocol.summary()[0])
        self.launchProtocol(protocol)
        given, output = self.posed.outputParticles, protocol.outputParticles
        self.assertEqual(output.getSize(), 360)
        self.assertTrue(output.hasAlignmentProj() and output.hasCTF())
        self.assertIn("60 particles in 6 poses each (D3): 360 rows", protocol.summary()[0])
        self.assert_for_a_paper(protocol, "with its 6 equivalent poses [Scheres2016], which gave 360", "under D3 in")
        self.assertTrue(any("Scheres" in line for line in protocol.citations()), protocol.citations())
        before, after = table_from_set(given), table_from_set(output)
        rows = np.repeat(np.arange(60), 6)
        np.testing.assert_array_equal(after.ids, np.arange(1, 361))
        np.testing.assert_array_equal(after.extra[PARENT_TAG], before.ids[rows])
        np.testing.assert_array_equal(after.extra[MATE_TAG], np.tile(np.arange(1, 7), 60))
        np.testing.assert_array_equal(after.stack_index, before.stack_index[rows])
        np.testing.assert_allclose(after.shifts_a, before.shifts_a[rows], atol=1e-6)
        mates = symmetry_mates(before.rotations, "D3")
        nearest = np.abs(after.rotations.reshape(60, 6, 1, 3, 3) - mates[:, None]).max(axis=(3, 4)).min(axis=2)
        self.assertLess(nearest.max(), 1e-6)
        halves = after.half_set.reshape(60, 6)
        self.assertTrue(np.all(halves == halves[:, :1]))
        self.assertEqual(np.bincount(halves[:, 0]).tolist(), [0, 30, 30])
        self.assertEqual({name for name, child in relations(protocol, self.posed)}, {"relation_datasource"})
        # the physics, in Scipion's poses: the map of the rows is the symmetric map of the particles
        with ParticleSource(before, box_size=32, diameter_a=250.0) as one, \
                ParticleSource(after, box_size=32, diameter_a=250.0) as other:
            symmetric, plain = reconstruct(one, before, symmetry="D3"), reconstruct(other, after)
        self.assertLess(np.abs(plain - symmetric).max(), 1e-3 * np.abs(symmetric).max())

        again = self.with_particles(ProtCryosgdExpandSymmetry, protocol, symmetry="C2")
        self.assertIn("expanded already", again.warnings()[0])
        self.launchProtocol(again)
        self.assertEqual(set(table_from_set(again.outputParticles).extra[PARENT_TAG]), set(before.ids))
        self.assertIn("300 of the 360 particles show an image", again.summary()[1])

        thin = self.with_particles(ProtCryosgdRemoveDuplicates, protocol, distance=0.0)
        self.assertEqual(thin.validate(), [])
        self.assertIn("only one of its mates", thin.warnings()[0])
        self.launchProtocol(thin)
        self.assertEqual(table_from_set(thin.outputParticles).extra[PARENT_TAG].tolist(), before.ids.tolist())

    def test_bad_input_gets_a_sentence(self):
        for particles, symmetry, sentence in (
                (self.posed, "", "Point group '' is not known"), (self.posed, "Z9", "Point group 'Z9' is not known"),
                (self.posed, "C1", "C1 has no mates to expand to"), (self.simulation, "C2", "have no poses")):
            protocol = self.with_particles(ProtCryosgdExpandSymmetry, particles, symmetry=symmetry)
            self.assertTrue(any(sentence in error for error in protocol.validate()), protocol.validate())


class TestFlipHand(Posed):
    def volume(self, name, seed, halves=None, kind=Volume):
        path = self.getOutputPath(name)
        density = np.random.default_rng(seed).normal(size=(32, 32, 32)).astype(np.float32)
        write_volume(path, density, 8.0)
        volume = kind(location=path)
        volume.setSamplingRate(8.0)
        if halves:
            volume.setHalfMaps([f"{half}:mrc" for half in halves])
        return path, density, volume

    def flip(self, volume, particles=None):
        holder = self.newProtocol(ProtCryosgdSimulate)
        self.saveProtocol(holder)
        holder._defineOutputs(outputVolume=volume)
        protocol = self.newProtocol(ProtCryosgdFlipHand)
        protocol.inputVolume.set(holder)
        protocol.inputVolume.setExtended("outputVolume")
        if particles is not None:
            protocol.inputParticles.set(particles)
            protocol.inputParticles.setExtended("outputParticles")
        return protocol

    def test_map_halves_and_particles(self):
        (path1, half1, _), (path2, half2, _) = (self.volume(f"half{n}.mrc", n) for n in (1, 2))
        _, density, volume = self.volume("map.mrc", 0, [path1, path2])
        protocol = self.flip(volume, self.posed)
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        flipped = protocol.outputVolume
        self.assertEqual(flipped.getSamplingRate(), 8.0)
        for name, wanted in zip([flipped.getFileName(), *flipped.getHalfMaps(asList=True)], (density, half1, half2)):
            self.assertTrue(name.startswith(protocol.getPath()))
            found, pixel_size = read_volume(name)
            np.testing.assert_array_equal(found, flip_volume(wanted))
            self.assertAlmostEqual(pixel_size, 8.0, places=5)
        before, after = table_from_set(self.posed.outputParticles), table_from_set(protocol.outputParticles)
        np.testing.assert_array_equal(after.ids, before.ids)
        np.testing.assert_allclose(after.rotations, flip_poses(before).rotations, atol=1e-6)
        np.testing.assert_allclose(after.shifts_a, before.shifts_a, atol=1e-6)
        self.assertEqual({name for name, _ in relations(protocol, self.posed)},
                         {"relation_transform", "relation_datasource"})
        self.assertIn("The map, its half-maps inverted", protocol.summary()[0])
        self.assertIn("60 particles", protocol.summary()[1])
        self.assert_for_a_paper(protocol, "the map and its half-maps were inverted", "poses of 60 particles")

    def test_a_mask_stays_a_mask_and_odd_input_is_told(self):
        _, density, mask = self.volume("mask.mrc", 3, kind=VolumeMask)
        protocol = self.flip(mask)
        self.launchProtocol(protocol)
        self.assertIsInstance(protocol.outputVolume, VolumeMask)
        self.assertFalse(protocol.outputVolume.hasHalfMaps() or hasattr(protocol, "outputParticles"))
        np.testing.assert_array_equal(read_volume(protocol.outputVolume.getFileName())[0], flip_volume(density))
        path, _, other = self.volume("other.mrc", 4)
        other.setSamplingRate(4.0)
        other.setHalfMaps([path])
        protocol = self.flip(other, self.simulation)
        self.assertTrue(any("1 half-maps where there should be two" in e for e in protocol.validate()))
        self.assertTrue(any("have no poses" in e for e in protocol.validate()))
        self.assertIn("box is 128 Å wide and the images' 256 Å", protocol.warnings()[0])


class TestRemoveDuplicates(Posed):
    def test_of_two_at_one_place_the_better_stays(self):
        """Simulated particles have no coordinates; a picker is played that found pairs of them."""
        given = self.posed.outputParticles
        picked = self.newProtocol(ProtCryosgdSimulate)
        self.saveProtocol(picked)
        pwutils.makePath(picked.getPath())
        output = picked._createSetOfParticles()

        def pick(item, _):
            number = item.getObjId()
            coordinate = Coordinate()
            # 1 and 2, 3 and 4 … are 10 px apart, the pairs 200 px
            coordinate.setPosition(100 * (number - number % 2) + 10 * (number % 2), 50)
            coordinate.setMicName("mic.mrc")
            item.setCoordinate(coordinate)
            item._score = Float(number % 4)
            item._rlnRandomSubset = Integer(1 + number % 2)
            matrix = item.getTransform().getMatrix()
            matrix[:3, 3] = 0  # no shifts
            item.getTransform().setMatrix(matrix)

        output.copyInfo(given)
        output.copyItems(given, updateItemCallback=pick)
        picked._defineOutputs(outputParticles=output)
        ids = np.array(sorted(item.getObjId() for item in output.iterItems()))
        pairs = [(a, a + 1) for a in ids if a % 2 == 0 and a + 1 in ids]
        self.assertGreater(len(pairs), 20)

        protocol = self.with_particles(ProtCryosgdRemoveDuplicates, picked, distance=21.0, micPixelSize=2.0,
                                       score="_score")
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        left = {item.getObjId() for item in protocol.outputParticles.iterItems()}
        # of a and a + 1, the scores are 0 and 1, or 2 and 3
        self.assertEqual(left, set(ids) - {a for a, _ in pairs})
        self.assertIn(f"{len(pairs)} of 60 particles are duplicates", protocol.summary()[0])
        self.assertIn("highest _score stayed", protocol.summary()[0])
        self.assert_for_a_paper(protocol, "closer than 21 Å to another one", f"which left {60 - len(pairs)} of 60")
        self.assertEqual({name for name, _ in relations(protocol, picked)},
                         {"relation_transform", "relation_datasource"})
        far = self.with_particles(ProtCryosgdRemoveDuplicates, picked, distance=300.0, micPixelSize=2.0)
        self.assertIn("300 Å is more than the images' box of 256 Å", far.warnings()[0])
        closer = self.with_particles(ProtCryosgdRemoveDuplicates, picked, distance=19.0, micPixelSize=2.0)
        self.launchProtocol(closer)
        self.assertEqual(closer.outputParticles.getSize(), 60)

    def test_bad_values_get_a_sentence(self):
        for values, sentence in (({}, "distance is empty"), ({"distance": -1.0}, "-1 Å is negative"),
                                 ({"distance": 5.0}, "pixel size is missing"),
                                 ({"distance": 5.0, "micPixelSize": 1.0}, "have no coordinates"),
                                 ({"distance": 0.0, "sameImage": False}, "nothing would be removed")):
            protocol = self.with_particles(ProtCryosgdRemoveDuplicates, self.posed, **values)
            self.assertTrue(any(sentence in error for error in protocol.validate()), protocol.validate())
        protocol = self.with_particles(ProtCryosgdRemoveDuplicates, self.posed, distance=0.0, score="_best")
        self.proj.launchProtocol(protocol, wait=True)
        self.assertTrue(protocol.isFailed())
        self.assertIn("no column best", protocol.getErrorMessage())


class TestSplitByClass(Posed):
    def split(self, source, **values):
        protocol = self.newProtocol(ProtCryosgdSplitByClass, **values)
        protocol.inputClasses.set(source)
        protocol.inputClasses.setExtended("outputParticles")
        return protocol

    def test_sets_of_classes(self):
        holder = self.newProtocol(ProtCryosgdSimulate)
        self.saveProtocol(holder)
        pwutils.makePath(holder.getPath())
        classified = holder._createSetOfParticles()

        def classify(item, _):
            item.setClassId(1 + item.getObjId() % 3)

        classified.copyInfo(self.posed.outputParticles)
        classified.copyItems(self.posed.outputParticles, updateItemCallback=classify)
        holder._defineOutputs(outputParticles=classified)
        ids = {number: {item.getObjId() for item in classified.iterItems() if 1 + item.getObjId() % 3 == number}
               for number in (1, 2, 3)}

        protocol = self.split(holder, classes="1, 3")
        self.assertEqual(protocol.validate(), [])
        self.launchProtocol(protocol)
        self.assertEqual({name: {item.getObjId() for item in output.iterItems()}
                          for name, output in protocol.iterOutputAttributes()},
                         {"outputParticles_class001": ids[1], "outputParticles_class003": ids[3]})
        self.assertTrue(protocol.outputParticles_class003.hasAlignmentProj())
        self.assertEqual(protocol.summary()[0], "Class 1: 20 particles.")
        self.assert_for_a_paper(protocol, "40 particles of classes 1 and 3 were taken on, each by itself")
        self.assertEqual(len(relations(protocol, holder)), 4)
        together = self.split(holder, classes="2-3", together=True)
        self.launchProtocol(together)
        self.assertEqual({item.getObjId() for item in together.outputParticles.iterItems()}, ids[2] | ids[3])
        self.assertIn("as one set", together.methods()[0])

        unsure = self.split(holder, minPosterior=0.9)
        self.proj.launchProtocol(unsure, wait=True)
        self.assertTrue(unsure.isFailed())
        self.assertIn("has no _cryosgdClass", unsure.getErrorMessage())

    def test_bad_values_get_a_sentence(self):
        for values, sentence in (({"classes": "one"}, "'one' is no class number"),
                                 ({"minPosterior": 2.0}, "posterior 2 is no probability")):
            protocol = self.split(self.posed, **values)
            self.assertTrue(any(sentence in error for error in protocol.validate()), protocol.validate())


class TestAlignVolumes(Project):
    """The simulation's true map, turned and mirrored, comes back into its frame."""

    def holder(self, **volumes):
        holder = self.newProtocol(ProtCryosgdSimulate)
        self.saveProtocol(holder)
        holder._defineOutputs(**volumes)
        return holder

    def volume(self, name, density, pixel_size=8.0):
        path = self.getOutputPath(name)
        write_volume(path, density, pixel_size)
        volume = Volume(location=path, objLabel=name)
        volume.setSamplingRate(pixel_size)
        return volume

    def test_maps_and_half_maps_in_the_references_frame(self):
        truth = read_volume(self.simulation.outputVolume.getFileName())[0]
        turned = rotate_volume(truth, euler_to_matrix(30, 50, 70)[0], (1.0, -2.0, 0.5)).astype(np.float32)
        one, other = self.volume("turned.mrc", turned), self.volume("mirrored.mrc", flip_volume(turned))
        halves = [self.volume(f"half{n}.mrc", share * turned) for n, share in ((1, 0.5), (2, 1.5))]
        one.setHalfMaps([half.getFileName() for half in halves])
        holder = self.holder(outputOne=one, outputOther=other)
        protocol = self.newProtocol(ProtCryosgdAlignVolumes, resolution=24.0)
        protocol.reference.set(self.simulation)
        protocol.reference.setExtended("outputVolume")
        for name in ("outputOne", "outputOther"):
            protocol.inputVolumes.append(Pointer(holder, extended=name))
        self.assertEqual(protocol.validate(), [])
        # the maps of two runs are often files of one name
        unnamed = Pointer(self.simulation, extended="outputVolume")
        self.assertEqual([label for label, _ in maps_pointed_at([unnamed, *protocol.inputVolumes])],
                         [self.simulation.getRunName(), "turned.mrc", "mirrored.mrc"])
        self.assertIn("not aligned yet", protocol.summary()[0])
        self.launchProtocol(protocol)
        first, second = [volume.clone() for volume in protocol.outputVolumes]
        for volume in (first, second):
            found, pixel_size = read_volume(volume.getFileName())
            self.assertAlmostEqual(pixel_size, self.simulation.outputVolume.getSamplingRate(), places=4)
            self.assertGreater(fsc(found, truth)[1:9].min(), 0.95)
        self.assertFalse(second.hasHalfMaps())
        sums = sum(read_volume(half)[0] for half in first.getHalfMaps(asList=True))
        np.testing.assert_allclose(0.5 * sums, read_volume(first.getFileName())[0], atol=1e-3 * np.abs(truth).max())
        words = protocol.summary()
        self.assertTrue(words[0].startswith("turned.mrc: correlation") and words[0].endswith("as it is."), words)
        self.assertTrue(words[1].endswith("mirrored."), words)
        self.assertEqual(words[2], "2 maps were brought into the reference's frame, 32 px at 8 Å/px.")
        self.assert_for_a_paper(protocol, "2 maps were aligned to a reference", "the shift and the hand of the highest "
                                "correlation up to 23.3 Å", "The correlation is at least 1.00.")

    def test_odd_input_is_told(self):
        # Scipion's own sentences: no reference, no maps
        self.assertEqual(len(self.newProtocol(ProtCryosgdAlignVolumes).validate()), 2)
        volume = self.volume("one.mrc", np.ones((32, 32, 32), np.float32))
        volume.setHalfMaps([volume.getFileName()])
        holder = self.holder(outputVolume=volume)
        protocol = self.newProtocol(ProtCryosgdAlignVolumes, resolution=-2.0)
        protocol.inputVolumes.append(Pointer(holder, extended="outputVolume"))
        protocol.reference.set(holder)
        protocol.reference.setExtended("outputVolume")
        self.assertIn("not positive", protocol.validate()[0])
        self.assertIn("1 half-maps where there should be two", protocol.validate()[1])
