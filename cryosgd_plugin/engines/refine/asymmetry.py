"""Whether a map without the symmetry that was imposed explains the particles better.

A map on which a group is imposed has it, and so do both halves: their FSC says nothing of it. If the group is the
particles' own, then of the |G| poses that it makes of each particle all are equal, and a map without the group, made of
any of them, departs from its symmetric mean by noise only. If it is not (C4 for C2, D7 for C7, one subunit unlike the
others), one of them fits better. So of each half a map without the group is made: every particle is put at a mate drawn
at random, mates are weighed by the map that comes of it, and so on (expectation and maximisation; the poses themselves
stay). Each half's map then has to explain the other half's particles: their likelihood, marginalised over the mates,
rises where the departure from symmetry is real, and falls where it is noise. It also rises where the particles differ
among themselves, or from their poses, in a way that a mixture of a map's mates can stand for: that has to be told apart
by a look at a refinement without the symmetry.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from ...core.symmetry import symmetry_mates
from ...ops.pose_insert import insert_poses
from ...ops.slicing import hermitian, slice_volume, to_half_volume
from .maps import inverse_tau2, shell_means, solve

# particles of each half that are weighed, at most; rounds of that
MOST, ROUNDS = 1000, 15
# particles of each half below which nothing can be told
LEAST = 50
# shells that are used, at most, and the FSC that they need
MOST_SHELLS, GOOD_FSC = 20, 0.5
# standard errors by which the likelihood must rise, on average, before the symmetry is doubted
SURE = 4.0
# mates of less mass than this are not back-projected
LIGHTEST = 0.01


@dataclass(frozen=True)
class Asymmetry:
    """What the particles of a class say against its symmetry.

    gain : nats by which a map of the other half without the symmetry explains a particle better, on average
    error : standard error of that
    share : root mean square of that map's departure from symmetry, noise and all, over that of the map
    resolution_a : to which maps were compared, Å
    """

    gain: float
    error: float
    share: float
    resolution_a: float

    @property
    def found(self) -> bool:
        """Whether the symmetry is in doubt."""
        return self.gain > SURE * self.error


def asymmetry(engine, k: int = 0):
    """Asymmetry of class k of a Refinement whose iterations are through; None in C1, or where nothing is known well
    enough to tell by."""
    config, operators = engine.config, engine.operators
    radius = _radius(engine.shell_fsc[k], engine.first_radius)
    if len(operators) == 1 or radius is None:
        return None
    members = [rows[engine.results.structures[rows] == k] for rows in engine.rows]
    if min(map(len, members)) < LEAST:
        return None
    preparer = engine.preparer(radius, radius, np)
    halves = []
    for half, rows in enumerate(members):
        rng = np.random.default_rng([config.seed, half, 7])
        drawn = np.sort(rng.choice(rows, MOST, replace=False)) if len(rows) > MOST else rows
        # fewer particles, and without the group each of them once
        less = len(operators) * len(rows) / len(drawn)
        curve = np.clip(engine.shell_fsc[k][:radius + 1], 0, 1)
        halves.append(_Mates(engine, preparer, drawn, half, curve / (curve + less * (1 - curve))))
        halves[-1].fit(rng)
    gains = np.concatenate([one.gain(other.mean, other.departure) for one, other in (halves, halves[::-1])])
    share = np.sqrt(np.mean([np.square(one.departure, dtype=np.float64).sum()
                             / np.square(one.mean, dtype=np.float64).sum() for one in halves]))
    return Asymmetry(float(gains.mean()), float(gains.std() / np.sqrt(len(gains))), float(share),
                     config.extent_a / radius)


def _radius(curve, least: int):
    """The shells that both halves know well, None where these are no more than the reference's own."""
    low = np.flatnonzero(~(curve[1:] >= GOOD_FSC))
    radius = min(int(low[0]) if len(low) else len(curve) - 2, MOST_SHELLS)
    return radius if radius >= min(least, MOST_SHELLS) else None


class _Mates:
    """The particles of one half at their found poses, of which each has |G| equal ones.

    rows : of the table; curve : FSC from which the maps are regularised
    """

    def __init__(self, engine, preparer, rows, half, curve):
        self.radius, self.points, self.curve = preparer.radius, preparer.points, curve
        self.box, self.mask = engine.config.box_size, engine.curve_mask
        self.filtered, self.weight = (np.concatenate(parts) for parts in zip(*(
            self._prepared(engine, preparer, block, half) for block in engine.blocks(rows))))
        # blocks go by optics group
        rows = np.concatenate(list(engine.blocks(rows)))
        self.mates = symmetry_mates(engine.results.rotations[rows], engine.operators)
        self.shifts = engine.results.shifts_a[rows] / preparer.extent_a

    @staticmethod
    def _prepared(engine, preparer, rows, half):
        images = engine.source.images(rows, engine.config.box_size)
        prepared = preparer.prepare(images, preparer.low_passed(images), engine.table, rows,
                                    engine.noise[half, engine.table.optics_id[rows[0]]])
        return prepared.masked, prepared.ctf_power

    def fit(self, rng):
        """Find the map without the group, mean + departure, from a random start."""
        n, g = self.mates.shape[:2]
        mass = np.zeros((n, g))
        mass[np.arange(n), rng.integers(g, size=n)] = 1
        for _ in range(ROUNDS):
            scores = self._scores(self._map(mass))
            mass = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
        # made alike, so that interpolation is no departure
        self.mean = self._map(np.full((n, g), 1 / g))
        self.departure = self._map(mass) - self.mean

    def gain(self, mean, departure):
        """(n,) nats by which another half's map explains each particle better with its departure than without."""
        return (logsumexp(self._scores(mean + departure), axis=1)
                - logsumexp(self._scores(mean), axis=1))

    def _map(self, mass):
        image, mate = np.nonzero(mass > LIGHTEST / mass.shape[1])
        numerator, weight = insert_poses(self.filtered, self.weight, self.points, self.mates[image, mate],
                                         self.shifts[image], image, mass[image, mate], self.radius)
        numerator, weight = hermitian(numerator), hermitian(weight)
        ridge = inverse_tau2(self.curve, shell_means(weight, self.radius))
        return solve(numerator, weight, self.radius, self.box, ridge) * self.mask

    def _scores(self, volume):
        """(n, |G|) log likelihood of each mate."""
        half = to_half_volume(volume, self.radius)
        phases = np.exp(2j * np.pi * self.shifts @ self.points.T).astype(np.complex64)
        # F against the slice of a particle that is not shifted
        filtered, points = self.filtered * phases.conj(), self.points.astype(np.float32)
        scores = np.empty(self.mates.shape[:2])
        for mate in range(scores.shape[1]):
            values = slice_volume(half, self.mates[:, mate].astype(np.float32), points)
            scores[:, mate] = (2 * (filtered.conj() * values).real
                               - self.weight * (values.real ** 2 + values.imag ** 2)).sum(axis=1)
        return scores
