"""Pairs of direction and shift as rectangles, and their scores: against lists, and one image at a time."""
import numpy as np
import pytest

from cryosgd_plugin.engines.abinitio.selection import Selection
from cryosgd_plugin.ops import _cuda, _pair_scores_cupy, pair_scores
from cryosgd_plugin.ops.pairs import TILE, Cells, Pairs, best_of_each
from cryosgd_plugin.ops.polar import harmonics
from cryosgd_plugin.tests import host_cuda
from cryosgd_plugin.tests.test_bounded_search import sample
from cryosgd_plugin.tests.test_expectation import noise
from cryosgd_plugin.tests.test_slicing_cuda_source import ptx

N, ROWS, SHIFTS = 3, 11, 5
KERNELS = ("shifted_circles", "pair_products", "segment_max", "segment_sum", "pair_masses", "score_counts",
           "draw_angles")


@pytest.fixture(params=["numpy", "stand-in"])
def xp(request, monkeypatch):
    """numpy, or the stand-in for CuPy."""
    return np if request.param == "numpy" else host_cuda.install(monkeypatch)


def host(value):
    return value if isinstance(value, np.ndarray) else value.get()


def chosen(seed=0, share=0.3):
    """(image, row, shift) of some pairs of N images, sorted."""
    return np.nonzero(np.random.default_rng(seed).random((N, ROWS, SHIFTS)) < share)


def as_set(pairs):
    return list(zip(*(host(one).tolist() for one in pairs.expanded())))


def test_nvcc_compiles_the_source(tmp_path):
    text = ptx(tmp_path, _pair_scores_cupy.SOURCES)
    assert all(f".entry {kernel}(" in text for kernel in KERNELS)
    # the 16 sums of a tile lie in registers
    assert ".local" not in text
    assert f"#define TILE {TILE}\n" in _cuda.source_of(_pair_scores_cupy.SOURCES)


# ---- rectangles
def test_everything_is_every_pair_in_order(xp):
    pairs = Pairs.everything(N, ROWS, SHIFTS, xp)
    assert as_set(pairs) == list(np.ndindex(N, ROWS, SHIFTS)) and len(pairs) == N * ROWS * SHIFTS
    assert host(pairs.height).max() == TILE and host(pairs.segments()).tolist() == [0, 55, 110, 165]


def test_listed_pairs_come_back(xp):
    image, row, shift = chosen()
    pairs = Pairs.listed(*map(xp.asarray, (image, row, shift)), N)
    assert as_set(pairs) == list(zip(image, row, shift))
    assert host(pairs.segments()).tolist() == np.searchsorted(image, np.arange(N + 1)).tolist()
    used = np.zeros((N, SHIFTS), bool)
    used[image, shift] = True
    assert np.array_equal(host(pairs.used_shifts(SHIFTS)), used)


@pytest.mark.parametrize("ratio", [1, 4, 16])
def test_children_are_those_of_the_cells(xp, ratio):
    image, row, shift = chosen()
    near = np.random.default_rng(1).random((SHIFTS, 7)) < 0.3
    near[np.arange(SHIFTS), np.arange(SHIFTS)] = True
    children = Cells(near, ratio, xp).children(*map(xp.asarray, (image, row, shift)), N)
    expected = {(i, r * ratio + k, t) for i, r, s in zip(image, row, shift) for k in range(ratio)
                for t in np.flatnonzero(near[s])}
    assert as_set(children) == sorted(expected)
    assert host(children.height).max() == min(ratio, TILE)


def test_parts_keep_their_numbers(xp):
    pairs = Pairs.listed(*map(xp.asarray, chosen()), N)
    begin, end = 4, 9
    part = pairs.part(begin, end)
    first, last = int(host(pairs.start)[begin]), int(host(pairs.start)[end])
    assert (int(part.start[0]), len(part)) == (first, last - first)


def test_the_best_of_each_image(xp):
    rng = np.random.default_rng(2)
    image, values = np.repeat([0, 1, 2], [7, 2, 9]), rng.permutation(18).astype(np.float32)
    found = host(best_of_each(xp.asarray(values), xp.asarray(image), 3))
    expected = [sorted(members, key=lambda p: -values[p])[:3] for members in (
        np.flatnonzero(image == i) for i in range(3))]
    assert found.tolist() == sorted(p for part in expected for p in part)


def test_tiles_cover_each_pair_once(xp):
    pairs = Pairs.listed(*map(xp.asarray, chosen(share=0.9)), N)
    rectangle, first = (host(one) for one in pair_scores.tiles(pairs))
    count = host(pairs.count)
    covered = [(u, j) for u, f in zip(rectangle, first) for j in range(f, min(f + TILE, count[u]))]
    assert covered == [(u, j) for u in range(len(count)) for j in range(count[u])]


# ---- scores
@pytest.fixture(scope="module")
def scored():
    """The finest level of a search with some images on its rings, and what pair_scores needs of them, on the host."""
    levels, images, table = sample(0.4)
    level = levels[0]
    matched = level.matcher.prepare(images[:N], table, np.arange(N), noise())
    bank = level.bank()
    return level, matched, [np.ascontiguousarray(part.transpose(1, 2, 0)) for part in (bank.linear, bank.square)]


def arguments(scored, pairs, xp):
    level, matched, bank = scored
    grid = level.grid
    slots = np.full((N, len(grid.shifts_a)), -1, np.int32)
    used = host(pairs.used_shifts(len(grid.shifts_a)))
    slots[used] = np.arange(used.sum())
    image, shift = (xp.asarray(one.astype(np.int32)) for one in np.nonzero(used))
    shifted = pair_scores.shifted_harmonics(xp.asarray(matched.filtered), xp.asarray(level.phases), image, shift)
    return (*map(xp.asarray, bank), shifted, xp.asarray(harmonics(matched.ctf_power)), xp.asarray(slots),
            xp.asarray(grid.log_shift_weights.astype(np.float32)), pairs, grid.polar.n_angles)


def everything(scored):
    """(N, angles, rows, shifts) scores, image by image as the CPU's search takes them."""
    level, matched, _ = scored
    return np.stack([level.scores(level.bank(), level.image_harmonics(matched.filtered[i]),
                                  np.ascontiguousarray(harmonics(matched.ctf_power[i]).T), Selection())
                     for i in range(N)])


def test_scores_equal_those_of_one_image_at_a_time(xp, scored):
    level = scored[0]
    rng = np.random.default_rng(3)
    image, row, shift = np.nonzero(rng.random((N, level.n_rows, len(level.grid.shifts_a))) < 0.002)
    near = np.eye(len(level.grid.shifts_a))
    # as they are, and as rectangles of several rows
    listed = Pairs.listed(*map(xp.asarray, (image, row, shift)), N)
    few = np.flatnonzero(row < level.n_rows // 4)
    cut = Cells(near, 4, xp).children(*(xp.asarray(one[few]) for one in (image, row, shift)), N)
    exact = everything(scored)
    for pairs in (listed, cut):
        found = host(pair_scores.pair_scores(*arguments(scored, pairs, xp)))
        i, r, s = (host(one) for one in pairs.expanded())
        assert found.dtype == np.float32 and np.abs(found - exact[i, :, r, s]).max() < 1e-3
    assert host(cut.height).max() == 4 and np.ptp(exact) > 50


def test_a_part_is_scored_as_in_the_whole(xp, scored):
    pairs = Pairs.everything(N, scored[0].n_rows, 2, xp)
    whole = host(pair_scores.pair_scores(*arguments(scored, pairs, xp)))
    begin, end = 100, 130
    first, last = (int(host(pairs.start)[u]) for u in (begin, end))
    part = host(pair_scores.pair_scores(*arguments(scored, pairs.part(begin, end), xp)))
    np.testing.assert_allclose(part, whole[first:last], atol=1e-4)


def test_scores_do_not_depend_on_the_order_of_the_threads(scored, monkeypatch):
    stand_in = host_cuda.install(monkeypatch)
    pairs = Pairs.listed(*map(stand_in.asarray, chosen()), N)
    found = []
    for shuffle, blocks in ((None, _cuda.MAX_BLOCKS), (1, 3), (2, 3)):
        monkeypatch.setattr(host_cuda.RawKernel, "shuffle", shuffle)
        monkeypatch.setattr(_cuda, "MAX_BLOCKS", blocks)
        found.append(pair_scores.pair_scores(*arguments(scored, pairs, stand_in)).get())
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


# ---- what is picked
@pytest.fixture
def posterior():
    """(scores (p, angles), image of each, segments, best and least of each image), float32."""
    rng = np.random.default_rng(4)
    image = np.repeat(np.arange(N), [40, 1, 300]).astype(np.int32)
    scores = (200 + rng.normal(0, 6, (len(image), 24))).astype(np.float32)
    segments = np.searchsorted(image, np.arange(N + 1))
    best = np.maximum.reduceat(scores.max(axis=1), segments[:-1])
    return scores, image, segments, best, best - np.float32(12)


def test_segments(xp, posterior):
    scores, _, segments, best, _ = posterior
    top = scores.max(axis=1)
    found = pair_scores.segment_max(xp.asarray(top), xp.asarray(segments))
    assert np.array_equal(host(found), best)
    total = host(pair_scores.segment_sum(xp.asarray(top.astype(float)), xp.asarray(segments)))
    assert total == pytest.approx([top[a:b].sum(dtype=float) for a, b in zip(segments, segments[1:])])


def test_masses_and_counts(xp, posterior):
    scores, image, _, best, least = posterior
    on_device = [xp.asarray(one) for one in (scores, image, best, least)]
    below = scores.astype(float) - best[image][:, None]
    weight = np.where(below >= -12, np.exp(below), 0)
    mass, moment = (host(one) for one in pair_scores.pair_masses(*on_device))
    np.testing.assert_allclose(mass, weight.sum(axis=1), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(moment, (weight * below).sum(axis=1), rtol=1e-5, atol=1e-9)
    histogram = xp.zeros((N, 6), xp.uint64)
    pair_scores.score_counts(*on_device, 6, 2.0, histogram)
    kept = [-below[image == i][below[image == i] >= -12] for i in range(N)]
    assert np.array_equal(host(histogram), [np.bincount((k // 2).astype(int).clip(0, 5), minlength=6) for k in kept])


def test_angles_are_drawn_by_their_mass(xp, posterior):
    scores, image, _, best, least = posterior
    heavy = np.flatnonzero((scores >= least[image][:, None]).sum(axis=1) > 1)
    rows = heavy[[0, 0, 0, 3, -2, -1]].astype(np.int32)
    weight = np.where(scores >= least[image][:, None], np.exp(scores - best[image][:, None]), 0)[rows]
    share = np.array([0.0, 0.5, 0.999, 0.3, 0.7, 2.0])
    wanted = share * weight.sum(axis=1)
    found = host(pair_scores.draw_angles(*map(xp.asarray, (
        scores, rows, image[rows], wanted.astype(np.float32), best, least))))
    assert (weight[np.arange(6), found] > 0).all()
    before = np.array([weight[k, :a].sum() for k, a in enumerate(found)])
    after = before + weight[np.arange(6), found]
    assert (before <= wanted + 1e-6).all() and ((after >= wanted - 1e-6) | (share > 1)).all()
