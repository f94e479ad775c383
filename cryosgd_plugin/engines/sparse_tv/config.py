"""Settings of the sparse + total-variation map, in paper 3's relative units."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ...core.settings import Settings, need

METHODS = ("fista", "proximal-gradient")


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
    epsilon_ratio: float = 1 / 3
    reweightings: int = 3
    convex: bool = False
    smoothing: float = 1.0
    method: str = "fista"
    iterations: int = 60
    tolerance: float = 1e-4

    def __post_init__(self):
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            need(value >= 0, f"{name} {value:g} is negative; give 0 to leave it out, or a positive weight")
        need(self.epsilon is None or self.epsilon > 0,
             f"ε {self.epsilon} is not positive; give the density at which the molecule begins, in the map's units, or "
             "leave it out to have one proposed")
        need(0 < self.epsilon_ratio <= 10, f"ε' / ε of {self.epsilon_ratio:g} is out of bounds; 1/3 to 1 is usual")
        need(self.smoothing > 0, f"the smoothing {self.smoothing:g} must be positive; 1 is usual")
        need(self.method in METHODS, f"method '{self.method}' is unknown; choose of {', '.join(METHODS)}")
        need(self.reweightings >= 1 and self.iterations >= 1,
             f"{self.reweightings} reweightings of {self.iterations} iterations are too few; give at least 1 of each")
        need(self.tolerance >= 0, f"the tolerance {self.tolerance:g} is negative; 1e-4 is usual")
