"""Particles that were picked twice: centres closer than they can be, and images that stand in a set twice."""
from __future__ import annotations

from collections import defaultdict

import numpy as np

from .errors import InputError
from .settings import need

# what says how well a particle fitted, best known first; the higher the better
SCORES = ("rlnMaxValueProbDistribution", "rlnLogLikeliContribution", "rlnAutopickFigureOfMerit")


def repeated_images(images, score) -> np.ndarray:
    """(n,) bool: the rows whose image stands in another row of a higher score (of equal ones, in an earlier row).

    images : (n,) what names the image of each row; score : (n,) float64, see `preference`.
    """
    order = preference(score)
    _, first = np.unique(np.asarray(images)[order], return_index=True)
    repeated = np.ones(len(order), dtype=bool)
    repeated[order[first]] = False
    return repeated


def too_close(micrographs, centres_a, distance_a, score, left_out=None) -> np.ndarray:
    """(n,) bool: the particles that lie closer than distance_a to one of a higher score that is kept.

    micrographs : (n,) what names the micrograph of each; centres_a : (n, 2) Å in the micrograph; score : (n,);
    left_out : (n,) bool of particles that count for nothing, or None.
    From the best score down each particle is kept unless a kept one is too close. So no two of those kept are, each of
    the others is close to a better one that is kept, and one that is removed removes nobody in its turn.
    """
    need(distance_a >= 0, f"the distance {distance_a:g} Å is negative; give 0 or more")
    close = np.zeros(len(centres_a), dtype=bool)
    if distance_a == 0:
        return close
    wrong = np.count_nonzero(~np.isfinite(centres_a).all(axis=1))
    need(not wrong, f"{wrong} particles have coordinates or shifts that are no numbers; correct or remove them")
    _, micrograph = np.unique(np.asarray(micrographs), return_inverse=True)
    # in cells as wide as the distance only neighbours can be close, and a cell holds few that keep it from each other:
    # the work grows with the number of particles, however many of them sit on one spot
    cells = np.floor(centres_a / distance_a).astype(np.int64)
    kept = defaultdict(list)
    order = preference(score)
    if left_out is not None:
        order = order[~left_out[order]]
    for row in order.tolist():
        x, y = centres_a[row].tolist()
        number, cell_x, cell_y = int(micrograph.ravel()[row]), int(cells[row, 0]), int(cells[row, 1])
        if any((x - other_x) ** 2 + (y - other_y) ** 2 < distance_a ** 2
               for i in (cell_x - 1, cell_x, cell_x + 1) for j in (cell_y - 1, cell_y, cell_y + 1)
               for other_x, other_y in kept.get((number, i, j), ())):
            close[row] = True
        else:
            kept[number, cell_x, cell_y].append((x, y))
    return close


def preference(score) -> np.ndarray:
    """(n,) the rows from the highest score down, equal ones in their own order, those without a number last."""
    return np.argsort(-np.nan_to_num(np.asarray(score, np.float64), nan=-np.inf), kind="stable")


def centres_of(coordinates_px, micrograph_pixel_size, shifts_a=None) -> np.ndarray:
    """(n, 2) Å: where the particles are in their micrographs.

    coordinates_px : (n, 2) of the boxes, px of micrograph_pixel_size (a number, or (n,)) Å/px; shifts_a : (n, 2) the
    shifts to apply, or None. The particle sits at minus its shift from the middle of the box.
    """
    sizes = np.broadcast_to(np.asarray(micrograph_pixel_size, np.float64), len(coordinates_px))
    wrong = sizes[~(sizes > 0)]
    need(not wrong.size, f"the micrographs' pixel size {wrong[:1].sum():g} Å/px is not positive; give the right one")
    centres = np.asarray(coordinates_px, np.float64) * sizes[:, None]
    return centres if shifts_a is None else centres - shifts_a


def score_column(names, wanted=None) -> str | None:
    """Which of the columns `names` says how good a particle is: `wanted`, else the first of SCORES, else None.

    Raises InputError where the wanted one is missing.
    """
    names = list(names)
    if wanted and wanted not in names:
        raise InputError(f"the particles have no column {wanted}; they have {', '.join(sorted(names)) or 'none'}")
    return wanted or next((name for name in SCORES if name in names), None)
