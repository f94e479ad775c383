"""A refinement's certificate as a picture: what a bounded search lost against an exhaustive one, and what it saved."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from .axes_pictures import GRID
from .pictures import _figure, _save

CERTIFICATE_SIZE = (10.0, 3.6)


def draw_certificate(figure, history):
    """Draw the certificates among the records of history.json on a matplotlib Figure: nats lost, posterior mass
    covered, and the share of the poses pruned on each level.

    Raises InputError where there is none.
    """
    parts = [(record["iteration"], record["certificate"]) for record in history if record.get("certificate")]
    if not parts:
        raise InputError("the run holds no certificate: a bounded search makes one every few iterations, where its "
                         "share of the work suffices")
    figure.clear()
    figure.subplots_adjust(left=0.06, right=0.985, top=0.9, bottom=0.16, wspace=0.27)
    lost, covered, pruned = figure.subplots(1, 3)
    n, same = sum(part["images"] for _, part in parts), sum(part["same"] for _, part in parts)
    nats, kept = (np.concatenate([part[name] for _, part in parts]) for name in ("lost_nats", "covered"))
    # a range of its own would spread differences of 1e-6 over the whole axis
    for axes, values, within, label in (
            (lost, nats, (min(0, nats.min()), max(1, nats.max())), "nats lost against the exhaustive search"),
            (covered, kept, (min(0.9, kept.min()), max(1, kept.max())), "share of the posterior mass kept")):
        axes.hist(values, bins=20, range=within, color="C0")
        axes.set(xlabel=label, ylabel="images")
    lost.set_title(f"same best pose in {same} of {n}", fontsize=9)
    above, bounds = (sum(part[name] for _, part in parts) for name in ("above_bound", "bounds"))
    covered.set_title(f"best poses above their bound: {above} of {bounds}", fontsize=9)
    for iteration, part in parts:
        levels = np.arange(1, len(part["pruned"]) + 1)
        line, = pruned.plot(levels, 100 * np.array(part["pruned"]), "o-", label=f"iteration {iteration}")
        # runs of before counted what the limit took as pruned
        cut = np.array(part.get("cut", 0.0))
        if cut.max() > 0:
            pruned.plot(levels, 100 * (np.array(part["pruned"]) + cut), "o:", color=line.get_color(), mfc="none",
                        label="… and by the limit of poses")
    pruned.set(xlabel="level of the search", ylabel="poses pruned (%)", ylim=(0, 102))
    pruned.set_xticks(np.arange(1, max(len(part["pruned"]) for _, part in parts) + 1))
    pruned.legend(fontsize=7)
    for axes in (lost, covered, pruned):
        axes.grid(True, **GRID)
        axes.tick_params(labelsize=8)


def save_certificate_png(history, path):
    """Save `draw_certificate` of the records as a PNG."""
    figure = _figure(*CERTIFICATE_SIZE, layout=None)  # it sets its own margins
    draw_certificate(figure, history)
    _save(figure, path)
