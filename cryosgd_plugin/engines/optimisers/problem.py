"""What an optimiser asks of the problem that it minimises."""
from __future__ import annotations

from typing import Protocol


class Problem(Protocol):
    """f(x) = mean over images of f_i(x), a prior included, bound to the present minibatch.

    x : real array of any shape, numpy or CuPy. Every method returns a new array and leaves its arguments as they are.

    `precondition` may change whenever `gradient` is called and must be one fixed linear map until the next call.
    `constrain` is local: it changes an element for that element's own sake (non-negativity, a window). What moves the
    whole map, centring for one, is done between the steps and told to the optimiser by its `transform`.
    """

    batch: int
    """Which minibatch of the fixed partition this is, counted from 0; SAGD alone asks."""
    n_batches: int
    """How many minibatches, of about equal size, the partition has; SAGD alone asks."""

    def value(self, x) -> float:
        """Mean of f_i over the images of this minibatch; x need not satisfy the constraints."""
        ...

    def gradient(self, x):
        """Gradient of `value` at x. The expensive part: an optimiser calls it as seldom as it can."""
        ...

    def curvature(self, x, v):
        """Gauss-Newton Hessian, or the majoriser of EM's M-step, times v; symmetric and positive semi-definite.

        Only asked for at the x of the last `gradient`.
        """
        ...

    def precondition(self, g):
        """P⁻¹ g with P symmetric and positive definite, so that x − P⁻¹ g is a Newton-like step; g / L if scalar."""
        ...

    def constrain(self, x):
        """x with the constraints imposed."""
        ...

    def pack(self, g):
        """A gradient as SAGD shall keep it, one per minibatch: cropped, in half precision, on the host, as is."""
        return g

    def unpack(self, packed):
        """What `pack` gave as a gradient of the present x's shape, which may have grown since.

        After a restored run `packed` lies on the host.
        """
        return packed
