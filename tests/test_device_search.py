"""The search of a GPU, without one: the same poses as the CPU's, from arrays that CuPy's stand-in holds."""
import numpy as np
import pytest

from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.abinitio.levels import Level, LevelBuilder
from cryosgd_plugin.engines.abinitio.matched import ImageMatcher
from cryosgd_plugin.engines.refine import device_search
from cryosgd_plugin.engines.refine import search as search_module
from cryosgd_plugin.engines.refine.certificate import certify
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.device_search import DeviceLocalSearch, DeviceSearch
from cryosgd_plugin.engines.refine.local import LocalSearch
from cryosgd_plugin.engines.refine.modes import modes_of_block
from cryosgd_plugin.engines.refine.search import BoundedSearch
from cryosgd_plugin.tests import host_cuda
from cryosgd_plugin.tests.abinitio_samples import BLOBS, BOX, PIXEL, WIDTH, density, particles
from cryosgd_plugin.tests.test_asymmetry import RING
from cryosgd_plugin.tests.test_bounded_search import COARSE, sample
from cryosgd_plugin.tests.test_bounds import two_levels
from cryosgd_plugin.tests.test_expectation import noise

N = 5


@pytest.fixture
def xp(monkeypatch):
    return host_cuda.install(monkeypatch)


@pytest.fixture
def everything_held(monkeypatch):
    """The CPU's search holds the best of a broad posterior only, a GPU's adds all of it up."""
    monkeypatch.setattr(search_module, "MAX_HELD", 10 ** 8)


def on_device(levels, xp):
    """The same levels with their maps and matchers on the GPU."""
    return [Level(level.grid, [xp.asarray(half) for half in level.halves], ImageMatcher(
        level.grid.polar, box_size=BOX, pixel_size=PIXEL, window_radius_a=67.0, xp=xp)) for level in levels]


def searches(levels, xp, **options):
    """(the CPU's, the GPU's) bounded search of the levels."""
    shrinkage = np.ones((len(levels[-1].halves), levels[-1].grid.polar.radius + 1))
    return [kind(where, shrinkage=shrinkage, rng=np.random.default_rng(0), **options) for kind, where in (
        (BoundedSearch, levels), (DeviceSearch, on_device(levels, xp)))]


def found_by(pair, images, table):
    return [one.run(images[:N], table, np.arange(N), noise()) for one in pair]


def equal(found, expected):
    """Two searches of one image agree, but for the order of equals and for poses at the rim of what is listed."""
    assert found.scores[0] == pytest.approx(expected.scores[0], abs=1e-3)
    assert found.log_evidence == pytest.approx(expected.log_evidence, abs=1e-3)
    assert found.entropy == pytest.approx(expected.entropy, abs=2e-3)
    assert found.incumbent == pytest.approx(expected.incumbent, abs=1e-3)
    assert np.all(np.diff(found.scores) <= 0) and found.scored == pytest.approx(expected.scored, rel=0.01)
    assert found.pruned == pytest.approx(expected.pruned, abs=1e-3) and found.capped == expected.capped
    assert found.cut == pytest.approx(expected.cut, abs=1e-3)
    ours, theirs = ({tuple(pose): score for *pose, score in zip(
        one.rows.tolist(), one.shifts.tolist(), one.angles.tolist(), one.scores.tolist())} for one in (found, expected))
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 0.98 * max(len(ours), len(theirs))
    assert max(abs(ours[pose] - theirs[pose]) for pose in shared) < 1e-3
    rim = max(expected.scores[0] - search_module.FORGOTTEN, min(theirs.values()))
    assert all({**ours, **theirs}[pose] < rim + 0.02 for pose in ours.keys() ^ theirs.keys())


@pytest.mark.parametrize("noise_sd", [0.1, 0.4, 1.5])
def test_the_same_poses_as_on_the_cpu(xp, noise_sd, everything_held):
    levels, images, table = sample(noise_sd)
    for ours, theirs in zip(*found_by(searches(levels, xp)[::-1], images, table)):
        equal(ours, theirs)


def test_little_memory_changes_nothing(xp, monkeypatch):
    """Pieces of a few pairs, slices made for each, images a few at a time."""
    levels, images, table = sample(0.4)
    usual = found_by(searches(levels, xp)[1:], images, table)[0]
    memory = 4e6
    monkeypatch.setattr(device_search, "gpu_memory", lambda xp: memory)
    monkeypatch.setattr(device_search, "MOST_PAIRS", 3e4)
    _, small = searches(levels, xp)
    pieces = []
    bank_of = small._bank_of
    monkeypatch.setattr(small, "_bank_of", lambda depth, part: pieces.append(len(part)) or bank_of(depth, part))
    for ours, theirs in zip(small.run(images[:N], table, np.arange(N), noise()), usual):
        equal(ours, theirs)
    assert len(pieces) > 20 and small._whole_bank(1) is None


def test_slices_are_kept_and_forgotten(xp):
    levels, images, table = sample(0.4)
    _, search = searches(levels, xp)
    room = search._bank_room
    search.run(images[:2], table, np.arange(2), noise())
    assert search._whole_bank(0) is search._whole_bank(0) and search._bank_room < room
    search.forget_slices()
    assert search._bank_room == room


def test_limits_are_kept_to(xp, monkeypatch, everything_held):
    levels, images, table = sample(1.5)
    for ours, theirs in zip(*found_by(searches(levels, xp, most_children=60)[::-1], images, table)):
        equal(ours, theirs)
        assert ours.capped
    monkeypatch.setattr(device_search, "MAX_POSES", 10)
    for one in found_by(searches(levels, xp)[1:], images, table)[0]:
        assert len(one.scores) == 10 and one.weights.sum() < 0.5


def test_an_exhaustive_search_and_its_certificate(xp, everything_held):
    levels, images, table = sample(0.4)
    on_both = []
    for bounded, exhaustive in zip(searches(levels, xp), searches(levels, xp, exhaustive=True)):
        on_both.append(certify(bounded, exhaustive, images[:N], table, np.arange(N), noise(), point_group("C1")))
    theirs, ours = on_both
    assert np.array_equal(ours.same, theirs.same) and np.array_equal(ours.above_bound, theirs.above_bound)
    np.testing.assert_allclose(ours.lost, theirs.lost, atol=2e-3)
    np.testing.assert_allclose(ours.covered, theirs.covered, atol=1e-3)


def test_bounds_of_cells_equal_the_cpus(xp):
    levels, images, table = sample(0.1)
    poses = np.random.default_rng(1).integers(levels[-1].n_rows * len(levels[-1].grid.shifts_a), size=N)
    theirs, ours = (one.ceilings(images[:N], table, np.arange(N), noise(), poses) for one in searches(levels, xp))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_poses_are_drawn_by_their_posterior(xp, everything_held):
    """Shifts drawn have the mean that they have on the CPU, where the poses come in another order."""
    levels, images, table = sample(1.5)
    ours, theirs = found_by(searches(levels, xp)[::-1], images, table)
    grid, gaps = levels[-1].grid, []
    for one, other in zip(ours, theirs):
        assert one.drawn.shape == (search_module.DRAWN, 3)
        assert (one.drawn >= 0).all() and (one.drawn < [grid.n_directions, len(grid.shifts_a),
                                                         grid.polar.n_angles]).all()
        # of a broad posterior hardly two are alike
        assert len(np.unique(one.drawn, axis=0)) > 0.5 * search_module.DRAWN
        mean, expected = (grid.shifts_a[found.drawn[:, 1]].mean(axis=0) for found in (one, other))
        gaps.append(mean - expected)
    # shifts lie 4.6 Å about their mean here, and two means of DRAWN independent ones so far apart
    gaps, expected = np.array(gaps), 4.6 * np.sqrt(2 / search_module.DRAWN)
    assert np.sqrt((gaps ** 2).mean()) < 1.5 * expected
    assert np.abs(gaps.mean(axis=0)).max() < 4 * expected / np.sqrt(len(gaps))


def test_several_structures_and_levels_that_only_cut_shifts(xp):
    config = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, symmetry="C4", initial_resolution_a=40.0,
                          shift_range_a=20.0, classes=2)
    source, table = particles(N, noise_sd=0.3, seed=5, blobs=RING)
    images = source.images(np.arange(N), BOX)
    scale = 1 / 0.3 * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH)
    pair = []
    for module, kind in ((np, BoundedSearch), (xp, DeviceSearch)):
        builder = LevelBuilder(config, module, (None,))
        builder.prepare(10, "C4")
        levels = builder.teams([module.asarray(density(blobs) * np.float32(scale)) for blobs in (BLOBS, RING)])[0]
        pair.append(kind(levels, shrinkage=np.ones((2, 11)), rng=np.random.default_rng(0)))
    theirs, ours = found_by(pair, images, table)
    for one, other in zip(ours, theirs):
        equal(one, other)
        assert one.rows[0] // pair[0].levels[-1].grid.n_directions == 1


@pytest.mark.parametrize("symmetry", ["C1", "C4"])
def test_a_local_search_equals_the_cpus(xp, symmetry):
    levels, images, table = sample(0.1)
    pair = [kind(where, table.rotations, table.shifts_a, point_group(symmetry), angle_deg=25.0, shift_a=9.0,
                 rng=np.random.default_rng(0)) for kind, where in (
                     (DeviceLocalSearch, on_device(levels, xp)), (LocalSearch, levels))]
    for ours, theirs in zip(*found_by(pair, images, table)):
        equal(ours, theirs)
    assert np.array_equal(pair[0].allowed(np.arange(N))(np.arange(N), table.rotations[:N], table.shifts_a[:N]),
                          np.ones(N, bool))


def test_other_grids_are_refused(xp):
    levels, _, _ = sample(0.4)
    levels = on_device(two_levels(density(), *COARSE), xp)
    levels[1].grid.parents[:] = levels[1].grid.parents[::-1].copy()
    with pytest.raises(ValueError, match="must follow each other"):
        DeviceSearch(levels, shrinkage=np.ones((1, levels[-1].grid.polar.radius + 1)), rng=np.random.default_rng(0))


@pytest.mark.parametrize("noise_sd, symmetry", [(0.1, "C1"), (0.4, "C4"), (1.5, "C1")])
def test_modes_of_a_block_are_those_of_its_images(xp, noise_sd, symmetry):
    levels, images, table = sample(noise_sd)
    operators = point_group(symmetry)
    search, on_gpu = searches(levels, xp)
    found = search.run(images, table, np.arange(len(images)), noise())
    expected = search.modes(found, operators)
    for modes in (on_gpu.modes(found, operators), modes_of_block(found, levels[-1].grid, operators, np)):
        assert [heads.tolist() for heads, _ in modes] == [heads.tolist() for heads, _ in expected]
        assert [mass for _, mass in modes] == pytest.approx([mass for _, mass in expected], abs=1e-5)
    assert noise_sd == 0.1 or max(len(heads) for heads, _ in expected) > 1
