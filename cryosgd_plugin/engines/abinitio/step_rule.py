"""The step rule of engines/optimisers that a configuration asks for."""
from __future__ import annotations

from ..optimisers import make_optimiser
from .memory import sagd_minibatch


def on_unseen_minibatches(config, n_particles: int, table_gb: float = None):
    """A sentence where SAGD's iterations end before it has seen each minibatch once, or None.

    n_particles : in the input; table_gb : for its table of gradients, None for as much as that takes. Raises InputError
    where it holds fewer than two.
    """
    if config.optimiser != "sagd":
        return None
    used = min(config.max_particles or n_particles, n_particles)
    size = config.sagd_minibatch if table_gb is None else sagd_minibatch(config, used, table_gb)
    minibatches = round(used / size)
    if minibatches <= config.iterations:
        return None
    return (f"Stochastic average gradient descent averages over {minibatches} minibatches here, of which "
            f"{config.iterations} iterations do not even see each once; give several times as many iterations as "
            "minibatches, larger minibatches or fewer particles, or choose another step rule.")


def make_step_rule(config):
    """A fresh optimiser of the kind and with the settings that an AbInitioConfig gives.

    SAGD's ε, its L and its line searches all count iterations, as in paper 1. A shorter run than the paper's thus ends
    while ε is still large: pressed into the run, ε is at 1/16 after 15 % of it, and what is left goes too short a way
    (apoferritin after 12,000 images: 39 Å at FSC 0.5, against 11).
    """
    if config.whole_set:
        return make_optimiser("whole-step")
    settings = {}
    if config.optimiser == "sgd-momentum" or config.optimiser == "nesterov":
        settings["momentum"] = config.momentum
    if config.optimiser in ("sagd", "hessian-free"):
        settings["value_rounding"] = 1e-6  # scores are float32
    return make_optimiser(config.optimiser, **settings)
