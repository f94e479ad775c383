"""Packaging of CryoSGD for Scipion; the metadata lives here, pyproject.toml only names the build system."""
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "cryosgd_plugin" / "__init__.py").read_text(), re.M).group(1)

# What the engines need, without upper bounds: beside Scipion its own pins (numpy 1.26, scipy 1.10) already hold these
# down, and elsewhere numpy 2 serves as well. Installing the plugin into a Scipion therefore upgrades nothing there.
ENGINES = ["numpy>=1.23", "scipy>=1.9", "numba>=0.57", "mrcfile>=1.4", "gemmi>=0.6.5", "healpix>=2023.1",
           "tqdm>=4.60", "threadpoolctl>=3.0", "psutil>=5.9", "matplotlib>=3.5"]

setup(
    name="scipion-em-cryosgd",
    version=VERSION,
    description="Open ab initio cryo-EM reconstruction by stochastic gradient descent, for Scipion and without it",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="GPL-3.0-or-later",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
    ],
    keywords="scipion cryo-em single-particle ab-initio reconstruction",
    python_requires=">=3.9,<3.13",
    # protocols, viewers and tests are links inside the package to the folders beside it: the wheel gets real files
    packages=find_packages(include=["cryosgd_plugin", "cryosgd_plugin.*"]),
    package_data={"cryosgd_plugin": ["protocols.conf", "*.png", "templates/*.json.template"],
                  "cryosgd_plugin.core": ["*.md"], "cryosgd_plugin.ops": ["*.cu"],
                  "cryosgd_plugin.tests": ["data/*", "data/*/*"]},
    include_package_data=False,
    install_requires=ENGINES,
    extras_require={
        "scipion": ["scipion-pyworkflow>=3.11", "scipion-em>=3.11"],
        # CuPy 14 needs numpy 2; pip takes CuPy 13 by itself where Scipion pins numpy 1.26
        "cuda12": ["cupy-cuda12x>=13"],
        "cuda13": ["cupy-cuda13x>=13"],
        # setuptools and wheel: a test builds the wheel and the source distribution without network
        "test": ["pytest>=7", "pytest-xdist>=3", "setuptools>=64", "wheel"],
        # other plugins that ours is tested beside
        "chaining": ["scipion-em-relion>=5.0.2", "scipion-em-chimera", "scipion-em-cryosparc2"],
        "bench": ["pytest>=7"],
        "lint": ["ruff>=0.4"],
    },
    entry_points={
        "pyworkflow.plugin": ["cryosgd_plugin = cryosgd_plugin"],
        "console_scripts": ["cryosgd = cryosgd_plugin.cli:main"],
    },
    zip_safe=False,
)
