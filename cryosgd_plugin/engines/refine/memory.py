"""How much memory a refinement's arrays take at its last iteration, to Nyquist, which takes the most."""
from __future__ import annotations

import numpy as np

from ...core.errors import InputError
from ...ops.polar import PolarGrid
from ...ops.slicing import PADDING, half_volume_shape
from ..sparse_tv.memory import solver_memory_gb
from .search import BANK_NUMBERS, FULL_SHARES, SCORE_NUMBERS

# images of one block: their search shares slices
BLOCK = 250
# of the memory budget: what reading images may take
SOURCE_SHARE = 0.25
# bytes: numerator and weight of a node; a number of a slice with its harmonics; a score with its transform
NODE_BYTES, BANK_BYTES, SCORE_BYTES = 8 + 4, 28, 12
# float32 maps of the particles' box, for each class: references, halves, regularised halves, given and whole map …
MAPS = 12
# and where these are sparse and smooth: those of this and the last iteration, the Wiener maps they begin with, and that
# of both halves
SPARSE_MAPS = 7
# partial sums of the back-projection are given no more than this, but for one
PARTIAL_BYTES = 256e6
# on a GPU, of a node: sums that a block adds, and the integers they come from; what a map is solved with; of a voxel of
# the padded box: its transform, the copy that is made of it, the density and its shifted copy
ADDED_BYTES, SOLVED_BYTES, PADDED_BYTES = 8 + 4 + 3 * 8, 44, 16
# of an image on the GPU: of its pixels, and of its coefficients up to Nyquist, in all their copies; a search in small
# pieces
PIXEL_BYTES, COEFFICIENT_BYTES, SEARCH_BYTES = 6 * 4, 28, 1.5e9


def memory_needed_gb(config, threads: int) -> float:
    """GB of the arrays of a refinement."""
    box = config.box_size
    radius = box // 2 - 1
    nodes = float(np.prod(half_volume_shape(radius)))
    sums = 2 * config.classes * NODE_BYTES * nodes
    # an overfitting test has its own maps beside those of the run
    sparse = config.regularisation == "sparse-tv"
    maps = (MAPS + SPARSE_MAPS * sparse) * (2 if config.overfitting_test else 1) * config.classes * 4.0 * box ** 3
    images = BLOCK * (4 * 4.0 * box ** 2 + 28 * np.pi * radius ** 2 / 2)
    # both halves are posed at the same time where there are two threads
    together = min(threads, 2)
    share = threads / together
    searching = BANK_BYTES * BANK_NUMBERS + min(share, FULL_SHARES) * SCORE_BYTES * SCORE_NUMBERS + images
    posing = together * max(searching, images + max(NODE_BYTES * nodes, PARTIAL_BYTES))
    padded = (PADDING * box) ** 3
    # the sum of both halves, its Hermitian half being made, and one transform of a padded volume
    solving = (config.classes + 1) * NODE_BYTES * nodes + 2 * 4.0 * padded
    solving += 1e9 * solver_memory_gb(box) * sparse
    return (sums + maps + max(posing, solving)) / 1e9


def check_memory(config, threads: int, budget_gb: float) -> None:
    """Raise InputError where a refinement would take more than is left of the budget beside the images' reading."""
    memory_gb = (1 - SOURCE_SHARE) * budget_gb
    needed = memory_needed_gb(config, threads)
    if needed > memory_gb:
        several = f" with {config.classes} references" if config.classes > 1 else ""
        enough = np.ceil(needed / (1 - SOURCE_SHARE))
        raise InputError(f"a refinement in boxes of {config.box_size} px{several} takes about {needed:.1f} GB at "
                         f"its last iteration, and the memory budget leaves {memory_gb:.3g} GB for it; raise "
                         f"--memory to {enough:.0f}, give fewer --threads (now {threads}), or downsample the particles")


def gpu_sums_bytes(config, radius: int) -> float:
    """Bytes of a GPU's memory that images of one block and the sums of a half-set up to a Fourier radius take."""
    nodes = float(np.prod(half_volume_shape(radius)))
    images = BLOCK * (PIXEL_BYTES * config.box_size ** 2 + COEFFICIENT_BYTES * np.pi * radius ** 2 / 2)
    return (config.classes * NODE_BYTES + ADDED_BYTES) * nodes + images


def gpu_memory_needed_gb(config) -> float:
    """GB of a GPU's memory that a refinement needs at its last iteration."""
    box, radius = config.box_size, config.box_size // 2 - 1
    nodes = float(np.prod(half_volume_shape(radius)))
    posing = gpu_sums_bytes(config, radius) + SEARCH_BYTES
    solving = SOLVED_BYTES * nodes + PADDED_BYTES * float(PADDING * box) ** 3
    # the Fourier sum that samples images on rings, of the pixels about the particle
    polar = PolarGrid.for_support(radius, (config.diameter_a + config.shift_range) / config.pixel_size, box)
    inside = np.pi * min(0.5 * box, (config.diameter_a / 2 + config.shift_range) / config.pixel_size + 0.05 * box) ** 2
    sampling = 4 * inside * polar.radius * polar.n_angles * (2 if config.overfitting_test else 1)
    return (sampling + max(posing, solving)) / 1e9


def check_gpu_memory(config, free: float) -> None:
    """Raise InputError where a refinement needs more of a GPU than the given bytes, which are free."""
    needed = gpu_memory_needed_gb(config)
    if needed > free / 1e9:
        raise InputError(f"a refinement in boxes of {config.box_size} px needs about {needed:.1f} GB of the GPU's "
                         f"memory at its last iteration, and {free / 1e9:.1f} GB are free; stop what else runs there, "
                         "downsample the particles, or give --device cpu")
