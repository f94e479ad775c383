"""Which poses are summed at which resolution: two quadrature schemes over views, in-plane angles and shifts.

"healpix" : nested HEALPix directions and a square grid of shifts, as fine as the particle's diameter asks for.
"saff-kuijlaars" : paper 1 §3.2, a spiral of directions and Gauss-Hermite shifts, as fine as the box asks for.
Every direction and in-plane angle of a grid weighs the same; shifts carry weights.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

import numpy as np
from scipy.fft import next_fast_len
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from ...core.errors import InputError
from ...core.poses import (
    directions_to_vectors,
    euler_to_matrix,
    gauss_hermite_shifts,
    healpix_directions,
    saff_kuijlaars_directions,
    shift_grid,
)
from ...core.symmetry import asymmetric_unit, point_group
from ...ops.polar import PolarGrid

QUADRATURES = ("healpix", "saff-kuijlaars")
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
FULL_SUM_DIRECTIONS = 12 * FULL_SUM_NSIDE ** 2
# the first level of a search may always be this coarse
COARSEST_A = 40.0
# prior mass that Gauss-Hermite shifts beyond the range may hold together and be left out
LOST_SHIFT_MASS = 1e-3


@dataclass(frozen=True)
class PoseGrid:
    """Directions × in-plane angles × shifts, for one Fourier radius.

    nside : of the nested HEALPix directions, None for a spiral; n_sphere : directions that the whole sphere would have
    pixels : (d,) numbers of the directions in use, sorted: HEALPix's nested pixels, or places on the spiral
    directions : (d, 2) rot, tilt in degrees; frames : (d, 3, 3) float32 rotations with psi = 0
    polar : PolarGrid; its n_angles are the in-plane angles
    shifts_a : (s, 2) Å, shift_step_a apart (at most, where the steps differ)
    log_shift_weights : (s,) float64, log of quadrature weight × prior N(0, shift_sd_a² I), normalised to a sum of 1
    rows : (d,) which rows of the grid as it was made these are: all, unless it comes from `take`
    parents : (d,) row of the coarser grid that each direction belongs to (before any `take`); None without one
    """

    resolution_a: float
    nside: Optional[int]
    n_sphere: int
    pixels: np.ndarray
    directions: np.ndarray
    frames: np.ndarray
    polar: PolarGrid
    shifts_a: np.ndarray
    shift_step_a: float
    log_shift_weights: np.ndarray
    shift_sd_a: float
    rows: np.ndarray
    parents: Optional[np.ndarray]

    @property
    def n_directions(self) -> int:
        return len(self.pixels)

    @property
    def n_poses(self) -> int:
        return self.n_directions * self.polar.n_angles * len(self.shifts_a)

    @property
    def spacing_deg(self) -> float:
        """Mean distance between neighbouring directions: the side of the square that each stands for."""
        return float(np.degrees(np.sqrt(4 * np.pi / self.n_sphere)))

    @property
    def largest_shift_a(self) -> float:
        """Length of the longest shift; Gauss-Hermite shifts go beyond the range where their weight counts."""
        return float(np.hypot(*self.shifts_a.T).max())

    def children(self, finer: "PoseGrid", parents) -> np.ndarray:
        """Rows of the finer grid, which was made within this one, that belong to the given rows of this one."""
        if finer.parents is None:
            raise ValueError("the finer grid knows no parents; make it with make_pose_grid(within=the coarser one)")
        return np.flatnonzero(np.isin(finer.parents, self.rows[parents]))

    def take(self, rows) -> "PoseGrid":
        """This grid restricted to some of its directions (row numbers or a mask); shifts and angles stay."""
        rows = np.asarray(rows)
        return replace(self, pixels=self.pixels[rows], directions=self.directions[rows], frames=self.frames[rows],
                       rows=self.rows[rows], parents=None if self.parents is None else self.parents[rows])

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


def spiral_counts(radius: float):
    """(directions, in-plane angles, shifts on each axis) of paper 1 §3.2 at a Fourier radius Dω in px.

    α = ½ arccos((r² − 1) / (r² + 1)), the angle between neighbouring wave numbers at that radius; (3.6 / α)²
    directions, 2π / α angles and r² shifts in the plane, each rounded up.
    """
    alpha = 0.5 * np.arccos((radius ** 2 - 1) / (radius ** 2 + 1))
    return int(np.ceil((3.6 / alpha) ** 2)), int(np.ceil(2 * np.pi / alpha)), int(np.ceil(radius - 1e-9))


def level_resolutions(resolution_a: float, config, oversampling: float = 1.0) -> list:
    """Resolutions of the levels of a search: every pose at the first, survivors at each next one.

    The first is the one in use where its grid is small enough to be summed in full (FULL_SUM_NSIDE, or as many
    directions of a spiral). None is coarser than the initial resolution or 40 Å. config.look_ahead adds one to several.
    """
    if _quadrature(config) == "saff-kuijlaars":
        # spiral_counts turned round: α = arctan(1 / r)
        radius = 1 / np.tan(3.6 / np.sqrt(FULL_SUM_DIRECTIONS)) / oversampling
        coarsest = min(_coarsest(config), config.box_size * config.pixel_size / radius)
        steps = max(0, int(np.ceil(np.log2(coarsest / resolution_a))))
        return [*np.geomspace(coarsest, resolution_a, steps + 1)[:steps].tolist(), resolution_a]
    wanted = [resolution_a]
    nside = needed_nside(resolution_a / oversampling, config.diameter_a)
    while nside > FULL_SUM_NSIDE:
        nside //= 2
        coarser = min(_coarsest(config), np.sqrt(np.pi / 3) / nside * config.diameter_a / ANGULAR_STEP)
        wanted.insert(0, max(coarser, resolution_a))
    ahead = getattr(config, "look_ahead", None)
    if ahead and len(wanted) > 1:
        wanted.insert(0, min(_coarsest(config), ahead * wanted[0]))
    return wanted


def _coarsest(config):
    """Å of the coarsest level: a run that begins at a fine resolution searches coarsely all the same."""
    return max(config.initial_resolution_a, COARSEST_A)


def make_levels(resolution_a: float, config, *, symmetry: str, oversampling: float = 1.0) -> list:
    """The grids of a search, coarse to fine; the last is the one that is summed."""
    grids = []
    resolutions = level_resolutions(resolution_a, config, oversampling)
    steps = getattr(config, "shift_steps", None)
    for number, level in enumerate(resolutions):
        last = number == len(resolutions) - 1
        for step in steps if last and steps else (None,):
            finest = last and (not steps or step == steps[-1])
            grids.append(make_pose_grid(level, config, symmetry=symmetry, oversampling=oversampling,
                                        within=grids[-1] if grids else None, search=not last, shift_step=step,
                                        cover=bool(steps) and not finest))
    return grids


def make_pose_grid(resolution_a: float, config, *, symmetry: str, oversampling: float = 1.0, within: PoseGrid = None,
                   search: bool = False, shift_step: float = None, cover: bool = False) -> PoseGrid:
    """The grid whose steps suit a resolution, by config.quadrature.

    oversampling > 1 makes every step that much smaller. `within` gives each direction its parent among those of a
    coarser grid: the HEALPix pixel that holds it, or the nearest direction of a coarser spiral. Directions cover one
    asymmetric unit of `symmetry`. search : the grid only serves to find survivors for a finer one. shift_step : over
    the resolution, of HEALPix's square grid of shifts; None for the usual. cover : whether its squares cover the whole
    circle of shifts, so that each finer one lies in the cell of one of them.
    """
    scheme = {"healpix": _healpix, "saff-kuijlaars": _spiral}[_quadrature(config)]
    fields = scheme(resolution_a, config, symmetry, oversampling, within, search, shift_step, cover)
    rot, tilt = fields["directions"].T
    frames = euler_to_matrix(rot, tilt, np.zeros(len(rot))).astype(np.float32)
    return PoseGrid(resolution_a=resolution_a, frames=frames, rows=np.arange(len(frames)),
                    shift_sd_a=_shift_sd(config), **fields)


def _quadrature(config):
    name = getattr(config, "quadrature", "healpix")
    if name not in QUADRATURES:
        raise InputError(f"quadrature '{name}' is unknown; choose of {', '.join(QUADRATURES)}")
    return name


def _shift_sd(config):
    """Width of the Gaussian prior on shifts, Å: the range is two of it."""
    return max(config.shift_range / 2, 1.0)


def _polar(resolution_a, config, reach_a):
    """Rings for the particle's disc in the model and, widened by the largest shift, in the images."""
    radius = fourier_radius(resolution_a, config.box_size, config.pixel_size)
    return PolarGrid.for_support(radius, (config.diameter_a + reach_a) / config.pixel_size, config.box_size)


def usual_shift_step(symmetry: str) -> float:
    """Step of the shifts that are summed, over the resolution."""
    return SHIFT_STEP if symmetry == "C1" else SYMMETRIC_SHIFT_STEP


def _healpix(resolution_a, config, symmetry, oversampling, within, search, shift_step, cover):
    """The fields of a PoseGrid in which the schemes differ."""
    nside = needed_nside(resolution_a / oversampling, config.diameter_a)
    if within is not None:
        nside = max(nside, within.nside)
        ratio = (nside // within.nside) ** 2
        pixels = (within.pixels[:, None] * ratio + np.arange(ratio)).ravel()
        parents = np.repeat(within.rows, ratio)
    else:
        pixels = np.nonzero(asymmetric_unit(healpix_directions(nside), symmetry))[0]
        parents = None
    if search:
        share = getattr(config, "search_shift_step", SEARCH_SHIFT_STEP)
    else:
        share = shift_step or usual_shift_step(symmetry)
    step_a = share * resolution_a / oversampling
    # a square whose centre lies half a diagonal beyond the circle may still reach into it
    beyond = np.sqrt(0.5) * step_a if cover and config.shift_range > 0 else 0.0
    shifts_a = shift_grid(config.shift_range + beyond, step_a)
    exponent = -0.5 * (shifts_a ** 2).sum(axis=1) / _shift_sd(config) ** 2
    return dict(nside=nside, n_sphere=12 * nside ** 2, pixels=pixels, directions=healpix_directions(nside)[pixels],
                parents=parents, polar=_polar(resolution_a, config, config.shift_range), shifts_a=shifts_a,
                shift_step_a=step_a, log_shift_weights=exponent - logsumexp(exponent))


def _spiral(resolution_a, config, symmetry, oversampling, within, search, shift_step, cover):
    """As `_healpix`; one that only searches is no coarser, and the shifts are Gauss-Hermite's."""
    radius = fourier_radius(resolution_a, config.box_size, config.pixel_size)
    n_sphere, n_angles, n_axis = spiral_counts(radius * oversampling)
    directions = saff_kuijlaars_directions(n_sphere)
    pixels = np.nonzero(asymmetric_unit(directions, symmetry))[0]
    directions = directions[pixels]
    parents = None
    if within is not None:
        # at the rim of the unit the nearest coarse view may be a symmetry mate of one inside: the same projection
        mates = (point_group(symmetry) @ directions_to_vectors(within.directions).T).transpose(0, 2, 1).reshape(-1, 3)
        nearest = cKDTree(mates).query(directions_to_vectors(directions))[1]
        parents = within.rows[nearest % within.n_directions]
    shifts = _gauss_hermite(n_axis if config.shift_range > 0 else 1, _shift_sd(config), config.shift_range)
    polar = _polar(resolution_a, config, np.hypot(*shifts["shifts_a"].T).max())
    # the paper's angles, made a length that PolarGrid takes; never fewer than the rings' own quadrature needs
    n_angles = max(4 * next_fast_len(-(-n_angles // 4), real=True), polar.n_angles)
    return dict(nside=None, n_sphere=n_sphere, pixels=pixels, directions=directions, parents=parents,
                polar=replace(polar, n_angles=n_angles), **shifts)


def _gauss_hermite(n_axis, sd_a, range_a):
    """Fields of the shifts: of those beyond the range the lightest are dropped, LOST_SHIFT_MASS in all."""
    shifts_a, weights = gauss_hermite_shifts(n_axis, sd_a)
    outside = np.hypot(*shifts_a.T) > range_a
    ordered = np.sort(weights[outside])
    # how many are as light or lighter; the hair joins mirror images whose weights differ by rounding
    lighter = np.searchsorted(ordered, weights * (1 + 1e-9), side="right")
    kept = ~outside | (np.append(0, np.cumsum(ordered))[lighter] >= LOST_SHIFT_MASS)
    shifts_a, weights = shifts_a[kept], weights[kept]
    steps = np.diff(np.unique(shifts_a[:, 0]))
    return dict(shifts_a=shifts_a, shift_step_a=float(steps.max()) if len(steps) else sd_a,
                log_shift_weights=np.log(weights) - np.log(weights.sum()))
