"""The E-step on a block of images of one half-set: search, climb, and what the next map and noise are made of."""
from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...core.backend import array_module, to_host
from ...ops.pose_insert import insert_poses
from ...ops.pose_score import shell_terms
from ...ops.slicing import half_volume_shape
from .modes import HELD_MASS, Modes, climb, grid_rotations

# modes of less than this share of an image's mass are not back-projected
LIGHTEST = 1e-3


@dataclass
class PosedImages:
    """Results of n images, in their order.

    rotations (n, 3, 3), shifts_a (n, 2), structures (n,) : of the best mode; class_mass (n, K)
    log_gain : (n,) nats by which the best pose explains the image better than noise alone, prior of its shift included
    entropy : (n,) nats, of the posterior over grid poses; width_deg : (n,) root mean square angle, over all axes, of
    the best mode; linear, square : (n,) Σ Re conj(F) Y and Σ W |Y|² under the posterior; broad : (n,) bool, whether the
    grid poses were used as they are; pruned, cut (n, levels − 1), capped (n,) : see search.FoundPoses; scored (n,)
    """

    rotations: np.ndarray
    shifts_a: np.ndarray
    structures: np.ndarray
    class_mass: np.ndarray
    log_gain: np.ndarray
    entropy: np.ndarray
    width_deg: np.ndarray
    linear: np.ndarray
    square: np.ndarray
    broad: np.ndarray
    pruned: np.ndarray
    cut: np.ndarray
    capped: np.ndarray
    scored: np.ndarray

    def in_class(self, k: int, classes: int) -> "PosedImages":
        """The same of images that were posed by the one map there is, and belong to class k of several."""
        structures = np.full(len(self.structures), k)
        return replace(self, structures=structures, class_mass=np.eye(classes)[structures])


class HalfSums:
    """What a half-set's images add up to, in one asymmetric unit each.

    numerator, weight : (K, half volume) up to `radius`, by xp until `to_host`
    residual : (groups, radius + 1) Σ |X − C Y|² of each shell's coefficients of the masked images; images : (groups,)
    linear, square : (K, shells) regression of images on slices
    """

    def __init__(self, classes: int, groups: int, radius: int, radius_searched: int, xp=np):
        shape = (classes,) + half_volume_shape(radius)
        self.numerator, self.weight = xp.zeros(shape, np.complex64), xp.zeros(shape, np.float32)
        self.residual, self.images = np.zeros((groups, radius + 1)), np.zeros(groups, int)
        self.linear, self.square = (np.zeros((classes, radius_searched + 1)) for _ in range(2))

    def of_class(self, k: int) -> "HalfSums":
        """The sums of one class alone, as a view: what is added to them is added to these."""
        part = copy(self)
        part.numerator, part.weight, part.linear, part.square = (
            values[k:k + 1] for values in (self.numerator, self.weight, self.linear, self.square))
        return part

    def to_host(self) -> None:
        """Bring the sums from the GPU, where they lie there; that is all that is added to them."""
        self.numerator, self.weight = to_host(self.numerator), to_host(self.weight)


class Poser:
    """Poses the images of one half-set against its maps.

    search : BoundedSearch; preparer : ImagePreparer of the maps to make, whose radius may be beyond the search's
    operators : of the symmetry; soft : whether all modes count, or the best alone
    kernel : of the back-projection
    """

    def __init__(self, search, preparer, operators, *, soft: bool = True, kernel: str = "trilinear"):
        self.search, self.preparer, self.operators, self.soft = search, preparer, operators, soft
        self.kernel = kernel
        self.level = search.levels[-1]
        self.halves = self.level.halves
        self.radius = self.level.grid.polar.radius
        self.used = preparer.within(self.radius)
        self.phases = search.phases

    def add(self, images, table, rows, noise, sums: HalfSums) -> PosedImages:
        """Pose images of one optics group and add them to the sums. noise : σ² by Fourier radius."""
        grid, preparer = self.level.grid, self.preparer
        with self.phases("preparation"):
            images = preparer.xp.asarray(images)
            low = preparer.low_passed(images)
        found = self.search.run(low, table, rows, noise)
        with self.phases("preparation"):
            prepared = preparer.prepare(images, low, table, rows, noise)
            masked = prepared.masked
            weight = array_module(masked).ascontiguousarray(prepared.ctf_power[:, :self.used])
        with self.phases("polish"):
            heads = self.search.modes(found, self.operators)
            broad = np.array([mass < HELD_MASS for _, mass in heads])
            starts = _starts(found, [head for head, _ in heads], grid)
            modes = climb(self.halves, masked, weight, preparer.points[:self.used], starts, extent_a=preparer.extent_a,
                          angle_step=np.radians(max(grid.spacing_deg, 360 / grid.polar.n_angles)),
                          shift_step_a=grid.shift_step_a, shift_sd_a=grid.shift_sd_a, operators=self.operators,
                          allowed=self.search.allowed(rows))
        if not self.soft:
            modes.weights = _hard(modes.image, modes.weights)
        poses = self._poses(modes, found, np.flatnonzero(broad & self.soft))
        with self.phases("back-projection"):
            self._insert(poses, prepared, sums)
        with self.phases("residuals"):
            linear, square = self._explained(poses, masked, weight, len(rows))
            self._add_residual(prepared, linear.sum(axis=1), square.sum(axis=1), table.optics_id[rows[0]], noise, sums)
        sums.linear += linear.sum(axis=0)
        sums.square += square.sum(axis=0)
        return self._results(modes, found, broad, linear.sum(axis=(1, 2)), square.sum(axis=(1, 2)))

    def _poses(self, modes, found, broad) -> Modes:
        """What stands for the images' posteriors: the modes, or of a broad one the poses that were drawn from it."""
        grid = self.level.grid
        sharp = ~np.isin(modes.image, broad) & (modes.weights > LIGHTEST)
        drawn = np.concatenate([np.zeros((0, 3), int)] + [found[i].drawn for i in broad])
        rows, shifts, angles = drawn.T
        image = np.repeat(broad, len(drawn) // max(1, len(broad)))
        count = len(image)
        return Modes(np.concatenate([modes.image[sharp], image]),
                     np.concatenate([modes.rotations[sharp], grid_rotations(grid, rows, angles)]),
                     np.concatenate([modes.shifts_a[sharp], grid.shifts_a[shifts]]),
                     np.concatenate([modes.scores[sharp], np.zeros(count)]),
                     np.concatenate([modes.covariances[sharp], np.zeros((count, 5, 5))]),
                     np.concatenate([modes.weights[sharp], np.full(count, len(broad) / max(1, count))]),
                     np.concatenate([modes.structures[sharp], rows // grid.n_directions]))

    def _insert(self, poses, prepared, sums):
        preparer = self.preparer
        image, rotations, shifts, mass, structures = cubature(poses) if self.soft else (
            poses.image, poses.rotations, poses.shifts_a, poses.weights, poses.structures)
        for k in range(len(self.halves)):
            mine = structures == k
            numerator, weight = insert_poses(prepared.whole, prepared.ctf_power, preparer.points, rotations[mine],
                                             shifts[mine] / preparer.extent_a, image[mine], mass[mine],
                                             preparer.radius, kernel=self.kernel)
            sums.numerator[k] += numerator
            sums.weight[k] += weight

    def _explained(self, modes, masked, weight, n):
        """(n, K, shells) Σ Re conj(F) Y and Σ W |Y|² over each shell, of each image's modes."""
        shape = (n, len(self.halves), self.radius + 1)
        linear, square = np.zeros(shape), np.zeros(shape)
        points, shells = self.preparer.points[:self.used], self.preparer.shells[:self.used]
        for k, half in enumerate(self.halves):
            mine = np.flatnonzero(modes.structures == k)
            image, mass = modes.image[mine], modes.weights[mine][:, None]
            cross, power = shell_terms(half, masked, weight, points, shells, modes.rotations[mine],
                                       modes.shifts_a[mine] / self.preparer.extent_a, image, self.radius + 1)
            np.add.at(linear[:, k], image, mass * cross)
            np.add.at(square[:, k], image, mass * power)
        return linear, square

    def _add_residual(self, prepared, linear, square, group, noise, sums):
        residual = prepared.power.sum(axis=0)
        sigma2 = np.asarray(noise)[:self.radius + 1]
        residual[:self.radius + 1] -= sigma2 * (2 * linear - square).sum(axis=0)
        sums.residual[group] += residual
        sums.images[group] += len(prepared.power)

    def _results(self, modes, found, broad, linear, square):
        n = len(found)
        order = np.lexsort((-modes.weights, modes.image))
        best = order[np.searchsorted(modes.image[order], np.arange(n))]
        mass = np.zeros((n, len(self.halves)))
        np.add.at(mass, (modes.image, modes.structures), modes.weights)
        spread = np.einsum("nii->n", modes.covariances[best][:, :3, :3])
        return PosedImages(
            modes.rotations[best], modes.shifts_a[best], modes.structures[best], mass, modes.scores[best],
            np.array([one.entropy for one in found]),
            np.degrees(np.sqrt(spread)), linear, square, broad, np.array([one.pruned for one in found]),
            np.array([one.cut for one in found]),
            np.array([one.capped for one in found]), np.array([one.scored for one in found]))


def cubature(modes: Modes):
    """(image, rotations, shifts_a, mass, structures) of the poses that stand for the modes' Gaussians: ten each, at
    ±√5 along every axis, equally heavy (exact to the third degree); one for a mode without width."""
    wide = modes.covariances.any(axis=(1, 2))
    parts = [(modes.image[~wide], modes.rotations[~wide], modes.shifts_a[~wide], modes.weights[~wide],
              modes.structures[~wide])]
    if wide.any():
        roots = np.sqrt(5) * np.linalg.cholesky(modes.covariances[wide])
        offsets = np.concatenate([roots, -roots], axis=2).transpose(0, 2, 1)
        turns = Rotation.from_rotvec(offsets[:, :, :3].reshape(-1, 3)).as_matrix().reshape(-1, 10, 3, 3)
        parts.append((np.repeat(modes.image[wide], 10),
                      (turns @ modes.rotations[wide][:, None]).reshape(-1, 3, 3),
                      (modes.shifts_a[wide][:, None] + offsets[:, :, 3:]).reshape(-1, 2),
                      np.repeat(modes.weights[wide] / 10, 10), np.repeat(modes.structures[wide], 10)))
    return tuple(np.concatenate(column) for column in zip(*parts))


def _starts(found, heads, grid) -> Modes:
    def gathered(name):
        return np.concatenate([getattr(one, name)[head] for one, head in zip(found, heads)])

    image = np.repeat(np.arange(len(found)), [len(head) for head in heads])
    rows = gathered("rows")
    return Modes(image, grid_rotations(grid, rows, gathered("angles")), grid.shifts_a[gathered("shifts")],
                 gathered("scores"), None, None, rows // grid.n_directions)


def _hard(image, weights):
    """All mass of each image at its heaviest mode."""
    order = np.lexsort((-weights, image))
    best = order[np.unique(image[order], return_index=True)[1]]
    hard = np.zeros(len(weights))
    hard[best] = 1
    return hard
