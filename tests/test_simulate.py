"""The simulation engine: SNR, noise, poses, shifts, CTF, reproducibility and its messages."""
import numpy as np
import pytest
from scipy.stats import kstest

from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft2_centred, frequencies_2d, ifft2_centred
from cryosgd_plugin.core.poses import view_directions
from cryosgd_plugin.core.shells import radial_average, shell_index_2d
from cryosgd_plugin.engines.simulate import draw, engine
from cryosgd_plugin.engines.simulate.config import SimulateConfig
from cryosgd_plugin.engines.simulate.engine import simulate
from cryosgd_plugin.engines.simulate.noise import coloured_power, noise_power
from cryosgd_plugin.engines.simulate.phantom import phantom_atoms
from cryosgd_plugin.engines.simulate.project import atom_projector, real_images

BOX, PIXEL = 32, 8.0


def config(**changes):
    values = dict(n_particles=200, box_size=BOX, pixel_size=PIXEL, seed=5)
    values.update(changes)
    return SimulateConfig(**values)


@pytest.fixture(scope="module")
def phantom():
    return atom_projector(*phantom_atoms(), BOX, PIXEL)


@pytest.fixture(scope="module")
def one_atom():
    return atom_projector([[0.0, 0, 0]], ["C"], BOX, PIXEL, b_factor_a2=4000.0)


def all_images(simulation):
    return np.concatenate([images for _, images in simulation.blocks()])


@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_measured_snr_is_that_asked_for(phantom, noise):
    asked = 0.08
    simulation = simulate([phantom], config(snr=asked, noise=noise, n_particles=300))
    rows = np.arange(300)
    clean = ifft2_centred(simulation.clean_coefficients(rows).astype(np.complex64), BOX)
    noisy = simulation.images(rows)
    difference = noisy - clean
    assert difference.std() == pytest.approx(1.0, rel=0.01)             # the background, as in normalised particles
    measured = clean.var(axis=(1, 2)).mean() / difference.var()
    assert measured == pytest.approx(asked, rel=0.03)
    assert simulation.snr == pytest.approx(asked, rel=1e-6)


def test_snr_energy_is_that_of_the_conventions(phantom):
    simulation = simulate([phantom], config(snr=0.1, noise="coloured", n_particles=50))
    full = np.fft.fft2(ifft2_centred(simulation.clean_coefficients(np.arange(50)).astype(np.complex64), BOX))
    kx, ky = np.meshgrid(np.fft.fftfreq(BOX, PIXEL), np.fft.fftfreq(BOX, PIXEL))
    power = coloured_power(np.hypot(kx, ky))
    sigma2 = BOX ** 2 * power / power.mean()
    assert simulation.snr_energy == pytest.approx((np.abs(full) ** 2 / sigma2).sum(axis=(1, 2)).mean(), rel=1e-4)


@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_noise_has_the_stated_spectrum(one_atom, noise):
    simulation = simulate([one_atom], config(snr=1e-12, noise=noise, n_particles=400))
    shells = shell_index_2d(BOX)
    measured = radial_average((np.abs(fft2_centred(all_images(simulation))) ** 2).mean(axis=0), shells, BOX // 2)
    expected = radial_average(noise_power(noise, BOX, PIXEL), shells, BOX // 2) * BOX ** 2
    assert measured[3:] == pytest.approx(expected[3:], rel=0.06)
    assert measured[1] / measured[-1] == pytest.approx(expected[1] / expected[-1], rel=0.15)
    if noise == "coloured":
        assert coloured_power(0.0) == 10 and coloured_power(1 / 50.0) == 5.5
        assert expected[1] / expected[-1] > 3


def test_particle_sits_at_minus_its_shift(one_atom):
    # amplitude contrast 1 at zero defocus is no CTF at all
    simulation = simulate([one_atom], config(snr=None, n_particles=5, amplitude_contrast=1.0, cs_mm=0.0,
                                             defocus_range_a=(0.0, 0.0), astigmatism_a=0.0, shift_sd_a=20.0))
    y, x = np.indices((BOX, BOX)) - BOX // 2
    for image, shift in zip(all_images(simulation), simulation.table.shifts_a):
        near = image * (np.hypot(x + shift[0] / PIXEL, y + shift[1] / PIXEL) < 7)
        assert (near * x).sum() / near.sum() == pytest.approx(-shift[0] / PIXEL, abs=0.02)
        assert (near * y).sum() / near.sum() == pytest.approx(-shift[1] / PIXEL, abs=0.02)


def test_images_are_scale_times_ctf_times_projection(phantom):
    simulation = simulate([phantom], config(snr=None, n_particles=4, shift_sd_a=0.0, ctf_bfactor_a2=200.0))
    table = simulation.table
    kx, ky = frequencies_2d(BOX, PIXEL)
    expected = phantom.project(table.rotations) * ctf_for(table, np.arange(4), kx, ky) * simulation.signal_scale
    assert np.abs(all_images(simulation) - real_images(expected, BOX)).max() < 1e-5
    assert all_images(simulation).var(axis=(1, 2)).mean() == pytest.approx(1.0, rel=1e-4)
    assert (table.ctf_bfactor == 200).all()


def test_a_coat_is_another_in_each_image_and_no_part_of_the_truth(phantom):
    bare, coated = (simulate([phantom], config(n_particles=40, coat_a=thickness)) for thickness in (0, 25.0))
    assert coated.signal_scale == bare.signal_scale and coated.volumes[0] is bare.volumes[0]
    rows = np.arange(40)
    coats = coated.clean_coefficients(rows, coated=True) - bare.clean_coefficients(rows)
    # all have the same mass, and what is left of each beside it is its own
    high = shell_index_2d(coated.config.box_size) > 4
    shares = [np.corrcoef(np.abs(coats[i][high]), np.abs(coats[i + 1][high]))[0, 1] for i in range(0, 40, 2)]
    assert np.abs(coats).max() > 0 and np.mean(shares) < 0.9
    np.testing.assert_array_equal(coated.images([7, 3]), coated.images(rows)[[7, 3]])
    with pytest.raises(InputError, match="reaches beyond the box"):
        simulate([phantom], config(coat_a=500.0))


def test_black_contrast_turns_the_signal_alone(phantom):
    white, black = (all_images(simulate([phantom], config(n_particles=3, contrast=c))) for c in ("white", "black"))
    clean = all_images(simulate([phantom], config(n_particles=3, snr=None)))
    ratio = np.vdot(white - black, clean) / np.vdot(clean, clean)
    assert np.abs(white - black - ratio * clean).max() < 1e-4 and ratio > 0


def test_uniform_poses_cover_the_sphere():
    views = view_directions(draw.draw_particles(config(n_particles=5000)).rotations)
    for axis in range(3):                    # each coordinate of a uniform direction is uniform in [−1, 1]
        assert kstest(views[:, axis], "uniform", args=(-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize("concentration", [0.0, 2.0, 20.0, 800.0])
def test_preferred_views_follow_von_mises_fisher(concentration):
    axis = np.array([1.0, -2.0, 0.5])
    table = draw.draw_particles(config(n_particles=20000, poses="preferred", preferred_axis=tuple(axis),
                                       concentration=concentration))
    a = table.rotations
    assert np.abs(a @ a.transpose(0, 2, 1) - np.eye(3)).max() < 1e-9 and np.linalg.det(a).min() > 0.99
    cosine = view_directions(a) @ axis / np.linalg.norm(axis)
    k = concentration
    expected = 0.0 if k == 0 else 1 / np.tanh(k) - 1 / k
    assert cosine.mean() == pytest.approx(expected, abs=0.02)
    in_plane = np.arctan2(a[:, 0, 2], -a[:, 1, 2])              # psi spreads over all angles
    assert np.abs(np.exp(1j * in_plane).mean()) < 0.03


def test_ctf_is_shared_within_a_micrograph():
    table = draw.draw_particles(config(n_particles=95, particles_per_micrograph=10, optics_groups=3,
                                       defocus_range_a=(8000.0, 12000.0), astigmatism_a=500.0,
                                       phase_shift_range_deg=(80.0, 100.0)))
    names = table.extra["rlnMicrographName"]
    assert len(set(names)) == 10
    for name in set(names):
        rows = names == name
        for column in (table.defocus_u, table.defocus_angle_deg, table.phase_shift_deg, table.optics_id):
            assert np.ptp(column[rows]) == 0
    assert len(set(table.defocus_u)) == 10 and set(table.optics_id) == {0, 1, 2} and len(table.optics) == 3
    mean, difference = (table.defocus_u + table.defocus_v) / 2, table.defocus_u - table.defocus_v
    assert mean.min() >= 8000 and mean.max() <= 12000 and difference.min() >= 0 and difference.max() <= 500
    assert table.phase_shift_deg.min() >= 80 and table.phase_shift_deg.max() <= 100


def test_structures_come_in_their_fractions(phantom, one_atom):
    simulation = simulate([phantom, one_atom], config(n_particles=2000, fractions=(0.8, 0.2), snr=None))
    assert np.mean(simulation.table.class_id == 1) == pytest.approx(0.8, abs=0.03)
    row = int(np.flatnonzero(simulation.table.class_id == 2)[0])
    alone = simulate([one_atom], config(n_particles=2000, snr=None))
    images = [s.images([row])[0] / s.signal_scale for s in (simulation, alone)]
    assert np.abs(images[0] - images[1]).max() < 1e-4 * np.abs(images[1]).max()


def test_reproducible_by_seed_and_free_of_the_block_size(phantom, monkeypatch):
    images = all_images(simulate([phantom], config(n_particles=20)))
    monkeypatch.setattr(engine, "_BLOCK_BYTES", 3 * 8 * 3 * 64 ** 2)
    small = simulate([phantom], config(n_particles=20))
    assert small.block_size < 20
    assert np.abs(all_images(small) - images).max() < 1e-5
    assert np.array_equal(small.images([7, 3]), small.images([3, 7])[::-1])
    other = all_images(simulate([phantom], config(n_particles=20, seed=6)))
    assert np.abs(np.corrcoef(other.ravel(), images.ravel())[0, 1]) < 0.2


def test_table_without_truth_keeps_the_ctf():
    table = draw.draw_particles(config())
    bare = draw.without_truth(table)
    assert bare.rotations is None and bare.shifts_a is None and bare.class_id is None
    assert np.array_equal(bare.defocus_u, table.defocus_u) and bare.has_ctf


@pytest.mark.parametrize("changes, words", [
    (dict(n_particles=0), "particles were asked for"), (dict(box_size=8), "too small"),
    (dict(pixel_size=0), "not positive"),
    (dict(snr=0.0), "SNR"), (dict(noise="pink"), "noise 'pink' is unknown"), (dict(voltage_kv=0), "voltage"),
    (dict(amplitude_contrast=1.2), "amplitude contrast"), (dict(defocus_range_a=(2e4, 1e4)), "runs backwards"),
    (dict(defocus_range_a=(1e4,)), "two numbers"), (dict(astigmatism_a=-1), "astigmatism"),
    (dict(shift_sd_a=-1), "negative"), (dict(shift_sd_a=60.0), "out of the box"), (dict(poses="top"), "unknown"),
    (dict(concentration=-1), "concentration"), (dict(preferred_axis=(0.0, 0.0, 0.0)), "no direction"),
    (dict(fractions=(0.5, 0.4)), "sum to 1"), (dict(contrast="grey"), "contrast"), (dict(seed=-1), "seed"),
    (dict(optics_groups=0), "optics groups"), (dict(particles_per_micrograph=0), "per micrograph"),
    (dict(model_bfactor_a2=-5), "B-factors"), (dict(pixel_size=float("nan")), "finite"),
    (dict(cs_mm=-1), "aberration")])
def test_bad_settings_are_refused_with_a_sentence(changes, words):
    with pytest.raises(InputError, match=words):
        config(**changes)


def test_structures_must_match_the_settings(phantom):
    with pytest.raises(InputError, match="give one for each"):
        simulate([phantom, phantom], config())
    with pytest.raises(InputError, match="not 48 px"):
        simulate([phantom], config(box_size=48))


def test_config_survives_json():
    import json
    settings = config(poses="preferred", fractions=(0.25, 0.75))
    assert SimulateConfig.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
