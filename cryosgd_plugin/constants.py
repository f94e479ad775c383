"""Names: of the plugin as users see it, and of its variables (Scipion's configuration file or the environment sets
them)."""

NAME = "cryosgd"

ENGINE_PYTHON = "CRYOSGD_PYTHON"
SCRATCH = "CRYOSGD_SCRATCH"
MEMORY_GB = "CRYOSGD_MEMORY"

DISTRIBUTION = "scipion-em-cryosgd"
ENGINE_PACKAGE = "cryosgd"
CUDA_VERSIONS = ("cuda12", "cuda13")

# Scipion takes a set's acquisition only where a magnification is known; STAR files since RELION 3.1 carry none
UNKNOWN_MAGNIFICATION = 10000

URL = "https://github.com/scipion-em"
