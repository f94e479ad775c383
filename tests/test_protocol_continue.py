"""The ab initio protocol stopped, killed, continued and restarted."""
import importlib.util
import os
import signal
import sys
import time
import unittest
from pathlib import Path

import numpy as np
import psutil

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from pyworkflow.protocol import MODE_RESTART, MODE_RESUME, STATUS_ABORTED

import cryosgd_plugin
from cryosgd_plugin.constants import ENGINE_PYTHON
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.protocol_project import TIMEOUT_S, Project


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
