"""Particles that no step has seen: whether the maps still get better (paper 1 §4), and when to march on or stop."""
from __future__ import annotations

import numpy as np

from .schedule import MARCH_END, NEED_EVERY

# evaluations in a run whose resolution marches by iterations, and in its last rest
EVALUATIONS, RESTING_EVALUATIONS = 6, 6
# an improvement counts if its mean over the particles exceeds this many standard errors
SIGNIFICANT = 1.0
# evaluations in a row without improvement that end the run
PATIENCE = 2


class HeldOut:
    """Watches the error of held-out particles: −log p(X | V) at noise inflation 1, nats an image.

    engine : AbInitio; rows : of the particle table. errors : per particle where their mean was least, at `radius`; the
    minibatches' noise makes single evaluations go up and down by more than their standard error. noise : the σ² that
    they are measured with, that of the first evaluation at the radius: errors leave out |X|²/σ² and log σ², and would
    fall by 0.15 nat of 8 where the estimate of σ² fell by one per cent and the map stayed as it was.
    """

    def __init__(self, engine, rows):
        self.engine, self.rows = engine, rows
        self.errors, self.radius, self.noise = np.empty(0), -1, None
        self.idle = 0

    def after_step(self) -> dict:
        """What the history shall say of this step: the error where it was evaluated. Judges march and stop."""
        engine = self.engine
        # of the baselines only a march by need asks
        asked = engine.config.march == "need" or not engine.config.whole_set
        if not (len(self.rows) and asked) or engine.iteration % self._interval():
            return {}
        radius = engine.model.radius
        if radius != self.radius:
            self.noise = engine.noise.spectrum.copy()
        errors = -np.array([image.log_evidence for image in self._evaluate()])
        record = dict(held_out_error=float(errors.mean()))
        if radius == self.radius:
            gain = self.errors - errors
            improved = gain.mean() > SIGNIFICANT * gain.std() / np.sqrt(len(gain))
            record["held_out_gain"] = float(gain.mean())
            engine.progress.judge(improved)
            self.idle += not improved
            if self._resting() and engine.config.early_stop and self.idle >= PATIENCE:
                engine.stopped = (f"the {len(self.rows)} held-out particles were explained no better for "
                                  f"{PATIENCE} evaluations")
            if not improved:
                return record
        self.errors, self.radius, self.idle = errors, radius, 0
        return record

    def state(self) -> dict:
        """What the next judgement depends on, as arrays."""
        return dict(errors=self.errors, radius=self.radius, idle=self.idle,
                    noise=self.engine.noise.spectrum if self.noise is None else self.noise)

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.errors, self.radius, self.idle = np.asarray(state["errors"]), int(state["radius"]), int(state["idle"])
        # a checkpoint of an older version has none
        self.noise = np.array(state.get("noise", self.engine.noise.spectrum))

    def _evaluate(self):
        engine = self.engine
        return engine.expect(engine.teams(engine.model.volumes), self.rows, 1.0, noise=self.noise,
                             accumulate=False).images

    def _resting(self):
        return self.engine.progress.value >= MARCH_END

    def _interval(self):
        iterations = self.engine.config.iterations
        if self._resting():
            return max(1, round((1 - MARCH_END) * iterations / RESTING_EVALUATIONS))
        if self.engine.config.march == "need":
            return max(1, round(NEED_EVERY * iterations / 200))
        return max(1, round(iterations / EVALUATIONS))
