"""The ab initio engine on a small set whose truth is known."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred
from cryosgd_plugin.core.shells import fsc, shell_index_3d
from cryosgd_plugin.engines.abinitio import finish
from cryosgd_plugin.engines.abinitio.config import BASELINES, OPTIMISERS, AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.finish import Assignment, draw_halves
from cryosgd_plugin.engines.abinitio.grids import FULL_SUM_NSIDE, make_levels, needed_nside
from cryosgd_plugin.engines.abinitio.memory import plan_lanes
from cryosgd_plugin.engines.abinitio.model import SHELL_FLOOR, Model, floored
from cryosgd_plugin.engines.abinitio.objective import Minibatch
from cryosgd_plugin.engines.abinitio.schedule import Progress, adapt_inflation, minibatch_at, resolution_at
from cryosgd_plugin.engines.abinitio.step_rule import make_step_rule
from cryosgd_plugin.engines.align import align_volume
from cryosgd_plugin.ops.slicing import half_volume_radius
from cryosgd_plugin.tests.abinitio_samples import BLOBS, BOX, PIXEL, Source, density, joined, particles

SETTINGS = dict(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=60.0, final_resolution_a=22.0,
                iterations=60, minibatch=(30, 60), shift_range_a=10.0)

NOISE = 0.25


@pytest.fixture(scope="module")
def sample():
    return particles(400, noise_sd=NOISE, seed=1)


def test_random_start_reaches_the_truth(sample):
    source, table = sample
    engine = AbInitio(AbInitioConfig(**SETTINGS, seed=2, held_out=0), table, source, threads=2)
    records = list(engine.steps())
    assert [r["iteration"] for r in records] == list(range(1, 61))
    assert records[0]["resolution_a"] > records[-1]["resolution_a"]
    assert records[0]["noise_inflation"] == 30 and {r["noise_inflation"] for r in records[-6:]} == {1.0}
    assignment = Assignment(engine, halves=draw_halves(400, None, np.random.default_rng(0)))
    assert [done for done, _ in assignment.chunks()] == [400]
    (result,) = assignment.reconstruct()
    truth = density()
    alignment = align_volume(result.volume, truth, radius=8)
    curve = fsc(alignment.apply(result.volume), truth)
    assert curve[1:6].min() > 0.8, curve
    assert result.fsc[1:6].min() > 0.5
    # the volume is in the particles' own units: density per voxel, images divided by the noise
    scale = PIXEL / ((2 * np.pi) ** 0.5 * 11.0) / NOISE
    ratio = np.vdot(alignment.apply(result.volume), truth) / np.vdot(truth, truth) / scale
    assert 0.7 < ratio < 1.3


def test_halves_hold_nothing_beyond_the_resolution_in_use(sample):
    """The minibatch map, from which both set out, does: non-negativity puts it there."""
    source, table = sample
    engine = AbInitio(AbInitioConfig(**{**SETTINGS, "iterations": 30}, seed=2), table, source, threads=2)
    for _ in engine.steps():
        pass
    assignment = Assignment(engine, halves=draw_halves(400, None, np.random.default_rng(0)))
    for _ in assignment.chunks():
        pass
    (result,) = assignment.reconstruct()
    # two shells of room: the particle's sphere is cut out after the shells
    beyond = shell_index_3d(BOX) > result.radius + 2

    def share(volume):
        power = np.abs(fft3_centred(volume)) ** 2
        return power[beyond].sum() / power.sum()

    assert share(engine.densities()[0]) > 2e-3
    for volume in (result.volume, result.half1, result.half2):
        assert share(volume) < 1e-3


def test_no_step_is_divided_by_next_to_nothing():
    radius = 6
    distance = half_volume_radius(radius)
    weight = np.where(distance <= radius, 1e-6 + distance ** 2, 0).astype(np.float32)
    bounded = floored(weight, weight, radius, outer=True)
    assert (bounded >= weight).all()
    outer = np.mean(weight[(np.rint(distance) == radius)])
    assert bounded.min() >= 0.99 * SHELL_FLOOR * outer
    # a direction with the shell's typical weight is left alone
    usual = (distance > radius - 1) & (distance <= radius)
    np.testing.assert_array_equal(bounded[usual], weight[usual])
    # once all images are summed, outer shells may have little weight and still be solved for
    falling = np.where(distance <= radius, 1 / (1 + distance ** 2), 0).astype(np.float32)
    np.testing.assert_array_equal(floored(falling, falling, radius, outer=False)[usual], falling[usual])
    assert (floored(falling, falling, radius, outer=True)[usual] > falling[usual]).all()


def test_a_class_of_few_images_slows_down():
    """With a hundredth of the other's weight it is divided by a fifth of the mean of both."""
    model = Model(np.zeros((2, BOX, BOX, BOX), np.float32), extent_a=BOX * PIXEL, diameter_a=120.0)
    model.set_radius(6, BOX)
    weight = np.where(half_volume_radius(6) <= 6, 3.0, 0.0).astype(np.float32)
    model.accumulate(np.stack([weight, 0.01 * weight]), 50)
    same = density()
    first, second = model.precondition(np.stack([same, same]))
    np.testing.assert_allclose(second, first / (0.2 * 1.01 / 2), rtol=1e-3, atol=1e-4 * np.abs(second).max())


@pytest.mark.parametrize("change", [
    dict(), dict(classes=2), dict(optimiser="sagd", sagd_minibatch=60), dict(optimiser="olbfgs"),
    dict(optimiser="hessian-free"), dict(optimiser="tonga"), dict(prior="exponential"), dict(march="need"),
    dict(symmetry="C2", symmetry_start=0.3)], ids=str)
def test_restored_state_goes_on_bit_for_bit(sample, change):
    source, table = sample
    config = AbInitioConfig(**{**SETTINGS, "iterations": 16, "minibatch": (30, 40), "early_stop": False, **change})
    straight = AbInitio(config, table, source)
    for record in straight.steps():
        if record["iteration"] == 9:
            state = {name: np.array(value) for name, value in straight.state().items()}
    resumed = AbInitio(config, table, source)
    resumed.restore(state)
    assert [r["iteration"] for r in resumed.steps()] == list(range(10, straight.iteration + 1))
    np.testing.assert_array_equal(resumed.model.volumes, straight.model.volumes)
    np.testing.assert_array_equal(resumed.noise.spectrum, straight.noise.spectrum)
    np.testing.assert_array_equal(resumed.memory.average, straight.memory.average)


def test_restored_pass_goes_on_bit_for_bit(sample, monkeypatch):
    source, table = sample
    monkeypatch.setattr(finish, "CHUNK", 150)
    config = AbInitioConfig(**{**SETTINGS, "iterations": 10})
    results = []
    for interrupted in (False, True):
        engine = AbInitio(config, table, source)
        for _ in engine.steps():
            pass
        halves = draw_halves(400, None, np.random.default_rng(0))
        assignment = Assignment(engine, halves=halves)
        if interrupted:
            next(assignment.chunks())
            state = {name: np.array(value) for name, value in assignment.state().items()}
            engine_state = {name: np.array(value) for name, value in engine.state().items()}
            engine = AbInitio(config, table, source)
            engine.restore(engine_state)
            assignment = Assignment(engine, halves=halves)
            assignment.restore(state)
            assert assignment.done == 150
        for _ in assignment.chunks():
            pass
        results += assignment.reconstruct()
    np.testing.assert_array_equal(results[0].volume, results[1].volume)
    np.testing.assert_array_equal(results[0].half1, results[1].half1)


def test_seeds_differ_and_repeat(sample):
    source, table = sample
    maps = []
    for seed in (0, 0, 1):
        engine = AbInitio(AbInitioConfig(**{**SETTINGS, "iterations": 10}, seed=seed), table, source)
        for _ in engine.steps():
            pass
        maps.append(engine.densities()[0])
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.corrcoef(maps[0].ravel(), maps[2].ravel())[0, 1] < 0.999


def test_max_particles_restricts_the_rows(sample):
    source, table = sample
    engine = AbInitio(AbInitioConfig(**SETTINGS, max_particles=50), table, source)
    assert len(engine.assigned_rows) == 50 and len(engine.held_out.rows) == 0
    engine = AbInitio(AbInitioConfig(**SETTINGS, max_particles=50, march="need"), table, source)
    assert len(engine.assigned_rows) == 50 and len(engine.held_out.rows) == 5
    assert set(engine.rows) == set(engine.assigned_rows) - set(engine.held_out.rows)
    for _, _ in zip(engine.steps(), range(3)):
        assert set(engine.queue) <= set(engine.rows)


def test_schedule():
    config = AbInitioConfig(**SETTINGS)
    resolutions = [resolution_at(i / (config.iterations - 1), config) for i in range(config.iterations)]
    assert resolutions[0] == pytest.approx(60) and resolutions[-1] == pytest.approx(22)
    assert all(a >= b for a, b in zip(resolutions, resolutions[1:]))
    assert adapt_inflation(5.0, share=1e-6, target=1e-2) > 5.0
    assert adapt_inflation(5.0, share=0.5, target=1e-2) < 5.0
    assert adapt_inflation(1.0, share=0.5, target=1e-2) == 1.0


def test_the_papers_march():
    """ω = min(0.11, 0.02 + 0.005 ⌊τ / 150⌋) 1/Å over τ = 0 … 4999, from 50 to 9.09 Å."""
    usual = dict(pixel_size=2.8, box_size=128, diameter_a=200.0, initial_resolution_a=50.0, iterations=5000,
                 march="paper")
    config = AbInitioConfig(**usual, final_resolution_a=1 / 0.11)
    tau = np.arange(1, 5000, 37)
    found = [1 / resolution_at(t / 5000, config) for t in tau]
    assert found == pytest.approx(np.minimum(0.11, 0.02 + 0.005 * (tau // 150)))
    # far beyond what so many of its steps reach: they hurry, and the final resolution still has its rest
    fine = AbInitioConfig(**{**usual, "pixel_size": 1.0, "box_size": 256}, final_resolution_a=3.0)
    assert resolution_at(0.85, fine) == pytest.approx(3.0) and resolution_at(0.83, fine) > 3.0
    assert AbInitioConfig(**{**usual, "iterations": 50}, final_resolution_a=20.0, held_out=0).march == "paper"


@pytest.mark.parametrize("start, stopped_at, imposed", [(1.0, None, 9), (0.95, 7, 7), (0.5, None, 5)])
def test_symmetry_is_imposed_before_the_last_pass_at_the_latest(sample, start, stopped_at, imposed):
    source, table = sample
    config = AbInitioConfig(**{**SETTINGS, "iterations": 10, "final_resolution_a": 40.0}, seed=2, symmetry="C2",
                            symmetry_start=start, max_particles=100)
    engine = AbInitio(config, table, source, threads=2)
    for record in engine.steps():
        if record["iteration"] == stopped_at:
            engine.stopped = "the held-out particles were explained no better"
    assert (engine.symmetriser.current == "C2") == (stopped_at is None)
    state = {name: np.asarray(value) for name, value in engine.state().items()}
    engine.end_steps()
    assert engine.symmetriser.current == "C2" and engine.symmetriser.imposed == imposed
    turned = engine.model.volumes[0, 1:, ::-1, ::-1]  # a half turn about z maps voxel i to n − i
    np.testing.assert_allclose(engine.model.volumes[0, 1:, 1:, 1:], turned[:, :-1, :-1],
                               atol=2e-2 * engine.model.volumes.max())
    # a run that was killed after its last step goes on to the same maps
    resumed = AbInitio(config, table, source, threads=2)
    resumed.restore(state)
    assert list(resumed.steps()) == []
    resumed.end_steps()
    assert resumed.symmetriser.imposed == imposed
    np.testing.assert_array_equal(resumed.model.volumes, engine.model.volumes)


@pytest.mark.parametrize("change, message", [
    (dict(final_resolution_a=10.0), "beyond Nyquist"),
    (dict(initial_resolution_a=20.0), "exchange them"),
    (dict(initial_resolution_a=100.0), "three Fourier shells"),
    (dict(diameter_a=500.0), "measure it"),
    (dict(pixel_size=0.0), "not positive"),
    (dict(iterations=3), "at least 10"),
    (dict(classes=0), "1 to 50"),
    (dict(class_similarity=1.0), "similarity"),
    (dict(optimiser="adam"), "choose of sgd"),
    (dict(quadrature="lebedev"), "choose of healpix"),
    (dict(prior="gauss"), "choose of uniform"),
    (dict(prior="car", prior_strength=0.0), "not positive"),
    (dict(march="need", held_out=0), "held out"),
    (dict(oversampling=0.0), "oversampling"),
    (dict(momentum=1.0), "momentum"),
    (dict(start="cube"), "choose of"),
    (dict(noise="pink"), "choose of coloured, white"),
    (dict(max_particles=0), "max particles"),
    (dict(symmetry="X3"), "point group 'X3'"),
])
def test_bad_settings_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        AbInitioConfig(**{**SETTINGS, **change})


@pytest.mark.parametrize("diameter", [90.0, 134.0, 190.0, 290.0])
def test_searches_begin_on_a_small_grid(diameter):
    config = AbInitioConfig(**{**SETTINGS, "diameter_a": diameter, "box_size": 64, "pixel_size": 5.0,
                               "final_resolution_a": 10.0})
    grids = make_levels(10.0, config, symmetry="C1")
    assert grids[0].nside <= FULL_SUM_NSIDE
    assert [fine.nside // coarse.nside for coarse, fine in zip(grids, grids[1:])] == [2] * (len(grids) - 1)
    assert grids[-1].nside == needed_nside(10.0, diameter)


def test_memory_that_is_too_small_is_refused():
    config = AbInitioConfig(pixel_size=1.0, box_size=300, diameter_a=250.0, final_resolution_a=8.0)
    with pytest.raises(InputError, match="--memory"):
        plan_lanes(config, 0.3, threads=2)
    lanes, box = plan_lanes(AbInitioConfig(**SETTINGS), 1.0, threads=2)
    assert lanes == 4 and box == 2 * 8 + 4


def test_two_structures_are_told_apart():
    """Half of the particles are compact, half extended: from random starts each class finds its own."""
    extended, table = particles(300, noise_sd=NOISE, seed=11)
    compact, other = particles(300, noise_sd=NOISE, seed=12, blobs=0.55 * BLOBS)
    source = Source(np.concatenate([extended.stack, compact.stack]))
    table = joined(table, other)
    engine = AbInitio(AbInitioConfig(**{**SETTINGS, "iterations": 60, "minibatch": (60, 120)}, classes=2, seed=1),
                      table, source, threads=2)
    records = list(engine.steps())
    assert records[0]["class_shares"] != records[-1]["class_shares"]
    assignment = Assignment(engine, halves=draw_halves(600, None, np.random.default_rng(0)))
    for _ in assignment.chunks():
        pass
    np.testing.assert_allclose(assignment.class_mass.sum(axis=1), 1, atol=1e-5)
    first = assignment.structures[:300].mean()
    second = assignment.structures[300:].mean()
    assert abs(first - second) > 0.95, (first, second)
    assert len(assignment.reconstruct()) == 2


def test_a_class_that_explains_nothing_slows_down_and_is_noticed(sample):
    """A structure that no image chooses keeps its map, and the history says that it starves."""
    source, table = sample
    engine = AbInitio(AbInitioConfig(**{**SETTINGS, "iterations": 20, "class_similarity": 0.0}, classes=2, seed=2),
                      table, source, threads=2)
    # its density lies where no image has any, so that it explains each image worse than none at all
    engine.inflation = 1.0
    engine.model.volumes = np.stack([engine.model.volumes[0], 30 * engine.model.volumes[1]])
    shares, images, before = [], [], np.linalg.norm(engine.model.volumes[1])
    for record in engine.steps():
        # windowed anew in a larger box it loses up to a sixth
        after = np.linalg.norm(engine.model.volumes[1])
        assert 0.8 * before < after < 1.01 * before
        shares.append(record["class_shares"])
        images.append(record["n_images"])
        before = after
    # from an even share, nothing was added to the running mean of the last thousand images
    starving = 0.5 * np.cumprod(1 - np.array(images) / 1000)
    assert starving[-1] < 0.2
    np.testing.assert_allclose(shares, np.stack([1 - starving, starving], axis=1), atol=1e-3)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_explains_the_images_better(sample, optimiser):
    """Each step rule, and the two methods that see all particles, from the same start."""
    source, table = sample
    config = AbInitioConfig(**{**SETTINGS, "iterations": 20, "initial_resolution_a": 40.0,
                               "final_resolution_a": 40.0}, optimiser=optimiser, seed=3, sagd_minibatch=50,
                            significant_poses=1e-9)
    engine = AbInitio(config, table, source, threads=2)
    engine.inflation = 1.0
    start = engine.model.volumes
    for _ in engine.steps():
        pass
    assert (engine.images_visited == 20 * 400) == (optimiser in BASELINES)
    # both under the noise as it was found in the end
    judge = Minibatch(engine, np.arange(100), 1.0, sampled=False)
    after, before = judge.value(engine.model.volumes), judge.value(start)
    assert after < before - 0.5


@pytest.mark.parametrize("change", [dict(quadrature="saff-kuijlaars"), dict(prior="car"), dict(march="need"),
                                    dict(march="paper"), dict(noise="white"), dict(preconditioner=False),
                                    dict(importance_sampling=False)], ids=str)
def test_every_choice_runs_to_a_map(sample, change):
    source, table = sample
    engine = AbInitio(AbInitioConfig(**{**SETTINGS, "iterations": 30, "final_resolution_a": 30.0, **change}, seed=2),
                      table, source, threads=2)
    records = list(engine.steps())
    truth = density()
    found = engine.densities()[0]
    curve = fsc(align_volume(found, truth, radius=5).apply(found), truth)
    assert curve[1:4].min() > 0.6, curve
    if change.get("march") == "need":
        assert any("held_out_error" in record for record in records)
        assert records[-1]["resolution_a"] == pytest.approx(BOX * PIXEL / engine.model.radius)


def test_a_march_by_need_judges_the_baselines_too(sample):
    source, table = sample
    config = AbInitioConfig(**{**SETTINGS, "iterations": 60}, max_particles=60, march="need", optimiser="batch-em")
    engine = AbInitio(config, table, source, threads=2)
    records = [record for record, _ in zip(engine.steps(), range(12))]
    assert len(engine.held_out.rows) == 6 and not set(engine.rows) & set(engine.held_out.rows)
    assert all("held_out_error" in record for record in records)
    assert sum("held_out_gain" in record for record in records) >= 4
    assert all(0 < record["cpu_seconds"] for record in records)


def test_by_need_the_march_waits_and_hurries():
    progress, paces = Progress(101, by_need=True), []
    while not progress.done and len(paces) < 400:
        paces.append(progress.value)
        progress.judge(improved=progress.value < 0.4)
        progress.advance()
    paces = np.array(paces)
    slow = ((paces >= 0.15) & (paces < 0.35)).sum()
    fast = ((paces >= 0.45) & (paces < 0.65)).sum()
    assert slow > 2 * fast
    assert np.diff(paces).min() >= 0 and paces[-1] == pytest.approx(1, abs=0.02)


def test_sagds_epsilon_counts_iterations_whatever_the_run_lasts():
    for iterations, halved in ((60, 0), (400, 2), (5000, 5)):
        rule = make_step_rule(AbInitioConfig(**{**SETTINGS, "iterations": iterations}, optimiser="sagd"))
        rule.tau = iterations
        assert rule.epsilon == 2 * 0.5 ** halved
        assert rule.settings.halving_steps == rule.settings.lipschitz_halving == 150


def test_minibatches_follow_resolution_and_classes():
    change = dict(minibatch=None, diameter_a=180.0, box_size=48, pixel_size=4.0, final_resolution_a=10.0)
    one, three = (AbInitioConfig(**{**SETTINGS, **change}, classes=k) for k in (1, 3))
    sizes = [minibatch_at(p, one) for p in (0.0, 0.5, 1.0)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert minibatch_at(1.0, three) == 3 * sizes[-1]
    assert minibatch_at(0.3, AbInitioConfig(**{**SETTINGS, "minibatch": (200, 200)})) == 200
