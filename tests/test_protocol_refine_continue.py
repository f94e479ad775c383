"""The refinement protocol stopped, continued, and started over with other settings."""
import importlib.util
import time
import unittest
from pathlib import Path

import numpy as np
import psutil

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pyworkflow.object import Pointer
from pyworkflow.protocol import MODE_RESUME, STATUS_ABORTED

from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.protocol_project import TIMEOUT_S, Project


class TestRefineContinue(Project):
    def folder(self, protocol):
        return ResultFolder(protocol._getExtraPath("run"))

    def test_stop_then_continue_gives_the_undisturbed_result(self):
        undisturbed = self.launchProtocol(self.refine(seed=3, maxParticles=120))
        stopped = self.refine(seed=3, maxParticles=120)
        self.proj.launchProtocol(stopped, wait=False)
        checkpoint, end = Path(stopped._getExtraPath("run", "checkpoint.npz")), time.monotonic() + TIMEOUT_S
        while not checkpoint.exists():
            self.assertLess(time.monotonic(), end, "no checkpoint was written")
            self.assertFalse(self.updated(stopped).isFailed(), stopped.getErrorMessage())
            time.sleep(0.02)
        engine = psutil.Process(self.folder(stopped).writer())
        self.proj.stopProtocol(stopped)  # what the Stop button does: SIGKILL to the protocol and its children
        psutil.wait_procs([engine], timeout=20)
        self.assertEqual(self.updated(stopped).getStatus(), STATUS_ABORTED)
        self.assertIsNone(self.folder(stopped).writer(), "Stop must end the engine")
        self.assertIsNone(self.folder(stopped).summary(), "it was stopped before its end")
        stopped.runMode.set(MODE_RESUME)
        self.launchProtocol(stopped)
        self.assertIn("Going on after iteration 1.", Path(stopped.getStdoutLog()).read_text(errors="replace"))
        np.testing.assert_array_equal(*(read_volume(p.outputVolume.getFileName())[0] for p in (undisturbed, stopped)))

    def test_continue_with_two_references_starts_over_and_replaces_the_outputs(self):
        protocol = self.launchProtocol(self.refine(maxParticles=60))
        written = Path(protocol.outputVolume.getFileName()).stat().st_mtime_ns
        protocol.runMode.set(MODE_RESUME)
        self.launchProtocol(protocol)
        self.assertEqual(Path(protocol.outputVolume.getFileName()).stat().st_mtime_ns, written, "nothing was to do")
        protocol.inputVolumes.set([Pointer(self.simulation, extended="outputVolume") for _ in range(2)])
        self.launchProtocol(protocol)
        for run in (protocol, self.reopened(protocol)):
            self.assertEqual({name for name, _ in run.iterOutputAttributes()},
                             {"outputClasses", "outputVolumes", "outputParticles", "outputFSC", "outputMask"})
        self.assertEqual(self.folder(protocol).summary()["parameters"]["classes"], 2)
        self.assertFalse(Path(protocol._getExtraPath("run", "volume.mrc")).exists(), "the other run's files are gone")
