"""The protocols through a queue, as a whole or only their jobs."""
import importlib.util
import os
import time
import unittest
from pathlib import Path

# plain unittest: Scipion's own test runner runs this file too, and a Scipion need not have pytest
if importlib.util.find_spec("pwem") is None:
    raise unittest.SkipTest("Scipion (pyworkflow, pwem) is not installed here")

from cryosgd_plugin.protocols import ProtCryosgdImportParticles, ProtCryosgdSimulate
from cryosgd_plugin.tests.protocol_project import TIMEOUT_S, Project


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
