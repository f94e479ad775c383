"""Importance sampling: unbiased, exact where it must be, and close to the full sum with few poses."""
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from cryosgd_plugin.core.poses import directions_to_vectors
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.grids import make_pose_grid
from cryosgd_plugin.engines.abinitio.importance import (
    SPARE,
    annealing_temperature,
    draw,
    effective_size,
    mixing_proportion,
    sample_size,
)
from cryosgd_plugin.engines.abinitio.pose_memory import MOST_EVERY, SEARCH_EVERY, WATCHED, PoseMemory
from cryosgd_plugin.engines.abinitio.results import ImageResult, PoseMarginals
from cryosgd_plugin.engines.abinitio.selection import Selection
from cryosgd_plugin.engines.abinitio.slices import back_project
from cryosgd_plugin.ops.polar import harmonics
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density, particles

ROWS = np.arange(24)


def test_the_papers_annealing():
    """α and T of paper 1 §3.4.1 at iterations 60, 500, 1,000 and 5,000 of 5,000."""
    assert [mixing_proportion(i / 5000) for i in (60, 500, 5000)] == pytest.approx([2 ** -0.25, 2 ** -2.5, 0.05])
    assert [annealing_temperature(i / 5000) for i in (60, 500, 1000, 5000)] == pytest.approx(
        [2 ** 10, 2.0, 2 ** 0.5, 1.25])
    assert annealing_temperature(0.0) == 2 ** 10  # the formula divides by zero there


@pytest.mark.parametrize("count", [1, 4, 11, 29])
def test_draws_are_unbiased_and_without_doubles(count):
    """The mean of weighted sums over many draws is the sum itself; the points that matter most are certain."""
    rng = np.random.default_rng(count)
    q = 0.02 + rng.random(30) ** 6
    q /= q.sum()
    values = rng.random(30)
    sums, sizes = [], []
    for _ in range(4000):
        indices, log_weights = draw(q, count, rng)
        assert len(set(indices)) == len(indices) and (np.diff(indices) > 0).all()
        assert (log_weights >= -1e-12).all()
        sums.append((values[indices] * np.exp(log_weights)).sum())
        sizes.append(len(indices))
    assert abs(np.mean(sums) - values.sum()) < 4 * np.std(sums) / np.sqrt(len(sums)) + 1e-9
    assert np.mean(sizes) == pytest.approx(count, abs=0.05 * count + 0.1)
    assert max(sizes) - min(sizes) <= 1
    if count > 4:
        assert q.argmax() in draw(q, count, rng)[0]


def test_all_points_are_drawn_as_they_are():
    indices, log_weights = draw(np.full(7, 1 / 7), 7, np.random.default_rng(0))
    np.testing.assert_array_equal(indices, np.arange(7))
    np.testing.assert_array_equal(log_weights, np.zeros(7))
    assert effective_size(np.full(7, 1 / 7)) == pytest.approx(7)


def test_points_are_drawn_for_those_that_differ_among_the_papers_draws():
    """The different ones of s0 / Σ q² with replacement, counted, and SPARE times as many."""
    rng = np.random.default_rng(2)
    for q in (rng.dirichlet(np.full(40, 0.1)), rng.dirichlet(np.ones(300)), np.full(25, 0.04)):
        count = int(np.ceil(10 * effective_size(q)))
        counted = np.mean([len(np.unique(rng.choice(len(q), count, p=q))) for _ in range(400)])
        assert sample_size(q, 10.0) == pytest.approx(min(len(q), SPARE * counted), abs=SPARE * 1.5)
        assert sample_size(q, 10.0) <= len(q)
    assert sample_size(np.array([1.0]), 10.0) == 1


@pytest.fixture(scope="module", params=[1, 2], ids=["one class", "two classes"])
def engine(request):
    """An engine whose particles were all visited three times at a coarser resolution than the one it is at now."""
    source, table = particles(60, noise_sd=0.2, seed=4)
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=20.0, iterations=50, shift_range_a=10.0, held_out=0, oversampling=10.0,
                            classes=request.param)
    engine = AbInitio(config, table, source)
    truth = density() / 0.2 * PIXEL / ((2 * np.pi) ** 0.5 * 11.0)
    other = density() - 0.6 * np.roll(density(), 2, axis=0)
    for resolution in (26.0, 24.0):
        engine.set_resolution(resolution)
        assert engine.model.box_size == BOX
        engine.model.volumes = np.stack([truth, other.astype(np.float32)])[:request.param].astype(np.float32)
        if resolution == 26.0:
            batch = engine.expect(engine.teams(engine.model.volumes), np.arange(60), 1.0)
            for _ in range(3):
                engine.memory.store(np.arange(60), batch.images, engine.finest_grid, progress=0.5)
    return engine


def evaluate(engine, selections=None):
    """(log evidences, gradient) over ROWS; the exact sum over all poses where no selections are given."""
    teams = engine.teams(engine.model.volumes)
    if selections is None:
        selections = [Selection()] * len(ROWS)
    batch = engine.expect(teams, ROWS, 1.0, selections=selections)
    numerator, weight = batch.rings()
    gradient, _ = back_project(numerator - weight * batch.values, weight, batch.grid, np.eye(3)[None],
                               engine.model.radius, rows=batch.sums.rows, classes=engine.config.classes)
    return np.array([image.log_evidence for image in batch.images]), gradient, batch


def test_ten_fold_samples_are_close_to_the_exact_sum(engine):
    """At s0 = 10: mean |Δ log p| ≤ 0.05 nat and gradient cosine ≥ 0.99, with a fraction of the poses."""
    exact, gradient, _ = evaluate(engine)
    selections = [engine.select(row) for row in ROWS]
    assert sum(s is not None for s in selections) > 0.5 * len(ROWS)
    sampled, approximate, batch = evaluate(engine, [s or Selection() for s in selections])
    drawn = [i for i, s in enumerate(selections) if s is not None]
    assert np.abs(sampled - exact)[drawn].mean() <= 0.05
    cosine = np.vdot(gradient, approximate).real / np.linalg.norm(gradient) / np.linalg.norm(approximate)
    assert cosine >= 0.99
    assert np.mean([batch.images[i].evaluated / batch.images[i].n_poses for i in drawn]) < 0.3


def test_samples_are_unbiased_in_p(engine):
    """exp(log p) averages to the exact p over draws far too small to be accurate one by one."""
    exact, _, _ = evaluate(engine)
    before, engine.memory.oversampling = engine.memory.oversampling, 0.5
    ratios = []
    try:
        for draw_number in range(80):
            engine.iteration = 1000 + draw_number
            selections = [engine.select(row) or Selection() for row in ROWS]
            sampled, _, _ = evaluate(engine, selections)
            ratios.append(np.exp(sampled - exact))
    finally:
        engine.memory.oversampling, engine.iteration = before, 0
    ratios = np.array(ratios)
    # each image is a test of its own; together their normalised deviations must look like noise
    spread = ratios.std(axis=0)
    assert np.median(spread) > 1e-3, "these draws were no test"
    tested = spread > 1e-3
    z = ((ratios.mean(axis=0) - 1) / (spread / np.sqrt(len(ratios))))[tested]
    assert np.abs(z.mean()) < 4 / np.sqrt(tested.sum()) + 0.6
    assert np.abs(np.median(ratios.mean(axis=0)) - 1) < 0.05


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_each_drawn_pose_stands_for_others_however_inflated_the_noise_is(engine, temperature):
    """exp(log p / T) is the sum over the drawn poses of what each stands for × its prior × its likelihood^(1/T), taken
    from the scores of all poses. With unbiased draws it is then unbiased at any T."""
    grid, volumes = engine.finest_grid, engine.model.volumes
    level = engine.teams(volumes)[0][-1]
    # so few that of each distribution points stand for others
    before, engine.memory.oversampling = engine.memory.oversampling, 0.5
    try:
        selections = [engine.select(row) for row in ROWS]
    finally:
        engine.memory.oversampling = before
    drawn = [i for i, selection in enumerate(selections) if selection is not None]
    assert len(drawn) > 6
    for name in ("log_rows", "log_angles", "log_shifts"):
        assert max(getattr(selections[i], name).max() for i in drawn) > 0.5
    batch = engine.expect([[level]], ROWS[drawn], temperature, selections=[selections[i] for i in drawn])
    matched = level.matcher.prepare(engine.load(ROWS[drawn]), engine.table, ROWS[drawn], engine.noise.spectrum)
    for number, i in enumerate(drawn):
        s = selections[i]
        likelihood = level.scores(level.bank(), level.image_harmonics(matched.filtered[number]),
                                  harmonics(matched.ctf_power[number]).T.copy(), Selection()) - grid.log_shift_weights
        steps = (s.angles + s.turns[:, None]) % grid.polar.n_angles
        terms = (likelihood[steps, s.rows[:, None]][:, :, s.shifts] / temperature + grid.log_shift_weights[s.shifts]
                 + s.log_rows[:, None, None] + s.log_angles[:, None] + s.log_shifts)
        expected = temperature * (logsumexp(terms) - np.log(level.n_rows * grid.polar.n_angles))
        assert batch.images[number].log_evidence == pytest.approx(expected, abs=2e-3)
        row, angle, shift = np.unravel_index(terms.argmax(), terms.shape)
        np.testing.assert_allclose(batch.images[number].rotation,
                                   grid.rotation(s.rows[row] % grid.n_directions, steps[row, angle]), atol=1e-6)
        np.testing.assert_array_equal(batch.images[number].shift_a, grid.shifts_a[s.shifts[shift]])
        structure = np.exp(logsumexp(terms, axis=(1, 2)) - logsumexp(terms))
        np.testing.assert_allclose(batch.images[number].class_mass,
                                   np.bincount(s.rows // grid.n_directions, structure, level.classes), atol=1e-3)


def test_memory_survives_its_state(engine):
    copy = fresh_memory(engine)
    copy.restore({name: np.array(value) for name, value in engine.memory.state().items()})
    for row in ROWS[:5]:
        a, b = (memory.select(row, engine.finest_grid, np.random.default_rng(3), limit=1e9)
                for memory in (engine.memory, copy))
        for name in ("rows", "angles", "shifts", "turns", "log_rows", "log_angles", "log_shifts"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(engine.memory.watched, copy.watched)
    np.testing.assert_array_equal(engine.memory.watch, copy.watch)
    assert len(copy.watched) == 60


def visited(engine, volumes):
    """The BatchResult of all 60 particles at the engine's resolution."""
    return engine.expect(engine.teams(volumes), np.arange(60), 1.0)


def fresh_memory(engine):
    return PoseMemory(60, engine.config.classes, engine.memory.oversampling)


def test_only_what_was_found_twice_in_its_place_is_sampled(engine):
    """One visit foretells nothing, two agreeing ones not how far such agreement is to be trusted; a map that is turned
    moves every posterior, and then all are searched again."""
    memory, volumes, grid = fresh_memory(engine), engine.model.volumes, engine.finest_grid
    batch = visited(engine, volumes)
    foreseen = []
    for _ in range(3):
        memory.store(np.arange(60), batch.images, grid, 0.5)
        foreseen.append(np.mean([memory.foresees(row) for row in range(60)]))
    assert foreseen[:2] == [0, 0] and foreseen[2] > 0.5
    turned = np.ascontiguousarray(np.rot90(volumes, axes=(1, 3)))
    memory.store(np.arange(60), visited(engine, turned).images, grid, 0.5)
    assert not any(memory.foresees(row) for row in range(60))
    # turned about the beam, a view keeps its direction: only the in-plane angles tell
    for image in batch.images:
        image.rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ image.rotation
    memory = fresh_memory(engine)
    for _ in range(3):
        memory.store(np.arange(60), batch.images, grid, 0.5)
    assert any(memory.foresees(row) for row in range(60))
    memory.store(np.arange(60), visited(engine, volumes).images, grid, 0.5)
    assert not any(memory.foresees(row) for row in range(60))


def test_the_divergence_between_visits_counts_diffuse_posteriors_too(engine):
    """Nothing at a first visit; next to nothing where nothing has changed; much after a turn; of every particle."""
    memory, volumes, grid = fresh_memory(engine), engine.model.volumes, engine.finest_grid
    sharp = visited(engine, volumes).images
    # of strongly inflated noise: no 32 points hold what the memory asks of a sample
    diffuse = engine.expect(engine.teams(volumes), np.arange(60), 200.0).images
    assert np.isnan(memory.store(np.arange(60), diffuse, grid, 0.0))
    assert (memory.slot < 0).any(), "these were no diffuse posteriors"
    assert 0 <= memory.store(np.arange(60), diffuse, grid, 0.0) < 0.02
    assert memory.store(np.arange(60), sharp, grid, 0.5) > 0.3
    assert memory.store(np.arange(60), sharp, grid, 0.5) < 0.02
    turned = np.ascontiguousarray(np.rot90(volumes, axes=(1, 3)))
    assert memory.store(np.arange(60), visited(engine, turned).images, grid, 0.5) > 1


# a mean distribution of views is kept on 768 cells, of which 1 % of what was foreseen is spread evenly
CELLS, EVEN = 768, 0.01


def grid_of(nside):
    """A grid of all 12 nside² nested directions; they and the cells are each other's HEALPix parents."""
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=20.0, shift_range_a=10.0)
    grid = make_pose_grid({4: 20.0, 8: 10.0, 16: 5.0}[nside], config, symmetry="C1")
    assert grid.nside == nside and grid.n_directions == 12 * nside ** 2
    return grid


def seen_from(rows, mass):
    """The ImageResult of an image whose posterior has the given mass on some rows of a grid."""
    one = np.ones(1)
    return ImageResult(0.0, 1.0, 1, 1, one, 0, np.eye(3), np.zeros(2), 1.0, PoseMarginals(
        np.array(rows), np.array(mass), np.zeros((1, 2)), one, np.zeros(1), one))


def test_the_divergence_is_kullback_and_leiblers():
    """Σ p log p/q over the cells, q 99 % the visit before and 1 % even; the mean over the particles, nats. Masses that
    do not sum to one stand for those that do."""
    memory, grid = PoseMemory(10, 1, 10.0), grid_of(8)
    memory.store([3, 5], [seen_from([10, 20], [0.4, 0.4]), seen_from([7], [1.0])], grid, 0.5)
    found = memory.store([3, 5], [seen_from([20, 500], [0.25, 0.75]), seen_from([7], [1.0])], grid, 0.5)
    moved = 0.25 * np.log(0.25 / (0.99 * 0.5 + EVEN / CELLS)) + 0.75 * np.log(0.75 / (EVEN / CELLS))
    assert found == pytest.approx((moved - np.log(0.99 + EVEN / CELLS)) / 2, rel=1e-5)
    # not the other way round, and against the last visit, not the first
    found = memory.store([3], [seen_from([20], [1.0])], grid, 0.5)
    assert found == pytest.approx(-np.log(0.99 * 0.25 + EVEN / CELLS), rel=1e-5)


def test_the_same_view_of_another_structure_is_another():
    memory, grid = PoseMemory(1, 2, 10.0), grid_of(8)
    memory.store([0], [seen_from([10, CELLS + 10], [0.9, 0.1])], grid, 0.5)
    found = memory.store([0], [seen_from([CELLS + 10], [1.0])], grid, 0.5)
    assert found == pytest.approx(-np.log(0.99 * 0.1 + EVEN / (2 * CELLS)), rel=1e-5)


def test_divergences_are_of_the_cells_whatever_the_grid():
    """A direction of a coarse grid is spread over its four cells, the four of a fine one that share a cell are one."""
    memory, coarse, fine = PoseMemory(1, 1, 10.0), grid_of(4), grid_of(16)
    memory.store([0], [seen_from([30, 31], [0.8, 0.2])], coarse, 0.1)
    of_cells = 0.99 * np.array([0.8, 0.2]) / 4 + EVEN / CELLS
    found = memory.store([0], [seen_from([30, 31], [0.5, 0.5])], coarse, 0.2)
    assert found == pytest.approx((0.5 * np.log(0.125 / of_cells)).sum(), rel=1e-5)
    # cell 121 is the second of coarse direction 30's, and has fine directions 484 to 487
    found = memory.store([0], [seen_from([484, 487], [0.5, 0.5])], fine, 0.3)
    assert found == pytest.approx(-np.log(0.99 * 0.125 + EVEN / CELLS), rel=1e-5)
    found = memory.store([0], [seen_from([485], [1.0])], fine, 0.4)
    assert found == pytest.approx(-np.log(0.99 + EVEN / CELLS), rel=1e-4)


def test_a_coarse_direction_keeps_its_mass_however_many_cells_it_stands_for():
    """Two views of a spiral, one with the most of the cells nearest to it, one with the fewest."""
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=20.0, shift_range_a=10.0, quadrature="saff-kuijlaars")
    memory, grid = PoseMemory(1, 1, 10.0), make_pose_grid(60.0, config, symmetry="C1")
    closeness = directions_to_vectors(memory.average_directions) @ directions_to_vectors(grid.directions).T
    share = np.bincount(closeness.argmax(axis=1), minlength=grid.n_directions)
    views = np.array([share.argmax(), share.argmin()])
    assert grid.n_directions == 126 and share[views[0]] > 1.5 * share[views[1]] > 0
    memory.store([0], [seen_from(views, [0.8, 0.2])], grid, 0.5)
    found = memory.store([0], [seen_from(views, [0.5, 0.5])], grid, 0.5)
    p, before = (np.array(mass) / share[views] for mass in ([0.5, 0.5], [0.8, 0.2]))
    assert found == pytest.approx((0.5 * np.log(p / (0.99 * before + EVEN / CELLS))).sum(), rel=1e-4)


def test_of_many_particles_some_are_watched(engine):
    """The first to be visited, wherever they stand; the visits of the others leave no divergence."""
    memory, images = PoseMemory(2 * WATCHED, engine.config.classes, 10.0), visited(engine, engine.model.volumes).images
    memory.store(2 * np.arange(WATCHED), (images * WATCHED)[:WATCHED], engine.finest_grid, 0.5)
    assert len(memory.watched) == WATCHED
    for _ in range(2):
        assert np.isnan(memory.store([1, 3], images[:2], engine.finest_grid, 0.5))
    assert memory.store([0, 1, 20], [images[0], images[5], images[10]], engine.finest_grid, 0.5) < 0.02


def visits(memory, engine, batches):
    """(60, visits) bool: of each particle, which visits sample it; each leaves the BatchResult given."""
    sampled = []
    for batch in batches:
        sampled.append([memory.foresees(row) for row in range(60)])
        memory.store(np.arange(60), batch.images, engine.finest_grid, 0.5, sampled[-1])
    return np.array(sampled).T


def test_searches_become_rarer_while_they_find_nothing_new(engine):
    """Of four visits one, then of eight, and so on to MOST_EVERY; of four again where another pose is found."""
    memory, batch = fresh_memory(engine), visited(engine, engine.model.volumes)
    for _ in range(3):
        memory.store(np.arange(60), batch.images, engine.finest_grid, 0.5)
    sampled = visits(memory, engine, [batch] * (4 + 8 + 16))
    known = sampled[:, 0]
    assert known.mean() > 0.5
    expected = np.ones(28, bool)
    expected[[3, 11, 27]] = False
    assert (sampled[known] == expected).all()
    visits(memory, engine, [batch] * 150)
    assert (memory.kept["every"][memory.slot[known]] == MOST_EVERY).all()
    turned = visited(engine, np.ascontiguousarray(np.rot90(engine.model.volumes, axes=(1, 3))))
    visits(memory, engine, [turned])
    assert (memory.kept["every"][memory.slot[known]] == SEARCH_EVERY).all()


def test_a_checkpoint_of_before_searches_became_rarer_goes_on(engine):
    state = {name: value for name, value in engine.memory.state().items() if name != "kept_every"}
    memory = fresh_memory(engine)
    memory.restore(state)
    assert [memory.foresees(row) for row in range(60)] == [engine.memory.foresees(row) for row in range(60)]


def test_diffuse_posteriors_are_searched_again():
    source, table = particles(20, noise_sd=20.0, seed=5)
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=24.0, iterations=10, minibatch=(20, 20), shift_range_a=10.0, held_out=0)
    engine = AbInitio(config, table, source)
    for _, _ in zip(engine.steps(), range(2)):
        pass
    assert all(engine.select(row) is None for row in range(20))


def test_imposing_a_symmetry_forgets_the_poses_of_the_maps_before():
    """The maps are turned onto the group's axes: a pose of before is of another frame."""
    source, table = particles(60, noise_sd=0.2, seed=4)
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=30.0, iterations=12, shift_range_a=10.0, held_out=0, symmetry="C2",
                            symmetry_start=0.5, minibatch=(20, 20))
    engine = AbInitio(config, table, source)
    for record in engine.steps():
        if record["symmetry"] == "C2":
            break
        # as if all were known of each particle, to be trusted, and all were seen from one side
        memory = engine.memory
        memory.trust, memory.trials, memory.slot[:] = 1.0, 200, 0
        memory.used, memory.kept = 1, {name: np.zeros((1,) + a.shape[1:], a.dtype) for name, a in memory.kept.items()}
        memory.average[:] = np.eye(1, memory.average.shape[1])
    assert record["iteration"] > 1
    assert memory.trust == 0 and (memory.slot >= 0).sum() <= 20 and memory.average.max() < 0.1


# ---- the distributions that are drawn from
def remembering(grid, progress, rows, angles, shifts):
    """A PoseMemory whose only particle was seen at some {row: mass}, {angle in degrees: mass}, {number of a shift:
    mass}; the data set's average is twice as high on one half of the sphere."""
    memory = PoseMemory(1, 1, 10.0)
    memory._new_slot(0)
    of = {name: array[0] for name, array in memory.kept.items()}
    vectors = directions_to_vectors(grid.directions)
    for name, values, mass in (("vectors", vectors[list(rows)], rows), ("angles", list(angles), angles),
                               ("shifts", grid.shifts_a[list(shifts)], shifts)):
        of[name][:len(mass)] = values
        of[{"vectors": "row_mass", "angles": "angle_mass", "shifts": "shift_mass"}[name]][:len(mass)] = list(
            mass.values())
    of["spacing"][:] = grid.spacing_deg, 360 / grid.polar.n_angles, grid.shift_step_a
    memory.kept["progress"][0] = progress
    above = directions_to_vectors(memory.average_directions)[:, 2] > 0
    memory.average = (1.0 + above)[None] / (1.0 + above).sum()
    return memory


@pytest.mark.parametrize("progress, alpha, temperature", [(0.025, 2 ** -0.5, 32.0), (0.105, 2 ** -2.5, 2.0),
                                                          (0.9, 0.05, 1.25)])
def test_distributions_are_those_of_equations_20_to_23(progress, alpha, temperature):
    """Annealed masses under von Mises-Fisher, von Mises and Gaussian kernels, above a floor that is half even and half
    the data set's average."""
    config = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0,
                            final_resolution_a=20.0, iterations=50, shift_range_a=20.0)
    grid = make_pose_grid(24.0, config, symmetry="C1")
    rows, angles, shifts = {10: 0.7, grid.n_directions - 5: 0.3}, {30.0: 0.9, 200.0: 0.1}, {0: 0.6, 7: 0.4}
    memory = remembering(grid, progress, rows, angles, shifts)
    found = memory.distributions(0, grid)

    def expected(kernel, masses, floor):
        own = kernel @ np.array(masses) ** (1 / temperature)
        return (1 - alpha) * own / own.sum() + alpha * (0.5 * floor / floor.sum() + 0.5 / len(floor))

    vectors = directions_to_vectors(grid.directions)
    # a quarter of the top at one spacing of the directions, half of it at one of the angles
    kappa = np.log(4) / (1 - np.cos(np.radians(grid.spacing_deg)))
    kernel = np.exp(kappa * (vectors @ vectors[list(rows)].T - 1))
    of_cells = cKDTree(directions_to_vectors(memory.average_directions)).query(vectors)[1]
    average = memory.average[0][of_cells] / np.bincount(of_cells, minlength=memory.average.shape[1])[of_cells]
    np.testing.assert_allclose(found[0], expected(kernel, list(rows.values()), average), atol=2e-5)
    steps = 2 * np.pi * np.arange(grid.polar.n_angles) / grid.polar.n_angles
    kappa = np.log(2) / (1 - np.cos(2 * np.pi / grid.polar.n_angles))
    kernel = np.exp(kappa * (np.cos(steps[:, None] - np.radians(list(angles))) - 1))
    np.testing.assert_allclose(found[1], expected(kernel, list(angles.values()), np.ones(len(steps))), atol=2e-5)
    apart = ((grid.shifts_a[:, None] - grid.shifts_a[list(shifts)]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / (2 * grid.shift_step_a ** 2))
    np.testing.assert_allclose(found[2], expected(kernel, list(shifts.values()), np.exp(grid.log_shift_weights)),
                               atol=2e-5)
    assert all(q.sum() == pytest.approx(1) for q in found)
