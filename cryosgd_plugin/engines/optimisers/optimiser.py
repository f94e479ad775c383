"""What the optimisers share: settings, record of the last step, checkpoint, resampling of what they remember."""
from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from ...core.backend import to_host
from ...core.settings import Settings, need
from .arrays import dot, norm


@dataclass(frozen=True)
class StepSettings(Settings):
    """step_size : η, in units of the preconditioned step; the attribute of the optimiser may be changed later."""

    step_size: float = 0.4

    def __post_init__(self):
        need_step_size(self.step_size)


def need_step_size(value):
    need(0 < value <= 10, f"step size {value} must lie in (0, 10]; it is in units of the whole preconditioned step")


class Optimiser:
    """Base: `step` moves x once by the present minibatch.

    settings : frozen, checked. step_size : η, which the caller may change between steps.
    info : floats of the last step; step_norm (‖new x − x‖ / ‖x‖) and gradient_norm (√gᵀP⁻¹g) always.

    A subclass names what it remembers: ARRAYS, attributes that hold None or an array of x's shape; LISTS, lists of
    those; SCALARS, numbers and small host arrays. Arrays are replaced, never written into.
    """

    name: str
    Settings = StepSettings
    ARRAYS: tuple = ()
    LISTS: tuple = ()
    SCALARS: tuple = ()

    def __init__(self, **settings):
        known = [field.name for field in fields(self.Settings)]
        unknown = [name for name in settings if name not in known]
        need(not unknown, f"{self.name} knows no setting '{', '.join(unknown)}'; it has "
                          f"{', '.join(known) or 'none'}")
        self.settings = self.Settings(**settings)
        self.step_size = getattr(self.settings, "step_size", 1.0)
        self.info = {}

    def step(self, x, problem):
        """The x after one step on the problem's minibatch; x itself stays as it is.

        Raises InputError where the gradient is not finite or the preconditioner not positive.
        """
        raise NotImplementedError

    def state(self) -> dict:
        """All that the next step depends on, as host arrays by name."""
        state = {"optimiser": np.asarray(self.name), "step_size": np.asarray(self.step_size)}
        state.update({name: np.array(getattr(self, name)) for name in self.SCALARS})
        for name in self.ARRAYS:
            if getattr(self, name) is not None:
                state[name] = to_host(getattr(self, name))
        for name in self.LISTS:
            state[name] = np.asarray(len(getattr(self, name)))
            state.update({f"{name}.{i}": to_host(array) for i, array in enumerate(getattr(self, name))})
        return state

    def restore(self, state: dict, xp=np) -> None:
        """Go on, to the bit, from what `state` gave; arrays of x's shape go to library xp."""
        made_by = str(state.get("optimiser"))
        need(made_by == self.name, f"the state was written by optimiser '{made_by}', not by '{self.name}'; "
                                   "continue with the optimiser that the run began with")
        self.step_size = float(state["step_size"])
        for name in self.SCALARS:
            value = np.array(state[name])
            setattr(self, name, value if value.ndim else value.item())
        for name in self.ARRAYS:
            setattr(self, name, xp.asarray(state[name]) if name in state else None)
        for name in self.LISTS:
            setattr(self, name, [xp.asarray(state[f"{name}.{i}"]) for i in range(int(state[name]))])

    def transform(self, f) -> None:
        """Apply f, which has just been applied to x (a resampling, a shift: linear), to all that is remembered of x."""
        for name in self.ARRAYS:
            if getattr(self, name) is not None:
                setattr(self, name, f(getattr(self, name)))
        for name in self.LISTS:
            setattr(self, name, [f(array) for array in getattr(self, name)])

    def _gradient(self, x, problem):
        """(g, P⁻¹g, gᵀP⁻¹g) at x."""
        g = problem.gradient(x)
        return (g, *self._precondition(g, problem))

    def _precondition(self, g, problem):
        """(P⁻¹g, gᵀP⁻¹g), the second checked and not negative."""
        step = problem.precondition(g)
        square = dot(g, step)
        need(math.isfinite(square), f"{self.name}: the gradient is not finite, the run has diverged; begin it anew "
                                    f"with a smaller step size than {self.step_size:g}")
        # float32 rounding may turn a vanishing norm negative
        need(square >= 0 or -square <= 1e-5 * norm(g) * norm(step),
             f"{self.name}: the preconditioner is not positive (gᵀP⁻¹g = {square:g}); every weight must be positive")
        return step, max(square, 0.0)

    def _arrive(self, x, trial, problem, square: float, **figures):
        """The constrained end of the step; fills `info`."""
        new = problem.constrain(trial)
        size = max(norm(x), norm(new))
        self.info = dict(step_norm=norm(new - x) / size if size else 0.0, gradient_norm=math.sqrt(square),
                         step_size=float(self.step_size), **{name: float(value) for name, value in figures.items()})
        return new
