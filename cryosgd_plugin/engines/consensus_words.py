"""The verdict on a comparison of maps, in words to act on."""
from __future__ import annotations

import numpy as np


def verdict_of(names, clusters, resolution_a, similarity, failed, finest_a) -> str:
    """The sentences of a comparison.

    names : of the maps compared; clusters : tuples of their numbers, the largest first; resolution_a, similarity :
    (n, n) resolution at FSC 0.5 and mean FSC; failed : name → reason; finest_a : Å up to which they were judged.
    """
    n, largest = len(names), clusters[0]
    pairs = np.triu_indices(n, 1)
    if len(largest) == 1:
        best = float(resolution_a[pairs].min())
        beyond = f"beyond {best:.3g} Å" if np.isfinite(best) else "even at the lowest resolution"
        many = "The two maps do not agree" if n == 2 else f"No two of {n} maps agree"
        words = (f"{many} {beyond}: do not trust any of them. Run more starts, or raise the number of iterations or "
                 "particles.")
    else:
        inside = resolution_a[np.ix_(largest, largest)][np.triu_indices(len(largest), 1)]
        worst = float(inside.max())
        typical = float(np.median(inside))
        reach = f"to {typical:.3g} Å" + (f" (the worst pair to {worst:.3g} Å)" if worst > 1.15 * typical else "")
        who = "Both maps show" if n == 2 else f"All {n} maps show" if len(largest) == n else (
            f"{len(largest)} of {n} maps show")
        words = f"{who} the same structure {reach}."
        others = [i for rows in clusters[1:] for i in rows]
        if others:
            words += f" {_number(len(others))} differ{'s' if len(others) == 1 else ''}"
            words += f": look at {_listed(names, others)}."
            rival = clusters[1]
            if len(rival) > 1 and len(rival) >= 0.5 * len(largest):
                words += (f" {_listed(names, rival)} agree with each other: the data may hold two structures, or two "
                          "solutions score alike; compare both with class averages.")
        if len(largest) == 2 and n > 3:
            words += " Two of so many may be chance: run more starts before you trust them."
        elif typical > 2 * finest_a:
            words += f" That is far from the {finest_a:.3g} Å asked for: only the overall shape is certain."
    for name in failed:
        words += f" {name} was left out: it is no map ({failed[name]})."
    return words


def _number(count):
    return {1: "One", 2: "Two", 3: "Three", 4: "Four", 5: "Five"}.get(count, str(count))


def _listed(names, rows):
    chosen = [names[i] for i in rows]
    return chosen[0] if len(chosen) == 1 else ", ".join(chosen[:-1]) + " and " + chosen[-1]
