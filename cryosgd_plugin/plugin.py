"""The plugin as Scipion sees it: its variables, the Python in which the engines run, and what is installed there."""
from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pwem
import pyworkflow.utils as pwutils
from pyworkflow import VarTypes

from . import __version__
from .constants import CUDA_VERSIONS, DISTRIBUTION, ENGINE_PACKAGE, ENGINE_PYTHON, MEMORY_GB, NAME, SCRATCH, URL

logger = logging.getLogger(__name__)

PACKAGE_FOLDER = Path(__file__).resolve().parent
REPORT_TIMEOUT_S = 180


class Plugin(pwem.Plugin):
    """CryoSGD in Scipion."""
    _url = URL
    _processingField = ["SPA"]
    _supportedVersions = [__version__]
    _reports = {}

    @classmethod
    def _defineVariables(cls):
        cls._defineVar(ENGINE_PYTHON, sys.executable, var_type=VarTypes.PATH,
                       description="Python in which the engines run; another one than Scipion's may carry newer "
                                   "numpy and CuPy. CryoSGD must be installed there in the same version.")
        cls._defineVar(SCRATCH, "", var_type=VarTypes.FOLDER,
                       description="Folder on a fast local disk for the particle cache; forms start with it. "
                                   "Empty: no cache, particles are read from their stacks.")
        cls._defineVar(MEMORY_GB, "4", var_type=VarTypes.DECIMAL,
                       description="Memory budget of a run in GB; forms start with it.")

    # ---- what Scipion asks of an instance. The base class takes both from the module that defines the class, which
    # here isn't the package itself, because the package must be importable without Scipion.
    def getName(self):
        return NAME

    def getPath(self):
        return str(PACKAGE_FOLDER)

    @classmethod
    def getActiveVersion(cls, home=None, versions=None):
        return __version__

    # ---- running the engines
    @classmethod
    def getEnginePython(cls) -> str:
        """Path of the Python in which the engines run."""
        return cls.getVar(ENGINE_PYTHON) or sys.executable

    @classmethod
    def usesOwnPython(cls) -> bool:
        """Whether the engines run in the Python that runs Scipion."""
        # compared unresolved: a virtual environment's python is a link to the one it was made from
        return os.path.abspath(cls.getEnginePython()) == os.path.abspath(sys.executable)

    @classmethod
    def getEnviron(cls):
        """The environment of the engines' process."""
        environ = pwutils.Environ(os.environ)
        if not cls.usesOwnPython():
            # Scipion's modules (numpy 1.26 ...) must not reach another Python
            for variable in ("PYTHONPATH", "PYTHONHOME"):
                environ.pop(variable, None)
        elif not _lies_in_site_packages():
            environ.update({"PYTHONPATH": str(PACKAGE_FOLDER.parent)}, position=pwutils.Environ.BEGIN)
        environ["PYTHONUNBUFFERED"] = "1"  # progress lines reach the log as they are printed
        return environ

    @classmethod
    def getEngineCommand(cls) -> str:
        """The shell words that start `cryosgd` in the engines' Python."""
        return f"{shlex.quote(cls.getEnginePython())} -m cryosgd_plugin.cli"

    # ---- what is installed
    @classmethod
    def getReport(cls) -> dict:
        """`core.installation.installation_report()` of the engines' Python, plus `error`: a sentence, or "".

        Asked once per Python and process where all is well, so that forms stay quick; again after an error.
        """
        python = cls.getEnginePython()
        report = cls._reports.get(python)
        if report is None or report["error"]:
            report = _ask(python, cls.getEnviron())
            cls._reports[python] = report
            if not report["error"]:
                logger.info("CryoSGD's engines run in %s. GPU: %s", python, report["gpu"])
        return report

    @classmethod
    def gpuReport(cls):
        """(usable, sentence): whether the engines' Python can use a GPU on this machine, and in words why not."""
        report = cls.getReport()
        return (False, report["error"]) if report["error"] else (report["gpu_usable"], report["gpu"])

    @classmethod
    def validateInstallation(cls):
        """Sentences on what is missing for a CPU run; [] where the engines can run.

        A missing GPU is no error here, because Scipion refuses every run of a plugin that reports one: the protocol
        that is asked for a GPU refuses by itself. Whether a GPU can be used goes to the log, see `getReport`.
        """
        error = cls.getReport()["error"]
        return [error] if error else []

    @classmethod
    def defineBinaries(cls, env):
        """`scipion3 installb cryosgd-cuda12` (or -cuda13): a Python of its own for the engines, with CuPy."""
        for cuda in CUDA_VERSIONS:
            folder = os.path.join(pwem.Config.EM_ROOT, f"{ENGINE_PACKAGE}-{cuda}")
            python = os.path.join(folder, "engine", "bin", "python")
            requirement = shlex.quote(_requirement(cuda))
            commands = [
                (f"{shlex.quote(sys.executable)} -m venv engine && engine/bin/python -m pip install --upgrade pip",
                 "engine/bin/python"),
                (f"engine/bin/python -m pip install {requirement} && "
                 "engine/bin/python -m cryosgd_plugin.core.installation > INSTALLED && cat INSTALLED && "
                 f"echo {shlex.quote(f'Now set {ENGINE_PYTHON} = {python} in scipion.conf')}",
                 "INSTALLED"),
            ]
            env.addPackage(ENGINE_PACKAGE, version=cuda, tar="void.tgz", commands=commands, default=False)


def _ask(python, environ):
    """The report of one Python, with `error`."""
    empty = {"version": "", "python": python, "missing": [], "gpu_usable": False, "gpu": ""}
    remedy = f"correct {ENGINE_PYTHON} (now {python}) in Scipion's configuration, or install {DISTRIBUTION} there"
    try:
        answer = subprocess.run([python, "-m", "cryosgd_plugin.core.installation"], env=environ, text=True,
                                capture_output=True, timeout=REPORT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {**empty, "error": f"The engines' Python can't be started ({error}); {remedy}"}
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        return {**empty, "error": f"The engines' Python can't import CryoSGD ({last}); {remedy}"}
    report = json.loads(answer.stdout.strip().splitlines()[-1])
    error = ""
    if report["missing"]:
        error = f"The engines' Python lacks {', '.join(report['missing'])}; {remedy}"
    elif report["version"] != __version__:
        error = (f"The engines' Python holds CryoSGD {report['version']}, the plugin is {__version__}; {remedy} in "
                 "this version")
    return {**report, "error": error}


def _requirement(cuda):
    """What pip installs into the engines' own Python: from where this plugin came, with the extra for CuPy."""
    source = PACKAGE_FOLDER.parent
    if (source / "setup.py").is_file():  # a checkout
        return f"{source}[{cuda}]"
    try:
        direct_url = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        direct_url = None
    url = json.loads(direct_url) if direct_url else {}
    if "vcs_info" in url:
        return f"{DISTRIBUTION}[{cuda}] @ {url['vcs_info']['vcs']}+{url['url']}@{url['vcs_info']['commit_id']}"
    if "url" in url:
        return f"{DISTRIBUTION}[{cuda}] @ {url['url']}"
    return f"{DISTRIBUTION}[{cuda}]=={__version__}"


def _lies_in_site_packages():
    return PACKAGE_FOLDER.parent in {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib")}
