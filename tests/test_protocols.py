"""The protocols in a real Scipion project: chains, results, continue, restart, kill, and what bad input is told."""
import argparse
import dataclasses
import importlib.util
import json
import os
import signal
import sys
import time
import unittest
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import psutil

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

import pyworkflow as pw
from pwem.objects import SetOfParticles
from pwem.protocols import ProtClassesSelector, ProtImportVolumes, ProtUserSubSet
from pyworkflow.object import RELATION_SOURCE, RELATION_TRANSFORM
from pyworkflow.project import Manager
from pyworkflow.protocol import MODE_RESTART, MODE_RESUME, STATUS_ABORTED
from pyworkflow.protocol.params import ElementGroup, Group, Line
from pyworkflow.tests import BaseTest, setupTestProject

import cryosgd_plugin
from cryosgd_plugin.cli import abinitio
from cryosgd_plugin.constants import ENGINE_PYTHON
from cryosgd_plugin.convert import table_from_set, table_from_star
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.abinitio.config import OPTIMISERS, QUADRATURES, AbInitioConfig
from cryosgd_plugin.io.result_folder import ResultFolder, read_json
from cryosgd_plugin.io.runfolder import take_lock
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.plugin import Plugin
from cryosgd_plugin.protocols import ProtCryosgdAbInitio, ProtCryosgdImportParticles, ProtCryosgdSimulate
from cryosgd_plugin.protocols.ab_initio_advice import advice
from cryosgd_plugin.protocols.ab_initio_form import OPTIMISER_WORDS
from cryosgd_plugin.protocols.protocol_ab_initio import _words
from cryosgd_plugin.tests.apoferritin import curve_to_model, least

DATA = Path(os.environ.get("CRYOSGD_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TIMEOUT_S = 300


def flat(group):
    """(name, parameter, the group it is in) of a section, its groups and lines included."""
    for name, param in group.iterParams():
        yield name, param, group
        if isinstance(param, ElementGroup):
            yield from flat(param)


def relations(protocol, parent):
    """{(relation, id of the output)} that a protocol has noted of another one's outputs."""
    return {(row["name"], row["object_child_id"]) for row in protocol.getRelations()
            if row["object_parent_id"] == parent.getObjId()}


class Project(BaseTest):
    """A project with small simulated particles; each class of tests gets its own."""
    _labels = ["cryosgd"]

    @classmethod
    def setUpClass(cls):
        cls.came_from = os.getcwd()
        if "cryosgd_plugin" not in pw.Config.getDomain().getPlugins():
            raise unittest.SkipTest("CryoSGD is not installed as a plugin here (no entry point): run `make test`")
        pw.Config.getDomain().getProtocols()
        setupTestProject(cls)
        cls.simulation = cls.finished(ProtCryosgdSimulate, nParticles=240, boxSize=32, pixelSize=8.0, snr=0.5)

    @classmethod
    def tearDownClass(cls):
        os.chdir(cls.came_from)

    @classmethod
    def finished(cls, protocol_class, **values):
        protocol = cls.newProtocol(protocol_class, **values)
        assert protocol.validate() == []
        return cls.launchProtocol(protocol)

    @classmethod
    def ab_initio(cls, particles=None, **values):
        """A small and quick ab initio protocol, not launched."""
        values = {"particleDiameter": 140.0, "initialResolution": 60.0, "finalResolution": 24.0, "iterations": 30,
                  "minibatchStart": 30, "minibatchEnd": 60, "numberOfThreads": 2, **values}
        protocol = cls.newProtocol(ProtCryosgdAbInitio, **values)
        protocol.inputParticles.set(particles or cls.simulation)
        protocol.inputParticles.setExtended("outputParticles")
        return protocol

    @classmethod
    def reopened(cls, protocol):
        """The protocol as another Scipion would load it from the project's database."""
        return Manager().loadProject(cls.proj.getName(), chdir=False).getProtocol(protocol.getObjId())

    @classmethod
    def updated(cls, protocol):
        """The protocol with what its own process has stored since."""
        cls.proj._updateProtocol(protocol)
        return protocol


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


class TestImport(Project):
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

    def test_apoferritin(self):
        star = DATA / "apoferritin" / "particles_72.star"
        if not star.exists():
            self.skipTest(f"the apoferritin set is not at {star}; set CRYOSGD_TEST_DATA to the folder of test data")
        protocol = self.finished(ProtCryosgdImportParticles, starFile=str(star))
        self.assertEqual(protocol.outputParticles.getSize(), 2563)
        self.assertAlmostEqual(protocol.outputParticles.getSamplingRate(), 2.666667, places=5)


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


class TestAbInitioForm(Project):
    """Every field of the form, by way of the command line, to the engine's settings; and what odd choices are told."""
    # field of the engine's config → values of the form that change it alone
    CHANGES = {
        "diameter_a": [{"particleDiameter": 120.0}], "classes": [{"numberOfClasses": 3}],
        "symmetry": [{"symmetry": "d2"}],
        "initial_resolution_a": [{"initialResolution": 50.0}], "final_resolution_a": [{"finalResolution": 20.5}],
        "max_particles": [{"maxParticles": 77}], "seed": [{"seed": 9}], "start": [{"start": 1}],
        "iterations": [{"iterations": 123}], "minibatch": [{"minibatchStart": None, "minibatchEnd": None}],
        "march": [{"march": 1}], "held_out": [{"heldOut": 33}], "early_stop": [{"earlyStop": False}],
        "significant_poses": [{"significantPoses": 0.05}], "class_similarity": [{"classSimilarity": 0.3}],
        "symmetry_start": [{"symmetryStart": 0.6}],
        "optimiser": [{"optimiser": n} for n, name in enumerate(OPTIMISERS) if name != AbInitioConfig.optimiser],
        "step_size": [{"stepSizeStart": 0.7, "stepSizeEnd": 1e-05}], "momentum": [{"momentum": 0.25}],
        "sagd_minibatch": [{"sagdMinibatch": 50}], "preconditioner": [{"preconditioner": False}],
        "prior": [{"prior": 1}, {"prior": 2}], "prior_strength": [{"priorStrength": 2.5}],
        "positivity": [{"positivity": False}], "centring": [{"centring": False}],
        "shift_range_a": [{"shiftRange": 17.5}], "importance_sampling": [{"importanceSampling": False}],
        "oversampling": [{"oversampling": 4.25}], "quadrature": [{"quadrature": 1}]}

    def by_command_line(self, words):
        """The settings that `cryosgd abinitio` makes of these words for the simulated particles."""
        parser = argparse.ArgumentParser()
        abinitio.add_parser(parser.add_subparsers())
        arguments = parser.parse_args(["abinitio", "x.star", "-o", "run", *words])
        return arguments, abinitio.make_config(arguments, SimpleNamespace(pixel_size=8.0, box_size=32))

    def test_every_field_reaches_the_engine_by_the_command_line(self):
        usual = self.ab_initio().config()
        for field, changes in self.CHANGES.items():
            for values in changes:
                config = self.ab_initio(**values).config()
                changed = {name for name, value in config.to_dict().items() if value != getattr(usual, name)}
                self.assertLessEqual({field}, changed, values)
                self.assertLessEqual(changed, {field, "step_size"} if field == "optimiser" else {field})
                _, parsed = self.by_command_line(_words(config))
                self.assertEqual(json.loads(json.dumps(parsed.to_dict())), json.loads(json.dumps(config.to_dict())))

    def test_every_setting_of_the_engine_can_be_set_in_the_form(self):
        wanted = {field.name for field in dataclasses.fields(AbInitioConfig)} - {"pixel_size", "box_size"}
        self.assertEqual(set(self.CHANGES), wanted, "those of the particles excepted")

    def test_the_untouched_form_is_the_engines_default(self):
        protocol = self.newProtocol(ProtCryosgdAbInitio, particleDiameter=140.0, finalResolution=20.0)
        protocol.inputParticles.set(self.simulation)
        protocol.inputParticles.setExtended("outputParticles")
        self.assertEqual(protocol.config(), AbInitioConfig(pixel_size=8.0, box_size=32, diameter_a=140.0,
                                                           final_resolution_a=20.0))

    def test_the_map_to_start_from_is_passed_by_its_path(self):
        config = self.ab_initio(start=2).config()
        arguments, parsed = self.by_command_line(_words(config, "/a map.mrc"))
        self.assertEqual((arguments.start, parsed.start), ("/a map.mrc", "map"))

    def test_the_basic_form_is_short_and_every_choice_is_in_words(self):
        found = [entry for section in self.ab_initio().iterDefinitionSections()
                 if section.getLabel() in ("Input", "Method") for entry in flat(section)]
        visible = [name for name, param, _ in found if not isinstance(param, ElementGroup) and not param.isExpert()
                   and name not in ("useGpu", "gpuList")]
        self.assertLessEqual(len(visible), 10, visible)
        self.assertLessEqual({"numberOfClasses", "restarts"}, set(visible))
        for name, param, group in found:
            if not isinstance(param, Group) and not isinstance(group, Line):
                self.assertTrue(param.help.get(), f"{name} has no help")
        self.assertEqual(set(OPTIMISER_WORDS), set(OPTIMISERS))

    def test_odd_combinations_are_warned_of(self):
        many = 20000
        usual = {"pixel_size": 4.0, "box_size": 64, "diameter_a": 150.0}
        self.assertEqual(advice(AbInitioConfig(**usual), many, 1), [])
        for values, n, restarts, sentence in (
                ({}, 100, 1, "Only 100 particles will be used"), ({"max_particles": 90}, many, 1, "Only 90 particles"),
                ({"classes": 4}, 1200, 1, "300 for each"), ({"diameter_a": 250.0}, many, 1, "hardly larger"),
                ({"optimiser": "batch-em"}, 2000, 1, "for comparison only"),
                ({"optimiser": "projection-matching"}, many, 1, "very long"),
                ({"prior": "exponential", "positivity": False}, many, 1, "kept positive"),
                ({"march": "need"}, 600, 1, "60 held-out particles"), ({"start": "map"}, many, 3, "your map")):
            found = advice(AbInitioConfig(**{**usual, **values}), n, restarts)
            self.assertEqual(len(found), 1, (values, found))
            self.assertIn(sentence, found[0])
        self.assertIn("Only 100 particles", self.ab_initio(maxParticles=100).warnings()[0])

    def test_outputs_that_are_offered_follow_the_form(self):
        for values, wanted in (({}, {"outputVolume", "outputParticles", "outputFSC"}),
                               ({"numberOfClasses": 2, "restarts": 2},
                                {"outputClasses", "outputVolumes", "outputParticles", "outputFSC", "outputRestarts",
                                 "outputRestartsFSC"})):
            offered = dict(self.ab_initio(**values).iterOutputAttributes(includePossible=True))
            self.assertEqual(set(offered), wanted)
            self.assertTrue(all(isinstance(kind, type) for kind in offered.values()))


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


class TestRestarts(Project):
    def restarted(self, **values):
        protocol = self.ab_initio(**{"restarts": 2, "iterations": 10, "maxParticles": 60, "minibatchStart": 20,
                                     "minibatchEnd": 20, **values})
        self.launchProtocol(protocol)
        return protocol, read_json(protocol._getExtraPath("run", "restarts.json"))

    def test_restarts_give_their_maps_curves_and_verdict(self):
        protocol, report = self.restarted(seed=4)
        maps = protocol.outputRestarts
        self.assertEqual((maps.getSize(), maps.getSamplingRate()), (2, 8.0))
        found = [(volume.getObjLabel(), volume.getFileName(), volume._cryosgdSeed.get(), volume._cryosgdAgrees.get())
                 for volume in maps]
        run = protocol._getExtraPath("run")
        self.assertEqual(found, [(entry["name"], os.path.join(run, entry["file"]), seed, entry["agrees"])
                                 for seed, entry in zip((4, 5), report["maps"])])
        self.assertEqual(read_volume(found[1][1])[0].shape, (32, 32, 32))
        curves = {curve.getObjLabel(): np.array(curve.getData()) for curve in protocol.outputRestartsFSC}
        stated = read_table(os.path.join(run, "restarts_fsc.star"), "fsc")
        mean, spread = np.array(report["mean_fsc"])[1:], np.array(report["sd_fsc"])[1:]
        np.testing.assert_allclose(curves["mean of pairs"], [stated["rlnResolution"][1:].astype(float), mean],
                                   atol=1e-6)
        np.testing.assert_allclose(curves["mean - sd"][1], mean - spread, atol=1e-6)
        np.testing.assert_allclose(curves["mean + sd"][1], mean + spread, atol=1e-6)
        self.assertIn(report["verdict"], protocol.summary()[0])
        self.assertIn("The maps of 2 random seeds", protocol.methods()[0])
        self.assertTrue(protocol.outputVolume.hasHalfMaps())
        self.assertEqual(protocol.outputParticles.getSize(), 60)
        self.assertIn((RELATION_SOURCE, maps.getObjId()), relations(protocol, self.simulation))

    def test_restarts_of_classes_are_compared_class_by_class(self):
        protocol, report = self.restarted(numberOfClasses=2)
        self.assertEqual([volume.getObjLabel() for volume in protocol.outputRestarts],
                         [f"class {k}, {entry['name']}" for k, of_class in enumerate(report["classes"], start=1)
                          for entry in of_class["maps"]])
        self.assertEqual(len({volume.getFileName() for volume in protocol.outputRestarts}), 4)
        curves = {curve.getObjLabel(): np.array(curve.getData()) for curve in protocol.outputRestartsFSC}
        self.assertEqual(len(curves), 6)
        np.testing.assert_allclose(curves["class 2, mean of pairs"][1], report["classes"][1]["mean_fsc"][1:], atol=1e-6)
        self.assertEqual(sum(item.getSize() for item in protocol.outputClasses), 60)

    def test_progress_names_the_run_that_is_going_on(self):
        protocol = self.ab_initio(restarts=3, iterations=50)
        self.assertEqual(protocol.summary(), ["No iteration is finished yet."])
        for number, done in ((1, 50), (2, 7)):
            folder = Path(protocol._getExtraPath("run", f"restart_0{number}"))
            folder.mkdir(parents=True)
            (folder / "history.json").write_text(json.dumps([{"iteration": n + 1} for n in range(done)]))
        self.assertIn("7 of 50 iterations are finished in run 2 of 3", protocol.summary()[0])

    def test_an_orphan_that_writes_a_restart_is_left_alone(self):
        protocol = self.ab_initio(restarts=2)
        folder = Path(protocol._getExtraPath("run", "restart_02"))
        folder.mkdir(parents=True)
        protocol._forgetOtherSettings(["one"])
        lock = take_lock(folder / "lock", "the run", "wait")
        try:
            with self.assertRaisesRegex(InputError, f"restart_02.*is being written by process {os.getpid()}"):
                protocol._forgetOtherSettings(["another"])
            self.assertTrue(folder.exists())
        finally:
            os.close(lock)
        protocol._forgetOtherSettings(["another"])
        self.assertFalse(folder.exists())


class TestContinue(Project):
    """Stop, kill and go on, in another Python: one that saves a checkpoint twice a second rather than every 20 s."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = Path(cls.getOutputPath("other python"))
        folder.mkdir()
        package = Path(cryosgd_plugin.__file__).resolve().parent.parent
        (folder / "run.py").write_text(f"""import runpy, sys
sys.path.insert(0, {str(package)!r})
import cryosgd_plugin.job.abinitio
cryosgd_plugin.job.abinitio.CHECKPOINT_SECONDS = 0.5
module = sys.argv[2]
sys.argv = sys.argv[2:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
""")
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "{folder}/run.py" "$@"\n')
        python.chmod(0o755)
        os.environ[ENGINE_PYTHON] = str(python)

    @classmethod
    def tearDownClass(cls):
        del os.environ[ENGINE_PYTHON]
        super().tearDownClass()

    def started(self, protocol, iterations):
        """Launch without waiting; returns the engine's process once so many iterations are written."""
        self.proj.launchProtocol(protocol, wait=False)
        folder = Path(protocol._getExtraPath("run"))
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            if folder.is_dir() and len(ResultFolder(folder).history()) >= iterations and (
                    folder / "checkpoint.npz").exists():
                return psutil.Process(ResultFolder(folder).writer())
            self.assertFalse(self.updated(protocol).isFailed(), self.updated(protocol).getErrorMessage())
            time.sleep(0.2)
        self.fail(f"no {iterations} iterations within {TIMEOUT_S} s")

    def test_stop_then_continue_gives_the_undisturbed_result(self):
        undisturbed = self.launchProtocol(self.ab_initio(iterations=60, seed=3))
        stopped = self.ab_initio(iterations=60, seed=3)
        engine = self.started(stopped, 20)
        self.proj.stopProtocol(stopped)  # what the Stop button does: SIGKILL to the protocol and its children
        psutil.wait_procs([engine], timeout=20)
        self.assertFalse(engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE, "Stop must end the engine")
        self.assertEqual(self.updated(stopped).getStatus(), STATUS_ABORTED)
        before = len(ResultFolder(stopped._getExtraPath("run")).history())
        self.assertLess(before, 60)
        stopped.runMode.set(MODE_RESUME)
        self.launchProtocol(stopped)
        log = Path(stopped.getStdoutLog()).read_text(errors="replace")
        self.assertIn("other python/python", log, "CRYOSGD_PYTHON was not used")
        self.assertIn("Going on from iteration", log)
        volumes = [read_volume(p.outputVolume.getFileName())[0] for p in (undisturbed, stopped)]
        np.testing.assert_array_equal(*volumes)

    def test_a_killed_engine_fails_the_protocol_and_continue_goes_on(self):
        protocol = self.ab_initio(iterations=60, seed=4)
        engine = self.started(protocol, 10)
        engine.send_signal(signal.SIGKILL)
        end = time.monotonic() + 60
        while not self.updated(protocol).isFailed() and time.monotonic() < end:
            time.sleep(0.3)
        self.assertTrue(protocol.isFailed())
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertEqual(len(ResultFolder(protocol._getExtraPath("run")).history()), 60)

    def test_a_second_writer_is_refused_by_name(self):
        protocol = self.ab_initio(iterations=300)
        engine = self.started(protocol, 1)
        try:
            second = self.ab_initio(iterations=300)
            second.setWorkingDir(protocol.getWorkingDir())
            with self.assertRaisesRegex(InputError, f"process {engine.pid}"):
                second._forgetOtherSettings(["other settings"])
        finally:
            self.proj.stopProtocol(protocol)

    def test_continue_with_other_settings_starts_over_and_makes_new_outputs(self):
        protocol = self.launchProtocol(self.ab_initio(iterations=12))
        first = read_volume(protocol.outputVolume.getFileName())[0]
        protocol.runMode.set(MODE_RESUME)
        protocol.seed.set(7)
        self.launchProtocol(protocol)
        self.assertEqual(ResultFolder(protocol._getExtraPath("run")).summary()["parameters"]["seed"], 7)
        self.assertFalse(np.array_equal(first, read_volume(protocol.outputVolume.getFileName())[0]))

    def test_continue_of_a_finished_run_does_nothing_and_restart_wipes(self):
        protocol = self.launchProtocol(self.ab_initio(iterations=12))
        volume = Path(protocol.outputVolume.getFileName())
        written = volume.stat().st_mtime_ns
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertEqual(volume.stat().st_mtime_ns, written)
        protocol.runMode.set(MODE_RESTART)
        self.launchProtocol(protocol)
        self.assertGreater(volume.stat().st_mtime_ns, written)


class TestQueue(Project):
    """Through a queue, with a stand-in for its commands: jobs are background processes, numbered by their ids."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        commands = Path(cls.getOutputPath("queue"))
        commands.mkdir()
        (commands / "sbatch").write_text('#!/bin/bash\nsetsid bash "$1" </dev/null >"$1.out" 2>"$1.err" &\n'
                                         'echo "Submitted batch job $!"\n')
        # an empty answer means that the job is over
        (commands / "squeue").write_text('#!/bin/bash\nps -o pid=,stat= -p "$1" | grep -v Z || true\n')
        for path in commands.iterdir():
            path.chmod(0o755)
        hosts = Path(os.environ["SCIPION_HOSTS"])
        cls.hosts_text = hosts.read_text()
        hosts.write_text(f"""[localhost]
PARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s
NAME = SLURM
MANDATORY = False
SUBMIT_COMMAND = {commands}/sbatch %_(JOB_SCRIPT)s
SUBMIT_TEMPLATE = #!/bin/bash
    ##SBATCH --cpus-per-task=%_(JOB_THREADS)d
    cd {cls.proj.path}
    %_(JOB_COMMAND)s
CANCEL_COMMAND = kill %_(JOB_ID)s
CHECK_COMMAND = {commands}/squeue %_(JOB_ID)s
QUEUES = {{"default": {{}}}}
""")
        cls.proj._loadHosts(None)

    @classmethod
    def tearDownClass(cls):
        Path(os.environ["SCIPION_HOSTS"]).write_text(cls.hosts_text)
        super().tearDownClass()

    def queued(self, protocol, for_jobs):
        """Submit and wait."""
        protocol._useQueue.set(True)
        protocol.setQueueParams(("default", {"QUEUE_FOR_JOBS": for_jobs}))
        self.proj.launchProtocol(protocol, wait=True)
        end = time.monotonic() + TIMEOUT_S
        while self.updated(protocol).isActive():
            self.assertLess(time.monotonic(), end, f"still {protocol.getStatus()} after {TIMEOUT_S} s")
            time.sleep(0.5)
        return protocol

    def test_the_whole_protocol_or_its_job_through_the_queue(self):
        for for_jobs in ("N", "Y"):
            protocol = self.newProtocol(ProtCryosgdSimulate, nParticles=20, boxSize=32, pixelSize=8.0)
            self.queued(protocol, for_jobs)
            self.assertTrue(protocol.isFinished(), protocol.getErrorMessage())
            self.assertEqual(protocol.outputParticles.getSize(), 20)
            self.assertTrue(list(Path(protocol._getLogsPath()).glob("*.job")), "nothing went through the queue")

    def test_a_job_that_fails_in_the_queue_fails_the_protocol_with_the_engines_sentence(self):
        star = self.simulation._getExtraPath("run", "truth.star")
        protocol = self.newProtocol(ProtCryosgdImportParticles, starFile=star)
        self.launchProtocol(protocol)
        stack = Path(self.simulation._getExtraPath("run", "particles.mrcs"))
        hidden = stack.rename(stack.with_suffix(".hidden"))
        try:
            failing = self.queued(self.ab_initio(protocol), "Y")
        finally:
            hidden.rename(stack)
        self.assertTrue(failing.isFailed())
        self.assertIn("stack", failing.getErrorMessage())
        self.assertNotIn("non-zero exit", failing.getErrorMessage())
