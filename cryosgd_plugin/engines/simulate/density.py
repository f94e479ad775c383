"""From atoms to an electrostatic-potential map, exactly band-limited to the pixel it is sampled with."""
from __future__ import annotations

import gemmi
import numpy as np
import scipy.fft

from ...core.errors import InputError
from . import _gridding

# h² / (2π m e): turns electron scattering lengths (Å) per volume (Å³) into volts; Peng (1999), Micron 30, 625, eq. 4
POTENTIAL_V_A2 = 47.878
# the edge of the band limit, in units of Nyquist: raised cosine, so that maps don't ring
BAND_EDGE = (0.9, 1.0)


def density_from_atoms(positions, elements, box_size, pixel_size, b_factor_a2=60.0):
    """Electrostatic potential of neutral atoms, sampled on a cubic box.

    Parameters
    ----------
    positions : (n, 3) Å, (x, y, z) from the box centre (voxel box_size // 2)
    elements : n element symbols
    box_size : px; pixel_size : Å/px
    b_factor_a2 : Å², isotropic atomic displacement, of all atoms

    Returns
    -------
    (box, box, box) float32 [z, y, x], volts: the sum over voxels × pixel_size³ is 47.878 V Å² × Σ f(0)

    Raises
    ------
    InputError : an unknown element, positions outside the sphere that fits the box

    Notes
    -----
    Electron scattering factors are the five-Gaussian fits of International Tables C (1995), table 4.3.2.2, as gemmi
    holds them. The map is summed in Fourier space up to Nyquist (raised cosine from 0.9 of it), so a projection of
    this map equals the analytic projection of the atoms at any rotation.
    """
    points, weights, groups, symbols = group_atoms(positions, elements, box_size, pixel_size)
    radius = radial_frequency(box_size, 3) / pixel_size
    spectrum = np.zeros((box_size, box_size, box_size // 2 + 1), np.complex128)
    for symbol, start, stop in zip(symbols, groups[:-1], groups[1:]):
        spectrum += (fourier_volume(points[start:stop], weights[start:stop], box_size)
                     * scattering_factor(symbol, radius, b_factor_a2))
    spectrum *= band_limit(radius * 2 * pixel_size) * (POTENTIAL_V_A2 / pixel_size ** 3)
    return volume_from(spectrum, box_size)


def scattering_factor(symbol, frequency, b_factor_a2=0.0):
    """Electron scattering factor (Å) of an element at spatial frequency (1/Å): Σ a exp(−(b + B) k²/4)."""
    coefficients = gemmi.Element(symbol).c4322
    quarter = np.square(frequency) / 4          # s² = (sin θ / λ)² = k²/4
    return sum(a * np.exp(-(b + b_factor_a2) * quarter) for a, b in zip(coefficients.a, coefficients.b))


def centre_of_mass(positions, elements):
    """(3,) Å, weighted by the atoms' masses."""
    mass = {symbol: gemmi.Element(symbol).weight for symbol in set(elements)}
    weights = np.array([mass[symbol] for symbol in elements])
    return weights @ np.asarray(positions) / weights.sum()


def particle_diameter(volume, pixel_size, level=0.05):
    """Å: of the sphere about the box centre that holds all voxels above `level` times the map's maximum."""
    where = np.argwhere(volume > level * volume.max()) - volume.shape[0] // 2
    return float(2 * pixel_size * np.sqrt((where ** 2).sum(axis=1)).max())


def group_atoms(positions, elements, box_size, pixel_size):
    """Atoms sorted by element, in pixels: (points (n, 3), weights of 1 (n,), group starts (g + 1,), symbols).

    Raises InputError for an element without scattering factors and for atoms outside the sphere that fits the box.
    """
    positions = np.asarray(positions, dtype=np.float64)
    elements = np.asarray(elements)
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) != len(elements) or not len(elements):
        raise InputError(f"atoms need one (x, y, z) and one element each; {positions.shape} positions and "
                         f"{len(elements)} elements came")
    if not np.isfinite(positions).all():
        raise InputError("atom positions hold NaN or infinite values; correct the model file")
    check_extent(np.sqrt((positions ** 2).sum(axis=1)).max(), box_size, pixel_size, "the model")
    symbols, group = np.unique(elements, return_inverse=True)
    for symbol in symbols:
        element = gemmi.Element(str(symbol))
        if element.atomic_number == 0 or element.c4322 is None:
            raise InputError(f"element '{symbol}' has no electron scattering factor; "
                             "correct the element column of the model or remove these atoms")
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=len(symbols)))]).astype(np.int64)
    return positions[order] / pixel_size, np.ones(len(order)), starts, [str(s) for s in symbols]


def check_extent(radius_a, box_size, pixel_size, what):
    """Raise InputError unless a sphere of radius_a Å about the box centre fits the box."""
    if radius_a >= box_size * pixel_size / 2:
        need = int(np.ceil(2 * radius_a / pixel_size / 2) * 2) + 8
        raise InputError(f"{what} reaches {radius_a:.0f} Å from its centre, beyond the box of {box_size} px × "
                         f"{pixel_size:g} Å/px; give a box of {need} px or more, or a larger pixel")


def fourier_volume(points, weights, box_size):
    """(d, d, d//2 + 1) complex128 Σ w exp(−2πi k·x / d), x in px from the centre: raw DFT sums of CONVENTIONS.md."""
    fine = _gridding.fine_size(box_size)
    grid = np.zeros((fine, fine, fine))
    _gridding.spread_volume(np.ascontiguousarray(points), np.ascontiguousarray(weights, dtype=np.float64),
                            fine / box_size, _gridding.kernel_table(), grid)
    kept, half, inverse_full, inverse_half = _kept(box_size, fine)
    spectrum = scipy.fft.rfft(grid, axis=2)[:, :, :half]
    del grid
    spectrum = scipy.fft.fft(spectrum, axis=1)[:, kept] * (inverse_full[:, None] * inverse_half)
    return scipy.fft.fft(spectrum, axis=0)[kept] * inverse_full[:, None, None]


def fourier_images(grids, box_size):
    """(…, d, d//2 + 1) complex128 from spread grids (…, m, m), the kernel divided out."""
    kept, half, inverse_full, inverse_half = _kept(box_size, grids.shape[-1])
    spectrum = scipy.fft.rfft(grids, axis=-1)[..., :half]
    return scipy.fft.fft(spectrum, axis=-2)[..., kept, :] * (inverse_full[:, None] * inverse_half)


def radial_frequency(box_size, dimensions):
    """|k| in periods per pixel, on the rfft grid of an image (2) or a volume (3)."""
    full, half = np.fft.fftfreq(box_size), np.fft.rfftfreq(box_size)
    axes = [full] * (dimensions - 1) + [half]
    return np.sqrt(sum(k ** 2 for k in np.meshgrid(*axes, indexing="ij", sparse=True)))


def band_limit(fraction_of_nyquist):
    """1 below BAND_EDGE[0] of Nyquist, 0 above BAND_EDGE[1], a raised cosine between."""
    low, high = BAND_EDGE
    ramp = np.clip((fraction_of_nyquist - low) / (high - low), 0, 1)
    return 0.5 * (1 + np.cos(np.pi * ramp))


def volume_from(spectrum, box_size):
    """(d, d, d) float32, centre at d // 2, from raw coefficients about that centre."""
    return np.fft.fftshift(scipy.fft.irfftn(spectrum, s=(box_size,) * 3)).astype(np.float32)


def _kept(box_size, fine):
    """Which fine frequencies a box keeps, and 1 / kernel transform there."""
    frequency = np.rint(np.fft.fftfreq(box_size) * box_size).astype(int)
    inverse = 1 / _gridding.kernel_transform(fine, box_size // 2)
    return frequency % fine, box_size // 2 + 1, inverse[np.abs(frequency)], inverse
