"""The modes of an image's posterior: from the poses that count on a grid to peaks with a width.

Where an image says much, its posterior is narrower than the finest grid. Each peak is then climbed from its best grid
pose (Gauss-Newton with the curvature of ops/pose_score.py, damped as by Levenberg and Marquardt) and stands for a
Gaussian with that curvature, whose mass is its height times its volume (Laplace's approximation). Where an image says
little, the grid itself is a fine enough quadrature, and its poses are used as they are.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ...core.backend import to_host
from ...core.poses import distance_to_mates_deg
from ...ops.pair_scores import segment_sum
from ...ops.pose_score import pose_terms

# modes followed in an image, and the posterior mass of the grid that must lie near them
MAX_MODES, HELD_MASS = 4, 0.8
# a grid pose belongs to a mode within so many steps of the grid, in angle and in shift
REACH = 1.6
# a mode whose best grid pose scores this much less than the best (nats, and as a share of the best score) is left
NEGLIGIBLE, NEGLIGIBLE_SHARE = 4.0, 0.1
# modes that end within this many steps of the grid of each other are one
MET = 0.5
# steps of a climb, and the gain (nats) and length (steps of the grid) at which it ends
STEPS, SMALL_GAIN, LONGEST = 8, 1e-3, 1.0
FIRST_DAMPING = 1e-3


@dataclass
class Modes:
    """Peaks of n images' posteriors, image by image.

    image : (m,) which image; rotations (m, 3, 3), shifts_a (m, 2); scores (m,) nats, prior of the shift included
    covariances : (m, 5, 5) of (ωx, ωy, ωz) rad and (x, y) Å; weights : (m,) posterior mass, summing to 1 an image
    structures : (m,) which reference
    """

    image: np.ndarray
    rotations: np.ndarray
    shifts_a: np.ndarray
    scores: np.ndarray
    covariances: np.ndarray
    weights: np.ndarray
    structures: np.ndarray


def grid_modes(found, grid, operators):
    """Numbers of the poses of one image that are the best of their modes, and the posterior mass near these.

    operators : of the symmetry; a peak at the rim of its asymmetric unit shows at both sides and is one mode.
    """
    spacing = max(grid.spacing_deg, 360 / grid.polar.n_angles)
    structures = found.rows // grid.n_directions
    rotations = grid_rotations(grid, found.rows, found.angles)
    shifts = grid.shifts_a[found.shifts]
    free = np.ones(len(found.rows), bool)
    least = found.scores[0] - NEGLIGIBLE - NEGLIGIBLE_SHARE * abs(found.scores[0])
    heads = []
    while free.any() and len(heads) < MAX_MODES:
        head = int(np.flatnonzero(free)[0])
        if found.scores[head] < least:
            break
        heads.append(head)
        near = distance_to_mates_deg(rotations, rotations[head], operators) <= REACH * spacing
        near &= np.abs(shifts - shifts[head]).max(axis=1) <= REACH * grid.shift_step_a
        free &= ~(near & (structures == structures[head]))
    return np.array(heads), float(found.weights[~free].sum())


def modes_of_block(found, grid, operators, xp) -> list:
    """As `grid_modes` of each of several images, in array operations for all of them at once.

    xp : numpy, or cupy to do it on the current GPU; single precision, and so good to 0.05°
    """
    n, sizes = len(found), [len(one.scores) for one in found]
    begin = np.concatenate([[0], np.cumsum(sizes)])
    rows, shifts, angles, scores, weights = (xp.asarray(np.concatenate([getattr(one, name) for one in found]))
                                             for name in ("rows", "shifts", "angles", "scores", "weights"))
    image, number = xp.asarray(np.repeat(np.arange(n), sizes)), xp.arange(begin[-1])
    psi = 2 * np.pi / grid.polar.n_angles * angles.astype(np.float32)[:, None]
    frames = xp.asarray(grid.frames)[rows % grid.n_directions]
    cosine, sine = xp.cos(psi), xp.sin(psi)
    rotations = xp.stack([cosine * frames[:, 0] + sine * frames[:, 1], cosine * frames[:, 1] - sine * frames[:, 0],
                          frames[:, 2]], axis=1)
    shifts, structures = xp.asarray(grid.shifts_a.astype(np.float32))[shifts], rows // grid.n_directions
    turns = xp.asarray(np.asarray(operators, np.float32))
    spacing = max(grid.spacing_deg, 360 / grid.polar.n_angles)
    least_trace = float(1 + 2 * np.cos(np.radians(min(REACH * spacing, 180.0))))
    top = scores[xp.asarray(begin[:-1])]
    least = top - NEGLIGIBLE - NEGLIGIBLE_SHARE * xp.abs(top)
    free, heads = xp.ones(int(begin[-1]), bool), []
    for _ in range(MAX_MODES):
        left = xp.flatnonzero(free)
        if not len(left):
            break
        # the first that is free of each image, or one of another image where none is
        head = left[xp.minimum(xp.searchsorted(image[left], xp.arange(n)), len(left) - 1)]
        valid = (image[head] == xp.arange(n)) & (scores[head] >= least)
        heads.append(to_host(xp.where(valid, head, -1)))
        traces = xp.full(len(number), -1, np.float32)
        for turn in turns:
            mates = xp.matmul(rotations[head], turn)
            traces = xp.maximum(traces, (rotations * mates[image]).sum(axis=(1, 2)))
        near = (traces >= least_trace) & valid[image]
        near &= xp.abs(shifts - shifts[head][image]).max(axis=1) <= REACH * grid.shift_step_a
        free &= ~(near & (structures == structures[head][image]))
    held = to_host(segment_sum(xp.where(free, 0, weights), xp.asarray(begin)))
    columns = np.stack(heads, axis=1)
    return [(of[of >= 0] - first, float(mass)) for of, first, mass in zip(columns, begin, held)]


def grid_rotations(grid, rows, angles) -> np.ndarray:
    """(p, 3, 3) rotations of grid poses."""
    psi = np.radians(360 / grid.polar.n_angles) * np.asarray(angles)
    turn = np.zeros((len(psi), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(psi)
    turn[:, 0, 1], turn[:, 1, 0] = np.sin(psi), -np.sin(psi)
    turn[:, 2, 2] = 1
    return turn @ grid.frames[np.asarray(rows) % grid.n_directions].astype(np.float64)


def climb(halves, filtered, weight, points, starts: Modes, *, extent_a: float, angle_step: float, shift_step_a: float,
          shift_sd_a: float, operators, allowed=None) -> Modes:
    """Each mode at its peak.

    halves : K half volumes; filtered, weight, points : of the images (ops/pose_score.py); starts : modes on the grid
    extent_a : side of the box, Å; angle_step (rad), shift_step_a : of the grid, which no single step exceeds
    shift_sd_a : width of the Gaussian prior on shifts; operators : of the symmetry
    allowed : (image, rotations, shifts_a) -> (n,) bool, poses that a climb may go to; None for all
    """
    # in units of the grid's steps every number is about one
    unit = np.array([angle_step] * 3 + [shift_step_a / extent_a] * 2)
    prior = np.diag([1.0, 1.0, 1.0, 0, 0]) / (2 * angle_step) ** 2
    prior[[3, 4], [3, 4]] = (extent_a / shift_sd_a) ** 2
    m = len(starts.image)
    rotations, shifts = starts.rotations.copy(), starts.shifts_a / extent_a
    # the width of what is known beforehand keeps a flat peak within its own cells; it is no pull towards the grid
    flat = prior.copy()
    prior[:3, :3] = 0

    def evaluate(members, rotation, shift):
        scores, slopes, curvatures = np.zeros(len(members)), np.zeros((len(members), 5)), np.zeros((len(members), 5, 5))
        for k, half in enumerate(halves):
            mine = starts.structures[members] == k
            if mine.any():
                scores[mine], slopes[mine], curvatures[mine] = pose_terms(
                    half, filtered, weight, points, rotation[mine], shift[mine], starts.image[members[mine]])
        scores -= 0.5 * (shift ** 2).sum(axis=1) * prior[3, 3]
        slopes[:, 3:] -= prior[3, 3] * shift
        return scores, slopes, curvatures + prior

    everyone = np.arange(m)
    scores, slopes, curvatures = evaluate(everyone, rotations, shifts)
    damping, active = np.full(m, FIRST_DAMPING), np.ones(m, bool)
    for _ in range(STEPS):
        members = np.flatnonzero(active)
        if not len(members):
            break
        scaled = curvatures[members] * unit * unit[:, None]
        ridge = damping[members][:, None, None] * np.einsum("nii->ni", scaled)[:, :, None] * np.eye(5)
        step = np.linalg.solve(scaled + ridge + 1e-9 * np.eye(5), (slopes[members] * unit)[:, :, None])[:, :, 0]
        step *= np.minimum(1, LONGEST / np.maximum(np.abs(step).max(axis=1), 1e-9))[:, None]
        step *= unit
        new_rotations = Rotation.from_rotvec(step[:, :3]).as_matrix() @ rotations[members]
        new_shifts = shifts[members] + step[:, 3:]
        new = evaluate(members, new_rotations, new_shifts)
        better = new[0] > scores[members]
        if allowed is not None:
            better &= allowed(starts.image[members], new_rotations, new_shifts * extent_a)
        gain = new[0] - scores[members]
        taken = members[better]
        rotations[taken], shifts[taken] = new_rotations[better], new_shifts[better]
        scores[taken], slopes[taken], curvatures[taken] = (part[better] for part in new)
        damping[members] = np.where(better, damping[members] * 0.1, damping[members] * 10)
        active[members] = np.where(better, gain > SMALL_GAIN, damping[members] < 1e3)
    covariances = np.linalg.inv(curvatures + flat - prior)
    log_mass = scores + 0.5 * np.linalg.slogdet(covariances)[1]
    log_mass[_met(starts, rotations, shifts * extent_a, scores, angle_step, shift_step_a, operators)] = -np.inf
    back = np.array([1, 1, 1, extent_a, extent_a])
    return Modes(starts.image, rotations, shifts * extent_a, scores, covariances * back * back[:, None],
                 _shares(starts.image, log_mass), starts.structures)


def _met(starts, rotations, shifts_a, scores, angle_step, shift_step_a, operators):
    """(m,) bool: modes that have climbed to the peak of another of the same image, which scores as much or more."""
    met = np.zeros(len(scores), bool)
    repeated = np.flatnonzero(np.bincount(starts.image) > 1)
    for i in repeated:
        mine = np.flatnonzero(starts.image == i)
        mine = mine[np.argsort(-scores[mine], kind="stable")]
        for number, mode in enumerate(mine[1:], 1):
            others = mine[:number][starts.structures[mine[:number]] == starts.structures[mode]]
            near = distance_to_mates_deg(rotations[others], rotations[mode], operators) < np.degrees(MET * angle_step)
            near &= np.abs(shifts_a[others] - shifts_a[mode]).max(axis=1) < MET * shift_step_a
            met[mode] = near.any()
    return met


def _shares(image, log_mass):
    """exp(log_mass), normalised image by image."""
    top = np.full(image.max() + 1 if len(image) else 0, -np.inf)
    np.maximum.at(top, image, log_mass)
    mass = np.exp(log_mass - top[image])
    return mass / np.bincount(image, mass)[image]
