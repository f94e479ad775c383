"""Poses: Euler angles and matrices, grids of view directions, in-plane angles and shifts (CONVENTIONS.md)."""
from __future__ import annotations

import healpix
import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import roots_hermitenorm

from .errors import InputError

# below this sine of the tilt, rot and psi turn about the same axis and only their sum is defined
_POLE = 1e-10


def euler_to_matrix(rot_deg, tilt_deg, psi_deg):
    """RELION's Euler angles → A, the rotation from the volume to the image frame.

    rot_deg, tilt_deg, psi_deg : numbers or arrays (n,) in degrees that broadcast together.
    Returns (n, 3, 3) float64 with A = Z(psi) · Y(tilt) · Z(rot), acting on column vectors (x, y, z);
    numbers give n = 1. Heymann, Chagoyen and Belnap (2005), J. Struct. Biol. 151, 196.
    """
    rot, tilt, psi = np.broadcast_arrays(*(np.atleast_1d(np.radians(np.asarray(angle, dtype=np.float64)))
                                           for angle in (rot_deg, tilt_deg, psi_deg)))
    cr, sr, ct, st, cp, sp = np.cos(rot), np.sin(rot), np.cos(tilt), np.sin(tilt), np.cos(psi), np.sin(psi)
    matrix = np.empty(rot.shape + (3, 3))
    matrix[..., 0, 0] = cp * ct * cr - sp * sr
    matrix[..., 0, 1] = cp * ct * sr + sp * cr
    matrix[..., 0, 2] = -cp * st
    matrix[..., 1, 0] = -sp * ct * cr - cp * sr
    matrix[..., 1, 1] = -sp * ct * sr + cp * cr
    matrix[..., 1, 2] = sp * st
    matrix[..., 2, 0] = st * cr
    matrix[..., 2, 1] = st * sr
    matrix[..., 2, 2] = ct
    return matrix


def matrix_to_euler(rotations):
    """A → (rot, tilt, psi) in degrees, three float64 arrays of shape rotations.shape[:-2].

    rotations : (..., 3, 3). rot and psi lie in (−180, 180], tilt in [0, 180]. At tilt 0 and 180, where only one
    angle about z is defined, rot is 0 and psi carries it. `euler_to_matrix` gives the matrix back everywhere.
    """
    a = np.asarray(rotations, dtype=np.float64)
    sin_tilt = np.hypot(a[..., 2, 0], a[..., 2, 1])
    pole = sin_tilt < _POLE
    tilt = np.arctan2(np.where(pole, 0.0, sin_tilt), a[..., 2, 2])
    rot = np.where(pole, 0.0, np.arctan2(a[..., 2, 1], a[..., 2, 0]))
    # A · Z(rot)ᵀ = Z(psi) · Y(tilt) has (sin psi, cos psi, 0) as its second column: well defined at every tilt
    cr, sr = np.cos(rot), np.sin(rot)
    psi = np.arctan2(a[..., 0, 1] * cr - a[..., 0, 0] * sr, a[..., 1, 1] * cr - a[..., 1, 0] * sr)
    return np.degrees(rot), np.degrees(tilt), np.degrees(psi)


def view_directions(rotations):
    """(..., 3) unit vectors: the viewing axis of each pose in the volume frame (the third row of A)."""
    return np.asarray(rotations, dtype=np.float64)[..., 2, :]


def directions_to_vectors(directions_deg):
    """(n, 2) [rot_deg, tilt_deg] → (n, 3) unit vectors (x, y, z) in the volume frame."""
    rot, tilt = np.radians(np.asarray(directions_deg, dtype=np.float64)).T
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=-1)


def healpix_directions(nside):
    """The 12·nside² HEALPix pixel centres as (n, 2) float64 [rot_deg, tilt_deg], NESTED order.

    nside : a power of two. In nested order the four children of pixel p at twice the nside are 4p … 4p + 3, which is
    what subdivision uses. Górski et al. (2005), Astrophys. J. 622, 759.
    Raises InputError for another nside.
    """
    if nside != int(nside) or nside < 1 or int(nside) & (int(nside) - 1):
        raise InputError(f"HEALPix nside {nside} is not a power of two; give 1, 2, 4, 8, …")
    nside = int(nside)
    tilt, rot = healpix.pix2ang(nside, np.arange(12 * nside * nside), nest=True)
    return np.degrees(np.stack([rot, tilt], axis=-1))


def saff_kuijlaars_directions(n):
    """n directions on a spiral of nearly equal areas, as (n, 2) float64 [rot_deg, tilt_deg], from tilt 180 to 0.

    Each stands for 4π/n of the sphere. Saff and Kuijlaars (1997), Math. Intelligencer 19, 5, eq. 8; paper 1 §3.2.
    Raises InputError for n < 2.
    """
    if n < 2:
        raise InputError(f"{n} directions were asked of the spiral; give at least 2")
    height = np.linspace(-1.0, 1.0, int(n))
    step = np.zeros(int(n))
    # the first and last points are the poles, where the longitude is free and set to 0
    step[1:-1] = 3.6 / np.sqrt(n * (1.0 - height[1:-1] ** 2))
    rot = np.degrees(np.cumsum(step)) % 360.0
    rot[-1] = 0.0
    return np.stack([rot, np.degrees(np.arccos(height))], axis=-1)


def in_plane_angles(n):
    """n equally spaced in-plane angles psi in degrees, from 0 and below 360."""
    return np.arange(int(n)) * (360.0 / int(n))


def in_plane_rotation(psi_deg):
    """Z(psi) as (n, 3, 3): Z(psi) · A is the pose A with its image turned by psi further."""
    return euler_to_matrix(0.0, 0.0, psi_deg)


def shift_grid(range_a, step_a):
    """Grid of in-plane shifts (x, y) in Å inside a circle: (n, 2) float64, the zero shift first, then by length.

    range_a : radius of the circle, Å, included; step_a : spacing, Å. A zero range gives the zero shift alone.
    Raises InputError for a negative range or a step that is not positive.
    """
    if range_a < 0 or step_a <= 0:
        raise InputError(f"shift range {range_a} Å and step {step_a} Å can't make a grid; "
                         "give a range of 0 or more and a positive step")
    reach = int(np.floor(range_a / step_a + 1e-9))
    axis = np.arange(-reach, reach + 1)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    squared = x * x + y * y
    inside = np.flatnonzero(squared <= (range_a / step_a) ** 2 + 1e-9)
    order = inside[np.argsort(squared[inside], kind="stable")]
    return step_a * np.stack([x[order], y[order]], axis=-1).astype(np.float64)


def gauss_hermite_shifts(n, sd_a):
    """Product Gauss-Hermite rule for the prior N(0, sd_a² I) on in-plane shifts, n nodes on each axis.

    Returns nodes (n², 2) float64 (x, y) in Å, the shortest first, and their weights (n²,), which sum to 1: the mean
    of a polynomial of degree up to 2n − 1 in x and in y under the prior is exactly the weighted sum over the nodes.
    Paper 1 §3.2. Raises InputError for n < 1 or a width that is not positive.
    """
    if n < 1 or not sd_a > 0:
        raise InputError(f"{n} shifts on an axis for a prior of {sd_a} Å make no rule; give at least 1 and a positive "
                         "width")
    nodes, weights = roots_hermitenorm(int(n))
    x, y = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    product = np.outer(weights, weights).ravel()
    order = np.argsort(x * x + y * y, kind="stable")
    return sd_a * np.stack([x[order], y[order]], axis=-1), product[order] / product.sum()


def parallel_transport_psi(frames, reference):
    """The in-plane angle of each view that turns its image as nearly as can be like a reference pose's.

    frames : (n, 3, 3) poses with psi = 0; reference : (3, 3) pose A0.
    Returns (n,) float64 psi in (−180, 180] degrees: Z(psi) · frame, `euler_to_matrix(rot, tilt, psi)` of the frame's
    own rot and tilt, is the pose of that view nearest to A0 (least ‖A − A0‖, largest tr(A0ᵀ A)). Seen from opposite
    A0 every angle is as near, and the one returned means nothing.
    """
    overlap = np.asarray(frames, dtype=np.float64) @ np.asarray(reference, dtype=np.float64).T
    # tr(A0ᵀ Z(psi) F) = cos psi (B00 + B11) + sin psi (B10 − B01) + B22 with B = F A0ᵀ
    return np.degrees(np.arctan2(overlap[:, 1, 0] - overlap[:, 0, 1], overlap[:, 0, 0] + overlap[:, 1, 1]))


def angular_distance_deg(a, b):
    """Angle in degrees of the rotation between poses a and b, (..., 3, 3) each, broadcast together; 0 to 180."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    # ‖A − B‖ = 2√2 |sin(θ/2)|: exact for small angles, where the arccos of the trace loses half the digits
    sine = np.sqrt(np.sum(difference**2, axis=(-2, -1))) / np.sqrt(8.0)
    return 2.0 * np.degrees(np.arcsin(np.minimum(sine, 1.0)))


def distance_to_mates_deg(rotations, reference, operators):
    """Angle in degrees from each pose to the nearest of a reference pose's symmetry mates.

    rotations : (n, 3, 3); reference : (3, 3); operators : (g, 3, 3) of the point group. Returns (n,), good to 0.1°.
    """
    mates = np.asarray(reference) @ np.asarray(operators)
    traces = np.asarray(rotations).reshape(-1, 9) @ mates.reshape(-1, 9).T
    return np.degrees(np.arccos(np.clip((traces.max(axis=1) - 1) / 2, -1, 1)))


def random_rotations(n, rng):
    """n rotations drawn uniformly over SO(3) with the numpy Generator `rng`: (n, 3, 3) float64."""
    # a normal 4-vector has a uniform direction, and uniform unit quaternions are uniform rotations (Shoemake 1992)
    return Rotation.from_quat(rng.normal(size=(int(n), 4))).as_matrix()
