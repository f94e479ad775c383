"""The step rule of engines/optimisers that a configuration asks for."""
from __future__ import annotations

from ..optimisers import make_optimiser

# the paper's run, in whose iterations SAGD's ε is given, and how often it halves
PAPER_ITERATIONS, PAPER_HALVING = 5000, 150


def make_step_rule(config):
    """A fresh optimiser of the kind and with the settings that an AbInitioConfig gives."""
    if config.whole_set:
        return make_optimiser("whole-step")
    settings = {}
    if config.optimiser == "sgd-momentum" or config.optimiser == "nesterov":
        settings["momentum"] = config.momentum
    if config.optimiser == "sagd":
        settings["halving_steps"] = max(1, round(config.iterations * PAPER_HALVING / PAPER_ITERATIONS))
    if config.optimiser in ("sagd", "hessian-free"):
        settings["value_rounding"] = 1e-6  # scores are float32
    return make_optimiser(config.optimiser, **settings)
