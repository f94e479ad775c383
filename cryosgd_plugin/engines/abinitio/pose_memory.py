"""What each particle's last visit said of its pose, and the importance distributions made of it (paper 1 §3.4).

In-plane angles are counted from the last best pose, carried to each direction without twist, so that their
distribution means the same at neighbouring directions. A sample can only be as good as the memory: while the map
still changes, a particle's posterior moves elsewhere between two visits, and a sample around its old place finds
nothing and says so with great confidence (measured: 100 nats below the exact sum). So a particle is sampled only if
its last visit found it where the visit before had foreseen it, and while particles of which that was true are found
there again. For this, and for its own sake, each is searched anew now and then.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ...core.poses import directions_to_vectors, healpix_directions, parallel_transport_psi
from .importance import annealing_temperature, draw, mixing_proportion, mixture, sample_size
from .selection import Selection

# points remembered of each marginal, and how much of each they must hold: a posterior more diffuse is searched anew
CAPACITY, HELD_MASS = 32, 0.99
# posterior mass that the visit before must have foreseen: within REACH grid spacings of a point that held this share
FORESEEN, REACH, LEAST_POINT = 0.99, 1.5, 1e-3
# every so many visits a particle is searched anew, whatever its samples say; each time that this finds it where it was,
# it takes twice as many to the next, but no more than so many. By so many such particles is told how far the memory of
# all is to be trusted
SEARCH_EVERY, MOST_EVERY, TRUST_MEMORY = 4, 64, 200
# directions on which the data set's mean distribution is kept (nside 8), and images that it remembers
AVERAGE_NSIDE, AVERAGE_MEMORY = 8, 2000.0
# particles, the first to be visited, whose whole distribution over these directions is kept from visit to visit
# (Fig. 3), and the share of it that is taken to be even, so that a view never thought of before costs no infinity
WATCHED, EVEN_SHARE = 500, 0.01
# a sample of more poses than this share of what searches cost of late saves nothing: each of its poses costs more
WORTHWHILE, COST_RATE = 0.3, 0.02
# kernels are cut off where they fall below e^-12
CUTOFF = 12.0


class PoseMemory:
    """What each particle's last visit said, and the importance distributions made of it.

    n_particles : rows of the particle table; classes : K; oversampling : s0 of N = s0 / Σ q²
    """

    _arrays = dict(vectors=((CAPACITY, 3), np.float32), structures=((CAPACITY,), np.int16),
                   row_mass=((CAPACITY,), np.float32), angles=((CAPACITY,), np.float32),
                   angle_mass=((CAPACITY,), np.float32), shifts=((CAPACITY, 2), np.float32),
                   shift_mass=((CAPACITY,), np.float32), reference=((3, 3), np.float32), spacing=((3,), np.float32),
                   progress=((), np.float32), foreseen=((), np.float32), sampled=((), np.int16),
                   every=((), np.int16))

    def __init__(self, n_particles: int, classes: int, oversampling: float):
        self.classes, self.oversampling = classes, oversampling
        self.n_particles = n_particles
        self.average_directions = healpix_directions(AVERAGE_NSIDE)
        self._tree = cKDTree(directions_to_vectors(self.average_directions))
        self._grid = self._vectors_of_grid = self._of_grid = None
        self.forget()

    def forget(self) -> None:
        """Begin anew: for maps that were turned, in whose frame no pose of before means anything."""
        self.slot = np.full(self.n_particles, -1, np.int32)
        self.used = 0
        self.trust, self.trials = 0.0, 0
        self.search_cost = 0.0
        self.kept = {name: np.zeros((0,) + shape, dtype) for name, (shape, dtype) in self._arrays.items()}
        self.average = np.full((self.classes, len(self.average_directions)),
                               1 / (self.classes * len(self.average_directions)))
        self.watch = np.full(self.n_particles, -1, np.int16)
        self.watched = []

    def store(self, particles, images, grid, progress: float, sampled=None) -> float:
        """Remember a minibatch's marginals; returns the mean KL divergence (nats) of the directions' marginals from
        those of the last visits (paper 1 Fig. 3), of the watched particles among these, or nan without such.

        particles : (n,) rows of the particle table; images : [ImageResult] with marginals; grid : the PoseGrid that
        their rows are of; progress : share of the run, 0 to 1; sampled : (n,) bool, which images were sampled and not
        searched, None for none
        """
        divergences = []
        spacing = (grid.spacing_deg, 360 / grid.polar.n_angles, grid.shift_step_a)
        sampled = np.zeros(len(images), bool) if sampled is None else sampled
        for particle, image, drawn in zip(particles, images, sampled):
            if not drawn:
                self.search_cost += (image.evaluated - self.search_cost) * (COST_RATE if self.search_cost else 1.0)
            m = image.marginals
            vectors = self._vectors(grid)[m.rows % grid.n_directions]
            structures = m.rows // grid.n_directions
            views = self._on_cells(grid, m.rows, m.row_mass)
            self.average += (views - self.average) / AVERAGE_MEMORY
            place = self.watch[particle]
            if place >= 0:
                divergences.append(_divergence(views, self.watched[place]))
                self.watched[place] = views.astype(np.float32)
            elif len(self.watched) < WATCHED:
                self.watch[particle] = len(self.watched)
                self.watched.append(views.astype(np.float32))
            heavy = [_heaviest(mass) for mass in (m.row_mass, m.angle_mass, m.shift_mass)]
            concentrated = all(mass[top].sum() >= HELD_MASS * mass.sum()
                               for top, mass in zip(heavy, (m.row_mass, m.angle_mass, m.shift_mass)))
            if self.slot[particle] < 0:
                if not concentrated:
                    continue
                self._new_slot(particle)
            slot, kept = self.slot[particle], self.kept
            known = kept["row_mass"][slot].any()
            foreseen = self._foreseen(slot, image, vectors, structures, spacing) if known else 0.0
            if not drawn and known and kept["foreseen"][slot] >= FORESEEN:
                self.trials = min(self.trials + 1, TRUST_MEMORY)
                self.trust += (foreseen - self.trust) / self.trials
            if foreseen < FORESEEN:
                kept["every"][slot] = SEARCH_EVERY
            elif kept["sampled"][slot] and not drawn:
                kept["every"][slot] = min(2 * kept["every"][slot], MOST_EVERY)
            kept["foreseen"][slot] = foreseen
            if not concentrated:
                kept["row_mass"][slot] = 0
                continue
            for name, values, top in (("vectors", vectors, heavy[0]), ("structures", structures, heavy[0]),
                                      ("row_mass", m.row_mass, heavy[0]), ("angles", m.angles_deg, heavy[1]),
                                      ("angle_mass", m.angle_mass, heavy[1]), ("shifts", m.shifts_a, heavy[2]),
                                      ("shift_mass", m.shift_mass, heavy[2])):
                kept[name][slot] = 0
                kept[name][slot, :len(top)] = values[top]
            kept["reference"][slot], kept["spacing"][slot] = image.rotation, spacing
            kept["progress"][slot] = progress
            kept["sampled"][slot] = kept["sampled"][slot] + 1 if drawn else 0
        return float(np.mean(divergences)) if divergences else float("nan")

    def select(self, particle: int, grid, rng, limit: float = None):
        """The Selection of a particle's sample of a grid, or None where it is to be searched.

        limit : poses that it may have, by default WORTHWHILE times what searches have cost of late
        """
        if not self.foresees(particle):
            return None
        distributions = self.distributions(particle, grid)
        counts = [sample_size(q, self.oversampling) for q in distributions]
        if float(np.prod(counts, dtype=float)) > (WORTHWHILE * self.search_cost if limit is None else limit):
            return None
        (rows, log_rows), (angles, log_angles), (shifts, log_shifts) = (
            draw(q, count, rng) for q, count in zip(distributions, counts))
        reference = self.kept["reference"][self.slot[particle]]
        turns = parallel_transport_psi(grid.frames[rows % grid.n_directions], reference)
        return Selection(rows, shifts, angles, np.rint(turns / 360 * grid.polar.n_angles).astype(int),
                         log_rows, log_shifts, log_angles)

    def distributions(self, particle: int, grid):
        """The importance distributions (eq. 20) of a particle that was visited, over a grid's rows (structures ×
        directions), in-plane angles counted from its last best pose, and shifts: three (n,) that sum to 1."""
        of = {name: array[self.slot[particle]] for name, array in self.kept.items()}
        alpha, temperature = (f(float(of["progress"])) for f in (mixing_proportion, annealing_temperature))
        return tuple(made(of, grid, alpha, temperature) for made in (
            self._row_distribution, self._angle_distribution, self._shift_distribution))

    def foresees(self, particle: int) -> bool:
        """Whether a sample is to be trusted: the last visits agreed, a search was among the last of them, and other
        such particles were found where they had been."""
        slot = self.slot[particle]
        if slot < 0 or self.trust < FORESEEN:
            return False
        of = {name: self.kept[name][slot] for name in ("row_mass", "foreseen", "sampled", "every")}
        return bool(of["row_mass"].any() and of["foreseen"] >= FORESEEN and of["sampled"] < of["every"] - 1)

    def state(self) -> dict:
        """Everything as arrays."""
        return dict(slot=self.slot.copy(), average=self.average.copy(), watch=self.watch.copy(),
                    watched=np.reshape(self.watched, (-1,) + self.average.shape),
                    trust=np.array([self.trust, self.trials, self.search_cost]),
                    **{f"kept_{name}": array[:self.used] for name, array in self.kept.items()})

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.slot, self.average = (np.array(state[name]) for name in ("slot", "average"))
        if "watch" in state:  # a checkpoint of an older version has none: they are watched from here on
            self.watch, self.watched = np.array(state["watch"]), list(np.array(state["watched"]))
        self.used = len(state["kept_progress"])
        # nor has it the number of visits between searches, which was one for all
        old = {"kept_every": np.full(self.used, SEARCH_EVERY, np.int16)}
        self.kept = {name: np.array({**old, **state}[f"kept_{name}"]) for name in self._arrays}
        self.trust, trials, self.search_cost = (float(value) for value in state["trust"])
        self.trials = int(trials)

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
        return mixture(own.ravel(), average.ravel(), alpha)

    def _angle_distribution(self, of, grid, alpha, temperature):
        n = grid.polar.n_angles
        width = max(2 * np.pi / n, np.radians(of["spacing"][1]))
        kappa = np.log(2) / (1 - np.cos(width))
        filled = of["angle_mass"] > 0
        apart = 2 * np.pi * np.arange(n)[:, None] / n - np.radians(of["angles"][filled])
        kernel = np.exp(np.maximum(kappa * (np.cos(apart) - 1), -50))
        return mixture(kernel @ of["angle_mass"][filled] ** (1 / temperature), np.ones(n), alpha)

    def _shift_distribution(self, of, grid, alpha, temperature):
        width = max(grid.shift_step_a, of["spacing"][2])
        filled = of["shift_mass"] > 0
        apart = grid.shifts_a[:, None, :] - of["shifts"][filled]
        kernel = np.exp(np.maximum(-(apart ** 2).sum(axis=2) / (2 * width ** 2), -50))
        # the floor follows the prior: the data set's own spread of shifts as far as it is known beforehand
        return mixture(kernel @ of["shift_mass"][filled] ** (1 / temperature), np.exp(grid.log_shift_weights), alpha)

    def _foreseen(self, slot, image, vectors, structures, spacing):
        """Share of an image's posterior, by each marginal, near points that mattered in the visit before."""
        old, m = {name: array[slot] for name, array in self.kept.items()}, image.marginals
        reach = REACH * np.maximum(spacing, old["spacing"])
        row, angle, shift = (old[f"{name}_mass"] >= LEAST_POINT * old[f"{name}_mass"].sum()
                             for name in ("row", "angle", "shift"))
        near_row = ((vectors @ old["vectors"][row].T >= np.cos(np.radians(reach[0])))
                    & (structures[:, None] == old["structures"][row]))
        # the old visit's zero of angles, seen from the new best pose
        turn = parallel_transport_psi(image.rotation[None], old["reference"])[0]
        apart = (m.angles_deg[:, None] - old["angles"][angle] - turn + 180) % 360 - 180
        near_shift = ((m.shifts_a[:, None, :] - old["shifts"][shift]) ** 2).sum(axis=2) <= reach[2] ** 2
        lost = [1 - mass[near.any(axis=1)].sum() / mass.sum()
                for mass, near in ((m.row_mass, near_row), (m.angle_mass, np.abs(apart) <= reach[1]),
                                   (m.shift_mass, near_shift))]
        return 1 - sum(lost)

    def _on_cells(self, grid, rows, mass):
        """A marginal over rows as one over the average's cells, (K, cells), summing to 1."""
        of_rows = np.bincount(rows, mass, self.classes * grid.n_directions).reshape(self.classes, -1)
        cells, _, nearest, shared = self._looked_at(grid)
        if grid.n_sphere > len(nearest):
            binned = np.stack([np.bincount(cells, row, len(nearest)) for row in of_rows])
        else:
            # a coarse direction stands for all cells around it, not for the nearest alone
            binned = (of_rows / shared)[:, nearest]
        return binned / binned.sum()

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


def _heaviest(mass):
    """Indices of the CAPACITY largest, those without mass left out."""
    top = np.argsort(mass)[::-1][:CAPACITY]
    return top[mass[top] > 0]


def _divergence(p, before):
    """KL of a distribution from the one of the visit before, nats."""
    q = (1 - EVEN_SHARE) * before + EVEN_SHARE / before.size
    held = p > 0
    return float((p[held] * np.log(p[held] / q[held])).sum())
