"""Polar scores against a direct sum over the plane, and their adjoint."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryosgd_plugin.ops import polar, slicing
from cryosgd_plugin.ops._polar_numba import subtract_power


@pytest.fixture
def grid():
    return polar.PolarGrid(5, 32)


def hermitian_rings(grid, rng, *leading):
    shape = leading + (grid.radius, grid.n_angles // 2)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def rotate(values, steps):
    """Half-circle samples at θ + steps, by the full circle."""
    full = np.concatenate([values, np.conj(values)], axis=-1)
    return np.roll(full, -steps, axis=-1)[..., : values.shape[-1]]


def test_scores_equal_direct_sums(grid):
    rng = np.random.default_rng(0)
    images, slices = hermitian_rings(grid, rng, 3), hermitian_rings(grid, rng, 4)
    weights = grid.ring_weights()
    scores = polar.correlate(polar.harmonics(images).transpose(2, 1, 0),
                             (polar.harmonics(slices) * weights[:, None]).transpose(2, 0, 1), grid.n_angles)
    for k in (0, 1, 7, 20, 31):
        expected = np.einsum("srt,drt,r->ds", np.conj(images), rotate(slices, k), weights).real * 2
        np.testing.assert_allclose(scores[k], expected, rtol=1e-4, atol=1e-3)


def test_adjoint(grid):
    rng = np.random.default_rng(1)
    images = polar.harmonics(hermitian_rings(grid, rng, 3)).transpose(2, 1, 0)
    slices = hermitian_rings(grid, rng, 4)
    posterior = rng.random((grid.n_angles, 4, 3)).astype(np.float32)
    left = np.vdot(posterior, polar.correlate(images, polar.harmonics(slices).transpose(2, 0, 1), grid.n_angles))
    spectrum = polar.posterior_harmonics(posterior, grid.n_angles)
    spread = polar.from_harmonics(polar.spread(spectrum, images).transpose(1, 2, 0), grid.n_angles)
    right = 2 * np.vdot(spread, slices).real
    assert left == pytest.approx(right, rel=1e-5)


def test_chosen_angles_are_rows_of_the_full_circle(grid):
    """Some angles, each direction's circle turned: the same scores, power term included, and the same adjoint."""
    rng = np.random.default_rng(3)
    n = grid.n_angles
    images = polar.harmonics(hermitian_rings(grid, rng, 3)).transpose(2, 1, 0)
    slices = polar.harmonics(hermitian_rings(grid, rng, 4)).transpose(2, 0, 1)
    power = polar.harmonics(rng.random((4, 1, n // 2)).astype(np.float32))[:, 0].T
    offset = rng.random((4, 3)).astype(np.float32)
    angles, turns = np.array([0, 5, 17, n - 1, n // 2]), np.array([0, 3, -7, n + 2])
    full = polar.correlate(images, slices, n, power=power, offset=offset)
    some = polar.correlate(images, slices, n, power=power, offset=offset, angles=angles, turns=turns)
    for d, turn in enumerate(turns):
        np.testing.assert_allclose(some[:, d], full[(angles + turn) % n, d], rtol=1e-4, atol=1e-3)
    weights = rng.random((5, 4, 3)).astype(np.float32)
    placed = np.zeros((n, 4, 3), np.float32)
    for d, turn in enumerate(turns):
        placed[(angles + turn) % n, d] = weights[:, d]
    np.testing.assert_allclose(polar.posterior_harmonics(weights, n, angles=angles, turns=turns),
                               polar.posterior_harmonics(placed, n), atol=1e-4)


def test_adjoint_of_the_power_term(grid):
    rng = np.random.default_rng(4)
    n = grid.n_angles
    squares = polar.harmonics(rng.random((5, grid.radius, n // 2)).astype(np.float32)).transpose(2, 0, 1)
    ctf = rng.random((grid.radius, n // 2)).astype(np.float32)
    posterior = rng.random((n, 5, 2)).astype(np.float32)
    image = np.zeros((n // 2 + 1, grid.radius, 2), np.complex64)
    harmonic = polar.harmonics(ctf).T.copy()
    power = (squares @ np.conj(harmonic)[:, :, None])[:, :, 0]
    scores = polar.correlate(image, np.zeros((n // 2 + 1, 5, grid.radius), np.complex64), n, power=power)
    gathered = polar.spread_power(polar.posterior_harmonics(posterior.sum(axis=2), n), harmonic)
    rings = np.fft.irfft(gathered.transpose(1, 2, 0), n=n // 2)
    values = np.fft.irfft(squares.transpose(1, 2, 0), n=n // 2)
    assert np.vdot(posterior, scores) == pytest.approx(-2 * np.vdot(rings, values) / 2, rel=1e-4)


def test_power_is_subtracted_as_numpy_does(grid):
    rng = np.random.default_rng(5)
    product = (rng.normal(size=(7, 4, 3)) + 1j * rng.normal(size=(7, 4, 3))).astype(np.complex64)
    power = (rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))).astype(np.complex64)
    expected = product.copy()
    expected[::2] -= 2 * power[:, :, None]
    subtract_power(product, power)
    np.testing.assert_array_equal(product, expected)


@pytest.mark.parametrize("shifts", [None, np.array([0, 3])])
def test_harmonics_of_a_shifted_image(grid, shifts):
    rng = np.random.default_rng(6)
    image = hermitian_rings(grid, rng)
    phases = np.exp(1j * rng.normal(size=(4,) + image.shape)).astype(np.complex64)
    plain = polar.harmonics(image * (phases if shifts is None else phases[shifts])).transpose(2, 1, 0)
    fast = polar.shifted_harmonics(image, np.ascontiguousarray(phases.transpose(2, 1, 0)), shifts)
    assert fast.dtype == np.complex64 and fast.flags.c_contiguous
    np.testing.assert_allclose(fast, plain, atol=1e-4)


def test_in_plane_angle_is_psi(grid):
    """Rotating the slice by k steps is RELION's psi = 2πk / n_angles."""
    rng = np.random.default_rng(2)
    half = slicing.to_half_volume(rng.normal(size=(16, 16, 16)).astype(np.float32), 5)
    base = Rotation.random(1, random_state=2).as_matrix()[0]
    for k in (3, 19):
        psi = grid.angles[k]
        turn = np.array([[np.cos(psi), np.sin(psi), 0], [-np.sin(psi), np.cos(psi), 0], [0, 0, 1]])
        both = slicing.slice_volume(half, np.stack([base, turn @ base]), grid.points())
        first, second = grid.unfold(both)
        np.testing.assert_allclose(second, rotate(first, k), atol=2e-3 * np.abs(first).max())


def test_support_sets_the_angles():
    assert polar.PolarGrid.for_support(20, 64, 64).n_angles >= 2 * np.pi * 20
    assert polar.PolarGrid.for_support(20, 32, 64).n_angles < 2 * np.pi * 20 * 0.7
    assert polar.PolarGrid.for_support(7, 64, 64).n_angles % 4 == 0
