"""Stochastic optimisers that know only arrays and the callables of a `Problem`: chosen by name."""
from __future__ import annotations

from ...core.settings import need
from .adagrad import AdaGrad
from .hessian_free import HessianFree
from .momentum import Momentum, Nesterov
from .olbfgs import OnlineLbfgs
from .optimiser import Optimiser
from .problem import Problem
from .sagd import StochasticAverageGradient
from .sgd import Sgd, WholeStep
from .tonga import Tonga

__all__ = ["OPTIMISERS", "Optimiser", "Problem", "make_optimiser"]

OPTIMISERS = {cls.name: cls for cls in (Sgd, Momentum, Nesterov, AdaGrad, Tonga, OnlineLbfgs, HessianFree,
                                        StochasticAverageGradient, WholeStep)}


def make_optimiser(name: str, **settings) -> Optimiser:
    """The optimiser of that name with its settings; InputError for an unknown name, setting or value."""
    need(name in OPTIMISERS, f"optimiser '{name}' is unknown; choose of {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name](**settings)
