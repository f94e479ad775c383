"""Importance sampling of the quadrature (paper 1 §3.4): few poses an image, chosen by what its last visit said.

Three independent distributions, over rows (structure and direction), in-plane angles and shifts, are each a mixture
(eq. 20) of the image's last marginals, annealed and blurred onto the present grid by kernels (eq. 21-23), with a floor
that reaches every point. The paper draws N = s0 / Σ q² points with replacement; here N different points are drawn with
inclusion probabilities min(1, c q), each standing for 1 / probability points (Horvitz and Thompson): as unbiased, and
a point that surely matters is evaluated once, with no noise. In-plane angles are counted from the last best pose,
carried to each direction without twist, so that their distribution means the same at neighbouring directions.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ...core.poses import directions_to_vectors, healpix_directions, parallel_transport_psi
from .expectation import Selection

# points remembered of each marginal, and how much of each they must hold: a posterior more diffuse is searched anew
CAPACITY, HELD_MASS = 32, 0.98
# iterations of paper 1's runs, in whose units its annealing is given
PAPER_ITERATIONS = 5000
# directions on which the data set's mean distribution is kept (nside 8), and images that it remembers
AVERAGE_NSIDE, AVERAGE_MEMORY = 8, 2000.0
# a sample that costs more than this share of the search's first level saves nothing
WORTHWHILE = 0.3
# kernels are cut off where they fall below e^-12
CUTOFF = 12.0


def mixing_proportion(progress: float) -> float:
    """α of eq. 20 for a last visit at this share of the run."""
    return float(max(0.05, 2 ** (-0.25 * (PAPER_ITERATIONS * progress // 50))))


def annealing_temperature(progress: float) -> float:
    """T of eq. 20; before the paper's iteration 50, where its formula divides by zero, that of iteration 50."""
    return float(max(1.25, 2 ** (10.0 / max(1.0, PAPER_ITERATIONS * progress // 50))))


def effective_size(q) -> float:
    """1 / Σ q² of a distribution."""
    return 1 / float(np.square(q).sum())


def draw(q, count: int, rng):
    """`count` different points of a distribution q > 0, unbiased: (sorted indices, log of what each stands for).

    Inclusion probabilities are min(1, c q) with c such that they sum to `count`; the draw is systematic in the order
    of the points, so that neighbours are spread evenly.
    """
    n = len(q)
    if count >= n:
        return np.arange(n), np.zeros(n)
    descending = np.sort(q)[::-1]
    rest = np.cumsum(descending[::-1])[::-1]
    # the largest points are certain: the first k for which the others' probabilities stay below one
    certain = int(np.argmax((count - np.arange(count)) * descending[:count] <= rest[:count]))
    probability = np.minimum(1.0, (count - certain) / rest[certain] * q)
    sure = probability >= 1 - 1e-12
    ladder = np.cumsum(np.where(sure, 0.0, probability))
    picked = np.diff(np.floor(ladder + rng.random()), prepend=0) > 0
    # the ladder begins at the random offset, below one: a first step onto 1 is a pick
    indices = np.flatnonzero(sure | picked)
    return indices, -np.log(np.where(sure, 1.0, probability)[indices])


class PoseMemory:
    """What each particle's last visit said, and the importance distributions made of it.

    n_particles : rows of the particle table; classes : K; oversampling : s0 of N = s0 / Σ q²
    """

    _arrays = dict(vectors=((CAPACITY, 3), np.float32), structures=((CAPACITY,), np.int16),
                   row_mass=((CAPACITY,), np.float32), angles=((CAPACITY,), np.float32),
                   angle_mass=((CAPACITY,), np.float32), shifts=((CAPACITY, 2), np.float32),
                   shift_mass=((CAPACITY,), np.float32), reference=((3, 3), np.float32), spacing=((3,), np.float32),
                   progress=((), np.float32))

    def __init__(self, n_particles: int, classes: int, oversampling: float):
        self.classes, self.oversampling = classes, oversampling
        self.slot = np.full(n_particles, -1, np.int32)
        self.used = 0
        self.kept = {name: np.zeros((0,) + shape, dtype) for name, (shape, dtype) in self._arrays.items()}
        self.average_directions = healpix_directions(AVERAGE_NSIDE)
        cells = len(self.average_directions)
        self.average = np.full((classes, cells), 1 / (classes * cells))
        self._tree = cKDTree(directions_to_vectors(self.average_directions))
        self._grid = self._vectors_of_grid = self._of_grid = None

    def store(self, particles, images, grid, progress: float) -> float:
        """Remember a minibatch's marginals; returns the mean KL divergence (nats) of the directions' marginals from
        those of the images' last visits, where both were concentrated (paper 1 Fig. 3), or nan."""
        divergences = []
        spacing = (grid.spacing_deg, 360 / grid.polar.n_angles, grid.shift_step_a)
        for particle, image in zip(particles, images):
            m = image.marginals
            vectors = self._vectors(grid)[m.rows % grid.n_directions]
            structures = m.rows // grid.n_directions
            self._average_in(grid, m.rows, m.row_mass)
            heavy = [_heaviest(mass) for mass in (m.row_mass, m.angle_mass, m.shift_mass)]
            concentrated = all(mass[top].sum() >= HELD_MASS * mass.sum()
                               for top, mass in zip(heavy, (m.row_mass, m.angle_mass, m.shift_mass)))
            if not concentrated:
                self.slot[particle] = -1
                continue
            if self.slot[particle] >= 0:
                divergences.append(self._divergence(self.slot[particle], vectors, structures, m.row_mass, spacing[0]))
            else:
                self._new_slot(particle)
            slot, kept = self.slot[particle], self.kept
            for name, values, top in (("vectors", vectors, heavy[0]), ("structures", structures, heavy[0]),
                                      ("row_mass", m.row_mass, heavy[0]), ("angles", m.angles_deg, heavy[1]),
                                      ("angle_mass", m.angle_mass, heavy[1]), ("shifts", m.shifts_a, heavy[2]),
                                      ("shift_mass", m.shift_mass, heavy[2])):
                kept[name][slot] = 0
                kept[name][slot, :len(top)] = values[top]
            kept["reference"][slot], kept["spacing"][slot] = image.rotation, spacing
            kept["progress"][slot] = progress
        return float(np.mean(divergences)) if divergences else float("nan")

    def select(self, particle: int, grid, limit: float, rng):
        """The Selection of a particle's sample of a grid, or None where it must be searched.

        limit : poses of the search's first level; a sample of more than WORTHWHILE times these is not drawn
        """
        if self.slot[particle] < 0:
            return None
        of = {name: array[self.slot[particle]] for name, array in self.kept.items()}
        alpha, temperature = (f(float(of["progress"])) for f in (mixing_proportion, annealing_temperature))
        q_rows = self._row_distribution(of, grid, alpha, temperature)
        q_angles = self._angle_distribution(of, grid, alpha, temperature)
        q_shifts = self._shift_distribution(of, grid, alpha, temperature)
        counts = [min(len(q), int(np.ceil(self.oversampling * effective_size(q))))
                  for q in (q_rows, q_angles, q_shifts)]
        if float(np.prod(counts, dtype=float)) > WORTHWHILE * limit:
            return None
        (rows, log_rows), (angles, log_angles), (shifts, log_shifts) = (
            draw(q, count, rng) for q, count in zip((q_rows, q_angles, q_shifts), counts))
        turns = parallel_transport_psi(grid.frames[rows % grid.n_directions], of["reference"])
        return Selection(rows, shifts, angles, np.rint(turns / 360 * grid.polar.n_angles).astype(int),
                         log_rows, log_shifts, log_angles)

    def state(self) -> dict:
        """Everything as arrays."""
        return dict(slot=self.slot, average=self.average,
                    **{f"kept_{name}": array[:self.used] for name, array in self.kept.items()})

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.slot, self.average = np.array(state["slot"]), np.array(state["average"])
        self.kept = {name: np.array(state[f"kept_{name}"]) for name in self._arrays}
        self.used = len(self.kept["progress"])

    def _row_distribution(self, of, grid, alpha, temperature):
        kappa = np.log(4) / (1 - np.cos(np.radians(max(grid.spacing_deg, of["spacing"][0]))))
        own = np.zeros((self.classes, grid.n_directions))
        filled = of["row_mass"] > 0
        mass = of["row_mass"][filled] ** (1 / temperature)
        exponent = kappa * (self._vectors(grid) @ of["vectors"][filled].T - 1)
        kernel = np.where(exponent > -CUTOFF, np.exp(np.maximum(exponent, -CUTOFF)), 0.0) * mass
        for structure in np.unique(of["structures"][filled]):
            own[structure] = kernel[:, of["structures"][filled] == structure].sum(axis=1)
        cells, members = self._looked_at(grid)[:2]
        average = self.average[:, cells] / members[cells]
        return _mixture(own.ravel(), average.ravel(), alpha)

    def _angle_distribution(self, of, grid, alpha, temperature):
        n = grid.polar.n_angles
        width = max(2 * np.pi / n, np.radians(of["spacing"][1]))
        kappa = np.log(2) / (1 - np.cos(width))
        filled = of["angle_mass"] > 0
        apart = 2 * np.pi * np.arange(n)[:, None] / n - np.radians(of["angles"][filled])
        kernel = np.exp(np.maximum(kappa * (np.cos(apart) - 1), -50))
        return _mixture(kernel @ of["angle_mass"][filled] ** (1 / temperature), np.ones(n), alpha)

    def _shift_distribution(self, of, grid, alpha, temperature):
        width = max(grid.shift_step_a, of["spacing"][2])
        filled = of["shift_mass"] > 0
        apart = grid.shifts_a[:, None, :] - of["shifts"][filled]
        kernel = np.exp(np.maximum(-(apart ** 2).sum(axis=2) / (2 * width ** 2), -50))
        # the floor follows the prior: the data set's own spread of shifts as far as it is known beforehand
        return _mixture(kernel @ of["shift_mass"][filled] ** (1 / temperature), np.exp(grid.log_shift_weights), alpha)

    def _divergence(self, slot, vectors, structures, mass, spacing_deg):
        """KL of the new marginal from the last, each binned on the average's cells and blurred by one cell."""
        old, filled = self.kept, self.kept["row_mass"][slot] > 0
        p = self._binned(vectors, structures, mass)
        q = self._binned(old["vectors"][slot][filled], old["structures"][slot][filled], old["row_mass"][slot][filled])
        q = 0.99 * q + 0.01 / q.size
        held = p > 0
        return float((p[held] * np.log(p[held] / q[held])).sum())

    def _binned(self, vectors, structures, mass):
        cells = self._tree.query(vectors)[1]
        flat = np.bincount(structures * self.average.shape[1] + cells, mass, self.average.size)
        return flat / flat.sum()

    def _average_in(self, grid, rows, mass):
        of_rows = np.bincount(rows, mass, self.classes * grid.n_directions).reshape(self.classes, -1)
        cells, _, nearest, shared = self._looked_at(grid)
        if grid.n_sphere > len(nearest):
            binned = np.stack([np.bincount(cells, row, len(nearest)) for row in of_rows])
        else:
            # a coarse direction stands for all cells around it, not for the nearest alone
            binned = (of_rows / shared)[:, nearest]
        self.average += (binned / binned.sum() - self.average) / AVERAGE_MEMORY

    def _new_slot(self, particle):
        if self.used == len(self.kept["progress"]):
            self.kept = {name: np.concatenate([array, np.zeros((max(256, len(array)),) + array.shape[1:],
                                                               array.dtype)]) for name, array in self.kept.items()}
        self.slot[particle] = self.used
        self.used += 1

    def _vectors(self, grid):
        self._looked_at(grid)
        return self._vectors_of_grid

    def _looked_at(self, grid):
        """(average's cell of each direction, directions in each cell, direction nearest to each cell, cells of each
        direction) of a grid."""
        if self._grid is not grid:
            self._vectors_of_grid = directions_to_vectors(grid.directions).astype(np.float32)
            cells = self._tree.query(self._vectors_of_grid)[1]
            nearest = cKDTree(self._vectors_of_grid).query(self._tree.data)[1]
            self._of_grid = (cells, np.bincount(cells, minlength=len(nearest)), nearest,
                             np.maximum(1, np.bincount(nearest, minlength=grid.n_directions)))
            self._grid = grid
        return self._of_grid


def _mixture(own, average, alpha):
    """(1 − α) own + α (half the data set's average, half uniform), each summing to 1."""
    floor = 0.5 * average / average.sum() + 0.5 / len(own)
    return (1 - alpha) * own / own.sum() + alpha * floor


def _heaviest(mass):
    """Indices of the CAPACITY largest, those without mass left out."""
    top = np.argsort(mass)[::-1][:CAPACITY]
    return top[mass[top] > 0]
