"""Settings of the sparse + total-variation map, in paper 3's relative units."""
from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Optional

from ...core.settings import Settings, need

METHODS = ("fista", "proximal-gradient")
# what is beyond is seldom meant: paper 3 has α 0.4 to 0.5, β 1 to 2.6, γ 0.05 to 0.2, ε' / ε 1/3 to 1
USUAL = {"alpha": ("α", 0, 2), "beta": ("β", 0, 5), "gamma": ("γ", 0, 1), "epsilon_ratio": ("ε' / ε", 0.2, 2)}


@dataclass(frozen=True)
class SparseTVConfig(Settings):
    """Paper 3 eq. 31 and §2.5; N : what the data weigh in Fourier space, d : rms of AᴴN V̂, A unitary.

    alpha : of the log-norm sparsity, in d · ε; beta : of the log total variation, in d · ε'.
    gamma : of ‖x − previous map‖², in the mean of N where it is not 0; it counts only where there is a previous map.
    epsilon : density that belongs to the molecule, in the map's units; None proposes one from the map.
    epsilon_ratio : ε' over ε, 1/3 to 1.
    reweightings : times that the logarithms are replaced by their tangents anew; 1 is convex ℓ1 and TV with weights
        from the map that the data give.
    convex : weights are 1 everywhere, so that plain ℓ1 and TV are left.
    smoothing : μ of Nesterov's smoothing, in the noise of a voxel.
    method : "fista", with restarts, or "proximal-gradient", paper 3's.
    iterations : of the method for each reweighting, at most; tolerance : relative fixed-point gap at which it ends.
    """

    alpha: float = 0.5
    beta: float = 1.6
    gamma: float = 0.05
    epsilon: Optional[float] = None
    epsilon_ratio: float = 0.333
    reweightings: int = 3
    convex: bool = False
    smoothing: float = 1.0
    method: str = "fista"
    iterations: int = 60
    tolerance: float = 1e-4

    def __post_init__(self):
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            need(0 <= value < inf, f"{name} {value:g} is {'negative' if value < 0 else 'no finite number'}; give 0 to "
                                   "leave it out, or a positive weight")
        need(self.epsilon is None or 0 < self.epsilon < inf,
             f"a density level ε of {self.epsilon} is not positive, or not finite; give the density at which the "
             "molecule begins, in the map's units, or leave it out to have one proposed")
        need(0 < self.epsilon_ratio <= 10,
             f"a ratio ε' / ε of {self.epsilon_ratio:g} is out of bounds; 1/3 to 1 is usual")
        need(0 < self.smoothing < inf, f"the smoothing {self.smoothing:g} must be positive; 1 is usual")
        need(self.method in METHODS, f"method '{self.method}' is unknown; choose of {', '.join(METHODS)}")
        need(self.reweightings >= 1 and self.iterations >= 1,
             f"{self.reweightings} reweightings of {self.iterations} iterations are too few; give at least 1 of each")
        need(0 <= self.tolerance < inf, f"the tolerance {self.tolerance:g} must be 0 or more; 1e-4 is usual")

    def unusual(self) -> list:
        """A warning for each setting far from those of paper 3."""
        given = [(symbol, getattr(self, name), low, high) for name, (symbol, low, high) in USUAL.items()]
        return [f"{symbol} {value:g} is far from what is usual ({low:g} to {high:g}); see that it is meant: maps may "
                "come out empty, or as they were" for symbol, value, low, high in given if not low <= value <= high]
