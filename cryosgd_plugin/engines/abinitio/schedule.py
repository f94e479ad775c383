"""What changes in the course of a run: resolution, minibatch, step, noise inflation."""
from __future__ import annotations

import numpy as np

# shares of the run: resolution rests, then marches, then rests again
MARCH_START, MARCH_END = 0.1, 0.75
# the target of the noise inflation falls by this many powers of ten while the resolution marches
INFLATION_DECADES = 8


def resolution_at(iteration: int, config) -> float:
    """Å in use: even steps in spatial frequency from the initial to the final resolution."""
    progress = np.clip((iteration / config.iterations - MARCH_START) / (MARCH_END - MARCH_START), 0, 1)
    low, high = 1 / config.initial_resolution_a, 1 / config.final_resolution_a
    return float(1 / (low + progress * (high - low)))


def minibatch_at(iteration: int, config) -> int:
    """Images in this step."""
    first, last = config.minibatch
    return int(round(first + (last - first) * _progress(iteration, config)))


def step_size_at(iteration: int, config) -> float:
    """η of this step, falling geometrically."""
    first, last = config.step_size
    return float(first * (last / first) ** _progress(iteration, config))


def target_share_at(iteration: int, config) -> float:
    """Effective share of poses that noise inflation aims at; it falls until inflation is off."""
    return float(config.significant_poses * 10 ** (-INFLATION_DECADES * _progress(iteration, config) / MARCH_END))


def adapt_inflation(inflation: float, share: float, target: float) -> float:
    """Noise inflation for the next step, from the share of poses that was effective in this one."""
    factor = np.clip((target / max(share, 1e-12)) ** 0.3, 0.7, 1.4)
    return float(np.clip(inflation * factor, 1.0, 1e4))


def _progress(iteration, config):
    return iteration / max(1, config.iterations - 1)
