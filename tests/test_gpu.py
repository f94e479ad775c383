"""The GPU against the CPU: kernels, scores, runs. Skipped, with the reason, where CuPy or a GPU is absent.

Those of the refinement are the tests that run with a stand-in elsewhere (test_gpu_on_host.py runs these here with it).
"""
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.backend import get_array_module, gpu_report, to_host
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.engine import AbInitio
from cryosgd_plugin.engines.abinitio.expectation import expect
from cryosgd_plugin.engines.abinitio.finish import Assignment, draw_halves
from cryosgd_plugin.engines.abinitio.grids import fourier_radius, make_levels
from cryosgd_plugin.engines.abinitio.levels import Level
from cryosgd_plugin.engines.abinitio.matched import ImageMatcher
from cryosgd_plugin.engines.abinitio.selection import Selection
from cryosgd_plugin.ops import _slicing_numpy, slicing
from cryosgd_plugin.ops.polar import harmonics
from cryosgd_plugin.ops.posterior import exponentiate
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, density, particles
from cryosgd_plugin.tests.test_device_search import (  # noqa: F401
    everything_held,
    test_a_local_search_equals_the_cpus,
    test_an_exhaustive_search_and_its_certificate,
    test_bounds_of_cells_equal_the_cpus,
    test_limits_are_kept_to,
    test_little_memory_changes_nothing,
    test_modes_of_a_block_are_those_of_its_images,
    test_poses_are_drawn_by_their_posterior,
    test_several_structures_and_levels_that_only_cut_shifts,
    test_the_same_poses_as_on_the_cpu,
)
from cryosgd_plugin.tests.test_pairs import (  # noqa: F401
    posterior,
    scored,
    test_a_part_is_scored_as_in_the_whole,
    test_angles_are_drawn_by_their_mass,
    test_children_are_those_of_the_cells,
    test_everything_is_every_pair_in_order,
    test_listed_pairs_come_back,
    test_masses_and_counts,
    test_scores_equal_those_of_one_image_at_a_time,
    test_segments,
    test_the_best_of_each_image,
)
from cryosgd_plugin.tests.test_pose_cuda_source import (  # noqa: F401
    posed,
    test_images_that_are_not_finite_are_refused,
    test_insertion_equals_plain_and_repeats,
    test_no_poses,
    test_shells_equal_plain,
    test_terms_equal_plain,
)
from cryosgd_plugin.tests.test_pose_score import sample  # noqa: F401
from cryosgd_plugin.tests.test_refine import CONFIG as REFINE
from cryosgd_plugin.tests.test_refine_device import (  # noqa: F401
    on_both,
    test_bounds_symmetry_and_a_certificate,
    test_images_are_prepared_as_on_the_cpu,
    test_iterations_agree_with_the_cpus,
    test_other_settings_agree_too,
    test_weak_images_agree_on_average,
)

USABLE, REASON = gpu_report()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not USABLE, reason=REASON)]

CONFIG = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=110.0, initial_resolution_a=60.0,
                        final_resolution_a=22.0, iterations=20, minibatch=(30, 60), shift_range_a=10.0, seed=2)


@pytest.fixture(scope="module")
def xp():
    return get_array_module("cuda:0")


@pytest.fixture(scope="module")
def simulated():
    return particles(300, noise_sd=0.2, seed=1)


def slices_of_noise(n=200, radius=8):
    """(volume, rotations, points, values, weights) with points on the axes, on kx = 0 and on the rim."""
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(2 * radius + 4,) * 3).astype(np.float32)
    rotations = np.concatenate([np.eye(3)[None], Rotation.random(n - 1, random_state=3).as_matrix()]).astype(np.float32)
    angles = np.linspace(0, np.pi, 16, endpoint=False)
    rings = np.arange(0, radius + 1)[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    points = rings.reshape(-1, 2).astype(np.float32)
    shape = n, len(points)
    values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    return volume, rotations, points, values, rng.random(shape).astype(np.float32)


def close(values, expected):
    np.testing.assert_allclose(to_host(values), expected, atol=1e-4 * np.abs(expected).max())


def test_slices_equal_numpy(xp):
    volume, rotations, points, _, _ = slices_of_noise()
    half = slicing.to_half_volume(volume, 8)
    close(slicing.to_half_volume(xp.asarray(volume), 8), half)
    values = slicing.slice_volume(xp.asarray(half), xp.asarray(rotations), xp.asarray(points))
    close(values, _slicing_numpy.slice_points(half, rotations, points * np.float32(2)))


def test_insertion_equals_numpy_and_itself(xp):
    _, rotations, points, values, weights = slices_of_noise()
    shape = slicing.half_volume_shape(8)
    numerator, weight = np.zeros(shape, np.complex64), np.zeros(shape, np.float32)
    _slicing_numpy.insert_points(values, weights, rotations, points * np.float32(2), numerator, weight)
    runs = [slicing.insert_slices(xp.asarray(values), xp.asarray(weights), xp.asarray(rotations), xp.asarray(points), 8)
            for _ in range(3)]
    for part in (0, 1):
        for run in runs[1:]:
            np.testing.assert_array_equal(to_host(run[part]), to_host(runs[0][part]))
    close(slicing.hermitian(runs[0][0]), slicing.hermitian(numerator))
    close(slicing.hermitian(runs[0][1]), slicing.hermitian(weight))


def test_adjoint(xp):
    volume, rotations, points, values, weights = slices_of_noise()
    on_gpu = [xp.asarray(array) for array in (rotations, points)]
    forward = to_host(slicing.slice_volume(slicing.to_half_volume(xp.asarray(volume), 8), *on_gpu))
    numerator, _ = slicing.insert_slices(xp.asarray(values), xp.asarray(weights), *on_gpu, 8)
    backward = to_host(slicing.adjoint_half_volume(numerator, len(volume)))
    left = np.vdot(values.astype(complex), forward).real
    assert left == pytest.approx(np.vdot(backward.astype(float), volume), rel=1e-4)


def test_posterior_equals_the_cpu(xp):
    scores = np.random.default_rng(0).normal(0, 30, (12, 7, 5)).astype(np.float32)
    on_gpu = xp.asarray(scores)
    expected, found = exponentiate(scores, 2.0), exponentiate(on_gpu, 2.0)
    assert found.best == expected.best
    assert found.log_evidence == pytest.approx(expected.log_evidence, abs=1e-3)
    assert found.effective_poses == pytest.approx(expected.effective_poses, rel=1e-4)
    np.testing.assert_allclose(found.direction_mass, expected.direction_mass, atol=1e-6)
    np.testing.assert_allclose(found.shift_mass, expected.shift_mass, atol=1e-6)
    np.testing.assert_allclose(to_host(on_gpu), scores, atol=1e-5)


def test_images_with_higher_order_optics_equal_the_cpu(xp, simulated):
    """Two optics groups, one with beam tilt, odd and even Zernike terms and anisotropic magnification."""
    source, table = simulated
    plain = table.optics[0]
    bent = replace(plain, beam_tilt_mrad=(0.4, -0.3), odd_zernike=(0.0, 0.0, 30.0, -20.0),
                   even_zernike=(0.1, 5.0, 0.0, 3.0), magnification=((1.01, 0.004), (-0.003, 0.99)))
    groups = np.zeros(len(table), np.int32)
    groups[1::2] = 1
    table = replace(table, optics=[plain, bent], optics_id=groups, ctf_bfactor=np.linspace(0, 100, len(table)))
    rows = np.arange(3, 9)
    (grid,) = make_levels(32.0, CONFIG, symmetry="C1")
    cpu, gpu = (ImageMatcher(grid.polar, box_size=BOX, pixel_size=PIXEL, window_radius_a=65.0, mask_radius_a=55.0,
                             xp=module).prepare(
        source.images(rows, BOX), table, rows, np.linspace(900.0, 500.0, BOX // 2 + 1)) for module in (np, xp))
    close(gpu.filtered, cpu.filtered)
    close(gpu.ctf_power, cpu.ctf_power)
    np.testing.assert_allclose(gpu.power, cpu.power, rtol=1e-5)
    assert gpu.noise_share == pytest.approx(cpu.noise_share, rel=1e-5)


@pytest.mark.parametrize("resolution, oversampling, levels", [(32.0, 1.0, 1), (22.0, 3.0, 2)])
def test_scores_and_sums_equal_the_cpu(xp, simulated, resolution, oversampling, levels):
    source, table = simulated
    rows = np.arange(8)
    images, noise = source.images(rows, BOX), np.full(BOX // 2 + 1, float(BOX ** 2))
    volume = density() / 0.2 * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH)
    found = []
    for module in (np, xp):
        grids = make_levels(resolution, CONFIG, symmetry="C1", oversampling=oversampling)
        half = slicing.to_half_volume(module.asarray(volume), fourier_radius(resolution, BOX, PIXEL))
        matchers = [ImageMatcher(grid.polar, box_size=BOX, pixel_size=PIXEL, window_radius_a=65.0, xp=module)
                    for grid in grids]
        steps = [Level(grid, [half], matcher) for grid, matcher in zip(grids, matchers)]
        assert len(steps) == levels
        matched = matchers[0].prepare(images, table, rows, noise)
        level = steps[0]
        scores = [to_host(level.scores(level.bank(), level.image_harmonics(matched.filtered[i]),
                                       module.ascontiguousarray(harmonics(matched.ctf_power[i]).T), Selection()))
                  for i in range(3)]
        batch = expect(steps, images, table, rows, noise, temperature=1.5, threads=2, lanes=3)
        found.append((np.stack(scores), batch, [to_host(ring) for ring in batch.sums.rings()], matched.power))
    (scores, batch, rings, power), (gpu_scores, gpu_batch, gpu_rings, gpu_power) = found
    assert np.abs(gpu_scores - scores).max() < 1e-4 * np.abs(scores).max()
    np.testing.assert_allclose(gpu_power, power, rtol=1e-4)
    for image, gpu_image in zip(batch.images, gpu_batch.images):
        assert gpu_image.log_evidence == pytest.approx(image.log_evidence, rel=1e-4)
        assert gpu_image.best_mass == pytest.approx(image.best_mass, rel=0.02)
    same = [np.array_equal(image.rotation, gpu_image.rotation) and np.array_equal(image.shift_a, gpu_image.shift_a)
            for image, gpu_image in zip(batch.images, gpu_batch.images)]
    # two poses may score alike to rounding
    assert sum(same) >= len(rows) - 1
    for ring, gpu_ring in zip(rings, gpu_rings):
        assert np.linalg.norm(gpu_ring - ring) < 1e-3 * np.linalg.norm(ring)


def run(xp, simulated, devices=(None,)):
    """A whole run, with its pass over all particles: (map of the iterations, Reconstruction)."""
    source, table = simulated
    engine = AbInitio(CONFIG, table, source, xp=xp, threads=2, devices=devices)
    for _ in engine.steps():
        pass
    (iterated,) = engine.densities()
    assignment = Assignment(engine, halves=draw_halves(len(table), None, np.random.default_rng(0)))
    for _ in assignment.chunks():
        pass
    (final,) = assignment.reconstruct()
    return iterated, final


def test_a_run_agrees_with_the_cpu(xp, simulated):
    on_cpu, final_cpu = run(np, simulated)
    on_gpu, final_gpu = run(xp, simulated)
    shells = slice(1, final_cpu.radius + 1)
    assert fsc(on_cpu, on_gpu)[shells].min() >= 0.99
    assert fsc(final_cpu.volume, final_gpu.volume)[shells].min() >= 0.99
    # FSC is blind to scale
    assert np.linalg.norm(on_gpu) == pytest.approx(np.linalg.norm(on_cpu), rel=0.02)


def test_symmetry_is_imposed_and_a_checkpoint_goes_on_to_the_bit(xp, simulated):
    source, table = simulated
    config = AbInitioConfig(**{**CONFIG.to_dict(), "symmetry": "C2", "symmetry_start": 0.3, "iterations": 10})
    straight = AbInitio(config, table, source, xp=xp)
    for record in straight.steps():
        if record["iteration"] == 6:
            state = {name: np.asarray(value) for name, value in straight.state().items()}
    assert straight.symmetriser.current == "C2"
    resumed = AbInitio(config, table, source, xp=xp)
    resumed.restore(state)
    assert [record["iteration"] for record in resumed.steps()] == [7, 8, 9, 10]
    np.testing.assert_array_equal(resumed.densities(), straight.densities())


def test_a_run_repeats_to_the_bit(xp, simulated):
    first, second = run(xp, simulated), run(xp, simulated)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1].volume, second[1].volume)


def test_several_gpus_agree_with_one(xp, simulated):
    """On a machine with one GPU, two replicas share it."""
    alone, final = run(xp, simulated, devices=(0,))
    other = 1 if xp.cuda.runtime.getDeviceCount() > 1 else 0
    shared, final_shared = run(xp, simulated, devices=(0, other))
    # products of other sizes may be rounded otherwise, and a run amplifies it
    shells = slice(1, final.radius + 1)
    assert fsc(alone, shared)[shells].min() >= 0.99
    assert fsc(final.volume, final_shared.volume)[shells].min() >= 0.99


def test_a_sparse_map_equals_the_cpus_in_the_memory_foretold(xp):
    from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
    from cryosgd_plugin.engines.sparse_tv.memory import solver_memory_gb
    from cryosgd_plugin.engines.sparse_tv.problem import FourierData
    from cryosgd_plugin.engines.sparse_tv.solver import step_after_wiener
    from cryosgd_plugin.tests.test_sparse_tv import sample as half_map

    box, config = 128, SparseTVConfig(alpha=0.2, beta=0.4, gamma=0.1, iterations=15, reweightings=2)
    _, data = half_map(box=box)
    expected = step_after_wiener(data, config, epsilon=0.3)
    pool = xp.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    found = step_after_wiener(FourierData(*(xp.asarray(one) for one in (data.volume, data.weight, data.prior))), config,
                              epsilon=0.3)
    assert (pool.total_bytes() - before) / 1e9 < 1.1 * solver_memory_gb(box, on_gpu=True)
    volume = to_host(found.volume)
    assert volume.dtype == np.float32
    assert np.linalg.norm(volume - expected.volume) < 1e-3 * np.linalg.norm(expected.volume)
    assert found.gap == pytest.approx(expected.gap, rel=0.05)


def test_a_refinement_repeats_to_the_bit(xp):
    """Also of weak images, whose broad posteriors are drawn from."""
    first, second = (on_both(xp, REFINE, n=30, noise_sd=0.6, iterations=2)[1][0] for _ in range(2))
    np.testing.assert_array_equal(first.halves, second.halves)
    np.testing.assert_array_equal(first.results.rotations, second.results.rotations)
