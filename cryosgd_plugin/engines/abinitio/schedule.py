"""What changes in the course of a run: resolution, minibatch, step, noise inflation, class similarity.

All of it follows the run's progress, a number from 0 to 1 that `Progress` advances: evenly with the iterations, or, by
need, held at each resolution until the held-out particles are explained no better, and moved on as soon as they are.
"""
from __future__ import annotations

import numpy as np

# shares of the run: resolution rests, then marches, then rests again
MARCH_START, MARCH_END = 0.1, 0.85
# paper 1's march: so much finer (1/Å) each time that so much of the run (150 of 5000 iterations) has passed
PAPER_STEP, PAPER_EVERY = 0.005, 150 / 5000
# the target of the noise inflation falls by this many powers of ten while the resolution marches
INFLATION_DECADES = 8
# automatic minibatch for one structure: images per resolution element across the particle, and bounds
IMAGES_PER_ELEMENT, FEWEST_IMAGES, MOST_IMAGES = 5.0, 60, 300
# by need: evaluations of the held-out set are this many iterations apart (in 200), and steps of the march in all
NEED_EVERY, NEED_STAGES = 4, 16
# a stage is not left before this share of its even length, and is left after this many times it
NEED_LEAST, NEED_MOST = 0.5, 2.0


def resolution_at(progress: float, config) -> float:
    """Å in use: even steps in spatial frequency from the initial to the final resolution.

    By the "paper" (paper 1 §4.2) ω = min(ω_final, ω_initial + 0.005 ⌊τ / 150⌋) 1/Å, τ in iterations of a run of 5000:
    early, with a long rest after it. Only steps that would not all fit before the last rest follow each other faster.
    """
    low, high = 1 / config.initial_resolution_a, 1 / config.final_resolution_a
    if config.march == "paper":
        steps = max(1, np.ceil((high - low) / PAPER_STEP - 1e-6))
        # a hair for the rounding of progress
        taken = np.floor(progress / min(PAPER_EVERY, MARCH_END / steps) + 1e-6)
        return float(1 / min(high, low + PAPER_STEP * taken))
    march = np.clip((progress - MARCH_START) / (MARCH_END - MARCH_START), 0, 1)
    return float(1 / (low + march * (high - low)))


def minibatch_at(progress: float, config) -> int:
    """Images in this step: as given, or from the resolution and the number of structures (paper 0 §0.1)."""
    if config.minibatch is not None:
        first, last = config.minibatch
        return int(round(first + (last - first) * progress))
    elements = config.diameter_a / resolution_at(progress, config)
    return config.classes * int(round(np.clip(IMAGES_PER_ELEMENT * elements, FEWEST_IMAGES, MOST_IMAGES)))


def step_size_at(progress: float, config) -> float:
    """η of this step, falling geometrically."""
    first, last = config.step_size
    return float(first * (last / first) ** progress)


def similarity_at(progress: float, config) -> float:
    """Class similarity: from its start to nothing while the resolution marches."""
    return float(config.class_similarity * np.clip(1 - progress / MARCH_END, 0, 1)) if config.classes > 1 else 0.0


def target_share_at(progress: float, config) -> float:
    """Effective share of poses that noise inflation aims at; it falls until inflation is off."""
    return float(config.significant_poses * 10 ** (-INFLATION_DECADES * progress / MARCH_END))


def adapt_inflation(inflation: float, share: float, target: float) -> float:
    """Noise inflation for the next step, from the share of poses that was effective in this one."""
    factor = np.clip((target / max(share, 1e-12)) ** 0.3, 0.7, 1.4)
    return float(np.clip(inflation * factor, 1.0, 1e4))


class Progress:
    """How far a run is. value : 0 to 1 for the next iteration; done : the run is over.

    by_need : stages of the march end when `judge` says that the held-out error no longer falls, within bounds.
    """

    def __init__(self, iterations: int, by_need: bool):
        self.step = 1 / max(1, iterations - 1)
        self.by_need = by_need
        self.value, self.in_stage, self.settled = 0.0, 0, False
        self.stage_length = (MARCH_END - MARCH_START) / NEED_STAGES / self.step

    @property
    def done(self) -> bool:
        """Whether all iterations have been gone through."""
        return self.value > 1 + 0.5 * self.step

    @property
    def marching(self) -> bool:
        """Whether the resolution is being raised."""
        return MARCH_START <= self.value < MARCH_END

    def judge(self, improved: bool) -> None:
        """Take note of whether the held-out error has fallen since it was last measured at this resolution."""
        self.settled = not improved

    def advance(self) -> None:
        """Go on to the next iteration."""
        if not (self.by_need and self.marching):
            self.value += self.step
            return
        self.in_stage += 1
        ripe = self.settled and self.in_stage >= NEED_LEAST * self.stage_length
        if ripe or self.in_stage >= NEED_MOST * self.stage_length:
            self.value += self.stage_length * self.step
            self.in_stage, self.settled = 0, False

    def state(self) -> dict:
        """What `restore` needs to go on."""
        return dict(progress=self.value, in_stage=self.in_stage, settled=self.settled)

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.value, self.in_stage = float(state["progress"]), int(state["in_stage"])
        self.settled = bool(state["settled"])
