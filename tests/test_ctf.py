"""The CTF against numbers worked out independently, its optics groups, and its higher-order terms."""
import numpy as np
import pytest

from cryosgd_plugin.core import fourier
from cryosgd_plugin.core.ctf import (
    aberration_phase,
    ctf,
    ctf_for,
    electron_wavelength_a,
    magnified_frequencies,
    magnified_rotations,
    unsupported_optics,
    zernike_phase,
)
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.particles import OpticsGroup, ParticleTable

PLAIN = dict(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1)


def table_of(optics, optics_id, **columns):
    n = len(optics_id)
    filled = dict(defocus_u=np.full(n, 15000.0), defocus_v=np.full(n, 15000.0), defocus_angle_deg=np.zeros(n),
                  phase_shift_deg=np.zeros(n), ctf_bfactor=np.zeros(n), ctf_scale=np.ones(n))
    filled.update({name: np.asarray(values, dtype=float) for name, values in columns.items()})
    return ParticleTable(stack_paths=["x.mrcs"], stack_id=np.zeros(n, np.int32), stack_index=np.arange(n),
                         optics=optics, optics_id=np.asarray(optics_id, dtype=np.int32), ids=np.arange(n), **filled)


def group(**changed):
    return OpticsGroup(**{**dict(name="og", voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1, pixel_size=1.0,
                                 box_size=64), **changed})


@pytest.mark.parametrize("kv, rounded", [(100, 0.0370), (120, 0.0335), (200, 0.0251), (300, 0.0197)])
def test_wavelength(kv, rounded):
    assert electron_wavelength_a(kv) == pytest.approx(rounded, abs=5e-5)  # Williams and Carter (2009), table 1.2
    volts = 1e3 * kv
    usual_form = 12.2642598 / np.sqrt(volts * (1 + 0.978475597e-6 * volts))  # CODATA 2018 put into the usual form
    assert electron_wavelength_a(kv) == pytest.approx(usual_form, rel=5e-6)
    assert electron_wavelength_a(np.array([kv, kv])).shape == (2,)


@pytest.mark.parametrize("kv", [0, -300])
def test_voltage_must_be_positive(kv):
    with pytest.raises(InputError, match="voltage .* not positive"):
        electron_wavelength_a(kv)


def test_first_zero_where_a_textbook_puts_it():
    """No Cs, no amplitude contrast: C = sin(π λ Δf k²) vanishes at k = 1/√(λ Δf)."""
    first_zero = 1 / np.sqrt(electron_wavelength_a(300) * 20000.0)
    k = np.linspace(1e-4, 1.5 * first_zero, 20001)
    c = ctf(k, 0 * k, defocus_u=20000.0, defocus_v=20000.0, defocus_angle_deg=0.0, voltage_kv=300.0, cs_mm=0.0,
            amplitude_contrast=0.0)
    crossing = k[np.flatnonzero(np.diff(np.sign(c)))]
    assert crossing[0] == pytest.approx(first_zero, rel=1e-4)
    assert first_zero == pytest.approx(1 / 19.843, rel=1e-4)  # √(0.0196875 · 20000) Å


def test_dc_is_the_amplitude_contrast_and_positive():
    for contrast in (0.07, 0.1, 1.0):
        assert ctf(np.zeros(1), np.zeros(1), defocus_u=1e4, defocus_v=1e4, defocus_angle_deg=0.0, voltage_kv=200.0,
                   cs_mm=2.0, amplitude_contrast=contrast)[0] == pytest.approx(contrast)
    phase_plate = ctf(np.zeros(1), np.zeros(1), defocus_u=1e4, defocus_v=1e4, defocus_angle_deg=0.0, voltage_kv=200.0,
                      cs_mm=2.0, amplitude_contrast=0.0, phase_shift_deg=90.0)
    assert phase_plate[0] == pytest.approx(1.0)


def test_against_the_formula_written_out_with_an_arctangent():
    rng = np.random.default_rng(0)
    kx, ky = rng.uniform(-0.25, 0.25, (2, 500))
    u, v, angle, shift, b, scale = 21345.0, 17654.0, 33.0, 71.0, 42.0, 0.83
    k, azimuth = np.hypot(kx, ky), np.degrees(np.arctan2(ky, kx))
    wavelength = 12.2642598 / np.sqrt(3e5 * (1 + 0.978475597e-6 * 3e5))  # CODATA 2018 values put into the usual form
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(np.radians(2 * (azimuth - angle)))
    gamma = (np.pi * wavelength * defocus * k**2 - np.pi / 2 * 2.7e7 * wavelength**3 * k**4 + np.radians(shift)
             + np.arcsin(0.1))
    expected = scale * np.exp(-b * k**2 / 4) * np.sin(gamma)
    given = ctf(kx, ky, defocus_u=u, defocus_v=v, defocus_angle_deg=angle, phase_shift_deg=shift, bfactor=b,
                scale=scale, **PLAIN)
    # a phase of up to 70 rad, and constants that differ in the seventh digit
    assert np.abs(given - expected).max() < 5e-4 and np.abs(expected).max() > 0.5


def test_astigmatism_points_along_the_defocus_angle():
    """Along the angle (from x towards y) the defocus is U, across it V."""
    k, angle = 0.05, np.radians(30.0)
    both = dict(defocus_u=25000.0, defocus_v=15000.0, defocus_angle_deg=30.0, **PLAIN)
    for direction, defocus in ((angle, 25000.0), (angle + np.pi / 2, 15000.0), (angle + np.pi, 25000.0)):
        kx, ky = np.array([k * np.cos(direction)]), np.array([k * np.sin(direction)])
        round_ctf = ctf(kx, ky, defocus_u=defocus, defocus_v=defocus, defocus_angle_deg=0.0, **PLAIN)
        assert ctf(kx, ky, **both) == pytest.approx(round_ctf, abs=1e-12)
    mirrored = ctf(np.array([k * np.cos(angle)]), np.array([-k * np.sin(angle)]), **both)
    assert abs(mirrored - ctf(np.array([k * np.cos(angle)]), np.array([k * np.sin(angle)]), **both)) > 0.05


def test_broadcasts_and_keeps_float32():
    kx, ky = fourier.frequencies_2d(16, 2.0)
    defocus = np.array([1e4, 2e4, 3e4]).reshape(3, 1, 1)
    given = ctf(kx, ky, defocus_u=defocus, defocus_v=defocus, defocus_angle_deg=np.zeros((3, 1, 1)),
                bfactor=np.float64(3), scale=np.float64(0.5), **PLAIN)
    assert given.shape == (3, 16, 9) and given.dtype == np.float32
    double = ctf(kx.astype(float), ky.astype(float), defocus_u=defocus, defocus_v=defocus, defocus_angle_deg=0.0,
                 bfactor=3.0, scale=0.5, **PLAIN)
    assert double.dtype == np.float64 and np.abs(given - double).max() < 2e-5


def test_float32_holds_at_high_defocus_and_resolution():
    kx, ky = fourier.frequencies_2d(256, 1.0)
    args = dict(defocus_u=40000.0, defocus_v=39000.0, defocus_angle_deg=10.0, **PLAIN)
    assert np.abs(ctf(kx, ky, **args) - ctf(kx.astype(float), ky.astype(float), **args)).max() < 3e-4


def test_amplitude_contrast_must_be_a_fraction():
    with pytest.raises(InputError, match="amplitude contrast 7"):
        ctf(np.zeros(1), np.zeros(1), defocus_u=1e4, defocus_v=1e4, defocus_angle_deg=0.0, voltage_kv=300.0, cs_mm=2.7,
            amplitude_contrast=7.0)


def test_ctf_for_uses_each_particles_own_optics_group():
    optics = [group(), group(name="b", voltage_kv=200.0, cs_mm=1.4, amplitude_contrast=0.07)]
    table = table_of(optics, [0, 1, 0, 1], defocus_u=[1e4, 1.5e4, 2e4, 2.5e4], defocus_v=[0.9e4, 1.4e4, 1.9e4, 2.4e4],
                     defocus_angle_deg=[0, 20, 40, 60], phase_shift_deg=[0, 0, 90, 0], ctf_bfactor=[0, 50, 0, 0],
                     ctf_scale=[1, 1, 0.5, 1])
    kx, ky = fourier.frequencies_2d(32, 2.0)
    rows = np.array([3, 0, 1])
    given = ctf_for(table, rows, kx, ky)
    assert given.shape == (3, 32, 17) and given.dtype == np.float32
    for image, row in zip(given, rows):
        og = optics[table.optics_id[row]]
        single = ctf(kx, ky, defocus_u=table.defocus_u[row], defocus_v=table.defocus_v[row],
                     defocus_angle_deg=table.defocus_angle_deg[row], voltage_kv=og.voltage_kv, cs_mm=og.cs_mm,
                     amplitude_contrast=og.amplitude_contrast, phase_shift_deg=table.phase_shift_deg[row],
                     bfactor=table.ctf_bfactor[row], scale=table.ctf_scale[row])
        assert np.abs(image - single).max() < 1e-6
    flat = ctf_for(table, rows, kx.ravel(), ky.ravel())
    assert np.array_equal(flat.reshape(given.shape), given)
    assert np.array_equal(ctf_for(table, np.array([False, True, False, True]), kx, ky), ctf_for(table, [1, 3], kx, ky))


def test_no_ctf_is_said():
    table = table_of([group()], [0])
    table.has_ctf = False
    with pytest.raises(InputError, match="carry no CTF"):
        ctf_for(table, [0], np.zeros(1), np.zeros(1))


EVEN_TERMS = (lambda x, y, q: 1 + 0 * x, lambda x, y, q: 2 * x * y, lambda x, y, q: 2 * q - 1,
              lambda x, y, q: x**2 - y**2,
              lambda x, y, q: 4 * x * y * (x**2 - y**2), lambda x, y, q: 2 * x * y * (4 * q - 3),
              lambda x, y, q: 6 * q**2 - 6 * q + 1, lambda x, y, q: (x**2 - y**2) * (4 * q - 3),
              lambda x, y, q: x**4 - 6 * x**2 * y**2 + y**4)
ODD_TERMS = (lambda x, y, q: y, lambda x, y, q: x, lambda x, y, q: 3 * x**2 * y - y**3, lambda x, y, q: y * (3 * q - 2),
             lambda x, y, q: x * (3 * q - 2), lambda x, y, q: x**3 - 3 * x * y**2)


@pytest.mark.parametrize("parity, terms", [("even", EVEN_TERMS), ("odd", ODD_TERMS)])
def test_zernike_terms_are_relions_list(parity, terms):
    """Each index of the coefficient list against its polynomial written out in x, y and q = x² + y²."""
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 50))
    for i, term in enumerate(terms):
        one = np.zeros(len(terms))
        one[i] = 1.0
        assert zernike_phase(one, x, y, parity) == pytest.approx(term(x, y, x**2 + y**2)), i


def test_even_zernike_enters_gamma_with_relions_sign():
    """RELION: C = −sin(−γ + offset); proved against its projections in test_relion_reference.py."""
    coefficients = (0.3, 10.0, -20.0, 40.0)
    kx, ky = fourier.frequencies_2d(32, 4.0)
    given = ctf_for(table_of([group(even_zernike=coefficients)], [0]), [0], kx, ky)[0]
    expected = ctf(kx, ky, defocus_u=15000.0, defocus_v=15000.0, defocus_angle_deg=0.0, **PLAIN,
                   gamma_offset=-zernike_phase(coefficients, kx, ky, "even"))
    assert np.abs(given - expected).max() < 1e-5
    plain = ctf_for(table_of([group()], [0]), [0], kx, ky)[0]
    assert np.abs(given - plain).max() > 0.1


def test_beam_tilt_is_the_cubic_phase_of_the_textbooks():
    """φ = −2π Cs λ² k² (θ · k); 0.3 1/Å, 2.7 mm, 300 kV, 1 mrad along x: −2π · 2.7e7 · 3.876e-4 · 1e-3 · 0.027 rad."""
    tilted = group(beam_tilt_mrad=(1.0, 0.0))
    phase = aberration_phase(tilted, np.array([0.3, -0.3, 0.0]), np.array([0.0, 0.0, 0.3]))
    assert phase == pytest.approx([-1.7753, 1.7753, 0.0], abs=2e-4)
    # the same coma as odd Zernike coefficients: 3 ρ² x = (3 ρ³ − 2 ρ) cos φ + 2 ρ cos φ
    scale = 2e4 * np.pi * 2.7 * electron_wavelength_a(300) ** 2 / 3
    as_zernike = group(odd_zernike=(0.0, -2 * scale, 0.0, 0.0, -scale, 0.0))
    kx, ky = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 40))
    assert aberration_phase(as_zernike, kx, ky) == pytest.approx(aberration_phase(tilted, kx, ky), abs=1e-9)


def test_aberration_phase_is_odd_so_that_images_stay_real():
    aberrated = group(beam_tilt_mrad=(0.4, -1.2), odd_zernike=(1.0, 2.0, -30.0, 40.0, 50.0, -60.0),
                      magnification=((1.01, 0.002), (-0.001, 0.99)))
    kx, ky = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 40))
    assert aberration_phase(aberrated, -kx, -ky) == pytest.approx(-aberration_phase(aberrated, kx, ky))
    assert np.array_equal(aberration_phase(group(), kx, ky), np.zeros(40))


def test_anisotropic_magnification_moves_the_coordinates():
    matrix = ((1.02, 0.01), (-0.005, 0.98))
    kx, ky = np.array([0.1, 0.0], dtype=np.float32), np.array([0.0, 0.1], dtype=np.float32)
    mx, my = magnified_frequencies(group(magnification=matrix), kx, ky)
    assert mx == pytest.approx([0.102, 0.001]) and my == pytest.approx([-0.0005, 0.098]) and mx.dtype == np.float32
    stretched = ctf_for(table_of([group(magnification=matrix)], [0]), [0], kx, ky)
    assert stretched == pytest.approx(ctf_for(table_of([group()], [0]), [0], mx, my))
    identity = group(magnification=((1.0, 0.0), (0.0, 1.0)))
    assert magnified_frequencies(identity, kx, ky) == (kx, ky)
    turned = magnified_rotations(group(magnification=matrix), np.eye(3)[None])[0]
    # the slice at k reads the volume at (Mᵀ A)ᵀ k = M k for A = 1
    assert turned.T @ [kx[0], ky[0], 0] == pytest.approx([mx[0], my[0], 0])


def test_what_is_not_applied_is_named():
    applied = group(beam_tilt_mrad=(1.0, 0.0), odd_zernike=(1.0,), even_zernike=(1.0,))
    assert unsupported_optics(table_of([applied], [0])) == []
    other = group(extra={"rlnMtfFileName": "k2.star", "rlnCtfDataAreCtfPremultiplied": "1"})
    named = unsupported_optics(table_of([other], [0]))
    assert len(named) == 2 and "k2.star" in named[0] and "premultiplied" in named[1]
    per_particle = table_of([group()], [0, 0])
    per_particle.extra["rlnBeamTiltX"] = np.array([0.0, 0.5])
    assert "rlnBeamTiltX" in unsupported_optics(per_particle)[0]
