"""The contrast transfer function with RELION's sign and its higher-order terms (CONVENTIONS.md).

What is applied where, for the higher-order columns of an optics group:
 - anisotropic magnification: `ctf_for` and `aberration_phase` evaluate at the corrected frequency M·k themselves; the
   slices need it too: give them `magnified_rotations` in place of the rotations;
 - even Zernike terms: `ctf_for` adds them to γ;
 - beam tilt and odd Zernike terms: not in `ctf_for`; multiply the image's coefficients by exp(−i·`aberration_phase`).
"""
from __future__ import annotations

from math import factorial, isqrt

import numpy as np
from scipy import constants

from .errors import InputError


def electron_wavelength_a(voltage_kv):
    """Relativistic de Broglie wavelength in Å of electrons accelerated by voltage_kv (kV, number or array).

    Raises InputError for a voltage that is not positive.
    """
    volts = np.asarray(voltage_kv, dtype=np.float64) * 1e3
    if not np.all(volts > 0):
        raise InputError(f"acceleration voltage {voltage_kv} kV is not positive; correct it in the particles' optics")
    energy, rest = constants.e * volts, constants.m_e * constants.c**2
    wavelength = 1e10 * constants.h * constants.c / np.sqrt(energy * (energy + 2.0 * rest))
    return float(wavelength) if wavelength.ndim == 0 else wavelength


def ctf(kx, ky, *, defocus_u, defocus_v, defocus_angle_deg, voltage_kv, cs_mm, amplitude_contrast,
        phase_shift_deg=0.0, bfactor=0.0, scale=1.0, gamma_offset=None, xp=np):
    """C(k) = scale · exp(−B k²/4) · sin γ, positive near DC for white particles.

    γ = π λ Δf(k) k² − ½ π Cs λ³ k⁴ + phase shift + asin(amplitude contrast) + gamma_offset, with
    Δf(k) = ½(U + V) + ½(U − V) cos 2(α − defocus angle), α from x towards y.
    Mindell and Grigorieff (2003), J. Struct. Biol. 142, 334, with RELION's sign.

    Parameters
    ----------
    kx, ky : arrays of one shape, spatial frequency in 1/Å; float32 gives float32
    defocus_u, defocus_v : Å, positive for underfocus; defocus_angle_deg, phase_shift_deg : degrees
    voltage_kv : kV; cs_mm : mm; amplitude_contrast : fraction; bfactor : Å²; scale : none
    gamma_offset : rad, an array that broadcasts, or None
    Every parameter is a number or an array that broadcasts against kx: (n, 1, 1) with kx (h, w) gives (n, h, w).

    Raises
    ------
    InputError : voltage not positive, amplitude contrast outside [−1, 1]
    """
    kx, ky = xp.asarray(kx), xp.asarray(ky)
    contrast = np.asarray(amplitude_contrast, dtype=np.float64)
    if not np.all(np.abs(contrast) <= 1):
        raise InputError(f"amplitude contrast {amplitude_contrast} lies outside 0 to 1; "
                         "correct it in the particles' optics")
    # the coefficients of γ as a polynomial in (kx, ky), in double precision: one rounding, and no arctan per pixel
    u, v, angle, cs = (np.asarray(value, dtype=np.float64)
                       for value in (defocus_u, defocus_v, defocus_angle_deg, cs_mm))
    wavelength = electron_wavelength_a(voltage_kv)
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    on = _caster(xp, kx.dtype)
    xx = on(np.pi * wavelength * (u * cosine**2 + v * sine**2))
    yy = on(np.pi * wavelength * (u * sine**2 + v * cosine**2))
    xy = on(2.0 * np.pi * wavelength * (u - v) * sine * cosine)
    quartic = on(-0.5 * np.pi * cs * 1e7 * np.asarray(wavelength) ** 3)
    constant = on(np.radians(np.asarray(phase_shift_deg, dtype=np.float64)) + np.arcsin(contrast))

    squared = kx * kx + ky * ky
    gamma = xx * (kx * kx) + yy * (ky * ky) + xy * (kx * ky) + quartic * (squared * squared) + constant
    if gamma_offset is not None:
        gamma = gamma + xp.asarray(gamma_offset, dtype=kx.dtype)
    transfer = xp.sin(gamma)
    if np.any(np.asarray(bfactor) != 0):
        transfer = transfer * xp.exp(on(-0.25 * np.asarray(bfactor, dtype=np.float64)) * squared)
    return transfer * on(scale)


def ctf_for(table, rows, kx, ky, xp=np):
    """C of some particles of a table, each with its optics group: (len(rows),) + kx.shape float32.

    table : ParticleTable; rows : (n,) indices; kx, ky : 1/Å, of any one shape.
    Applied: astigmatic defocus, Cs, amplitude contrast, phase shift, B-factor, scale, even Zernike terms, and the
    anisotropic magnification of the coordinates. Not applied: beam tilt and odd Zernike terms, which shift phases
    (`aberration_phase`). Raises InputError where the table carries no CTF.
    """
    if not table.has_ctf:
        raise InputError("the particles carry no CTF (no defocus); estimate it, or import particles that have it")
    rows = np.atleast_1d(np.asarray(rows))
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    kx, ky = xp.asarray(kx, dtype=xp.float32), xp.asarray(ky, dtype=xp.float32)
    transfer = xp.empty((len(rows),) + kx.shape, dtype=xp.float32)
    per_particle = (-1,) + (1,) * kx.ndim
    groups = np.asarray(table.optics_id)[rows]
    for number in np.unique(groups):
        optics, members = table.optics[number], np.flatnonzero(groups == number)
        chosen = rows[members]
        mx, my = magnified_frequencies(optics, kx, ky)
        column = {name: np.asarray(getattr(table, name), dtype=np.float64)[chosen].reshape(per_particle) for name in
                  ("defocus_u", "defocus_v", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale")}
        # RELION adds its even terms to −γ
        even = -_wrapped(zernike_phase(optics.even_zernike, mx, my, "even", xp), xp) if _present(
            optics.even_zernike) else None
        transfer[xp.asarray(members)] = ctf(
            mx, my, voltage_kv=optics.voltage_kv, cs_mm=optics.cs_mm, amplitude_contrast=optics.amplitude_contrast,
            bfactor=column.pop("ctf_bfactor"), scale=column.pop("ctf_scale"), gamma_offset=even, xp=xp, **column)
    return transfer


def aberration_phase(optics, kx, ky, xp=np):
    """Phase in rad that beam tilt and odd Zernike terms added to an image; multiply by exp(−i·phase) to remove it.

    optics : OpticsGroup; kx, ky : 1/Å. Returns float64 of kx's shape, zero where the group has neither.
    φ(k) = Σ c_i Z_i(M k) − 2π Cs λ² |M k|² (θ · M k), θ the beam tilt: RELION's definitions (Zivanov, Nakane and
    Scheres (2020), IUCrJ 7, 253), M the anisotropic magnification.
    """
    kx, ky = magnified_frequencies(optics, xp.asarray(kx, dtype=xp.float64), xp.asarray(ky, dtype=xp.float64))
    phase = xp.zeros_like(kx)
    if _present(optics.odd_zernike):
        phase = phase + zernike_phase(optics.odd_zernike, kx, ky, "odd", xp)
    if _present(optics.beam_tilt_mrad):
        # Cs in Å (1e7 per mm) times the tilt in rad (1e-3 per mrad)
        coma = 2.0 * np.pi * 1e4 * optics.cs_mm * electron_wavelength_a(optics.voltage_kv) ** 2
        tilt_x, tilt_y = (float(tilt) for tilt in optics.beam_tilt_mrad)
        phase = phase - (coma * tilt_x * kx + coma * tilt_y * ky) * (kx * kx + ky * ky)
    return phase


def magnified_frequencies(optics, kx, ky):
    """(kx, ky) → M·(kx, ky), the frequency in the undistorted image; unchanged without a magnification matrix."""
    if not is_distorted(optics):
        return kx, ky
    matrix = np.asarray(optics.magnification, dtype=np.float64)
    (m00, m01), (m10, m11) = ((float(entry) for entry in row) for row in matrix)
    return m00 * kx + m01 * ky, m10 * kx + m11 * ky


def magnified_rotations(optics, rotations):
    """Mᵀ·A in place of A, so that a slice at k reads V̂(Aᵀ·M·k): (n, 3, 3) float64, no longer orthogonal."""
    rotations = np.asarray(rotations, dtype=np.float64)
    if not is_distorted(optics):
        return rotations
    matrix = np.eye(3)
    matrix[:2, :2] = optics.magnification
    return matrix.T @ rotations


def zernike_phase(coefficients, kx, ky, parity, xp=np):
    """Σ c_i Z_i(kx, ky) in rad, float64, for RELION's lists of odd or even coefficients, frequencies in 1/Å.

    Z = R_n^|m|(ρ) · cos mφ for m ≥ 0, · sin |m|φ for m < 0; index i runs over m = −n, −n + 2 … n within each n,
    n = 1, 3, 5 … (parity 'odd') or 0, 2, 4 … ('even').
    """
    # in double precision: at ρ ≪ 1 the polynomials cancel almost completely, coefficients of thousands are common
    kx, ky = xp.asarray(kx, dtype=xp.float64), xp.asarray(ky, dtype=xp.float64)
    squared = kx * kx + ky * ky
    total = xp.zeros_like(kx)
    for i, coefficient in enumerate(coefficients):
        if coefficient == 0:
            continue
        n, m = _zernike_order(i, parity)
        radial = xp.zeros_like(kx)
        for j in range((n - abs(m)) // 2 + 1):  # Horner over the powers of ρ², highest first
            term = (-1) ** j * factorial(n - j) / (
                factorial(j) * factorial((n + abs(m)) // 2 - j) * factorial((n - abs(m)) // 2 - j))
            radial = radial * squared + term
        # ρ^|m| e^{i|m|φ} = (kx + i·ky)^|m|: no arctan, and no ambiguity at the origin
        harmonic_re, harmonic_im = xp.ones_like(kx), xp.zeros_like(kx)
        for _ in range(abs(m)):
            harmonic_re, harmonic_im = harmonic_re * kx - harmonic_im * ky, harmonic_re * ky + harmonic_im * kx
        total = total + float(coefficient) * radial * (harmonic_re if m >= 0 else harmonic_im)
    return total


def unsupported_optics(table):
    """Sentences naming what of the table's optics neither `ctf_for` nor `aberration_phase` applies; [] where all is.

    Named: a detector MTF file, CTF-premultiplied and CTF-corrected particles in the optics table; per-particle beam
    tilt columns, which older STAR files carry.
    """
    sentences = []
    for group in table.optics:
        extra = {tag.lstrip("_"): str(value).strip().strip('"') for tag, value in group.extra.items()}
        stated = {tag: value for tag, value in extra.items() if value not in ("", "None", "0", "0.0", "0.000000")}
        name = f"optics group '{group.name}'"
        if "rlnMtfFileName" in stated:
            sentences.append(f"{name} names the detector MTF {stated['rlnMtfFileName']}, which is not applied: the map "
                             "is damped by it, and sharpening undoes most of that")
        if "rlnCtfDataAreCtfPremultiplied" in stated:
            sentences.append(f"{name} holds CTF-premultiplied images, which are not supported; extract the particles "
                             "without premultiplying")
        if "rlnCtfDataAreCtfCorrected" in stated:
            sentences.append(f"{name} is marked as CTF-corrected, which is not supported; give uncorrected particles")
    for tag in ("rlnBeamTiltX", "rlnBeamTiltY"):
        values = {key.lstrip("_"): column for key, column in table.extra.items()}.get(tag)
        if values is not None and np.any(np.asarray(values, dtype=np.float64) != 0):
            sentences.append(f"the per-particle column {tag} is not applied; beam tilt belongs in the optics table")
    return sentences


def _caster(xp, dtype):
    """A function that makes a parameter an array of the frequencies' type, so that it can't promote float32."""
    return lambda value: xp.asarray(np.asarray(value, dtype=np.float64), dtype=dtype)


def _wrapped(angle, xp):
    """The angle less its whole turns, so that float32 keeps its digits."""
    return angle - 2.0 * np.pi * xp.rint(angle / (2.0 * np.pi))


def _present(values):
    return values is not None and np.any(np.asarray(values, dtype=np.float64) != 0)


def is_distorted(optics) -> bool:
    """Whether an optics group has an anisotropic magnification other than the identity."""
    return optics.magnification is not None and not np.array_equal(np.asarray(optics.magnification), np.eye(2))


def _zernike_order(index, parity):
    """(n, m) of the index-th coefficient of RELION's odd or even list."""
    if parity == "even":
        half = isqrt(index)
        return 2 * half, 2 * (index - half * half - half)
    half = (isqrt(4 * index + 1) - 1) // 2
    return 2 * half + 1, 2 * (index - half * half - half) - (2 * half + 1)
