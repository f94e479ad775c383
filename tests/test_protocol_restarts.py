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
from pyworkflow.protocol import MODE_RESUME

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
        curve, = protocol.outputRestartsFSC
        stated = read_table(os.path.join(run, "restarts_fsc.star"), "fsc")
        self.assertEqual(curve.getObjLabel(), "restart_01 and restart_02")
        np.testing.assert_allclose(curve.getData(), [stated["rlnResolution"][1:].astype(float),
                                                     report["pairs"][0]["fsc"][1:]], atol=1e-6)
        summary = protocol.summary()
        self.assertEqual(summary[0], report["verdict"])
        self.assertIn("FSC 0.5 of the pair: restart_01 and restart_02: ", summary[1])
        self.assertTrue(summary[2].startswith(f"Shown is {report['chosen']}: "), summary)
        self.assert_consensus(protocol, report)
        self.assertIn("The maps of 2 random seeds", protocol.methods()[0])
        self.assertTrue(protocol.outputVolume.hasHalfMaps())
        self.assertEqual(protocol.outputParticles.getSize(), 60)
        self.assertIn((RELATION_SOURCE, maps.getObjId()), relations(protocol, self.simulation))

    def assert_consensus(self, protocol, report):
        """The mean of the maps that agree is an output, and none where no two do."""
        agreeing = report["groups"][0]
        if len(agreeing) == 1:
            self.assertFalse(hasattr(protocol, "outputConsensus"))
            self.assertIn("There is no consensus", protocol.summary()[1])
            return
        consensus, = [volume.clone() for volume in protocol.outputConsensus]
        self.assertEqual(consensus.getObjLabel(), "consensus")
        self.assertEqual(consensus.getFileName(), protocol._getExtraPath("run", report["consensus"]))
        # their mean but for the spectra, which are made equal first
        of_those = np.mean([read_volume(volume.getFileName())[0] for volume in protocol.outputRestarts
                            if volume._cryosgdAgrees.get()], axis=0)
        mean = read_volume(consensus.getFileName())[0]
        self.assertGreater(np.corrcoef(mean.ravel(), of_those.ravel())[0, 1], 0.9)
        self.assertNotEqual(consensus.getFileName(), protocol.outputVolume.getFileName())
        self.assertFalse(consensus.hasHalfMaps())
        self.assertIn((RELATION_SOURCE, protocol.outputConsensus.getObjId()), relations(protocol, self.simulation))
        self.assertIn(f"in the frame of {report['chosen']}", protocol.summary()[1])

    def test_continued_with_other_restarts_the_outputs_are_those_of_the_new_run(self):
        protocol, report = self.restarted(seed=7, restarts=3)
        self.assert_consensus(protocol, report)
        self.assertEqual([curve.getObjLabel() for curve in protocol.outputRestartsFSC],
                         ["mean of pairs", *(" and ".join(pair["maps"]) for pair in report["pairs"])])
        self.assertIn("restart_02 and restart_03: ", protocol.summary()[1])
        protocol.restarts.set(2)
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertEqual(protocol.outputRestarts.getSize(), 2)
        self.assertEqual(len(list(protocol.outputRestartsFSC)), 1)
        self.assert_consensus(protocol, read_json(protocol._getExtraPath("run", "restarts.json")))
        protocol.restarts.set(1)
        self.launchProtocol(protocol)
        self.assertEqual({name for name, _ in self.reopened(protocol).iterOutputAttributes()},
                         {"outputVolume", "outputParticles", "outputFSC"})
        self.assertNotIn("restart", " ".join(protocol.summary()))

    def test_restarts_of_classes_are_compared_class_by_class(self):
        protocol, report = self.restarted(numberOfClasses=2)
        self.assertEqual([volume.getObjLabel() for volume in protocol.outputRestarts],
                         [f"class {k}, {entry['name']}" for k, of_class in enumerate(report["classes"], start=1)
                          for entry in of_class["maps"]])
        self.assertEqual(len({volume.getFileName() for volume in protocol.outputRestarts}), 4)
        curves = {curve.getObjLabel(): np.array(curve.getData()) for curve in protocol.outputRestartsFSC}
        self.assertEqual(set(curves), {f"class {k}, restart_01 and restart_02" for k in (1, 2)})
        np.testing.assert_allclose(curves["class 2, restart_01 and restart_02"][1],
                                   report["classes"][1]["mean_fsc"][1:], atol=1e-6)
        agreeing = [k for k, of_class in enumerate(report["classes"], start=1) if len(of_class["groups"][0]) > 1]
        self.assertEqual([volume.getObjLabel() for volume in getattr(protocol, "outputConsensus", [])],
                         [f"class {k}, consensus" for k in agreeing])
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
