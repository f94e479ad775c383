"""The simulator's projections against plain sums, real-space rotation and RELION, with none of the engine's slicer."""
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft2_centred, resample_volume
from cryosgd_plugin.core.poses import euler_to_matrix, random_rotations
from cryosgd_plugin.engines.simulate import _gridding, density, project
from cryosgd_plugin.engines.simulate.config import SimulateConfig
from cryosgd_plugin.engines.simulate.engine import Simulation
from cryosgd_plugin.engines.simulate.phantom import phantom_atoms
from cryosgd_plugin.io.star import read_particles

RELION = Path(__file__).parent / "data" / "relion_project"


@pytest.fixture(scope="module")
def atoms():
    return phantom_atoms()


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def plain_image(points, weights, box):
    """Σ w exp(−2πi k·x / d) with no grid: the truth."""
    column = np.exp(-2j * np.pi * np.outer(np.fft.fftfreq(box), points[:, 1]))
    row = np.exp(-2j * np.pi * np.outer(points[:, 0], np.fft.rfftfreq(box)))
    return (column * weights) @ row


@pytest.mark.parametrize("box", [24, 25])
def test_gridded_sums_equal_plain_sums(box):
    rng = np.random.default_rng(0)
    points, weights = rng.uniform(-box / 2, box / 2, (200, 3)), rng.normal(size=200)
    rotations = random_rotations(3, rng)
    fine = _gridding.fine_size(box)
    grids = np.zeros((3, 1, fine, fine))
    _gridding.spread_images(points, weights, np.array([0, 200]), rotations, fine / box, _gridding.kernel_table(), grids)
    images = density.fourier_images(grids, box)[:, 0]
    plain = np.stack([plain_image(points @ a.T, weights, box) for a in rotations])
    assert np.abs(images - plain).max() < 1e-6 * np.abs(plain).max()

    volume = density.fourier_volume(points, weights, box)
    for kz in (0, 3, -5, box // 2):
        phased = weights * np.exp(-2j * np.pi * kz * points[:, 2] / box)
        # an even box has the frequency −d/2, not +d/2
        expected = plain_image(points, phased.conj() if (kz == box // 2 and box % 2 == 0) else phased, box)
        assert np.abs(volume[kz] - expected).max() < 1e-6 * np.abs(plain).max()


def test_mass_is_conserved(atoms):
    positions, elements = atoms
    projector = project.atom_projector(positions, elements, 48, 5.0)
    charge = sum(density.scattering_factor(symbol, 0.0) for symbol in elements) * density.POTENTIAL_V_A2
    assert projector.volume.sum(dtype=float) * 5.0 ** 3 == pytest.approx(charge, rel=1e-5)
    images = project.real_images(projector.project(random_rotations(3, np.random.default_rng(0))), 48)
    assert images.sum(axis=(1, 2)) * 5.0 ** 3 == pytest.approx(charge, rel=1e-6)


def test_scattering_factor_at_zero_is_the_tables():
    # International Tables C, 4.3.2.2: Σ a of carbon and oxygen, Å
    assert density.scattering_factor("C", 0.0) == pytest.approx(2.5088, abs=1e-4)
    assert density.scattering_factor("O", 0.0) == pytest.approx(1.9834, abs=2e-2)
    assert density.scattering_factor("C", 0.2, 100.0) == pytest.approx(
        density.scattering_factor("C", 0.2) * np.exp(-100 * 0.2 ** 2 / 4))


@pytest.mark.parametrize("box", [32, 33])
def test_one_atom_lands_where_the_conventions_say(box):
    pixel, position = 2.0, np.array([10.0, -6.0, 14.0])
    a = euler_to_matrix(37.0, 61.0, -112.0)
    x, y, _ = a[0] @ position / pixel
    projector = project.atom_projector(position[None], ["C"], box, pixel, b_factor_a2=300.0)
    image = project.real_images(projector.project(a), box)[0]
    rows, columns = np.indices(image.shape) - box // 2
    assert image.argmax() == (round(y) + box // 2) * box + round(x) + box // 2
    near = np.where(np.hypot(rows - y, columns - x) < 6, image, 0)     # the centroid of its peak
    assert (near * columns).sum() / near.sum() == pytest.approx(x, abs=0.02)
    assert (near * rows).sum() / near.sum() == pytest.approx(y, abs=0.02)
    # and in the map at (z, y, x)
    assert np.unravel_index(projector.volume.argmax(), (box,) * 3) == tuple(
        (position[::-1] / pixel).astype(int) + box // 2)


@pytest.mark.parametrize("box, pixel, map_pixel", [(64, 4.0, 4.0), (65, 4.0, 4.0), (64, 4.0, 3.0)])
def test_map_path_equals_the_analytic_projection(atoms, box, pixel, map_pixel):
    """atoms → map → projection against the analytic sum of projected Gaussians: 2e-3 of the norm.

    What differs is the ringing of the band limit that the map's sphere cuts off (8e-4 up to 0.7 of
    Nyquist, 1.7e-3 up to 0.9).
    """
    positions, elements = atoms
    rotations = random_rotations(4, np.random.default_rng(1))
    analytic = project.atom_projector(positions, elements, box, pixel).project(rotations)
    finer = density.density_from_atoms(positions, elements, 90 if map_pixel != pixel else box, map_pixel)
    finer *= (map_pixel / pixel) ** 3          # volts: the map path keeps the sum of the voxels instead
    by_map = project.map_projector(finer, map_pixel, box, pixel).project(rotations)
    # both are band-limited from 0.9 of Nyquist, the map once more by its own pixel
    below = density.radial_frequency(box, 2) < 0.45
    assert relative(by_map[:, below], analytic[:, below]) < 2.5e-3


def test_map_path_equals_rotation_in_real_space(atoms):
    """Against a rotation of the twice oversampled map by cubic splines and a sum over z: within 0.5 %."""
    volume = density.density_from_atoms(*atoms, 48, 5.0, b_factor_a2=400.0)
    projector = project.map_projector(volume, 5.0, 48, 5.0)
    rotations = random_rotations(2, np.random.default_rng(2))
    images = project.real_images(projector.project(rotations), 48)
    fine = resample_volume(projector.volume, 96)
    for a, image in zip(rotations, images):
        inverse = a.T[::-1, ::-1]                    # image(x) reads V(Aᵀ x); scipy's axes are z, y, x
        turned = affine_transform(fine, inverse, offset=48 - inverse @ np.full(3, 48.0), order=3)
        spline = turned.sum(axis=0)[::2, ::2] * 4    # per pixel of 48, not of 96
        assert relative(spline, image) < 5e-3


def test_map_path_against_relion():
    """RELION's own projections of a map (trilinear, padding 2): Euler angles, shifts, CTF and centre at once.

    The 2.5 % between them is RELION's: it corrects its interpolation by a radial sinc² where that of a trilinear kernel
    is a product of three (tests/test_relion_reference.py agrees to 1e-4 once that is imitated).
    """
    volume = mrcfile.read(RELION / "phantom_even.mrc")
    table = read_particles(RELION / "even.star")
    theirs = fft2_centred(mrcfile.read(RELION / "even.mrcs"))
    table.class_id = np.ones(len(table), np.int32)
    box, pixel = table.box_size, table.pixel_size
    config = SimulateConfig(n_particles=len(table), box_size=box, pixel_size=pixel, snr=None, shift_sd_a=0)
    projector = project.map_projector(volume, pixel, box, pixel)
    ours = Simulation(config, table, [projector], None).clean_coefficients(np.arange(len(table)))
    # up to the edge of our band limit and of RELION's sphere
    below = density.radial_frequency(box, 2) < 0.45
    assert relative(ours[:, below], theirs[:, below]) < 0.03


def test_projection_differs_from_that_of_the_mirror(atoms):
    positions, elements = atoms
    rotation = random_rotations(1, np.random.default_rng(3))
    image = project.atom_projector(positions, elements, 48, 5.0).project(rotation)
    mirrored = project.atom_projector(positions * [1, 1, -1], elements, 48, 5.0).project(rotation)
    assert relative(image, mirrored) > 0.3


@pytest.mark.parametrize("change, words", [
    (dict(positions=[[0.0, 0, 100]]), "give a box of"), (dict(elements=["Xx"]), "scattering factor"),
    (dict(positions=[[0.0, 0, np.nan]]), "NaN"), (dict(elements=["C", "C"]), "one element each")])
def test_bad_atoms_are_refused(change, words):
    arguments = dict(positions=[[0.0, 0, 0]], elements=["C"], box_size=32, pixel_size=4.0)
    arguments.update(change)
    with pytest.raises(InputError, match=words):
        project.atom_projector(**arguments)


@pytest.mark.parametrize("volume, words", [
    (np.ones((8, 8, 9)), "not cubic"), (np.ones((8, 8, 8)), "one value everywhere"),
    (np.full((8, 8, 8), np.nan), "NaN"), (np.eye(40)[:, :, None] * np.eye(40)[None], "larger box")])
def test_bad_maps_are_refused(volume, words):
    with pytest.raises(InputError, match=words):
        project.map_projector(volume, 4.0, 20, 4.0)
