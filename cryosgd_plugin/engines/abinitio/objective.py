"""The objective on one minibatch, as an optimiser asks for it: value, gradient, curvature, preconditioner, constraints.

f(V_1 … V_K) = −1/n Σ_i log p(X_i | V_1 … V_K) − 1/N log p(V_1 … V_K) over the n images of the minibatch and the N of
the data set (paper 0 eq. 2-6; paper 1 eq. 6-7). Under noise inflation T, log p(X_i | V) is T times the log of the prior
mean of exp(log likelihood / T), whose gradient is the posterior mean at temperature T.
"""
from __future__ import annotations

import numpy as np

from ...ops.slicing import from_half_volume, hermitian, to_half_volume
from .noise import residual_power
from .slices import back_project, slice_rings

# images of one E-step: the arrays of more would not fit where a "minibatch" is the whole data set
CHUNK = 500


class Minibatch:
    """f on the given particle rows; engine : AbInitio, whose model, noise and resolution are those of the moment.

    prior : of priors.py, or None; prior_weight : factor on it. batch, n_batches : of SAGD's fixed partition. sampled :
    whether particles that were seen before are importance-sampled; each is drawn once for all calls.
    After `gradient`: images [ImageResult] in the rows' order, residual (radius,) mean |X − C Y|² of the masked images,
    kl of the directions' marginals to those of the last visits. `remember` stores the marginals.
    """

    def __init__(self, engine, rows, temperature: float, *, similarity: float = 0.0, prior=None, batch: int = 0,
                 n_batches: int = 1, sampled: bool = True, prior_weight: float = 1.0):
        self.engine, self.rows, self.temperature, self.similarity = engine, rows, temperature, similarity
        self.prior, self.prior_weight = prior, prior_weight / len(engine.rows)
        self.batch, self.n_batches = batch, n_batches
        grid = engine.finest_grid
        self.selections = [engine.select(row) if sampled else None for row in rows]
        self.images, self.residual, self.grid = [], None, grid
        self._curvature = None

    def value(self, x) -> float:
        """f(x)."""
        evidence = 0.0
        for _, batch in self._expect(x, accumulate=False):
            evidence += sum(image.log_evidence for image in batch.images)
        return -evidence / len(self.rows) + self._prior_value(x)

    def gradient(self, x):
        """∇f(x), the array x's shape; updates the preconditioner and the results that the class names."""
        engine, n = self.engine, len(self.rows)
        total, self.images, power, self._curvature = None, [], 0.0, None
        for rows, batch in self._expect(x, accumulate=True):
            part = engine.back_project(batch)
            total = part if total is None else (total[0] + part[0], total[1] + part[1])
            self.images += batch.images
            power = power + residual_power(batch, engine.noise.spectrum) * len(rows) / n / batch.noise_share
            if self._curvature is None:
                self._curvature = batch.rings()[1], batch.sums.rows, len(rows)
        self.residual = power
        engine.model.accumulate(engine.xp.stack([hermitian(w) for w in total[1]]), n)
        gradient = self._to_volumes(total[0], -1 / n)
        if self.prior is not None:
            gradient = gradient + self.prior_weight * engine.xp.stack([self.prior.gradient(v) for v in x])
        return gradient

    def curvature(self, x, v):
        """Aᴴ (Σ w C² / σ²) A v / n with the posterior weights w of the last gradient: the Hessian of EM's majoriser.

        Of a minibatch of more than CHUNK images it is that of the first CHUNK, which stand for all. Raises ValueError
        before a gradient.
        """
        if self._curvature is None:
            raise ValueError("no curvature: ask for the gradient first")
        engine = self.engine
        weight, rows, n = self._curvature
        halves = [to_half_volume(volume, engine.model.radius) for volume in v]
        rings = slice_rings(halves, self.grid, rows)
        half, _ = back_project(weight * rings, weight, self.grid, engine.symmetriser.operators, engine.model.radius,
                               rows=rows, classes=engine.config.classes)
        return self._to_volumes(half, 1 / n)

    def precondition(self, g):
        """P⁻¹ g."""
        return self.engine.model.precondition(g)

    def constrain(self, x):
        """The nearest allowed map: windowed, and non-negative where that was asked for."""
        return self.engine.model.constrain(x, positivity=self.engine.config.positivity)

    def pack(self, g):
        """A gradient as it is kept in SAGD's table: its Fourier coefficients up to the radius in use."""
        return self.engine.model.pack(g)

    def unpack(self, packed):
        """The gradient of a packed one, at the present box; shells that it was computed without are zero."""
        return self.engine.model.unpack(packed)

    def _expect(self, x, accumulate):
        engine = self.engine
        teams = engine.teams(x)
        for start in range(0, len(self.rows), CHUNK):
            part = slice(start, start + CHUNK)
            yield self.rows[part], engine.expect(
                teams, self.rows[part], self.temperature, similarity=self.similarity, accumulate=accumulate,
                selections=self.selections[part])

    def _to_volumes(self, halves, factor):
        """The exact adjoint of slicing the K volumes, of half-circle rings that stand for both halves."""
        box = self.engine.model.box_size
        padded = (2 * box) ** 3
        return self.engine.xp.stack([from_half_volume(hermitian(half), box) * np.float32(factor * padded)
                                     for half in halves])

    def _prior_value(self, x):
        if self.prior is None:
            return 0.0
        return self.prior_weight * sum(self.prior.value(v) for v in x)
