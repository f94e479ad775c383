"""Anisotropic magnification undone in images and shifts."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cryosgd_plugin.core.ctf import magnified_rotations
from cryosgd_plugin.core.fourier import fft2_centred, frequencies_2d, ifft2_centred, shift_phases
from cryosgd_plugin.core.shells import shell_index_2d
from cryosgd_plugin.io.source import ParticleSource
from cryosgd_plugin.io.stack_writer import write_stack
from cryosgd_plugin.io.undistort import distorted_shifts, undistorted, undistorted_table
from cryosgd_plugin.job.result_files import posed
from cryosgd_plugin.ops.slicing import slice_volume, to_half_volume
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density, particles

MATRIX = ((1.03, 0.02), (-0.015, 0.97))


def blobs(box, matrix=((1.0, 0.0), (0.0, 1.0))):
    """(box, box) transform at M k of Gaussians of 1.2 px, whose centres lie within a third of the box."""
    rng = np.random.default_rng(0)
    kx, ky = frequencies_2d(box, 1.0)
    kx, ky = np.tensordot(np.asarray(matrix), np.stack([kx, ky]).astype(float), axes=1)
    centres = rng.uniform(-box / 6, box / 6, (6, 2))
    return sum(np.exp(-2j * np.pi * (kx * x + ky * y)) for x, y in centres) * np.exp(-2 * (np.pi * 1.2) ** 2 * (
        kx ** 2 + ky ** 2))


@pytest.mark.parametrize("box", [48, 49])
def test_images_become_those_without_the_distortion(box):
    distorted = ifft2_centred(blobs(box, MATRIX).astype(np.complex64)[None], box)
    found = fft2_centred(undistorted(distorted, MATRIX))[0]
    true = blobs(box)
    error = np.abs(found - true).max() / np.abs(true).max()
    assert error < 2e-3 and np.abs(fft2_centred(distorted)[0] - true).max() > 50 * error * np.abs(true).max()


def test_noise_stays_as_white_as_it_was():
    noise = np.random.default_rng(0).normal(size=(200, 64, 64)).astype(np.float32)
    power = np.abs(fft2_centred(undistorted(noise, MATRIX))) ** 2
    shell = shell_index_2d(64)
    for radius in (5, 15, 25, 29):
        assert power[:, shell == radius].mean() == pytest.approx(64 ** 2, rel=0.06)


def test_shifts_of_distorted_images_are_told_and_taken_in_their_own_frame():
    """A slice of a distorted image, shifted in its own frame, is that of the undistorted one at the table's shift."""
    _, table = particles(3, noise_sd=1.0)
    table = replace(table, optics=[replace(table.optics[0], magnification=MATRIX)])
    inner = undistorted_table(table)
    assert inner.optics[0].magnification is None and table.optics[0].magnification == MATRIX
    half = to_half_volume(density(), 12)
    k = np.array([[3.0, 2.0], [0.0, 5.0], [7.0, -4.0]])
    slices = slice_volume(half, magnified_rotations(table.optics[0], table.rotations).astype(np.float32),
                          k.astype(np.float32))
    # at k as recorded, and at κ = M k as undistorted
    recorded = slices * shift_phases(k[:, 0] / BOX / PIXEL, k[:, 1] / BOX / PIXEL, table.shifts_a)
    kappa = k @ np.array(MATRIX).T
    inside = slice_volume(half, table.rotations.astype(np.float32), kappa.astype(np.float32)) * shift_phases(
        kappa[:, 0] / BOX / PIXEL, kappa[:, 1] / BOX / PIXEL, inner.shifts_a)
    np.testing.assert_allclose(inside, recorded, atol=1e-3 * np.abs(recorded).max())
    np.testing.assert_allclose(distorted_shifts(table, inner.shifts_a), table.shifts_a, atol=1e-12)


def test_first_maps_tell_shifts_of_the_recorded_images():
    """Ab initio reads its rings from undistorted images, and so finds shifts in these."""
    _, table = particles(3, noise_sd=1.0)
    table = replace(table, optics=[replace(table.optics[0], magnification=MATRIX)])
    inner = undistorted_table(table).shifts_a
    found = SimpleNamespace(rotations=table.rotations, shifts_a=inner, halves=np.ones(3, np.int8), best_mass=np.ones(3),
                            log_evidence=np.ones(3), effective_poses=np.ones(3), rows=np.arange(3))
    expected = table.shifts_a.copy()
    np.testing.assert_allclose(posed(table, found, 1).shifts_a, expected, atol=1e-12)


def test_tables_without_distortion_are_left_alone():
    _, table = particles(3, noise_sd=1.0)
    assert undistorted_table(table) is table and distorted_shifts(table, table.shifts_a) is table.shifts_a


def test_a_source_undoes_it_group_by_group(tmp_path):
    source, table = particles(6, noise_sd=0.3, seed=1)
    write_stack(tmp_path / "particles.mrcs", [source.stack], 6, BOX, PIXEL)
    table.stack_paths = [str(tmp_path / "particles.mrcs")]
    optics = [table.optics[0], replace(table.optics[0], magnification=MATRIX)]
    table = replace(table, optics=optics, optics_id=np.array([0, 1, 0, 1, 1, 0], np.int32))
    rows = np.arange(6)
    plain = ParticleSource(table, box_size=BOX, diameter_a=120.0).images(rows)
    found = ParticleSource(table, box_size=BOX, diameter_a=120.0, undistort=True).images(rows)
    np.testing.assert_array_equal(found[[0, 2, 5]], plain[[0, 2, 5]])
    np.testing.assert_allclose(found[[1, 3, 4]], undistorted(plain[[1, 3, 4]], MATRIX), atol=1e-5)
    scratch = dict(box_size=BOX, diameter_a=120.0, scratch_dir=tmp_path / "scratch")
    with ParticleSource(table, **scratch) as one:
        one.fill()
    with ParticleSource(table, **scratch, undistort=True) as other:
        np.testing.assert_allclose(other.images(rows), found, atol=0.02)
