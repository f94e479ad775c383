"""What this Python has for the engines: run as `python -m cryosgd_plugin.core.installation`, it prints JSON.

The plugin asks this of the Python in which the engines run, which may be another one than Scipion's.
"""
from __future__ import annotations

import importlib.util
import json
import sys

from .. import __version__
from .backend import gpu_report

ENGINE_MODULES = ("numpy", "scipy", "numba", "mrcfile", "gemmi", "healpix", "tqdm", "threadpoolctl", "psutil")


def installation_report() -> dict:
    """Keys: version (of this package), python (path), missing (module names), gpu_usable (bool), gpu (a sentence).

    The modules are looked for, not imported: importing numba takes seconds, and forms ask this while a user waits.
    """
    missing = [name for name in ENGINE_MODULES if importlib.util.find_spec(name) is None]
    usable, sentence = gpu_report()
    return {"version": __version__, "python": sys.executable, "missing": missing,
            "gpu_usable": usable, "gpu": sentence}


if __name__ == "__main__":
    print(json.dumps(installation_report()))
