"""TONGA: an online natural gradient with a low-rank covariance of the gradients."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.backend import array_module
from ...core.settings import Settings, need
from .arrays import dot, near_walls
from .optimiser import Optimiser, need_step_size


@dataclass(frozen=True)
class TongaSettings(Settings):
    """step_size : η. discount : γ, by which a gradient's weight in the covariance falls each step.

    rank : k, eigenvectors kept. refresh_every : b, steps between eigendecompositions; up to k + b arrays of x's shape
    are stored. damping : λ as a share of the mean squared gradient (the trace of C); large is plain SGD.
    """

    step_size: float = 0.4
    discount: float = 0.995
    rank: int = 5
    refresh_every: int = 10
    damping: float = 1.0

    def __post_init__(self):
        need_step_size(self.step_size)
        need(0 < self.discount <= 1, f"discount {self.discount} must lie in (0, 1]")
        need(self.rank >= 1, f"rank {self.rank} must be at least 1")
        need(self.refresh_every >= 1, f"refresh every {self.refresh_every} steps: give at least 1")
        need(self.damping > 0, f"damping {self.damping} must be positive")


class Tonga(Optimiser):
    """x ← x − η λ (C + λI)⁻¹ u, u = P⁻¹ g (Le Roux, Manzagol and Bengio 2008, "Topmoumoute online natural gradient").

    C is the discounted mean of u uᵀ, not centred, of the steps before this one. It is held as X Xᵀ with few columns, so
    only their Gram matrix is ever solved or decomposed: every b steps X shrinks to its k first eigenvectors.
    The factor λ, (I + C/λ)⁻¹ in the paper's Bayesian form, leaves a gradient in a direction without spread as it is and
    shortens those along which minibatches disagree.
    The present gradient is not yet in C: else the step would be a crooked function of it, and its mean over the
    minibatches would vanish beside the minimum.
    Elements that the constraint holds take the plain step (`near_walls`).
    """

    name = "tonga"
    Settings = TongaSettings
    LISTS = ("columns",)
    SCALARS = ("weights", "total", "gram")

    def __init__(self, **settings):
        super().__init__(**settings)
        self.columns = []
        self.weights = np.zeros(0)   # X's columns are √(weight / total) · columns
        self.total = 0.0             # Σ γ^age over all steps
        self.gram = np.zeros((0, 0))  # of the columns, without weights

    def step(self, x, problem):
        xp = array_module(x)
        _, move, square = self._gradient(x, problem)
        walls = near_walls(x, self.step_size * move, problem)
        natural = self._shorten(xp.where(walls, 0, move))
        trial = x - self.step_size * xp.where(walls, move, natural)
        new = self._arrive(x, trial, problem, square, columns=len(self.columns))
        self._remember(move)
        return new

    def transform(self, f):
        """The columns are preconditioned gradients, thus steps of x: f applies, and the Gram matrix is taken anew."""
        super().transform(f)
        self.gram = np.array([[dot(a, b) for b in self.columns] for a in self.columns]).reshape(self.gram.shape)

    def _shorten(self, move):
        """λ (X Xᵀ + λI)⁻¹ u = u − X (XᵀX + λI)⁻¹ Xᵀ u."""
        scale = np.sqrt(self.weights / self.total) if self.columns else np.zeros(0)
        gram = scale[:, None] * self.gram * scale
        ridge = self.settings.damping * np.trace(gram)
        if ridge == 0:
            return move
        along = scale * np.array([dot(column, move) for column in self.columns])
        solved = scale * np.linalg.solve(gram + ridge * np.eye(len(gram)), along)
        for share, column in zip(solved, self.columns):
            move = move - float(share) * column
        return move

    def _remember(self, move):
        products = np.array([dot(column, move) for column in self.columns])
        self.gram = np.block([[self.gram, products[:, None]], [products[None], np.array([[dot(move, move)]])]])
        self.columns = [*self.columns, move]
        self.weights = np.append(self.settings.discount * self.weights, 1.0)
        self.total = self.settings.discount * self.total + 1
        if len(self.columns) >= self.settings.rank + self.settings.refresh_every:
            self._shrink()

    def _shrink(self):
        """Keep the first k eigenvectors of X Xᵀ, as columns of weight 1, from the Gram matrix's: X v has norm √d."""
        scale = np.sqrt(self.weights)
        values, vectors = np.linalg.eigh(scale[:, None] * self.gram * scale)
        # products of float32 arrays: beyond this an eigenvalue is rounding
        keep = [i for i in np.argsort(-values)[:self.settings.rank] if values[i] > 1e-10 * values.max()]
        shares = scale[:, None] * vectors[:, keep]
        self.columns = [sum(float(share) * column for share, column in zip(shares[:, i], self.columns))
                        for i in range(len(keep))]
        self.weights, self.gram = np.ones(len(keep)), np.diag(values[keep])
