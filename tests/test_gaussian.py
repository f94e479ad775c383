"""Back-projection by the Gaussian kernel: against plain sums over the whole space, its adjoint, its envelope."""
import numba
import numpy as np
import pytest

from cryosgd_plugin.core.fourier import fft3_centred, ifft3_centred
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.shells import fsc, shell_index_3d
from cryosgd_plugin.engines.refine.maps import solve
from cryosgd_plugin.ops import gaussian, pose_insert
from cryosgd_plugin.ops.pose_insert import insert_poses
from cryosgd_plugin.ops.slicing import KERNELS, from_half_volume, half_volume_shape, hermitian

RADIUS = 6


def disc(radius):
    """(p, 2) points, one of each Friedel pair, and where they lie in a grid [ky, kx]."""
    kx, ky = np.meshgrid(np.arange(radius + 1), np.arange(-radius, radius + 1))
    inside = (np.hypot(kx, ky) <= radius) & ((kx > 0) | (ky > 0))
    return np.stack([kx[inside], ky[inside]], 1), inside


def images(n=4, poses=9, seed=0):
    """Arguments of insert_poses but the radius: noise at random poses, two of them along the axes, which meet every
    rim."""
    rng = np.random.default_rng(seed)
    points, _ = disc(RADIUS)
    filtered = (rng.normal(size=(n, len(points))) + 1j * rng.normal(size=(n, len(points)))).astype(np.complex64)
    weight = rng.random((n, len(points))).astype(np.float32)
    rotations = np.concatenate([np.eye(3)[None], [[[0, 0, 1], [0, 1, 0], [-1, 0, 0.0]]], random_rotations(poses, rng)])
    return (filtered, weight, points, rotations, rng.normal(size=(poses + 2, 2)) * 0.05,
            rng.integers(n, size=poses + 2), rng.random(poses + 2))


def moved(filtered, weight, points, rotations, shifts, image, mass):
    """(values, weights, coordinates in padded px) of every coefficient of every pose."""
    phases = np.exp(-2j * np.pi * shifts @ points.T)
    at = 2 * np.einsum("pi,nij->npj", points.astype(float), rotations[:, :2])
    return mass[:, None] * filtered[image] * phases, mass[:, None] * weight[image], at


def test_kernel_equals_plain():
    arguments = images()
    fast = insert_poses(*arguments, RADIUS, kernel="gaussian")
    plain = [np.zeros(half_volume_shape(RADIUS), dtype) for dtype in (np.complex64, np.float32)]
    pose_insert.insert_poses_plain(*arguments, 2, *plain, kernel="gaussian")
    for a, b in zip(fast, plain):
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_half_volumes_hold_what_falls_anywhere():
    """Summed over the whole space, Friedel mates too, nothing is lost at kx < 0, on kx = 0 or at the rim."""
    arguments = images()
    size = half_volume_shape(RADIUS)[0]
    centre = size // 2
    full, worth = np.zeros((size,) * 3, complex), np.zeros((size,) * 3)
    values, weights, at = moved(*arguments)
    for sign in (1, -1):
        for value, w, q in zip(values.ravel(), weights.ravel(), at.reshape(-1, 3)):
            value, q = (value, q) if sign == 1 else (value.conj(), -q)
            nearest = np.rint(q).astype(int)
            line = [np.exp(-(q[axis] - (nearest[axis] + np.arange(-1, 2))) ** 2 / 2) for axis in range(3)]
            block = np.einsum("z,y,x->zyx", line[2], line[1], line[0]) / gaussian.MEAN_SUM ** 3
            place = tuple(slice(nearest[axis] + centre - 1, nearest[axis] + centre + 2) for axis in (2, 1, 0))
            full[place] += value * block
            worth[place] += w * block
    numerator, total = (hermitian(one) for one in insert_poses(*arguments, RADIUS, kernel="gaussian"))
    assert np.abs(numerator - full[:, :, centre:]).max() < 1e-5 * np.abs(full).max()
    assert np.abs(total - worth[:, :, centre:]).max() < 1e-5 * worth.max()
    # in trilinear's unit: what the coefficients are worth, up to where they lie between nodes
    assert worth.sum() == pytest.approx(2 * weights.sum(), rel=0.02)


def test_insertion_is_the_adjoint_of_gaussian_slices():
    arguments = images()
    _, _, points, rotations, *_ = arguments
    rng = np.random.default_rng(1)
    shape = half_volume_shape(RADIUS)
    half = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    numerator, _ = insert_poses(*arguments, RADIUS, kernel="gaussian")
    slices = gaussian.slice_points(half, rotations, 2 * points)
    values = moved(*arguments)[0]
    assert np.vdot(numerator, half).real == pytest.approx(np.vdot(values, slices).real, rel=1e-4)


def test_same_sums_on_any_number_of_threads():
    arguments, threads = images(poses=40), numba.get_num_threads()
    many = insert_poses(*arguments, RADIUS, kernel="gaussian")
    numba.set_num_threads(1)
    try:
        one = insert_poses(*arguments, RADIUS, kernel="gaussian")
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(a, b) for a, b in zip(many, one))


def test_envelope_is_the_mean_over_positions():
    """What a wave of the density becomes at a node, over coefficients at all positions about it: 0.70 at 0.35 box
    (0.55 if the Gaussian weren't truncated)."""
    line, box = gaussian.gaussian_envelope(40, 2), 40
    offsets = (np.arange(3000) + 0.5) / 1000 - 1.5
    weights = np.exp(-offsets ** 2 / 2)
    for position in (0, 7, 14):
        mean = (weights * np.cos(2 * np.pi * position * offsets / (2 * box))).sum() / weights.sum()
        assert line[box // 2 + position] == pytest.approx(mean, rel=1e-5)
    assert line[box // 2 + 14] == pytest.approx(0.704, abs=1e-3) and line[box // 2] == 1
    sums = [np.exp(-(f + np.arange(-1, 2)) ** 2 / 2).sum() for f in np.linspace(-0.5, 0.5, 2001)[:-1]]
    assert gaussian.MEAN_SUM == pytest.approx(np.mean(sums), rel=1e-6)


@pytest.fixture(scope="module")
def points_phantom():
    """Exact slices of 300 points all over a ball of 0.4 box at 1,500 poses, and the map up to two shells before their
    last: (values, image points, rotations, truth, inner shells)."""
    box, radius, n = 40, 17, 1500
    rng = np.random.default_rng(5)
    where = rng.normal(size=(300, 3))
    where *= (0.4 * box * rng.random(300) ** (1 / 3) / np.linalg.norm(where, axis=1))[:, None]
    height = rng.choice([-1.0, 1.0], 300)
    points, inside = disc(radius)
    rotations = random_rotations(n, rng)

    def waves(k, x):
        return np.exp(-2j * np.pi * np.outer(k, x) / box)

    values = np.empty((n, len(points)), np.complex64)
    for i, a in enumerate(rotations):
        x, y, _ = a @ where.T
        values[i] = ((waves(np.arange(-radius, radius + 1), y) * height) @ waves(np.arange(radius + 1), x).T)[inside]
    k = np.rint(np.fft.fftfreq(box) * box)
    spectrum = np.einsum("zi,yi,xi->zyx", waves(k, where[:, 2]) * height, waves(k, where[:, 1]),
                         waves(np.arange(box // 2 + 1), where[:, 0]), optimize=True).astype(np.complex64)
    inner = (shell_index_3d(box) <= radius - 2) & (shell_index_3d(box) > 0)
    return values, points, rotations, ifft3_centred(spectrum * inner, box), inner


def reconstructed(points_phantom, kernel, corrected_as):
    values, points, rotations, truth, inner = points_phantom
    n, radius, box = len(rotations), points.max(), len(truth)
    sums = insert_poses(values, np.ones(values.shape, np.float32), points, rotations, np.zeros((n, 2)), np.arange(n),
                        np.ones(n), radius, kernel=kernel)
    solved = solve(*(hermitian(one) for one in sums), radius, box, kernel=corrected_as)
    return ifft3_centred(fft3_centred(solved) * inner, box)


def amplitudes(map_, truth):
    """Regression of a map on the truth in rings of 0.05 box up to 0.35."""
    axis = (np.arange(len(truth)) - len(truth) // 2) / len(truth)
    ring = (np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis ** 2) / 0.05).astype(int).ravel()
    return (np.bincount(ring, (map_ * truth).ravel()) / np.bincount(ring, (truth ** 2).ravel()))[:7]


@pytest.mark.parametrize("kernel", KERNELS)
def test_points_come_back_as_strong_everywhere(points_phantom, kernel):
    truth = points_phantom[3]
    back = reconstructed(points_phantom, kernel, kernel)
    assert amplitudes(back, truth) == pytest.approx(np.ones(7), abs=0.02)
    axis = (np.arange(len(truth)) - len(truth) // 2) / len(truth)
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis ** 2 < 0.4 ** 2
    # the mask blurs the shells where the map ends
    assert fsc(back, truth, mask=ball.astype(np.float32))[1:14].min() > 0.99


def test_the_other_kernels_envelope_would_show(points_phantom):
    wrong = amplitudes(reconstructed(points_phantom, "gaussian", "trilinear"), points_phantom[3])
    assert np.all(np.diff(wrong[1:]) < -0.01) and wrong[-1] < 0.85, np.round(wrong, 3)


def test_unknown_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel 'cubic' is unknown; choose of trilinear, gaussian"):
        insert_poses(*images(), RADIUS, kernel="cubic")
    with pytest.raises(ValueError, match="kernel 'cubic' is unknown"):
        from_half_volume(np.zeros(half_volume_shape(RADIUS), np.complex64), 16, kernel="cubic")


def test_points_beyond_the_half_volume_are_refused():
    with pytest.raises(ValueError, match="larger radius"):
        insert_poses(*images(), RADIUS - 1, kernel="gaussian")
