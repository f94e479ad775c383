"""The step rule of engines/optimisers that a configuration asks for."""
from __future__ import annotations

from ..optimisers import make_optimiser
from .memory import sagd_minibatch

# the paper's run, in whose iterations SAGD's ε is given, and how often it halves
PAPER_ITERATIONS, PAPER_HALVING = 5000, 150


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
