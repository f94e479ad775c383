"""Post-processing and validation in a project: outputs against the engine's files, words, and what is refused."""
import importlib.util
import os
import unittest
from pathlib import Path

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pwem.objects import AtomStruct, Volume, VolumeMask
from pyworkflow.protocol import MODE_RESUME

from cryosgd_plugin.io.fsc_star import read_fsc
from cryosgd_plugin.io.result_folder import read_json
from cryosgd_plugin.io.volumes import read_volume, write_volume
from cryosgd_plugin.protocols import (
    ProtCryosgdImportParticles,
    ProtCryosgdPostprocess,
    ProtCryosgdSimulate,
    ProtCryosgdValidate,
)
from cryosgd_plugin.tests.protocol_project import Project, flat, relations
from cryosgd_plugin.tests.validation_samples import BOX, HALVES, PIXEL, write_samples


def link(pointer, protocol, output):
    """Make an input point to another protocol's output."""
    pointer.set(protocol)
    pointer.setExtended(output)


class TestHalfMaps(Project):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = Path(cls.getOutputPath("samples"))
        cls.folder.mkdir(parents=True, exist_ok=True)
        write_samples(cls.folder)

    def volume(self, *halves, kind=Volume, file="half1.mrc"):
        volume = kind(location=str(self.folder / file))
        volume.setSamplingRate(PIXEL)
        if halves:
            # as RELION's protocols name them
            volume.setHalfMaps([f"{self.folder / half}:mrc" for half in halves])
        return volume

    def given(self, protocol_class, *, volume=None, mask=None, model=None, particles=None, **values):
        """(protocol with these objects as its inputs, the protocol whose outputs they are)"""
        holder = self.newProtocol(ProtCryosgdSimulate)
        self.saveProtocol(holder)
        objects = {"inputVolume": volume or self.volume(*HALVES), "inputMask": mask, "inputModel": model}
        protocol = self.newProtocol(protocol_class, **values)
        for name, obj in objects.items():
            if obj is not None:
                holder._defineOutputs(**{name.replace("input", "output"): obj})
                link(getattr(protocol, name), holder, name.replace("input", "output"))
        if particles is not None:
            link(protocol.inputParticles, particles, "outputParticles")
        return protocol, holder

    def test_everything_is_told_of_a_map(self):
        imported = self.finished(ProtCryosgdImportParticles, starFile=str(self.folder / "particles.star"))
        protocol, holder = self.given(
            ProtCryosgdValidate, mask=self.volume(kind=VolumeMask, file="mask.mrc"), particles=imported,
            model=AtomStruct(str(self.folder / "model.pdb")), scan=1.0, symmetry=" c2 ", bfactor=-30.0,
            mtfFile=str(self.folder / "mtf.star"), mtfPixelSize=1.5)
        self.assertEqual(protocol.validate(), [])
        self.assertEqual(len(protocol.warnings()), 1, "the particles' small box is odd, and nothing else")
        self.assertIn("box is 120 Å wide and the images'", protocol.warnings()[0])
        self.assertIn("not validated yet", protocol.summary()[0])
        self.launchProtocol(protocol)

        run = Path(protocol._getExtraPath("run"))
        said = read_json(run / "summary.json")
        self.assertEqual(protocol.summary()[:5], said["outcome"])
        self.assertIn("half-maps agree to", protocol.summary()[0])
        self.assertIn("600 views", protocol.summary()[3], "C2 doubles the 300 particles")
        self.assertEqual(said["postprocess"]["bfactor"], -30)
        self.assertAlmostEqual(said["postprocess"]["pixel_size"], PIXEL, places=5)
        volume, local = protocol.outputVolume, protocol.outputLocalResolution
        for output, name in ((volume, "volume.mrc"), (local, "local_resolution.mrc"),
                             (protocol.outputMask, "mask.mrc")):
            self.assertEqual(os.path.abspath(output.getFileName()), os.path.abspath(run / name))
            self.assertEqual((output.getSamplingRate(), output.getXDim()), (PIXEL, BOX))
        self.assertEqual([os.path.abspath(path) for path in volume.getHalfMaps(asList=True)],
                         [os.path.abspath(self.folder / half) for half in HALVES])
        self.assertIsInstance(protocol.outputMask, VolumeMask)
        np.testing.assert_array_equal(read_volume(protocol.outputMask.getFileName())[0],
                                      read_volume(self.folder / "mask.mrc")[0])
        curves = {curve.getObjLabel(): curve.clone().getData() for curve in protocol.outputFSC}
        self.assertLessEqual({"half-maps, corrected", "half-maps, unmasked", "map and model"}, set(curves))
        frequencies, values = read_fsc(run / "fsc.star")
        np.testing.assert_allclose(curves["half-maps, corrected"], [frequencies[1:], values["corrected"][1:]])
        outputs = {output.getObjId() for _, output in protocol.iterOutputAttributes()}
        for parent in (holder, imported):
            self.assertEqual(relations(protocol, parent), {("relation_datasource", child) for child in outputs})

        words = " ".join(protocol._methods())
        for part in ("divided by the detector's MTF", "B-factor of -30 Å², chosen by hand", "[Cardone2013]",
                     "[Tan2017]", "600 with symmetry mates", "300 atoms", "[Naydenova2017]"):
            self.assertIn(part, words)
        cited = protocol.getCitations()
        self.assertEqual(len(cited), 8)
        for key, reference in cited.items():
            self.assertNotEqual(key, reference, "a reference that the plugin lacks")
            self.assertIn(f"][{key}]]", " ".join(protocol.methods()), "where the text cites it, Scipion sets a link")

    def test_postprocess_alone(self):
        protocol, _ = self.given(ProtCryosgdPostprocess, maskThreshold=0.15, maskEdge=18.0)
        self.assertEqual((protocol.validate(), protocol.warnings()), ([], []))
        self.launchProtocol(protocol)
        said = read_json(Path(protocol._getExtraPath("run")) / "summary.json")
        self.assertEqual(said["mask_shape"], {"threshold": 0.15, "extend_a": 6.0, "edge_a": 18.0})
        self.assertEqual(protocol.summary()[0], said["outcome"])
        self.assertIn("The mask, made of the maps", protocol.summary()[0])
        self.assertIn("fitted to the Guinier plot", protocol.methods()[0])
        self.assertEqual({name for name, _ in protocol.iterOutputAttributes()},
                         {"outputVolume", "outputFSC", "outputMask"})

    def noise(self):
        """A Volume whose half-maps are independent noise."""
        rng = np.random.default_rng(3)
        for name in ("noise1.mrc", "noise2.mrc"):
            write_volume(self.folder / name, rng.standard_normal((BOX,) * 3), PIXEL)
        return self.volume("noise1.mrc", "noise2.mrc")

    def test_halves_that_are_noise_give_no_map(self):
        protocol, _ = self.given(ProtCryosgdValidate, volume=self.noise(),
                                 mask=self.volume(kind=VolumeMask, file="mask.mrc"))
        self.launchProtocol(protocol)
        self.assertIn("agree at no resolution", protocol.summary()[0])
        self.assertIn("agree at no resolution", protocol.methods()[0])
        self.assertEqual({name for name, _ in protocol.iterOutputAttributes()}, {"outputFSC", "outputMask"})

    def test_continued_with_halves_that_are_noise_the_former_map_is_no_output_any_more(self):
        protocol, holder = self.given(ProtCryosgdPostprocess, mask=self.volume(kind=VolumeMask, file="mask.mrc"))
        holder._defineOutputs(outputNoise=self.noise())
        self.launchProtocol(protocol)
        found = {name: output.getObjId() for name, output in protocol.iterOutputAttributes()}
        self.assertEqual(set(found), {"outputVolume", "outputFSC", "outputMask"})
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertEqual({name: output.getObjId() for name, output in self.reopened(protocol).iterOutputAttributes()},
                         found, "nothing was to do")
        protocol.inputVolume.setExtended("outputNoise")
        self.launchProtocol(protocol)
        for run in (protocol, self.reopened(protocol)):
            self.assertIn("agree at no resolution", run.summary()[0])
            self.assertEqual({name for name, _ in run.iterOutputAttributes()}, {"outputFSC", "outputMask"})

    def test_bad_input_gets_one_sentence(self):
        write_volume(self.folder / "small.mrc", np.ones((20,) * 3), PIXEL)
        for objects, values, sentence in (
                ({"volume": self.volume()}, {}, "has no half-maps; choose the map of a refinement"),
                ({"volume": self.volume("half1.mrc")}, {}, "has 1 half-maps where there should be two"),
                ({"volume": self.volume("half1.mrc", "gone.mrc")}, {}, "gone.mrc is not there; make or import"),
                ({"mask": self.volume(kind=VolumeMask, file="small.mrc")}, {}, "resample the mask to 40 px"),
                ({"mask": self.volume(kind=VolumeMask, file="gone.mrc")}, {}, "gone.mrc is not there"),
                ({"particles": self.simulation}, {}, "particles have no poses"),
                ({}, {"mtfFile": "gone.star"}, "The MTF gone.star is not there"),
                ({}, {"mtfPixelSize": 1.0}, "pixel size of the MTF is given without the MTF"),
                ({}, {"mtfFile": __file__, "mtfPixelSize": -1.0}, "pixel size of the MTF of -1.0 Å is not positive"),
                ({}, {"particleDiameter": 0.0}, "particle diameter of 0.0 Å is not positive"),
                ({}, {"maskThreshold": 0.0}, "A mask threshold of 0 of the brightest density is not between 0 and 1"),
                ({}, {"maskEdge": -2.0}, "edge of -2 Å is negative"),
                ({}, {"bfactor": -5000.0}, "B-factor of -5000.0 Å² is beyond"),
                ({}, {"seed": -1}, "Seed -1 is negative"), ({}, {"symmetry": "Z9"}, "Point group 'Z9' is not known"),
                ({}, {"localWindow": -5.0}, "window of -5.0 Å is not positive"),
                ({}, {"scan": 50.0}, "A scan of ±50%"),
                ({}, {"assembly": " "}, "assembly of the model is empty")):
            protocol, _ = self.given(ProtCryosgdValidate, **objects, **values)
            errors = protocol.validate()
            self.assertEqual(len(errors), 1, (sentence, errors))
            self.assertIn(sentence, errors[0])

    def test_an_engine_error_is_shown_in_its_words(self):
        protocol, _ = self.given(ProtCryosgdPostprocess, mtfFile=str(self.folder / "mtf.star"), mtfPixelSize=9.0)
        self.proj.launchProtocol(protocol, wait=True)
        self.assertTrue(protocol.isFailed())
        self.assertIn("correct the pixel size of the MTF", protocol.getErrorMessage())

    def test_odd_values_are_told(self):
        protocol, _ = self.given(ProtCryosgdValidate, bfactor=40.0, symmetry="D2", mtfFile=__file__)
        words = protocol.warnings()
        self.assertEqual(len(words), 3)
        for sentence, part in zip(words, ("which blurs the map", "detector pixels of 3 Å", "D2 counts only for")):
            self.assertIn(part, sentence)

    def test_another_symmetry_than_that_of_the_particles_run_is_told(self):
        run = self.refine(symmetry=" d2 ")
        self.saveProtocol(run)
        run.makePathsAndClean()
        particles = run._createSetOfParticles()
        particles.copyInfo(self.simulation.outputParticles)
        particles.copyItems(self.simulation.outputParticles)
        run._defineOutputs(outputParticles=particles)
        for symmetry, told in (("C1", True), ("D2", False)):
            protocol, _ = self.given(ProtCryosgdValidate, particles=run, symmetry=symmetry)
            words = [word for word in protocol.warnings() if "got their poses under D2, and C1 is given" in word]
            self.assertEqual(len(words), told)
        protocol, _ = self.given(ProtCryosgdValidate, particles=self.simulation, symmetry="D2")
        self.assertEqual([word for word in protocol.warnings() if "got their poses" in word], [], "no refinement")

    def test_the_form_is_short_and_explained(self):
        for protocol_class, visible in ((ProtCryosgdValidate, 8), (ProtCryosgdPostprocess, 5)):
            section = self.newProtocol(protocol_class).getDefinition().getSection("Input")
            fields = [(name, param, group) for name, param, group in flat(section) if param.help.hasValue()]
            self.assertEqual(len([1 for _, param, group in fields if not param.isExpert()]), visible)
            self.assertEqual([name for name, param, _ in fields if len(param.help.get()) < 60], [])
