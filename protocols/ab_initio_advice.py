"""What a user should hear of a form that is valid, but seldom what was meant."""
from __future__ import annotations

from ..engines.abinitio.config import BASELINES, AbInitioConfig
from ..engines.abinitio.step_rule import on_rare_minibatches

FEW_PARTICLES = 500
# held-out particles are a tenth; fewer than a hundred of them say little about when to march on
FEW_TO_MARCH_BY_NEED = 1000
# every step of the baselines takes all particles in all poses
MANY_FOR_BASELINES = 5000
BOX_PER_DIAMETER = 1.2


def advice(config: AbInitioConfig, n_particles: int, restarts: int) -> list:
    """Sentences, or [].

    n_particles : in the input set; restarts : runs in all
    """
    used = min(config.max_particles or n_particles, n_particles)
    found = (_on_particles(config, used), on_box(config), _on_optimiser(config, used),
             on_rare_minibatches(config, used), _on_prior(config), _on_march(config, used),
             _on_restarts(config, restarts))
    return [sentence for sentence in found if sentence]


def on_box(config):
    """A sentence where the particle fills its box, or None; config : of any engine."""
    if config.box_size * config.pixel_size < BOX_PER_DIAMETER * config.diameter_a:
        return ("The box is hardly larger than the particle, so that its defocused signal is cut off; boxes of 1.5 to "
                "2 times the diameter serve better.")
    return None


def _on_particles(config, used):
    if used < FEW_PARTICLES:
        return f"Only {used} particles will be used; an ab initio map usually needs {FEW_PARTICLES} or more."
    if used < FEW_PARTICLES * config.classes:
        return (f"{used} particles in {config.classes} classes are {used // config.classes} for each; a class usually "
                f"needs {FEW_PARTICLES} or more. Fewer classes may serve better.")
    return None


def _on_optimiser(config, used):
    if config.optimiser not in BASELINES:
        return None
    words = ("This step rule sees all particles in each iteration and is there for comparison only: from a random "
             "start it often ends in a wrong map.")
    if used > MANY_FOR_BASELINES:
        words += f" With {used} particles it will take very long."
    return words


def _on_prior(config):
    if config.prior == "exponential" and not config.positivity:
        return ("The exponential prior is meant for densities that are kept positive; without that it only pulls the "
                "whole map down. Keep the density positive, or choose another prior.")
    return None


def _on_march(config, used):
    if config.march == "need" and used < FEW_TO_MARCH_BY_NEED and config.optimiser not in BASELINES:
        held_out = min(config.held_out, used // 10)
        return (f"Raising the resolution by need watches {held_out} held-out particles here, too few to be sure of; "
                f"{FEW_TO_MARCH_BY_NEED} particles or more suit it.")
    return None


def _on_restarts(config, restarts):
    if restarts > 1 and config.start == "map":
        return ("All restarts begin with your map, so that their agreement says little; start from random maps to see "
                "whether the particles determine one.")
    return None
