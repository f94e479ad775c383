"""The form of the ab initio protocol: its fields, its defaults, its outputs on offer and its advice."""
import argparse
import dataclasses
import importlib.util
import json
import unittest
from types import SimpleNamespace
from unittest import mock

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pyworkflow.protocol.params import ElementGroup, Group, Line

from cryosgd_plugin.cli import abinitio
from cryosgd_plugin.engines.abinitio.config import OPTIMISERS, AbInitioConfig
from cryosgd_plugin.protocols import ProtCryosgdAbInitio
from cryosgd_plugin.protocols.ab_initio_advice import advice
from cryosgd_plugin.protocols.ab_initio_form import OPTIMISER_WORDS
from cryosgd_plugin.protocols.protocol_ab_initio import _words
from cryosgd_plugin.tests.protocol_project import Project, flat


class TestAbInitioForm(Project):
    """Every field of the form, by way of the command line, to the engine's settings; and what odd choices are told."""
    # field of the engine's config → values of the form that change it alone
    CHANGES = {
        "diameter_a": [{"particleDiameter": 120.0}], "classes": [{"numberOfClasses": 3}],
        "symmetry": [{"symmetry": "d2"}],
        "initial_resolution_a": [{"initialResolution": 50.0}], "final_resolution_a": [{"finalResolution": 20.5}],
        "max_particles": [{"maxParticles": 77}], "seed": [{"seed": 9}], "start": [{"start": 1}],
        "iterations": [{"iterations": 123}], "minibatch": [{"minibatchStart": None, "minibatchEnd": None}],
        "march": [{"march": 1}, {"march": 2}], "noise": [{"noise": 1}],
        "held_out": [{"heldOut": 33}], "early_stop": [{"earlyStop": False}],
        "significant_poses": [{"significantPoses": 0.05}], "class_similarity": [{"classSimilarity": 0.3}],
        "symmetry_start": [{"symmetryStart": 0.6}],
        "optimiser": [{"optimiser": n} for n, name in enumerate(OPTIMISERS) if name != AbInitioConfig.optimiser],
        "step_size": [{"stepSizeStart": 0.7, "stepSizeEnd": 1e-05}], "momentum": [{"momentum": 0.25}],
        "sagd_minibatch": [{"sagdMinibatch": 50}], "sagd_drawing": [{"sagdDrawing": 1}],
        "preconditioner": [{"preconditioner": False}],
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
                   and name not in ("useGpu", "gpuList", "gpuWizard")]
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
        self.assertEqual(advice(AbInitioConfig(**usual, optimiser="sagd", iterations=198), many, 1), [])
        for values, n, restarts, sentence in (
                ({}, 100, 1, "Only 100 particles will be used"), ({"max_particles": 90}, many, 1, "Only 90 particles"),
                ({"classes": 4}, 1200, 1, "300 for each"), ({"diameter_a": 250.0}, many, 1, "hardly larger"),
                ({"optimiser": "batch-em"}, 2000, 1, "for comparison only"),
                ({"optimiser": "projection-matching"}, many, 1, "very long"),
                ({"optimiser": "sagd", "iterations": 98}, many, 1, "99 minibatches here, of which 98 iterations do"),
                ({"optimiser": "sagd", "iterations": 197}, many, 1, "197 iterations see each less than 2 times"),
                ({"optimiser": "sagd", "iterations": 130, "symmetry": "O"}, many, 1, "the 39 iterations before"),
                ({"prior": "exponential", "positivity": False}, many, 1, "kept positive"),
                ({"march": "need"}, 600, 1, "60 held-out particles"), ({"start": "map"}, many, 3, "your map")):
            found = advice(AbInitioConfig(**{**usual, **values}), n, restarts)
            self.assertEqual(len(found), 1, (values, found))
            self.assertIn(sentence, found[0])
        self.assertIn("Only 100 particles", self.ab_initio(maxParticles=100).warnings()[0])

    def test_methods_say_when_the_symmetry_was_imposed(self):
        protocol = self.ab_initio(symmetry="D2")
        summary = {"parameters": protocol.config().to_dict(), "version": "0.1.0", "iterations_done": 150}
        for after, words in ((45, "with D2 symmetry imposed after 45 iterations"),
                             (150, "with D2 symmetry imposed after all iterations"),
                             (None, "with D2 symmetry, from a random start")):
            summary["symmetry_imposed_after"] = after
            with mock.patch.object(protocol, "_runSummary", return_value=summary):
                self.assertIn(words, protocol._methods()[0])

    def test_outputs_that_are_offered_follow_the_form(self):
        for values, wanted in (({}, {"outputVolume", "outputParticles", "outputFSC"}),
                               ({"numberOfClasses": 2, "restarts": 2},
                                {"outputClasses", "outputVolumes", "outputParticles", "outputFSC", "outputRestarts",
                                 "outputConsensus", "outputRestartsFSC"})):
            offered = dict(self.ab_initio(**values).iterOutputAttributes(includePossible=True))
            self.assertEqual(set(offered), wanted)
            self.assertTrue(all(isinstance(kind, type) for kind in offered.values()))
