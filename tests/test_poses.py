"""Poses: what a rotation does to a density, Euler angles at the poles, and the evenness of the grids."""
import numpy as np
import pytest
from scipy.special import eval_legendre

from cryosgd_plugin.core import poses
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.symmetry import point_group, rotate_volume


def blob(box, at_xyz, width=1.5):
    z, y, x = np.indices((box,) * 3) - box // 2
    squared = (x - at_xyz[0]) ** 2 + (y - at_xyz[1]) ** 2 + (z - at_xyz[2]) ** 2
    return np.exp(-squared / (2 * width**2)).astype(np.float32)


def centre_of_mass_xy(image):
    y, x = np.indices(image.shape) - image.shape[0] // 2
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


@pytest.mark.parametrize("box", [40, 41])
def test_projection_of_an_off_centre_blob(box):
    """A density at q is seen at the first two components of A·q when the map is turned by A and summed along z."""
    at = np.array([6.0, -4.0, 5.0])
    for rotation in poses.random_rotations(5, np.random.default_rng(0)):
        image = rotate_volume(blob(box, at), rotation).sum(axis=0)
        assert centre_of_mass_xy(image) == pytest.approx((rotation @ at)[:2], abs=0.02)


def test_euler_angles_turn_as_written_in_the_conventions():
    a = poses.euler_to_matrix(90.0, 0.0, 0.0)[0]
    assert a @ [0, 1, 0] == pytest.approx([1, 0, 0], abs=1e-12)  # Z(90°) takes y to x
    b = poses.euler_to_matrix(0.0, 90.0, 0.0)[0]
    assert b @ [1, 0, 0] == pytest.approx([0, 0, 1], abs=1e-12)  # Y(90°) turns +x towards the viewer
    rot, tilt, psi = 35.0, 70.0, -120.0
    matrix = poses.euler_to_matrix(rot, tilt, psi)[0]
    r, t = np.radians([rot, tilt])
    assert poses.view_directions(matrix) == pytest.approx([np.sin(t) * np.cos(r), np.sin(t) * np.sin(r), np.cos(t)])
    product = (poses.in_plane_rotation(psi) @ poses.euler_to_matrix(0, tilt, 0) @ poses.in_plane_rotation(rot))[0]
    assert matrix == pytest.approx(product)
    assert poses.euler_to_matrix([0, 10, 20], 45.0, 5.0).shape == (3, 3, 3)


@pytest.mark.parametrize("tilt", [0.0, 1e-12, 1e-9, 1e-7, 1e-3, 90.0, 180.0 - 1e-3, 180.0 - 1e-7, 180.0 - 1e-12, 180.0])
def test_matrix_to_euler_and_back_near_the_poles(tilt):
    rng = np.random.default_rng(1)
    matrices = poses.euler_to_matrix(rng.uniform(-180, 180, 50), tilt, rng.uniform(-180, 180, 50))
    back = poses.euler_to_matrix(*poses.matrix_to_euler(matrices))
    assert np.abs(back - matrices).max() < 1e-9


def test_matrix_to_euler_ranges_and_shapes():
    matrices = poses.random_rotations(2000, np.random.default_rng(2)).reshape(20, 100, 3, 3)
    rot, tilt, psi = poses.matrix_to_euler(matrices)
    assert rot.shape == tilt.shape == psi.shape == (20, 100)
    assert tilt.min() >= 0 and tilt.max() <= 180 and np.abs(rot).max() <= 180 and np.abs(psi).max() <= 180
    again = poses.euler_to_matrix(rot.ravel(), tilt.ravel(), psi.ravel())
    assert np.abs(again - matrices.reshape(-1, 3, 3)).max() < 1e-12
    assert poses.matrix_to_euler(np.eye(3)) == pytest.approx((0, 0, 0))


def test_random_rotations_are_rotations_and_uniform():
    matrices = poses.random_rotations(20000, np.random.default_rng(3))
    assert np.abs(matrices @ np.swapaxes(matrices, 1, 2) - np.eye(3)).max() < 1e-12
    assert np.linalg.det(matrices) == pytest.approx(1.0)
    # uniform over SO(3): the angle of rotation has density (1 − cos θ)/π, its mean is π/2 + 2/π
    angles = poses.angular_distance_deg(matrices, np.eye(3))
    assert angles.mean() == pytest.approx(np.degrees(np.pi / 2 + 2 / np.pi), abs=1.0)
    assert np.abs(matrices.mean(axis=0)).max() < 0.02
    repeat = poses.random_rotations(5, np.random.default_rng(3))
    assert np.array_equal(repeat, poses.random_rotations(5, np.random.default_rng(3)))


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-3, 10.0, 120.0, 179.0, 180.0])
def test_angular_distance(angle):
    base = poses.random_rotations(10, np.random.default_rng(4))
    turned = poses.euler_to_matrix(20.0, 30.0, 0.0) @ base
    axis_turn = poses.in_plane_rotation(angle)
    tolerance = 1e-9 if angle < 179.5 else 1e-5  # the arcsine is flat at 180°
    assert poses.angular_distance_deg(axis_turn @ turned, turned) == pytest.approx(np.full(10, angle), abs=tolerance)


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_healpix_directions_nested_and_even(nside):
    parents, children = poses.healpix_directions(nside), poses.healpix_directions(2 * nside)
    assert parents.shape == (12 * nside**2, 2)
    vectors, finer = poses.directions_to_vectors(parents), poses.directions_to_vectors(children)
    assert np.abs(vectors.mean(axis=0)).max() < 1e-12
    spacing = np.degrees(np.arccos(np.sort(vectors @ vectors.T, axis=1)[:, -2]))
    assert spacing.max() < 1.6 * np.sqrt(4 * np.pi / len(vectors)) * 180 / np.pi
    # children 4p … 4p + 3 surround pixel p
    middle = finer.reshape(-1, 4, 3).mean(axis=1)
    assert np.array_equal(np.argmax(middle @ vectors.T, axis=1), np.arange(len(vectors)))
    assert np.degrees(np.arccos(np.einsum("pci,pi->pc", finer.reshape(-1, 4, 3), vectors))).max() < 60 / nside


def test_healpix_directions_refuse_other_nsides():
    with pytest.raises(InputError, match="power of two"):
        poses.healpix_directions(3)


@pytest.mark.parametrize("n", [2, 50, 777])
def test_saff_kuijlaars_directions_cover_the_sphere_evenly(n):
    vectors = poses.directions_to_vectors(poses.saff_kuijlaars_directions(n))
    assert vectors.shape == (n, 3) and np.abs(vectors.mean(axis=0)).max() < 1.5 / np.sqrt(n) / 3
    if n >= 50:
        radius = np.sqrt(4 * np.pi / n)  # side of a direction's own area
        probes = poses.directions_to_vectors(poses.healpix_directions(16))
        assert np.arccos(np.clip((probes @ vectors.T).max(axis=1), -1, 1)).max() < radius
        nearest = np.arccos(np.clip(np.sort(vectors @ vectors.T, axis=1)[:, -2], -1, 1))
        assert nearest.min() > 0.55 * radius  # the two poles' neighbours are the closest
    with pytest.raises(InputError, match="at least 2"):
        poses.saff_kuijlaars_directions(1)


def test_saff_kuijlaars_directions_by_the_formula():
    """Saff and Kuijlaars (1997) eq. 8: h_k = −1 + 2(k − 1)/(N − 1), φ_k = φ_{k−1} + 3.6 / √(N (1 − h_k²))."""
    n, phi = 60, 0.0
    directions = poses.saff_kuijlaars_directions(n)
    for k in range(1, n + 1):
        h = -1 + 2 * (k - 1) / (n - 1)
        phi = 0.0 if k in (1, n) else (phi + 3.6 / np.sqrt(n * (1 - h ** 2))) % (2 * np.pi)
        r, t = np.radians(directions[k - 1])
        assert np.cos(t) == pytest.approx(h) and np.exp(1j * r) == pytest.approx(np.exp(1j * phi))


@pytest.mark.parametrize("radius", [4, 8])
def test_saff_kuijlaars_directions_average_spherical_harmonics(radius):
    """To 1.5 / n up to twice the degree of the Fourier radius that the count is for: random ones reach 1 / √n."""
    n = int((3.6 * radius) ** 2)
    vectors = poses.directions_to_vectors(poses.saff_kuijlaars_directions(n))
    cosines = vectors @ vectors.T
    for degree in range(1, 2 * radius + 1):
        # the addition theorem: Σ_m |mean Y_lm|² · 4π / (2l + 1)
        assert eval_legendre(degree, cosines).mean() < (1.5 / n) ** 2


def test_in_plane_angles():
    assert poses.in_plane_angles(8) == pytest.approx(np.arange(8) * 45.0)


def test_shift_grid_is_a_disc_with_zero_first():
    grid = poses.shift_grid(10.0, 2.5)
    assert np.array_equal(grid[0], [0, 0])
    lengths = np.hypot(*grid.T)
    assert np.all(np.diff(lengths) >= -1e-12) and lengths.max() == pytest.approx(10.0)  # the rim belongs to it
    brute = {(2.5 * i, 2.5 * j) for i in range(-9, 10) for j in range(-9, 10) if i * i + j * j <= 16}
    assert {tuple(row) for row in grid} == brute and len(grid) == len(brute)
    assert np.array_equal(poses.shift_grid(0.0, 2.0), [[0, 0]])
    assert len(poses.shift_grid(0.3, 0.1)) == 29  # 0.3 / 0.1 is below 3 in binary
    with pytest.raises(InputError, match="positive step"):
        poses.shift_grid(5.0, 0.0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_gauss_hermite_shifts_have_the_moments_of_a_gaussian(n):
    sd = 3.0
    nodes, weights = poses.gauss_hermite_shifts(n, sd)
    assert nodes.shape == (n * n, 2) and weights.sum() == pytest.approx(1) and weights.min() > 0
    assert np.all(np.diff(np.hypot(*nodes.T)) > -1e-9)
    for i in range(2 * n):
        for j in range(2 * n):
            # E x^i is 0, or (i − 1)!! sd^i
            expected = np.prod([0.0 if p % 2 else np.prod(np.arange(p - 1, 0, -2.0)) * sd ** p for p in (i, j)])
            assert weights @ (nodes[:, 0] ** i * nodes[:, 1] ** j) == pytest.approx(expected, rel=1e-9,
                                                                                  abs=1e-9 * sd ** (i + j) * 4.0 ** n)
    # one degree more is no longer exact
    assert abs(weights @ nodes[:, 0] ** (2 * n) / (np.prod(np.arange(2 * n - 1, 0, -2.0)) * sd ** (2 * n)) - 1) > 1e-6


def test_gauss_hermite_shifts_of_many_nodes_and_bad_input():
    nodes, weights = poses.gauss_hermite_shifts(160, 2.0)
    assert np.isfinite(nodes).all() and weights @ nodes[:, 0] ** 2 == pytest.approx(4, rel=1e-6)
    with pytest.raises(InputError, match="positive width"):
        poses.gauss_hermite_shifts(4, 0.0)
    with pytest.raises(InputError, match="at least 1"):
        poses.gauss_hermite_shifts(0, 1.0)


def test_parallel_transport_finds_the_nearest_in_plane_angle():
    rng = np.random.default_rng(5)
    reference = poses.random_rotations(1, rng)[0]
    directions = poses.saff_kuijlaars_directions(80)
    frames = poses.euler_to_matrix(directions[:, 0], directions[:, 1], 0.0)
    psi = poses.parallel_transport_psi(frames, reference)
    assert psi.shape == (80,) and np.abs(psi).max() <= 180

    def away(angles):
        turned = poses.euler_to_matrix(directions[:, 0], directions[:, 1], angles)
        return np.linalg.norm(turned - reference, axis=(1, 2))

    everywhere = np.stack([away(angle) for angle in np.arange(0, 360, 1.5)])
    assert np.all(away(psi) <= everywhere.min(axis=0) + 1e-9)
    # the nearest of the whole circle turns about an axis in the plane: as far as the view itself, and no farther
    nearest = poses.angular_distance_deg(poses.in_plane_rotation(psi) @ frames, reference)
    views = np.degrees(np.arccos(np.clip(poses.view_directions(frames) @ poses.view_directions(reference), -1, 1)))
    assert nearest == pytest.approx(views, abs=1e-5)


def test_parallel_transport_to_the_reference_itself():
    angles = np.array([20.0, 65.0, -130.0])
    reference = poses.euler_to_matrix(*angles)[0]
    frame = poses.euler_to_matrix(angles[0], angles[1], 0.0)
    assert poses.parallel_transport_psi(frame, reference) == pytest.approx([-130.0])
    assert poses.parallel_transport_psi(frame.astype(np.float32), reference) == pytest.approx([-130.0], abs=1e-4)


def test_distance_to_the_nearest_mate():
    operators = point_group("D3")
    sample = poses.random_rotations(20, np.random.default_rng(0))
    direct = np.min([poses.angular_distance_deg(sample, sample[3] @ operator) for operator in operators], axis=0)
    assert poses.distance_to_mates_deg(sample, sample[3], operators) == pytest.approx(direct, abs=0.1)
    mates = sample[3] @ operators
    assert poses.distance_to_mates_deg(mates, sample[3], operators) == pytest.approx(np.zeros(6), abs=0.1)
