"""Which poses are summed at which resolution."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.poses import euler_to_matrix, healpix_directions, shift_grid
from ...core.symmetry import asymmetric_unit
from ...ops.polar import PolarGrid

# directions are so far apart that the particle's edge moves by 0.8 of the resolution from one to the next, at most: a
# view is 0.3 of the resolution from the grid on average, and up to 0.6
ANGULAR_STEP = 1.6
# a level that only looks for survivors may be coarser than the one that is summed
SHIFT_STEP, SEARCH_SHIFT_STEP = 0.3, 0.35
# the symmetric part of a particle of high symmetry is a ball, known far better than its views: off by a third of the
# resolution it costs more than a wrong view gains (apoferritin's true map was not even stable at a step of 0.35)
SYMMETRIC_SHIFT_STEP = 0.13
# 768 directions, 7.3 degrees apart
FULL_SUM_NSIDE = 8


@dataclass(frozen=True)
class PoseGrid:
    """Directions × in-plane angles × shifts, for one Fourier radius.

    nside : of the nested HEALPix directions; pixels : (d,) the nested pixel numbers in use, sorted
    directions : (d, 2) rot, tilt in degrees; frames : (d, 3, 3) rotations with psi = 0
    polar : PolarGrid; its n_angles are the in-plane angles; shifts_a : (s, 2) Å, shift_step_a apart
    """

    resolution_a: float
    nside: int
    pixels: np.ndarray
    directions: np.ndarray
    frames: np.ndarray
    polar: PolarGrid
    shifts_a: np.ndarray
    shift_step_a: float

    @property
    def n_poses(self) -> int:
        return len(self.pixels) * self.polar.n_angles * len(self.shifts_a)

    def children(self, finer: "PoseGrid", parents) -> np.ndarray:
        """Rows of the finer grid that lie in the given rows of this one."""
        ratio = (finer.nside // self.nside) ** 2
        wanted = (self.pixels[parents][:, None] * ratio + np.arange(ratio)).ravel()
        rows = np.searchsorted(finer.pixels, wanted)
        rows = np.minimum(rows, len(finer.pixels) - 1)
        return np.sort(rows[finer.pixels[rows] == wanted])

    def rotation(self, direction: int, angle: int) -> np.ndarray:
        """A of the pose at the given row and in-plane step."""
        rot, tilt = self.directions[direction]
        return euler_to_matrix(rot, tilt, 360 * angle / self.polar.n_angles)[0]


def fourier_radius(resolution_a: float, box_size: int, pixel_size: float) -> int:
    """Shells in use at a resolution: at least 3, at most Nyquist."""
    return int(np.clip(np.floor(box_size * pixel_size / resolution_a + 1e-6), 3, box_size // 2))


def needed_nside(resolution_a: float, diameter_a: float) -> int:
    """HEALPix nside whose spacing moves the particle's edge by at most ANGULAR_STEP / 2 of the resolution."""
    nside = 1
    # a hair of room: the resolution may have been computed from this very spacing
    while np.sqrt(np.pi / 3) / nside > 1.0001 * ANGULAR_STEP * resolution_a / diameter_a:
        nside *= 2
    return nside


def level_resolutions(resolution_a: float, config, oversampling: float = 1.0) -> list:
    """Resolutions of the levels of a search: every pose at the first, survivors at each next one.

    The first is the one in use where its grid is small enough to be summed in full (nside ≤ FULL_SUM_NSIDE).
    """
    wanted = [resolution_a]
    nside = needed_nside(resolution_a / oversampling, config.diameter_a)
    while nside > FULL_SUM_NSIDE:
        nside //= 2
        coarser = min(config.initial_resolution_a, np.sqrt(np.pi / 3) / nside * config.diameter_a / ANGULAR_STEP)
        wanted.insert(0, max(coarser, resolution_a))
    return wanted


def make_levels(resolution_a: float, config, *, symmetry: str, oversampling: float = 1.0) -> list:
    """The grids of a search, coarse to fine; the last is the one that is summed."""
    grids = []
    resolutions = level_resolutions(resolution_a, config, oversampling)
    for number, level in enumerate(resolutions):
        grids.append(make_pose_grid(level, config, symmetry=symmetry, oversampling=oversampling,
                                    within=grids[-1] if grids else None, search=number < len(resolutions) - 1))
    return grids


def make_pose_grid(resolution_a: float, config, *, symmetry: str, oversampling: float = 1.0,
                   within: PoseGrid = None, search: bool = False) -> PoseGrid:
    """The grid whose steps suit a resolution and a particle of config.diameter_a.

    oversampling > 1 makes every step that much smaller. `within` restricts directions to the cells of a coarser grid
    (so that each direction has a parent there). Directions cover one asymmetric unit of `symmetry`. search : the grid
    only serves to find survivors for a finer one.
    """
    nside = needed_nside(resolution_a / oversampling, config.diameter_a)
    if within is not None:
        nside = max(nside, within.nside)
        ratio = (nside // within.nside) ** 2
        pixels = (within.pixels[:, None] * ratio + np.arange(ratio)).ravel()
        directions = healpix_directions(nside)[pixels]
    else:
        directions = healpix_directions(nside)
        pixels = np.nonzero(asymmetric_unit(directions, symmetry))[0]
        directions = directions[pixels]
    frames = euler_to_matrix(directions[:, 0], directions[:, 1], np.zeros(len(directions)))
    radius = fourier_radius(resolution_a, config.box_size, config.pixel_size)
    support = (config.diameter_a + config.shift_range) / config.pixel_size
    polar = PolarGrid.for_support(radius, support, config.box_size)
    share = SEARCH_SHIFT_STEP if search else SHIFT_STEP if symmetry == "C1" else SYMMETRIC_SHIFT_STEP
    step_a = share * resolution_a / oversampling
    return PoseGrid(resolution_a, nside, pixels, directions, frames.astype(np.float32), polar,
                    shift_grid(config.shift_range, step_a), step_a)
