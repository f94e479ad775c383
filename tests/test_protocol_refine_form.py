"""The form of the refinement protocol: its fields, its defaults, its words for the command line."""
import argparse
import dataclasses
import importlib.util
import unittest
from types import SimpleNamespace

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pyworkflow.object import Pointer
from pyworkflow.protocol.params import ElementGroup, Group

from cryosgd_plugin.cli import refine
from cryosgd_plugin.engines.refine.config import KERNELS, MARGINALS, REGULARISATIONS, SEARCHES, RefineConfig
from cryosgd_plugin.protocols import ProtCryosgdRefine, ProtCryosgdRefineSparseTV
from cryosgd_plugin.protocols.protocol_refine import _words
from cryosgd_plugin.protocols.refine_form import (
    KERNEL_WORDS,
    MARGINAL_WORDS,
    MASK_WORDS,
    OWN_MASKS,
    REGULARISATION_WORDS,
    SEARCH_WORDS,
)
from cryosgd_plugin.tests.protocol_project import Project, flat

# fields that make sense with others only
TOGETHER = {"epsilon": {"regularisation", "epsilon"},
            **dict.fromkeys(("alpha", "beta"), {"regularisation", "alpha", "beta"})}


class TestRefineForm(Project):
    """Every field of the form, by way of the command line, to the engine's settings."""
    # field of the engine's config → values of the form that change it alone
    CHANGES = {
        "diameter_a": [{"particleDiameter": 120.0}], "symmetry": [{"symmetry": " d2"}],
        "classes": [{"references": [(None, "outputVolume")] * 3}, {"numberOfClasses": 3}],
        "initial_resolution_a": [{"initialResolution": 40.5, "sharedResolution": 50.0}],
        "shared_resolution_a": [{"sharedResolution": 61.0}],
        "search": [{"search": 1}, {"search": 2}], "local_angle_deg": [{"localAngle": 4.5}],
        "local_shift_a": [{"localShift": 3.5}], "certificate_share": [{"certificateShare": 0.0}],
        "overfitting_test": [{"overfittingTest": True}], "kernel": [{"kernel": 1}],
        "marginal": [{"marginal": 1}], "bound": [{"bound": 1}], "deviations": [{"deviations": 5.5}],
        "shift_range_a": [{"shiftRange": 17.5}, {"shiftRange": None}], "mask": [{"ownMask": 1}],
        "regularisation": [{"regularisation": 1}], "gamma": [{"gamma": 0.2}],
        "epsilon": [{"regularisation": 1, "epsilon": 0.3}], "epsilon_ratio": [{"epsilonRatio": 0.5}],
        **dict.fromkeys(("alpha", "beta"), [{"regularisation": 1, "alpha": 0.3, "beta": 0.7}]),
        "scale_correction": [{"scaleCorrection": False}], "iterations": [{"iterations": 7}], "seed": [{"seed": 9}],
        "max_particles": [{"maxParticles": 77}]}

    def by_command_line(self, config, mask=None):
        """The settings that `cryosgd refine` makes of a config's words for the simulated particles."""
        parser = argparse.ArgumentParser()
        refine.add_parser(parser.add_subparsers())
        arguments = parser.parse_args(["refine", "x.star", "--reference", *["map.mrc"] * config.classes, "-o", "run",
                                       *_words(config, mask)])
        return arguments, refine.make_config(arguments, SimpleNamespace(pixel_size=8.0, box_size=32,
                                                                     shifts_a=np.zeros((3, 2))))

    def test_every_field_reaches_the_engine_by_the_command_line(self):
        usual = self.refine().config()
        for field, changes in self.CHANGES.items():
            for values in changes:
                config = self.refine(**values).config()
                changed = {name for name, value in config.to_dict().items() if value != getattr(usual, name)}
                self.assertEqual(changed, TOGETHER.get(field, {field}), values)
                self.assertEqual(self.by_command_line(config)[1], config)

    def test_every_setting_of_the_engine_can_be_set_in_the_form(self):
        wanted = {field.name for field in dataclasses.fields(RefineConfig)} - {"pixel_size", "box_size"}
        self.assertEqual(set(self.CHANGES), wanted, "those of the particles excepted")

    def test_the_untouched_form_is_the_engines_default(self):
        protocol = self.newProtocol(ProtCryosgdRefine, particleDiameter=140.0)
        protocol.inputParticles.set(self.simulation)
        protocol.inputParticles.setExtended("outputParticles")
        protocol.inputVolumes.set([Pointer(self.simulation, extended="outputVolume")])
        self.assertEqual(protocol.config(), RefineConfig(pixel_size=8.0, box_size=32, diameter_a=140.0))

    def test_the_sparse_protocol_differs_in_its_regularisation_alone(self):
        protocol = self.newProtocol(ProtCryosgdRefineSparseTV, particleDiameter=140.0)
        protocol.inputParticles.set(self.simulation)
        protocol.inputParticles.setExtended("outputParticles")
        protocol.inputVolumes.set([Pointer(self.simulation, extended="outputVolume")])
        self.assertEqual(protocol.config(), RefineConfig(pixel_size=8.0, box_size=32, diameter_a=140.0,
                                                         regularisation="sparse-tv"))

    def test_what_the_halves_share_follows_a_coarse_start(self):
        for initial, given, shared in ((30.0, None, 40.0), (50.0, None, 50.0), (50.0, 70.0, 70.0)):
            protocol = self.refine(initialResolution=initial, sharedResolution=given)
            self.assertEqual(protocol.config().shared_resolution_a, shared)

    def test_a_mask_is_passed_by_its_path(self):
        protocol = self.refine()
        protocol.inputMask.set(self.simulation)
        protocol.inputMask.setExtended("outputVolume")
        arguments, parsed = self.by_command_line(protocol.config(), "/a mask.mrc")
        self.assertEqual((arguments.mask, parsed.mask, protocol.config().mask), ("/a mask.mrc", "map", "map"))

    def test_the_basic_form_is_short_and_every_field_explains_itself(self):
        found = [entry for section in self.refine().iterDefinitionSections()
                 if section.getLabel() in ("Input", "Method") for entry in flat(section)]
        visible = [name for name, param, _ in found if not isinstance(param, ElementGroup) and not param.isExpert()
                   and name not in ("useGpu", "gpuList", "gpuWizard")]
        self.assertLessEqual(len(visible), 10, visible)
        self.assertLessEqual({"inputParticles", "inputVolumes", "inputMask", "symmetry"}, set(visible))
        for name, param, _ in found:
            if not isinstance(param, Group):
                self.assertTrue(param.help.get(), f"{name} has no help")
        self.assertEqual((set(SEARCH_WORDS), set(MARGINAL_WORDS), set(KERNEL_WORDS)),
                         (set(SEARCHES), set(MARGINALS), set(KERNELS)))
        self.assertEqual((set(MASK_WORDS), set(REGULARISATION_WORDS)), (set(OWN_MASKS), set(REGULARISATIONS)))

    def test_outputs_that_are_offered_follow_the_classes(self):
        several = {"outputClasses", "outputVolumes"}
        for count, classes, wanted in ((1, None, {"outputVolume"}), (2, None, several), (1, 2, several)):
            protocol = self.refine(references=[(None, "outputVolume")] * count, numberOfClasses=classes)
            offered = dict(protocol.iterOutputAttributes(includePossible=True))
            self.assertEqual(set(offered), wanted | {"outputParticles", "outputFSC", "outputMask"})
            self.assertTrue(all(isinstance(kind, type) for kind in offered.values()))
