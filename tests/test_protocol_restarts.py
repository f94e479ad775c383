"""The ab initio protocol with several random seeds: the maps, how well they agree, and progress between runs."""
import importlib.util
import json
import os
import unittest
from pathlib import Path

import numpy as np

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pyworkflow.object import RELATION_SOURCE

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.result_folder import read_json
from cryosgd_plugin.io.runfolder import take_lock
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.protocol_project import Project, relations


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
        agreed, = protocol.outputConsensus
        self.assertEqual((agreed.getObjLabel(), agreed.getFileName()), ("consensus", os.path.join(
            run, report["consensus"])))
        # their mean but for the spectra, which are made equal first
        of_those = np.mean([read_volume(name)[0] for _, name, _, agrees in found if agrees], axis=0)
        self.assertGreater(np.corrcoef(read_volume(agreed.getFileName())[0].ravel(), of_those.ravel())[0, 1], 0.9)
        pairs = np.array(report["pairwise_fsc"])
        self.assertEqual(pairs.shape, (2, 2, 17))
        np.testing.assert_allclose(pairs[0, 1], report["mean_fsc"], atol=1e-9)
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
        self.assertEqual([volume.getObjLabel() for volume in protocol.outputConsensus],
                         ["class 1, consensus", "class 2, consensus"])
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
