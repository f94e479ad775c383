"""Do several maps show the same structure? Restarts compared pair by pair, grouped and averaged.

As in Brubaker, Punjani and Fleet (2015), section 4.5 and figure 12: the Fourier shell correlation of every pair of
maps, each pair aligned, with its mean and standard deviation over the pairs.
"""
from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform

from ..core.errors import InputError
from ..core.fourier import fft3_centred, ifft3_centred, resample_volume
from ..core.masks import check_mask, soft_sphere
from ..core.shells import crossing_resolution, friedel_weights, fsc, shell_index_3d
from .align_fan import check_map
from .align_maps import Alignment, PreparedMap, align_prepared, mirror
from .consensus_words import verdict_of

# maps agree where their FSC, averaged over the shells up to the radius asked for, reaches this
SAME = 0.5
# pairs are compared in a box of so many px, or as many as the radius needs: 0.3 s a pair
COMPARED_BOX = 96


@dataclass(frozen=True)
class Consensus:
    """What `compare_maps` found; maps are numbered as they were given, `used` lists those that could be compared.

    names : of all maps; failed : name → why it was left out; used : (n,) indices
    reference : index of the map that all are brought onto: that of the largest group which is most like the others of
    it, or with a mask the first. alignments : (n,) Alignment onto it; aligned : (n, d, d, d) float32
    curves : (n, n, shells) FSC of each pair; mean, std : (shells,) over the pairs
    resolution_a : (n, n) Å at FSC 0.5; similarity : (n, n) mean FSC over the shells 1 to `radius`
    clusters : tuples of indices, the largest first; consensus : (d, d, d) mean map of the largest
    box_size, pixel_size : px and Å/px of aligned maps; the curves' shell s is at s / (box_size · pixel_size) 1/Å
    """

    names: tuple
    failed: dict
    used: tuple
    reference: int
    alignments: tuple
    aligned: np.ndarray
    curves: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    resolution_a: np.ndarray
    similarity: np.ndarray
    radius: int
    clusters: tuple
    consensus: np.ndarray
    box_size: int
    pixel_size: float
    verdict: str

    def pair_values(self, matrix):
        """The values above the diagonal of an (n, n) matrix: one a pair."""
        return matrix[np.triu_indices(len(self.used), 1)]

    def report(self) -> dict:
        """All but the maps, by words for a file: `io.agreement` reads it."""
        names = [self.names[i] for i in self.used]
        pairs = [dict(maps=[names[i], names[j]], resolution_a=self.resolution_a[i, j],
                      mean_fsc=self.similarity[i, j], fsc=self.curves[i, j])
                 for i, j in combinations(range(len(names)), 2)]
        return dict(verdict=self.verdict, groups=[[self.names[i] for i in cluster] for cluster in self.clusters],
                    reference=self.names[self.reference], left_out=self.failed, mean_fsc=self.mean, sd_fsc=self.std,
                    pairs=pairs, compared_to_a=self.box_size * self.pixel_size / self.radius,
                    box_size=self.box_size, pixel_size=self.pixel_size)


def compare_maps(volumes, *, radius: int, pixel_size: float, mask=None, diameter_a=None, names=None,
                 progress=None) -> Consensus:
    """Align every pair of maps, both hands, compare them, and say which are the same.

    Parameters
    ----------
    volumes : maps (d, d, d) of one box; an empty map or one with NaN is left out and named
    radius : Fourier px up to which they are aligned and judged; pixel_size : Å/px
    mask : (d, d, d) in [0, 1] on the first map that is used, or None; it then is the reference
    diameter_a : without a mask, a soft sphere about the box centre; None: the sphere that fits the box
    names : words for the maps; progress : called with (pairs done, all pairs)

    Raises
    ------
    InputError : fewer than two usable maps, boxes that differ, a radius or a mask that does not fit
    """
    names = tuple(names) if names is not None else tuple(f"map {number + 1}" for number in range(len(volumes)))
    used, failed = _usable(volumes, names)
    box = len(volumes[used[0]])
    prepared = [tuple(PreparedMap(hand, radius, names[i]) for hand in (volumes[i], mirror(volumes[i]))) for i in used]
    pairs = _align_pairs(prepared, progress)

    n = len(used)
    agreement = np.array([[pairs[i, j].correlation for j in range(n)] for i in range(n)])
    hub = 0 if mask is not None else int(agreement.sum(axis=1).argmax())
    window = _window(mask, diameter_a, box, pixel_size)
    # the curves are taken in the frame of the map that fits most of the others
    curves = _pair_curves([volumes[i] for i in used], pairs, hub, window, min(box, max(COMPARED_BOX, 2 * radius)))
    similarity = curves[:, :, 1:radius + 1].mean(axis=2)
    resolution = np.array([[crossing_resolution(curves[i, j], 0.5, box, pixel_size) for j in range(n)]
                           for i in range(n)])
    clusters = _clusters(similarity)
    if mask is None:
        hub = _best_connected(clusters[0], similarity)
    onto = _onto_reference(pairs, clusters, similarity, hub)
    aligned = np.stack([alignment.apply(volumes[i]) for i, alignment in zip(used, onto)])
    upper = curves[np.triu_indices(n, 1)]
    verdict = verdict_of([names[i] for i in used], clusters, resolution, similarity, failed,
                         box * pixel_size / radius)
    return Consensus(
        names=names, failed=failed, used=tuple(used), reference=used[hub], alignments=tuple(onto), aligned=aligned,
        curves=curves, mean=upper.mean(axis=0), std=upper.std(axis=0), resolution_a=resolution, similarity=similarity,
        radius=radius, clusters=tuple(tuple(used[i] for i in cluster) for cluster in clusters),
        consensus=_mean_map(aligned[list(clusters[0])]), box_size=box, pixel_size=float(pixel_size), verdict=verdict)


def sphere_radius(diameter_a, box: int, pixel_size: float) -> float:
    """Radius in px of the sphere within which maps are compared; diameter_a : in Å, None for one that fits the box.

    Raises InputError for a diameter that does not fit.
    """
    radius = 0.45 * box if diameter_a is None else 0.5 * diameter_a / pixel_size
    if not 2 <= radius <= box / 2:
        raise InputError(f"a diameter of {diameter_a:g} Å does not fit the box of {box * pixel_size:.0f} Å; "
                         "give one that does")
    return radius


def match_classes(runs, *, radius: int):
    """Pair the classes of several runs with those of the first.

    runs : lists of maps (d, d, d), one list a run. Returns (orders, correlations): orders[r][k] is the class of run r
    that is class k of the first, −1 for none left; correlations[r] : (classes of the first, classes of r), aligned,
    of the better hand. The pairing maximises the sum of the correlations (Kuhn's assignment); a map that can't be
    compared, being empty, correlates by −1 with all.
    """
    prepared = [[_prepared_hands(volume, radius) for volume in volumes] for volumes in runs]
    first = [hands and hands[0] for hands in prepared[0]]
    orders, tables = [], []
    for candidates in prepared:
        table = np.array([[_best_hand(moving, target).correlation if moving and target else -1.0
                           for moving in candidates] for target in first])
        order = np.full(len(first), -1)
        rows, columns = linear_sum_assignment(table, maximize=True)
        order[rows] = columns
        orders.append(order)
        tables.append(table)
    return orders, tables


def _usable(volumes, names):
    used, failed = [], {}
    for number, volume in enumerate(volumes):
        try:
            check_map(volume, names[number])
            used.append(number)
        except InputError as error:
            failed[names[number]] = str(error)
    if len(used) < 2:
        raise InputError(f"{len(used)} of {len(volumes)} maps can be compared, at least 2 are needed"
                         + "".join(f"; {reason}" for reason in failed.values()))
    boxes = {len(volumes[number]) for number in used}
    if len(boxes) > 1:
        raise InputError(f"the maps have boxes of {', '.join(map(str, sorted(boxes)))} px; resample them to one")
    return used, failed


def _prepared_hands(volume, radius):
    """(PreparedMap as it is, mirrored), or None for a map that is empty or holds NaN."""
    try:
        check_map(volume, "the map")
    except InputError:
        return None
    return tuple(PreparedMap(hand, radius) for hand in (volume, mirror(volume)))


def _best_hand(moving, target):
    return max((align_prepared(hand, target, bool(flag)) for flag, hand in enumerate(moving)),
               key=lambda found: found.correlation)


def _align_pairs(prepared, progress):
    """{(i, j): Alignment of map i onto map j}, both ways, and the identity of each map with itself."""
    n = len(prepared)
    pairs = {(i, i): Alignment(np.eye(3), np.zeros(3), False, 1.0) for i in range(n)}
    for done, (i, j) in enumerate(combinations(range(n), 2)):
        if progress is not None:
            progress(done, n * (n - 1) // 2)
        pairs[i, j] = _best_hand(prepared[i], prepared[j][0])
        pairs[j, i] = pairs[i, j].inverse()
    return pairs


def _window(mask, diameter_a, box, pixel_size):
    return check_mask(mask, box) if mask is not None else soft_sphere(
        box, sphere_radius(diameter_a, box, pixel_size), 0.04 * box)


def _pair_curves(volumes, pairs, hub, window, small):
    """(n, n, shells) FSC within the window, on `small` px, each pair by its own alignment, in map `hub`'s frame."""
    box, n = len(volumes[0]), len(volumes)
    volumes = [resample_volume(volume, small) for volume in volumes]
    window = np.clip(resample_volume(window, small) * (small / box) ** -3, 0, 1)
    curves = np.ones((n, n, small // 2 + 1))
    for j in range(n):
        there = _scaled(pairs[j, hub], small / box)
        fixed = there.apply(volumes[j])
        for i in range(j):
            moved = _scaled(pairs[i, j], small / box).then(there).apply(volumes[i])
            curves[i, j] = curves[j, i] = fsc(moved, fixed, mask=window)
    return curves


def _scaled(alignment, factor):
    return Alignment(alignment.rotation, alignment.shift_px * factor, alignment.mirrored, alignment.correlation)


def _clusters(similarity):
    """Tuples of row numbers that agree (average linkage), the largest first, of equal ones the better-knit."""
    distance = np.clip(1 - similarity, 0, None)
    np.fill_diagonal(distance, 0)
    labels = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - SAME, "distance")
    groups = [tuple(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)]
    return sorted(groups, key=lambda rows: (-len(rows), -similarity[np.ix_(rows, rows)].mean()))


def _onto_reference(pairs, clusters, similarity, hub):
    """Alignment of each map onto map `hub`, through the best-connected map of its own cluster."""
    onto = {}
    for rows in clusters:
        centre = hub if hub in rows else _best_connected(rows, similarity)
        for i in rows:
            onto[i] = pairs[i, centre].then(pairs[centre, hub])
    return [onto[i] for i in range(len(onto))]


def _best_connected(rows, similarity):
    """The one of these rows that is most like the others of them."""
    return rows[int(similarity[np.ix_(rows, rows)].sum(axis=1).argmax())]


def _mean_map(maps):
    """The mean of maps brought to their mean spectrum, so that none speaks louder."""
    box = maps.shape[-1]
    index = shell_index_3d(box)
    weights = np.broadcast_to(friedel_weights(box), index.shape).ravel()
    spectra = [fft3_centred(volume) for volume in maps]
    n = int(index.max()) + 1
    amplitudes = np.sqrt([np.bincount(index.ravel(), weights=(np.abs(spectrum) ** 2).ravel() * weights, minlength=n)
                          for spectrum in spectra])
    target = amplitudes.mean(axis=0)
    total = np.zeros(index.shape, np.complex64)
    for spectrum, own in zip(spectra, amplitudes):
        total += spectrum * np.divide(target, own, out=np.zeros(n), where=own > 0).astype(np.float32)[index]
    return ifft3_centred(total / len(spectra), box)
