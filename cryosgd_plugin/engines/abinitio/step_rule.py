"""The step rule of engines/optimisers that a configuration asks for."""
from __future__ import annotations

import math

from ...core.symmetry import point_group
from ..optimisers import make_optimiser
from .memory import sagd_minibatches

# SAGD's times through its minibatches, from which on the mean of their gradients is worth its age
FEWEST_VISITS = 2


def on_rare_minibatches(config, n_particles: int, table_gb: float = None):
    """A sentence where SAGD's iterations end before it has seen each minibatch FEWEST_VISITS times, or None.

    n_particles : in the input; table_gb : for its table of gradients, None for as much as that takes. Raises InputError
    where it holds fewer than two.
    """
    if config.optimiser != "sagd":
        return None
    used = min(config.max_particles or n_particles, n_particles)
    minibatches = sagd_minibatches(config, used - config.held_out_of(used), table_gb)
    before, after = _iterations_around_symmetry(config)
    visits = max(before, after) / minibatches
    if visits >= FEWEST_VISITS:
        return None
    iterations = f"{config.iterations} iterations"
    if before and after:
        iterations = (f"the {before} iterations before the symmetry is imposed and the {after} after it, which begin "
                      "anew,")
    seen = "do not even see each once" if visits < 1 else f"see each less than {FEWEST_VISITS} times"
    return (f"Stochastic average gradient descent averages over {minibatches} minibatches here, of which "
            f"{iterations} {seen}; give several times as many iterations as minibatches, larger minibatches or fewer "
            "particles, or choose another step rule.")


def make_step_rule(config):
    """A fresh optimiser of the kind and with the settings that an AbInitioConfig gives.

    SAGD's ε, its L and its line searches all count iterations, as in paper 1, from when the rule was made (anew where a
    symmetry is imposed). A shorter run than the paper's thus ends while ε is still large: pressed into the run, ε is at
    1/16 after 15 % of it, and what is left goes too short a way (apoferritin after 12,000 images: 39 Å at FSC 0.5,
    against 11). With many minibatches it is the age of their gradients that bounds the step (optimisers/sagd.py).
    """
    if config.whole_set:
        return make_optimiser("whole-step")
    settings = {}
    if config.optimiser == "sgd-momentum" or config.optimiser == "nesterov":
        settings["momentum"] = config.momentum
    if config.optimiser == "sagd" and config.sagd_drawing == "replacement":
        settings["reach"] = None
    if config.optimiser in ("sagd", "hessian-free"):
        settings["value_rounding"] = 1e-6  # scores are float32
    return make_optimiser(config.optimiser, **settings)


def _iterations_around_symmetry(config):
    """Iterations before and after a symmetry is imposed, which empties SAGD's table; without one, all are before."""
    if len(point_group(config.symmetry)) == 1:
        return config.iterations, 0
    # progress goes from 0 in the first to 1 in the last; a hair for its rounding
    before = math.ceil(config.symmetry_start * (config.iterations - 1) - 1e-6)
    return before, config.iterations - before
