"""How much memory a run's arrays will take, and how many partial sums fit the budget."""
from __future__ import annotations

from typing import Optional

from ...core.errors import InputError
from .grids import fourier_radius, make_levels
from .model import PACK_MARGIN
from .selection import MAX_DIRECTIONS

MAX_LANES = 4
# bytes per direction, ring and angle: harmonics and rings are complex64 of half the angles, squares of a quarter
SLICE_BYTES = 8 * 0.5 + 8 * 0.5 + 8 * 0.25
SUM_BYTES = 8 * 0.5 + 8 * 0.25
# scores, their harmonics, the copy that is back-projected and its harmonics: float32 or half as many complex64
SCORE_BYTES = 4 * 4


def plan_lanes(config, memory_gb: float, threads: int, devices: int = 1):
    """(lanes, working box): how many partial sums of a minibatch fit, and the box in px the images are needed at.

    devices : GPUs that will share the lanes; each has something to do where there are as many lanes.

    Raises InputError where not even one does, with the budget that would be enough.
    """
    grids = make_levels(config.final_resolution_a, config, symmetry=_finest_symmetry(config))
    fixed = config.classes * (sum(_cells(grid) * SLICE_BYTES for grid in grids) + 4 * _cells(grids[-1]))
    per_lane = config.classes * _cells(grids[-1]) * SUM_BYTES
    directions = [config.classes * n for n in
                  [grids[0].n_directions] + [min(MAX_DIRECTIONS, grid.n_directions) for grid in grids[1:]]]
    per_thread = max(d * grid.polar.n_angles * len(grid.shifts_a) * SCORE_BYTES for d, grid in zip(directions, grids))
    available = memory_gb * 1e9
    lanes = int(min(max(MAX_LANES, devices), (available - fixed - threads * per_thread) // per_lane))
    if lanes < 1:
        needed = (fixed + per_lane + threads * per_thread) / 1e9
        raise InputError(f"a memory budget that leaves {memory_gb:.3g} GB for the poses is too small for "
                         f"{config.final_resolution_a:g} Å with {threads} threads, which take {needed:.2g} GB; raise "
                         f"--memory by {max(0.1, needed - memory_gb) * 1.5:.1f}, or give fewer threads or classes or a "
                         "coarser final resolution")
    radius = fourier_radius(config.final_resolution_a, config.box_size, config.pixel_size)
    return lanes, min(config.box_size, 2 * radius + 4)


def sagd_minibatches(config, n_images: int, memory_gb: Optional[float]) -> int:
    """Minibatches of SAGD's fixed partition: of as many images as asked for, or more, so that the table of gradients
    fits.

    memory_gb : for that table; None for as much as it takes. Raises InputError where a table of two does not fit.
    """
    size = config.sagd_minibatch if memory_gb is None else _sagd_minibatch(config, n_images, memory_gb)
    return max(1, round(n_images / size))


def _sagd_minibatch(config, n_images, memory_gb):
    radius = fourier_radius(config.final_resolution_a, config.box_size, config.pixel_size)
    entry = 8 * config.classes * (2 * (radius + PACK_MARGIN)) ** 2 * (radius + PACK_MARGIN + 1)
    entries = int(memory_gb * 1e9 // entry)
    if entries < 2:
        raise InputError(f"SAGD keeps a gradient of {entry / 1e6:.0f} MB for each minibatch, and {memory_gb:.2g} GB "
                         "hold fewer than two; raise --memory, or choose another optimiser")
    return max(config.sagd_minibatch, -(-n_images // entries))


def _cells(grid):
    return grid.n_directions * grid.polar.radius * grid.polar.n_angles


def _finest_symmetry(config):
    """Without symmetry the grids are largest; a run that imposes it from the start never needs those."""
    return config.symmetry if config.symmetry_start == 0 else "C1"
