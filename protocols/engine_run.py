"""What the protocols that run an engine share: compute settings of the form, and the one process they start."""
from __future__ import annotations

import os
import shlex
import subprocess

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import GPU_LIST, LEVEL_ADVANCED, USE_GPU

from ..constants import MEMORY_GB, NAME, SCRATCH
from ..plugin import Plugin


class EngineRun:
    """Mixed into a protocol. The engine runs in a process of its own, in the Python that CRYOSGD_PYTHON names."""
    # whether the engine takes more than one GPU
    _severalGpus = True

    @classmethod
    def getClassPackageName(cls):
        """The name in Scipion's words for the row of threads and GPUs; its default is that of the Python package."""
        return NAME

    def _defineGpuParams(self, form):
        """The row "Use GPU" with the GPU IDs that Scipion draws above the sections."""
        form.addHidden(USE_GPU, params.BooleanParam, default=False,
                       label="Use GPU",
                       help="Run on NVIDIA GPUs through CuPy (extra [cuda12] or [cuda13] of the plugin). A GPU that is "
                            "asked for and can't be used is an error, never a slow run in its place.")
        which = ("Numbers of the GPUs as nvidia-smi lists them, for example 0, or 0,1 to share the work."
                 if self._severalGpus else "Number of the GPU as nvidia-smi lists it, for example 0; one is used.")
        form.addHidden(GPU_LIST, params.StringParam, default="0",
                       label="GPU IDs", help=f"{which} A queue numbers those that it lends from 0.")

    def _defineGpuWand(self, form):
        """The row whose wand fills the GPU IDs; Scipion gives the row above the sections none."""
        form.addParam("gpuWizard", params.LabelParam, label="GPUs of this machine",
                      help="The wand lists them, with their free memory, and fills the GPU IDs above.")

    def _defineResourceParams(self, form):
        """Memory and scratch, in a section of their own."""
        group = form.addGroup("Memory and disk", expertLevel=LEVEL_ADVANCED)
        group.addParam("memory", params.FloatParam, default=float(Plugin.getVar(MEMORY_GB, 4)),
                       expertLevel=LEVEL_ADVANCED, validators=[params.Positive], label="Memory budget (GB)",
                       help="The particle images in memory stay within this; sets of any size run within a few GB. The "
                            "maps of a refinement grow with the box: for 256 px give 7 GB. Typical 4 to 16; more saves "
                            "reading the stacks again, up to about half of the machine's memory.")
        group.addParam("scratch", params.PathParam, default=Plugin.getVar(SCRATCH, "") or "", allowsNull=True,
                       expertLevel=LEVEL_ADVANCED, label="Scratch folder",
                       help="A folder on a fast local disk. The particles are copied there once, as 16 bit numbers, "
                            "which pays where the stacks lie on a network disk. Empty: read from the stacks.")

    # ---- what the form means to the engine
    def _device(self) -> str:
        """`cpu`, `cuda:0` or `cuda:0,1`, with the numbers that Scipion or the queue gave this run."""
        if not self.usesGpu():
            return "cpu"
        executor = self._stepsExecutor
        gpus = self.getGpuList() if executor is None else executor.getGpuList()
        return "cuda:" + ",".join(str(gpu) for gpu in gpus)

    def _resourceArguments(self) -> list:
        words = ["--device", self._device(), "--threads", str(self.numberOfThreads.get()),
                 "--memory", f"{self.memory.get():g}"]
        if self.scratch.get():
            words += ["--scratch", self.scratch.get()]
        return words

    def _validateGpu(self) -> list:
        """[] or one sentence: a GPU is asked for and this machine has none that the engines can use."""
        # with a queue this machine is not the one that will compute; the engine itself refuses there
        if not self.usesGpu() or self.useQueue():
            return []
        usable, sentence = Plugin.gpuReport()
        if not usable:
            return [f"A GPU is asked for, but none can be used: {sentence}; or set 'Use GPU' to No."]
        if not self.getGpuList():
            return ["A GPU is asked for, but the GPU IDs are empty; give 0 for the first one."]
        if not self._severalGpus and len(self.getGpuList()) > 1:
            return [f"GPU IDs {', '.join(map(str, self.getGpuList()))} are given, and this program uses one GPU; give "
                    "one of them."]
        return []

    def _runEngine(self, command: str, words: list, result: str):
        """Run `cryosgd <command> words…`; its lines go to the log window.

        result : a file that the engine writes last. A queue tells Scipion only that a job ended, not how, so its
        absence is what a failure looks like there. Raises RuntimeError with the engine's own sentence.
        """
        arguments = " ".join(shlex.quote(str(word)) for word in [command, *words])
        try:
            # one process: MPI would start the same run several times
            self.runJob(Plugin.getEngineCommand(), arguments, numberOfMpi=1, env=Plugin.getEnviron())
        except subprocess.CalledProcessError as error:
            # Scipion shows the exception: the engine's sentence, rather than the command line and its exit code
            raise RuntimeError(self._complaint(command) or str(error)) from error
        if not os.path.exists(result):
            raise RuntimeError(self._complaint(command) or f"cryosgd {command} ended without writing {result}; look at "
                               f"the logs in {self._getLogsPath()}.")

    def _complaint(self, command):
        """The engine's last error line in this run's logs (a queue writes its own), or None where there is none."""
        start = f"cryosgd {command}: "
        logs = [os.path.join(self._getLogsPath(), name) for name in os.listdir(self._getLogsPath())]
        for log in sorted(filter(os.path.isfile, logs), key=os.path.getmtime, reverse=True):
            with open(log, encoding="utf-8", errors="replace") as file:
                lines = [line for line in file if line.startswith(start)]
            if lines:
                return sentence_of(lines[-1][len(start):].strip())
        return None


def sentence_of(error) -> str:
    """An engine's complaint (InputError or its text) as Scipion's error window shows it: capital letter, full stop."""
    text = str(error).rstrip(".")
    return text[:1].upper() + text[1:] + "."
