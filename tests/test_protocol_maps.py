"""The protocols that ask maps what they are: their symmetry, and whether they show the same structure."""
import importlib.util
import unittest

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import Volume, VolumeMask
from pyworkflow.object import RELATION_SOURCE, RELATION_TRANSFORM, Pointer
from pyworkflow.protocol import MODE_RESUME
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.hand import flip_volume
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.core.symmetry import rotate_volume, symmetrise
from cryosgd_plugin.io.result_folder import read_json
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.protocols import ProtCryosgdConsensus, ProtCryosgdFindSymmetry, ProtCryosgdSimulate
from cryosgd_plugin.protocols.protocol_consensus import file_names
from cryosgd_plugin.tests.abinitio_samples import BLOBS, density
from cryosgd_plugin.tests.protocol_project import Project, relations

BOX, PIXEL = 32, 6.0
OTHER = np.array([[50.0, 0, 0], [-50, 8, 5], [10, 45, 20], [0, -10, -45], [25, 25, 30], [-20, -30, 40.0]])


class OfMaps(Project):
    """A project whose maps are written here, held by one protocol."""

    def volume(self, name, voxels, pixel_size=PIXEL, halves=None, kind=Volume):
        path = self.getOutputPath(f"{name}.mrc")
        write_volume(path, voxels, pixel_size)
        volume = kind(location=path, objLabel=name)
        volume.setSamplingRate(pixel_size)
        if halves:
            volume.setHalfMaps(halves)
        return volume

    def holder(self, **outputs):
        holder = self.newProtocol(ProtCryosgdSimulate)
        self.saveProtocol(holder)
        holder._defineOutputs(**outputs)
        return holder

    def assert_refused(self, protocol, *sentences):
        errors = protocol.validate()
        for sentence in sentences:
            self.assertTrue(any(sentence in error for error in errors), errors)


class TestFindSymmetry(OfMaps):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.density = rotate_volume(symmetrise(density(BLOBS * 0.9 + 12, box=BOX, pixel=PIXEL), "D3"),
                                    Rotation.random(random_state=9).as_matrix()).astype(np.float32)

    def search(self, volume, **values):
        protocol = self.newProtocol(ProtCryosgdFindSymmetry, **{"resolution": 19.2, "maxFold": 4, **values})
        protocol.inputVolume.set(self.holder(outputVolume=volume))
        protocol.inputVolume.setExtended("outputVolume")
        return protocol

    def test_the_map_and_its_halves_come_onto_the_axes_of_its_group(self):
        noise = np.random.default_rng(0).normal(0, 0.03, (BOX,) * 3).astype(np.float32)
        halves = [self.volume(f"half{n}", self.density + sign * noise).getFileName() for n, sign in ((1, 1), (2, -1))]
        protocol = self.search(self.volume("map", self.density, halves=halves))
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.assertIn("not looked for yet", protocol.summary()[0])
        self.launchProtocol(protocol)
        turned = protocol.outputVolume
        self.assertEqual(turned.getSamplingRate(), PIXEL)
        voxels = read_volume(turned.getFileName())[0]
        self.assertGreater(fsc(voxels, symmetrise(voxels, "D3"))[1:10].min(), 0.95)
        first, second = (read_volume(half)[0] for half in turned.getHalfMaps(asList=True))
        np.testing.assert_allclose(0.5 * (first + second), voxels, atol=1e-3 * np.abs(voxels).max())
        self.assertGreater(np.std(first - second), 0.02)
        self.assertIn((RELATION_TRANSFORM, turned.getObjId()),
                      relations(protocol, protocol.inputVolume.getObjValue()))
        words = protocol.summary()
        self.assertTrue(words[0].startswith("D3 fits"), words)
        self.assertIn("on the axes of D3.", words[1])
        figures = {row["group"]: row for row in protocol.figures()["groups"]}
        for group in ("C2", "C3", "D3"):
            self.assertIn(f"{group}: {figures[group]['score']:.3f} ({figures[group]['expected']:.3f}), "
                          f"{figures[group]['weakest']:.2f}", words)
        self.assert_for_a_paper(protocol, "point groups up to 4-fold", "axes of D3; under the weakest operator")

        # continued with a group that is tried alone, the output is on its axes instead
        protocol.symmetry.set("c2")
        protocol.symmetrise.set(True)
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertIn("on the axes of C2, averaged over the group.", protocol.summary()[1])
        self.assertIn("onto the axes of C2 and averaged over the group", protocol.methods()[0])
        voxels = read_volume(protocol.outputVolume.getFileName())[0]
        self.assertGreater(fsc(voxels, symmetrise(voxels, "C2"))[1:].min(), 0.99)

    def test_a_map_without_symmetry_gives_words_and_no_map(self):
        protocol = self.search(self.volume("asymmetric", density(box=BOX, pixel=PIXEL)), maxFold=3)
        self.launchProtocol(protocol)
        self.assertFalse(hasattr(protocol, "outputVolume"))
        self.assertIn("Use C1", protocol.summary()[0])
        self.assertIn("No map is written", protocol.summary()[1])
        self.assertIn("No point group was found", protocol.methods()[0])

    def test_bad_input_gets_a_sentence(self):
        volume = self.volume("good", self.density)
        for values, sentence in (({"symmetry": "Z3"}, "Point group 'Z3' is not known"),
                                 ({"symmetry": "C1"}, "C1 has no axes to look for"),
                                 ({"maxFold": 1}, "A largest fold of 1 is not between 2 and 60"),
                                 ({"resolution": -1.0}, "A resolution of -1 Å is not positive"),
                                 ({"resolution": 5.0}, "give a resolution between 12 and 64 Å")):
            self.assert_refused(self.search(volume, **values), sentence)
        self.assert_refused(self.search(self.volume("one", self.density, halves=[volume.getFileName()])),
                            "1 half-maps where there should be two")
        flat = self.volume("flat", self.density)
        flat.setFileName(self.getOutputPath("gone.mrc"))
        self.assert_refused(self.search(flat), "is not there; make or import it again")
        empty = self.search(self.volume("empty", np.zeros((BOX,) * 3, np.float32)))
        self.proj.launchProtocol(empty, wait=True)
        self.assertTrue(empty.isFailed())
        self.assertIn("is empty: every voxel is 0", empty.getErrorMessage())


class TestConsensus(OfMaps):
    def start(self, blobs, seed, hand=False):
        """One run's map: turned, moved, perhaps mirrored, with noise of its own."""
        rng = np.random.default_rng(seed)
        voxels = rotate_volume(density(blobs, box=BOX, pixel=PIXEL), Rotation.random(random_state=seed).as_matrix(),
                               rng.uniform(-1.5, 1.5, 3)) + rng.normal(0, 0.05, (BOX,) * 3)
        return self.volume(f"run {seed}", (flip_volume(voxels) if hand else voxels).astype(np.float32))

    def compare(self, *volumes, **values):
        mask = values.pop("mask", None)
        given = {f"output{n}": volume for n, volume in enumerate(volumes)}
        holder = self.holder(**given, **({"outputMask": mask} if mask else {}))
        protocol = self.newProtocol(ProtCryosgdConsensus, **{"resolution": 21.0, **values})
        for name in given:
            protocol.inputVolumes.append(Pointer(holder, extended=name))
        if mask:
            protocol.inputMask.set(holder)
            protocol.inputMask.setExtended("outputMask")
        return protocol

    def test_maps_that_agree_their_mean_and_the_odd_one(self):
        protocol = self.compare(self.start(BLOBS, 1), self.start(OTHER, 2), self.start(BLOBS, 3, hand=True),
                                self.start(BLOBS, 4))
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.assertIn("not compared yet", protocol.summary()[0])
        self.launchProtocol(protocol)
        aligned = [volume.clone() for volume in protocol.outputVolumes]
        self.assertEqual([(volume.getObjLabel(), volume._cryosgdAgrees.get()) for volume in aligned],
                         [("run 1", True), ("run 2", False), ("run 3", True), ("run 4", True)])
        consensus = protocol.outputVolume
        self.assertFalse(consensus.hasHalfMaps())
        mean = read_volume(consensus.getFileName())[0]
        for volume in aligned:
            shells = fsc(read_volume(volume.getFileName())[0], mean)[1:8]
            (self.assertGreater if volume._cryosgdAgrees.get() else self.assertLess)(shells.min(), 0.8)
        curves = {curve.getObjLabel(): curve.getData()[1] for curve in protocol.outputFSC}
        pairs = {name: values for name, values in curves.items() if name != "mean of pairs"}
        self.assertEqual(len(pairs), 6)
        np.testing.assert_allclose(curves["mean of pairs"], np.mean(list(pairs.values()), axis=0), atol=1e-6)
        words = protocol.summary()
        self.assertTrue(words[0].startswith("3 of 4 maps show the same structure"), words)
        self.assertIn("run 1 and run 2: ", words[1])
        self.assertIn("The consensus is the mean of run ", words[2])
        self.assert_for_a_paper(protocol, "Those that agree, 3, were brought to one spectrum")
        self.assertEqual({relation for relation, _ in relations(protocol, protocol.inputVolumes[0].getObjValue())},
                         {RELATION_SOURCE})

        # continued with maps of which none agree, the former consensus goes
        del protocol.inputVolumes[2:]
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        again = self.reopened(protocol)
        self.assertEqual({name for name, _ in again.iterOutputAttributes()}, {"outputVolumes", "outputFSC"})
        self.assertEqual(again.outputVolumes.getSize(), 2)
        self.assertIn("There is no consensus", protocol.summary()[2])

    def test_within_a_mask_all_come_onto_the_first_map(self):
        mask = self.volume("mask", soft_sphere(BOX, 12, 3).astype(np.float32), kind=VolumeMask)
        first = self.start(BLOBS, 5)
        protocol = self.compare(first, self.start(BLOBS, 6), mask=mask)
        self.launchProtocol(protocol)
        self.assertEqual(read_json(protocol._getExtraPath("run", "consensus.json"))["reference"], "run 5")
        moved = next(iter(protocol.outputVolumes)).clone()
        np.testing.assert_allclose(read_volume(moved.getFileName())[0], read_volume(first.getFileName())[0], atol=1e-4)

    def test_bad_input_gets_a_sentence(self):
        one, other = self.start(BLOBS, 7), self.start(BLOBS, 8)
        coarse = self.volume("coarse", density(box=24, pixel=8.0), 8.0)
        self.assertEqual(len(self.compare().validate()), 1)     # Scipion's own: nothing is given
        self.assert_refused(self.compare(one), "1 map is given, where two or more are needed")
        self.assert_refused(self.compare(one, coarse), "run 7 has 32 px at 6 Å/px, coarse 24 px at 8 Å/px",
                            "bring them to one grid with 'align volumes'")
        self.assert_refused(self.compare(one, other, resolution=4.0), "give a resolution between 12 and 64 Å")
        self.assert_refused(self.compare(one, other, particleDiameter=500.0), "500 Å does not fit the box of 192 Å")
        mask = self.volume("small mask", soft_sphere(24, 8, 3).astype(np.float32), kind=VolumeMask)
        self.assert_refused(self.compare(one, other, mask=mask), "Mask of 24 × 24 × 24 px differs")

    def test_names_of_files(self):
        self.assertEqual(file_names(["class 1 (1,200 particles)", "a/b%c", "..", "x" * 99]),
                         ["class 1 (1,200 particles)", "a_b_c", "map", "x" * 60])
        self.assertEqual(file_names(["a", "b", "a"]), ["01 a", "02 b", "03 a"])
