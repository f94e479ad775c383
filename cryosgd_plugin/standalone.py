"""Scipion's own settings, made where no Scipion installation is: for the demo and the tests."""
from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parent.parent


def prepare_scipion(folder):
    """Point Scipion to `folder` for its home, projects and logs, and write the hosts.conf that it wants there.

    Must come before pyworkflow is imported, which reads these variables once: RuntimeError otherwise. Processes
    that are started from this one inherit them, and find this very package first.
    """
    if "pyworkflow" in sys.modules:
        raise RuntimeError("pyworkflow is imported already; call prepare_scipion before anything of Scipion")
    home = Path(folder).resolve()
    (home / "config").mkdir(parents=True, exist_ok=True)
    os.environ.update(SCIPION_DOMAIN="pwem", SCIPION_PYTHON=sys.executable, SCIPION_HOME=str(home),
                      SCIPION_USER_DATA=str(home / "user"), SCIPION_HOSTS=str(home / "config" / "hosts.conf"),
                      SCIPION_TESTS_OUTPUT=str(home / "user" / "Tests"), SCIPION_LOG=str(home / "user" / "scipion.log"),
                      SCIPION_NOTIFY="False")
    for name in ("SCIPION_CONFIG", "SCIPION_LOCAL_CONFIG", "SCIPION_PROTOCOLS", "EM_ROOT"):
        os.environ.pop(name, None)  # a Scipion that started us would lead its own way
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    if not (PACKAGE_PARENT / "numpy").exists():  # not in site-packages, where it is found anyway
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(os.pathsep.join(paths).split(os.pathsep)))
    (home / "user").mkdir(exist_ok=True)
    from pyworkflow.protocol import HostConfig
    HostConfig.writeBasic(os.environ["SCIPION_HOSTS"])
