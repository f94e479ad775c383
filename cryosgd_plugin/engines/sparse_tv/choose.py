"""Penalties chosen by what they foretell: Fourier coefficients of one half that its map has not seen.

Each half chooses by itself. A tenth of its coefficients is left out; a map of the others is held against them. Where
the penalties describe the molecule it foretells them better than the bare data could, and too strong ones make it
worse again. Nothing crosses between the halves: the program of paper 3 chooses by the other half's data, after which
its FSC is no longer one of independent maps.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.errors import InputError
from ...core.fourier import resample_volume
from .config import SparseTVConfig
from .problem import FourierData
from .solver import sparse_tv_map

# share of the coefficients that is left out
HELD_OUT = 0.1
# side of the cells that are left out together, Fourier px: neighbours share some noise
CELL = 2.0
ODD = np.array([0.83, 0.45, 0.33], np.float32)
# what is tried, of each penalty; paper 3 found 1.6 to 1.8 for β and 0.4 to 0.5 for α
ALPHAS = (0.0, 0.1, 0.25, 0.5, 1.0)
BETAS = (0.0, 0.25, 0.5, 1.0, 1.6, 2.2)
# maps of more px are chosen by their low frequencies alone
LARGEST_BOX = 96


@dataclass(frozen=True)
class Choice:
    """What was tried: a row (α, β, misfit of the held-out coefficients less that of no map at all, in nats per
    coefficient) each, and the best config. A misfit is nan where nothing was left of the map."""

    config: SparseTVConfig
    tried: list


def choose(data: FourierData, config: SparseTVConfig, *, epsilon: float, rng, start=None, operators=None,
           alphas=ALPHAS, betas=BETAS) -> Choice:
    """Find α and β of `config` for the data of one half: β first, then α, then β once more.

    rng : draws the coefficients that are left out. start : as of `sparse_tv_map`. operators : of the map's symmetry.
    """
    given, full_box = config, data.box
    data, start, epsilon = _reduced(data, start, config.epsilon or epsilon)
    # neighbours are farther apart in a smaller box, so that they differ by more and there are fewer of them
    finer = full_box / data.box
    config = replace(config, epsilon=None, epsilon_ratio=config.epsilon_ratio * finer)
    left_out, scored = held_out(data, rng, operators)
    rest, count = data.without(left_out), max(1.0, float((data.weight > 0)[scored].sum()))
    nothing = data.misfit(0 * data.volume, scored)
    # no map may begin with what it is held against
    seen = data.volume if start is None else start
    start = data.inverse(data.transform(seen) * ~left_out)
    tried = {}

    def score(alpha, beta):
        if (alpha, beta) not in tried:
            try:
                found = sparse_tv_map(rest, replace(config, alpha=alpha, beta=beta), epsilon=epsilon, start=start)
                tried[alpha, beta] = (data.misfit(found.volume, scored) - nothing) / count
            except InputError:
                tried[alpha, beta] = np.nan
        value = tried[alpha, beta]
        return np.inf if np.isnan(value) else value

    betas = [beta / finer for beta in betas]
    alpha = min(alphas, key=lambda one: abs(one - config.alpha))
    for _ in range(2):
        beta = min(betas, key=lambda one: score(alpha, one))
        alpha = min(alphas, key=lambda one: score(one, beta))
    return Choice(replace(given, alpha=alpha, beta=beta * finer),
                  [(a, b * finer, value) for (a, b), value in tried.items()])


def held_out(data: FourierData, rng, operators=None):
    """(left out, scored): (d, d, d // 2 + 1) bool each, about a tenth of the coefficients in cells of CELL px, with
    their Friedel mates; scored are those none of whose symmetry mates is seen.

    operators : (g, 3, 3) of the symmetry, whose mates say the same: left out together as far as cells can be turned
    """
    box, operators = data.box, np.eye(3)[None] if operators is None else np.asarray(operators)
    line = np.fft.fftfreq(box, 1 / box).astype(np.float32)
    z, y, x = np.meshgrid(line, line, np.arange(box // 2 + 1, dtype=np.float32), indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    # of all mates the one that lies farthest along an odd direction
    farthest, chosen = np.full(len(points), -np.inf, np.float32), points.copy()
    for operator in operators:
        moved = points @ operator.T.astype(np.float32)
        along = moved @ ODD
        for sign in (1, -1):
            better = sign * along > farthest + 1e-4
            farthest[better], chosen[better] = sign * along[better], sign * moved[better]
    # half a cell off, so that rounding does not part mates that lie on whole pixels
    cells = np.floor(chosen / CELL + 0.25).astype(int) + box
    number = np.ravel_multi_index(tuple(cells.T), (2 * box,) * 3)
    _, number = np.unique(number, return_inverse=True)
    # the Nyquist planes of an even box lie at both sides, and the map's mean is told by nothing else
    left = (rng.random(number.max() + 1) < HELD_OUT)[number]
    left &= (np.abs(points).max(axis=1) < box / 2) & (np.abs(points).max(axis=1) > CELL)
    left = left.reshape(x.shape)
    return data.xp.asarray(left), data.xp.asarray(_with_mates(left, points, operators))


def _with_mates(left, points, operators):
    """Of the coefficients that are left out those whose nearest mates are, too."""
    box, scored = len(left), left.ravel().copy()
    held = np.flatnonzero(scored)
    for operator in operators[1:]:
        mate = np.rint(points[held] @ operator.T).astype(int)
        mate = np.where(mate[:, :1] < 0, -mate, mate)
        x, y, z = np.where(np.abs(mate).max(axis=1, keepdims=True) < box / 2, mate, 0).T
        scored[held] &= left[z, y, x]
    return scored.reshape(left.shape)


def _reduced(data, start, epsilon):
    """The same in a box of LARGEST_BOX px at most, of the same side in Å."""
    if data.box <= LARGEST_BOX:
        return data, start, epsilon
    # raw coefficients stay as they are: a voxel holds that much more, and the square of a unitary one is as much larger
    share = (LARGEST_BOX / data.box) ** 3
    line = np.fft.fftfreq(LARGEST_BOX, 1 / LARGEST_BOX).astype(int)
    weight = data.weight[line][:, line][:, :, :LARGEST_BOX // 2 + 1] * np.float32(share)
    return (FourierData(resample_volume(data.volume, LARGEST_BOX), weight, data.threads),
            None if start is None else resample_volume(start, LARGEST_BOX), epsilon / share)
