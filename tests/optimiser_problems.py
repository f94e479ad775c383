"""Problems of known answer for the tests of the optimisers, and the loop that takes their steps."""
import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.optimize import minimize, nnls
from scipy.special import expit

from cryosgd_plugin.engines.optimisers import OPTIMISERS, Problem

SIZE, IMAGES, MINIBATCHES = 12, 2400, 8
KINDS = ("diagonal", "scalar", "logistic", "non-negative")
EVERY = pytest.mark.parametrize("name", OPTIMISERS)
BOLD = {name: dict(step_size=1.0) for name in ("sgd", "sgd-momentum", "tonga", "olbfgs")}
# AdaGrad never forgets the large gradients of the beginning, and SAGD ends with ε = 1/16
SLOW = ("adagrad", "sagd")


def make(kind, n_batches=MINIBATCHES, *, size=SIZE, unit=1.0):
    """A problem of one of KINDS; `unit` stretches x by that factor and changes nothing else."""
    rng = np.random.default_rng(0)
    mixing = np.eye(SIZE) + 0.25 * rng.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)
    rows = rng.normal(size=(IMAGES, SIZE)) @ mixing
    # condition number of about 1e4 where a diagonal preconditioner may mend it, else of about 60
    scales = np.geomspace(10, 0.1, SIZE) if kind in ("diagonal", "non-negative") else np.geomspace(3, 0.4, SIZE)
    signal = rows @ rng.normal(size=SIZE)
    rows = (rows * scales)[:, :size] / unit
    if kind == "logistic":
        return Logistic(rows, np.sign(signal + rng.logistic(size=IMAGES)), n_batches=n_batches,
                        ridge=0.02 / unit ** 2)
    cls = NonNegative if kind == "non-negative" else LeastSquares
    return cls(rows, signal + 0.5 * rng.normal(size=IMAGES), n_batches=n_batches, diagonal=kind != "scalar")


def run(optimiser, problem, x, steps, *, decay=None, first=0, seed=1):
    """x after steps with minibatches in random order, epoch by epoch; η falls as 1 / (1 + step / decay)."""
    rng, n, whole = np.random.default_rng(seed), problem.n_batches, optimiser.step_size
    order = np.concatenate([rng.permutation(n) for _ in range(-(-(first + steps) // n))])
    for i in range(first, first + steps):
        problem.batch = int(order[i])
        if decay:
            optimiser.step_size = whole / (1 + i / decay)
        x = optimiser.step(x, problem)
    return x


def error(x, problem):
    """Distance from the answer in the preconditioner's metric, relative to the answer's length."""
    root, answer = np.sqrt(problem.weight), problem.answer()
    return np.linalg.norm(root * (x - answer)) / np.linalg.norm(root * answer)


class Sum(Problem):
    """mean over rows of loss(row·x, target) + ridge/2 |x|²; of one minibatch, as `batch` says."""

    def __init__(self, rows, targets, *, n_batches, diagonal=True, ridge=0.0):
        self.rows, self.targets, self.n_batches, self.batch, self.ridge = rows, targets, n_batches, 0, ridge
        self.gradients = 0
        hessian = self.stiffness * rows.T @ rows / len(rows) + self.ridge * np.eye(rows.shape[1])
        weight = np.diag(hessian) if diagonal else np.ones(len(hessian))
        # the least multiple that majorises the whole Hessian
        self.weight = weight * eigh(hessian, np.diag(weight), eigvals_only=True)[-1]

    def parts(self):
        """Each minibatch as a problem of its own."""
        for batch in range(self.n_batches):
            self.batch = batch
            yield type(self)(*self.part(), n_batches=1, ridge=self.ridge)

    def part(self):
        return self.rows[self.batch::self.n_batches], self.targets[self.batch::self.n_batches]

    def value(self, x):
        rows, targets = self.part()
        return float(np.mean(self.loss(rows @ x, targets)) + 0.5 * self.ridge * x @ x)

    def gradient(self, x):
        self.gradients += 1
        rows, targets = self.part()
        return rows.T @ self.slope(rows @ x, targets) / len(rows) + self.ridge * x

    def curvature(self, x, v):
        rows, targets = self.part()
        return rows.T @ (self.bend(rows @ x, targets) * (rows @ v)) / len(rows) + self.ridge * v

    def precondition(self, g):
        return g / self.weight.astype(g.dtype)

    def constrain(self, x):
        return x


class LeastSquares(Sum):
    stiffness = 1.0

    def loss(self, z, t):
        return 0.5 * (z - t) ** 2

    def slope(self, z, t):
        return z - t

    def bend(self, z, t):
        return np.ones_like(z)

    def answer(self):
        return np.linalg.lstsq(self.rows, self.targets, rcond=None)[0]


class NonNegative(LeastSquares):
    def constrain(self, x):
        return np.maximum(x, 0)

    def answer(self):
        return nnls(self.rows, self.targets)[0]


class Logistic(Sum):
    stiffness = 0.25

    def loss(self, z, t):
        return np.logaddexp(0, -t * z)

    def slope(self, z, t):
        return -t * expit(-t * z)

    def bend(self, z, t):
        return expit(z) * expit(-z)

    def answer(self):
        whole = Logistic(self.rows, self.targets, n_batches=1, ridge=self.ridge)
        return minimize(whole.value, np.zeros(self.rows.shape[1]), jac=whole.gradient, method="BFGS",
                        options=dict(gtol=1e-10)).x


class Given(Problem):
    """Gradients, values and curvatures from a test's own functions; P = 2."""

    batch, n_batches = 0, 1

    def __init__(self, **methods):
        vars(self).update(methods)

    def precondition(self, g):
        return g / 2

    def constrain(self, x):
        return x


def spd(rng, size=SIZE, smallest=0.1):
    factor = rng.normal(size=(size, size))
    return factor @ factor.T / size + smallest * np.eye(size)


def padded(x):
    return np.concatenate([x, np.zeros(SIZE - len(x), x.dtype)])
