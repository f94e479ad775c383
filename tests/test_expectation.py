"""The E-step against a direct evaluation of the likelihood, and its gradient against finite differences."""
import numpy as np
import pytest
from scipy.special import logsumexp

from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.fourier import fft2_centred, frequencies_2d, shift_phases
from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.engines.abinitio.expectation import expect
from cryosgd_plugin.engines.abinitio.grids import fourier_radius, make_levels
from cryosgd_plugin.engines.abinitio.levels import Level
from cryosgd_plugin.engines.abinitio.matched import ImageMatcher
from cryosgd_plugin.engines.abinitio.selection import Selection
from cryosgd_plugin.engines.abinitio.slices import back_project
from cryosgd_plugin.ops.polar import harmonics
from cryosgd_plugin.ops.slicing import adjoint_half_volume, slice_volume, to_half_volume
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, WIDTH, density, particles

CONFIG = AbInitioConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=110.0, initial_resolution_a=40.0,
                        final_resolution_a=20.0, shift_range_a=12.0)


def levels_at(volume, resolution, symmetry="C1", oversampling=1.0):
    grids = make_levels(resolution, CONFIG, symmetry=symmetry, oversampling=oversampling)
    half = to_half_volume(volume, fourier_radius(resolution, BOX, PIXEL))
    return [Level(grid, [half], ImageMatcher(grid.polar, box_size=BOX, pixel_size=PIXEL, window_radius_a=67.0))
            for grid in grids]


@pytest.fixture(scope="module")
def sample():
    source, table = particles(12, noise_sd=0.15, seed=3)
    # the images sum the blobs along z in closed form, and are divided by the noise
    return source, table, density() / 0.15 * PIXEL / ((2 * np.pi) ** 0.5 * WIDTH)


def noise():
    return np.full(BOX // 2 + 1, float(BOX ** 2))


def test_scores_equal_the_cartesian_likelihood(sample):
    """Polar, windowed scores against ½ Σ |CY − X|² / σ² over the plane, pose by pose."""
    source, table, volume = sample
    (level,) = levels_at(volume, 32.0)
    radius, grid = level.grid.polar.radius, level.grid
    images = source.images(np.arange(4), BOX)
    matched = level.matcher.prepare(images, table, np.arange(4), noise())
    kx, ky = frequencies_2d(BOX, PIXEL)
    points = np.stack([kx.ravel(), ky.ravel()], 1) * BOX * PIXEL
    distance = np.hypot(*points.T)
    inside = (distance > 0.5) & (distance <= radius + 0.5)
    both = np.where(points[inside, 0] > 0, 2.0, 1.0)
    half = to_half_volume(volume, radius + 1)
    rng = np.random.default_rng(0)
    for i in range(4):
        scores = level.scores(level.bank(), level.image_harmonics(matched.filtered[i]),
                              harmonics(matched.ctf_power[i]).T.copy(), Selection()) - grid.log_shift_weights
        picks = [(rng.integers(grid.polar.n_angles), rng.integers(grid.n_directions), rng.integers(len(grid.shifts_a)))
                 for _ in range(40)] + [np.unravel_index(scores.argmax(), scores.shape)]
        rotations = np.stack([grid.rotation(d, k) for k, d, s in picks])
        slices = slice_volume(half, rotations, points[inside].astype(np.float32))
        slices = slices * ctf_for(table, np.array([i]), kx.ravel()[inside], ky.ravel()[inside])
        shifted = fft2_centred(images[i]).ravel()[inside] * shift_phases(
            kx.ravel()[inside], ky.ravel()[inside], grid.shifts_a[[s for _, _, s in picks]])
        direct = ((np.conj(shifted) * slices).real - 0.5 * np.abs(slices) ** 2) @ both / BOX ** 2
        polar = np.array([scores[p] for p in picks])
        # the plane's sum and the rings' differ by what lies between ring R and the disc's rim
        assert np.corrcoef(direct, polar)[0, 1] > 0.995
        assert np.abs(direct - polar).max() < 0.08 * np.ptp(direct) + 0.5


def test_gradient_against_finite_differences(sample):
    """Aᴴ(Σ w CX/σ² − Σ w C²/σ² AV) is the gradient of the log evidence."""
    source, table, volume = sample
    rng = np.random.default_rng(1)
    rows = np.arange(6)
    images = source.images(rows, BOX)
    # a blunt model keeps many poses in play, so that the gradient of the marginal is tested and not that of one pose
    volume = (0.04 * volume).astype(np.float32)
    radius = fourier_radius(40.0, BOX, PIXEL)

    def evidence(v):
        batch = expect(levels_at(v.astype(np.float32), 40.0), images, table, rows, noise(), temperature=1.0,
                       accumulate=False)
        return sum(i.log_evidence for i in batch.images)

    (level,) = levels_at(volume, 40.0)
    batch = expect([level], images, table, rows, noise(), temperature=1.0)
    assert np.median([i.effective_poses for i in batch.images]) > 50
    numerator, weight = batch.rings()
    gradient = adjoint_half_volume(
        back_project(numerator - weight * batch.values, weight, level.grid, np.eye(3)[None], radius)[0][0], BOX)
    # rings are given on half circles and stand for both halves
    gradient = 2 * gradient
    # along directions that the data see: of random ones alone a gradient of zero would do
    for direction in [gradient] + [d * np.abs(gradient) for d in rng.normal(size=(3,) + volume.shape)]:
        direction = direction * np.linalg.norm(volume) * 0.05 / np.linalg.norm(direction)
        numeric = (evidence(volume + direction) - evidence(volume - direction)) / 2
        steepest = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert np.vdot(gradient, direction) == pytest.approx(numeric, rel=1e-3, abs=1e-5 * steepest)


def test_true_poses_are_found(sample):
    source, table, volume = sample
    rows = np.arange(12)
    batch = expect(levels_at(volume, 20.0, oversampling=2.0), source.images(rows, BOX), table, rows, noise(),
                   temperature=1.0, accumulate=False)
    found = np.stack([i.rotation for i in batch.images])
    shifts = np.stack([i.shift_a for i in batch.images])
    assert np.median(angular_distance_deg(found, table.rotations[rows])) < 8
    assert np.median(np.abs(shifts - table.shifts_a[rows])) < 2.5


def test_survivors_hold_the_mass(sample):
    """The two-level sum loses little of the full sum's evidence."""
    source, table, volume = sample
    rows = np.arange(4)
    levels = levels_at(volume, 20.0, oversampling=3.0)
    assert len(levels) == 2
    images = source.images(rows, BOX)
    searched = expect(levels, images, table, rows, noise(), temperature=1.0, accumulate=False)
    full = expect(levels[1:], images, table, rows, noise(), temperature=1.0, accumulate=False)
    lost = [f.log_evidence - s.log_evidence for f, s in zip(full.images, searched.images)]
    assert min(lost) > -1e-3 and np.median(lost) < 0.1


def test_lanes_and_threads_change_nothing_but_rounding(sample):
    source, table, volume = sample
    rows = np.arange(12)
    images, levels = source.images(rows, BOX), levels_at(volume, 32.0)
    runs = [expect(levels, images, table, rows, noise(), temperature=1.0, threads=t, lanes=lanes)
            for t, lanes in ((1, 3), (2, 3), (1, 1))]
    np.testing.assert_array_equal(runs[0].sums.numerator, runs[1].sums.numerator)
    np.testing.assert_allclose(runs[0].sums.numerator, runs[2].sums.numerator,
                               atol=1e-5 * np.abs(runs[2].sums.numerator).max())


def test_replicas_change_nothing(sample):
    """Levels on several devices (here: twice on the CPU) share the lanes; the sums are the same."""
    source, table, volume = sample
    rows = np.arange(3, 12)
    images, levels = source.images(rows, BOX), levels_at(volume, 22.0, oversampling=2.0)
    replica = levels_at(volume, 22.0, oversampling=2.0)
    alone = expect(levels, images, table, rows, noise(), temperature=1.0, lanes=4)
    for replicas in ([replica], [replica, replica, replica, replica]):
        shared = expect(levels, images, table, rows, noise(), temperature=1.0, lanes=4,
                        replicas=replicas)
        for name in ("numerator", "weight"):
            expected = getattr(alone.sums, name)
            np.testing.assert_allclose(getattr(shared.sums, name), expected, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_allclose(shared.power, alone.power, rtol=1e-6)
        np.testing.assert_allclose([i.log_evidence for i in shared.images], [i.log_evidence for i in alone.images],
                                   rtol=1e-5)


def test_noise_is_measured_within_the_mask(sample):
    """White noise around which neighbours crowd: its spectrum comes out right, and without a mask it does not."""
    _, table, _ = sample
    rows = np.arange(12)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, BOX, BOX)).astype(np.float32)
    axis = np.abs(np.arange(BOX) - BOX // 2)
    images[:, np.hypot(axis[:, None], axis) > 10] += 4
    (grid,) = make_levels(32.0, CONFIG, symmetry="C1")
    found = {}
    for radius in (48.0, None):
        matched = ImageMatcher(grid.polar, box_size=BOX, pixel_size=PIXEL, window_radius_a=67.0,
                               mask_radius_a=radius).prepare(images, table, rows, noise())
        found[radius] = matched.power.mean(axis=0) / matched.noise_share / BOX ** 2
    assert np.abs(found[48.0] - 1).max() < 0.25
    assert found[None].max() > 4


def test_log_evidence_is_a_log_sum(sample):
    source, table, volume = sample
    (level,) = levels_at(volume, 40.0)
    matched = level.matcher.prepare(source.images(np.arange(1), BOX), table, np.arange(1), noise())
    scores = level.scores(level.bank(), level.image_harmonics(matched.filtered[0]),
                          harmonics(matched.ctf_power[0]).T.copy(), Selection())
    batch = expect([level], source.images(np.arange(1), BOX), table, np.arange(1), noise(), temperature=1.0,
                       accumulate=False)
    assert batch.images[0].log_evidence == pytest.approx(
        logsumexp(scores.astype(float)) - np.log(level.grid.n_directions * level.grid.polar.n_angles), abs=1e-3)
