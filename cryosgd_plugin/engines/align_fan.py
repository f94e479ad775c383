"""Maps seen through a fan of central planes: what every alignment compares.

A rotated map's values on the fan are slices of the unrotated one, so a trial rotation costs a few thousand
interpolations and no resampling; a shift costs one phase a value.
"""
from __future__ import annotations

from copy import copy

import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from ..core.errors import InputError
from ..core.fourier import crop_rfft3, fft3_centred, ifft3_centred
from ..core.masks import soft_sphere
from ..core.poses import euler_to_matrix, healpix_directions
from ..ops.polar import PolarGrid
from ..ops.slicing import slice_volume, to_half_volume

# half-width in radians of the differences from which slopes are taken: trilinear values have kinks
_SLOPE_STEP = 0.02
_ROUNDS = 12


class Fan:
    """One map's values on planes through its centre, up to one Fourier radius.

    volume : (w, w, w) float32 as `working_map` makes it; radius : Fourier px; planes_nside : HEALPix nside of the
    planes' normals, 1 (6 planes) or 2 (24). whiten : 0 keeps the map's spectrum, 1 gives every ring the same power;
    between, the power of a ring is its own to the power 1 − whiten.
    """

    def __init__(self, volume, radius, planes_nside, whiten):
        self.box = volume.shape[0]
        self.half = to_half_volume(volume, radius)
        polar = PolarGrid(radius, 4 * max(4, int(np.ceil(np.pi * radius / 4))))
        self.radius, self.points = radius, polar.points()
        self.planes = _planes(planes_nside)
        self.area = np.repeat(np.sqrt(polar.ring_weights()), polar.n_angles // 2).astype(np.float32)
        # frequencies (x, y, z) of the samples in the frame of the fan
        self.frequencies = np.einsum("pji,nj->pni", self.planes[:, :2, :], self.points).astype(np.float32)
        rings = np.abs(slice_volume(self.half, self.planes, self.points)).reshape(len(self.planes), radius, -1)
        power = (rings ** 2).mean(axis=(0, 2))
        gain = np.maximum(power, 1e-12 * max(power.max(), 1e-30)) ** (-0.5 * whiten)
        self.weight = self.area * np.repeat(gain, polar.n_angles // 2).astype(np.float32)

    def values(self, rotations):
        """(n, planes, points) complex64: the weighted values of the map turned by each rotation (n, 3, 3)."""
        turned = np.einsum("pij,njk->npik", self.planes, rotations).reshape(-1, 3, 3)
        values = slice_volume(self.half, turned, self.points).reshape(len(rotations), len(self.planes), -1)
        return values * self.weight

    def with_gain(self, gain):
        """The same fan with the power of each ring changed by a factor: gain (radius,)."""
        other = copy(self)
        other.weight = self.weight * np.repeat(np.sqrt(gain), len(self.points) // self.radius).astype(np.float32)
        return other

    def shift_phases(self, shift_px):
        """(planes, points) complex64 that move the turned map by shift_px (x, y, z)."""
        return np.exp(-2j * np.pi / self.box * (self.frequencies @ np.asarray(shift_px, np.float32))).astype(
            np.complex64)


def working_map(volume, radius, centre_px):
    """The map as alignment sees it: its point `centre_px` moved to the origin, on as few voxels as `radius` allows.

    volume : (d, d, d); centre_px : x, y, z from the box centre. Returns ((w, w, w) float32, w/d): the same extent in Å
    on w px, within a soft sphere, because what lies in the corners of a box leaves it when it turns.
    """
    box = volume.shape[0]
    small = min(box, max(24, 2 * int(np.ceil(1.25 * radius))))
    spectrum = fft3_centred(np.asarray(volume, np.float32))
    full, half = np.fft.fftfreq(box).astype(np.float32), np.fft.rfftfreq(box).astype(np.float32)
    x, y, z = (2 * np.pi * float(c) for c in centre_px)
    spectrum *= (np.exp(1j * z * full)[:, None, None] * np.exp(1j * y * full)[:, None] * np.exp(1j * x * half)).astype(
        np.complex64)
    ball = soft_sphere(small, 0.43 * small, 0.06 * small)
    return ifft3_centred(crop_rfft3(spectrum, small), small) * ball, small / box


def centre_of_mass(volume):
    """(x, y, z) px from the box centre, of the smoothed density above half its 98th percentile."""
    level = 0.5 * np.percentile(volume, 98)
    positive = np.clip(ndimage.gaussian_filter(np.asarray(volume, np.float32), 1) - level, 0, None)
    if positive.sum() <= 0:
        return np.zeros(3)
    return (np.array(ndimage.center_of_mass(positive)) - volume.shape[0] // 2)[::-1]


def check_map(volume, what):
    """Raise InputError unless a map is a cube of finite values that are not all the same."""
    volume = np.asarray(volume)
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError(f"{what} has the shape {volume.shape}; a cubic map is needed")
    if not np.isfinite(volume).all():
        raise InputError(f"{what} holds {np.count_nonzero(~np.isfinite(volume))} NaN or infinite voxels; make it again")
    if volume.min() == volume.max():
        raise InputError(f"{what} is empty: every voxel is {float(volume.flat[0]):g}; give a map with density")


def check_radius(radius, box):
    """The Fourier radius as an integer within what the box holds; raises InputError."""
    if not 2 <= radius <= box // 2:
        raise InputError(f"Fourier radius {radius} can't be compared in a box of {box} px; give 2 to {box // 2}")
    return int(radius)


def turn(vector):
    """(3, 3) rotation of a rotation vector in radians."""
    return Rotation.from_rotvec(vector).as_matrix()


def refine(residuals, start):
    """Least squares over six small parameters by Levenberg and Marquardt (MINPACK).

    residuals : parameters (6,) → (residuals (m,), slopes (m, 6)) as floats. Returns (parameters, Σ residuals²).
    """
    cache = {}

    def at(parameters):
        key = parameters.tobytes()
        if key not in cache:
            cache.clear()
            cache[key] = residuals(parameters)
        return cache[key]

    found = optimize.least_squares(lambda p: at(p)[0], start, jac=lambda p: at(p)[1], method="lm",
                                   max_nfev=_ROUNDS, xtol=1e-5, ftol=1e-6)
    return found.x, 2 * found.cost


def small_turns():
    """(7, 3, 3): no turn, then ± a small angle about x, y and z: the stencil of `turn_slopes`."""
    steps = np.concatenate([np.zeros((1, 3)), np.repeat(np.eye(3), 2, axis=0) * _SLOPE_STEP])
    steps[2::2] *= -1
    return Rotation.from_rotvec(steps).as_matrix()


def turn_slopes(values):
    """(…) values on the seven turns of `small_turns` along axis 0 → (3, …) slopes per radian."""
    return (values[1::2] - values[2::2]) / (2 * _SLOPE_STEP)


def stacked(values):
    """Complex values along the last axis → real ones, twice as many."""
    return np.concatenate([values.real, values.imag], axis=-1)


def _planes(nside):
    directions = healpix_directions(nside)
    rot, tilt = directions.T
    # a plane and its mirror image are the same one: of the equator's normals half are enough
    upper = (tilt < 89.99) | ((tilt < 90.01) & (rot < 179.99))
    return euler_to_matrix(rot[upper], tilt[upper], np.zeros(upper.sum()))
