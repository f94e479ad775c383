"""The kernels of pose_score and pose_insert on a GPU: `_poses.cu`. Arguments are those of their numba siblings, with
images and half volumes on the GPU and poses on the host; sums over points come in a fixed order."""
from __future__ import annotations

import numpy as np

from ..core.backend import array_module, to_host
from ._cuda import launch
from ._slicing_cupy import add_fixed, fixed_point_scale
from .gaussian import BANDWIDTH, MEAN_SUM

SOURCES = ("_slicing.cu", "_poses.cu")
# threads that share a pose's points, or those of one shell
LANES, SHELL_LANES = 128, 8
# partial sums that are held at a time
PARTIAL_NUMBERS = 1e8


def pose_terms(half, filtered, weight, points, rotations, shifts, image, padding):
    """As `pose_score.pose_terms_plain`, on the host."""
    xp = array_module(half)
    n = len(rotations)
    found = np.empty((21, n))
    for part in _parts(n, 21 * LANES):
        poses = _poses(rotations[part], shifts[part], image[part], padding, xp)
        partial = xp.empty((21, len(poses[0]), LANES), xp.float32)
        launch(SOURCES, "pose_terms", len(poses[0]) * LANES, *_volume(half), *_images(filtered, weight, points, xp),
               *poses, np.int64(len(poses[0])), np.int32(LANES), partial)
        found[:, part] = to_host(partial.sum(axis=2, dtype=xp.float64))
    curvatures = np.empty((n, 5, 5))
    lower = np.tril_indices(5)
    curvatures[:, lower[0], lower[1]] = curvatures[:, lower[1], lower[0]] = found[6:].T
    return found[0], found[1:6].T.copy(), curvatures


def shell_terms(half, filtered, weight, points, shells, rotations, shifts, image, count, padding):
    """As `pose_score.shell_terms_plain`, on the host."""
    xp = array_module(half)
    n = len(rotations)
    members, starts = _of_shells(shells, count, xp)
    found = np.empty((2, n, count))
    for part in _parts(n, 2 * count * SHELL_LANES):
        poses = _poses(rotations[part], shifts[part], image[part], padding, xp)
        partial = xp.empty((2, len(poses[0]), count, SHELL_LANES), xp.float32)
        launch(SOURCES, "shell_terms", partial.size // 2, *_volume(half), *_images(filtered, weight, points, xp),
               members, starts, np.int32(count), *poses, np.int64(len(poses[0])), np.int32(SHELL_LANES), partial)
        found[:, part] = to_host(partial.sum(axis=3, dtype=xp.float64))
    return found[0], found[1]


def shell_power(values, shells, count):
    """As `pose_score.shell_power_plain`, on the host."""
    xp = array_module(values)
    members, starts = _of_shells(shells, count, xp)
    partial = xp.empty((len(values), count, SHELL_LANES), xp.float32)
    launch(SOURCES, "shell_power", partial.size, xp.ascontiguousarray(values, dtype=xp.complex64),
           np.int64(values.shape[1]), members, starts, np.int32(count), np.int64(len(values)), np.int32(SHELL_LANES),
           partial)
    return to_host(partial.sum(axis=2, dtype=xp.float64))


def node_sums(values, radius, padding):
    """(radius + 1,) float64, on the host: a half volume's values in single precision, summed over the nodes of each
    shell, the same bit for bit on every run. What is not finite counts as nothing."""
    xp = array_module(values)
    values = xp.ascontiguousarray(xp.where(xp.isfinite(values), values, 0), dtype=xp.float32)
    scale = fixed_point_scale(float(xp.abs(values).sum(dtype=xp.float64)))
    sums = xp.zeros(radius + 1, xp.uint64)
    launch(SOURCES, "node_sums", values.size, values, np.int32(values.shape[0]), np.int32(values.shape[2]),
           np.int32(padding), np.int32(radius), np.int64(values.size), np.float32(scale), sums)
    return to_host(sums).view(np.int64) / scale


def insert_poses(filtered, weight, points, rotations, shifts, image, mass, padding, numerator, total,
                 kernel="trilinear"):
    """As `pose_insert.insert_poses_plain`; the same bit for bit on every run (see _slicing_cupy)."""
    xp = array_module(filtered)
    n = len(rotations)
    if not n:
        return
    # a turned value is no longer than it was, and no node gets more than all of it
    used = np.bincount(image, mass, len(filtered))
    value_scale, weight_scale = (fixed_point_scale(float(used @ to_host(xp.abs(part).sum(axis=1, dtype=xp.float64))))
                                 for part in (filtered, weight))
    gaussian = kernel == "gaussian"
    fixed = xp.zeros(numerator.shape + (3,), xp.uint64)
    launch(SOURCES, "insert_poses", n * len(points), *_images(filtered, weight, points, xp),
           *_poses(rotations, shifts, image, padding, xp), xp.asarray(mass.astype(np.float32)), np.int64(n),
           np.int32(numerator.shape[0]), np.int32(numerator.shape[2]), np.float32(1 / BANDWIDTH if gaussian else 0),
           np.float32(1 / MEAN_SUM ** 3), np.float32(value_scale), np.float32(weight_scale), fixed)
    add_fixed(fixed, value_scale, weight_scale, numerator, total)


def _parts(n, numbers):
    """Slices of n poses, each of which takes so many partial sums."""
    step = max(1, int(PARTIAL_NUMBERS // numbers))
    return [slice(first, min(first + step, n)) for first in range(0, n, step)]


def _volume(half):
    xp = array_module(half)
    return xp.ascontiguousarray(half, dtype=xp.complex64), np.int32(half.shape[0]), np.int32(half.shape[2])


def _images(filtered, weight, points, xp):
    return (xp.ascontiguousarray(filtered, dtype=xp.complex64), xp.ascontiguousarray(weight, dtype=xp.float32),
            xp.asarray(points.astype(np.float32)), np.int64(len(points)))


def _poses(rotations, shifts, image, padding, xp):
    return (xp.asarray((rotations * padding).reshape(-1, 9).astype(np.float32)), xp.asarray(shifts.astype(np.float32)),
            xp.asarray(image.astype(np.int32)))


def _of_shells(shells, count, xp):
    """(members, starts) of _poses.cu."""
    order = np.argsort(shells, kind="stable")
    starts = np.searchsorted(shells[order], np.arange(count + 1))
    return xp.asarray(order.astype(np.int32)), xp.asarray(starts.astype(np.int32))
