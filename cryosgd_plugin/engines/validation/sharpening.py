"""Sharpening as RELION's post-process does it: detector MTF, FSC weighting, a B-factor read from the Guinier plot.

Rosenthal and Henderson (2003), J. Mol. Biol. 333, 721; the order of the steps and the fit are those of RELION 3.1.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError
from ...core.fourier import fft3_centred, ifft3_centred
from ...core.shells import fourier_radius_3d, radial_average, shell_index_3d

# the line of the Guinier plot begins here, Å: at coarser resolution it shows the molecule's shape
FIT_FROM_A = 10.0
# a line through fewer shells is no measurement
FEWEST_SHELLS = 5
# a fit is not to be trusted of maps coarser than this, Å, whose amplitudes still follow the molecule's shape; through
# fewer shells than this; and beyond this, Å², which would take amplitudes down a hundredfold by 4 Å
COARSE_A, FEW_SHELLS, MOST_BFACTOR = 7.0, 10, 300.0
# an FSC below this ends the map: all shells beyond get no weight
LEAST_FSC = 1e-4
# the low-pass falls by a raised cosine this many shells wide beyond the resolution
EDGE_SHELLS = 2.0
# an MTF below this would be divided by next to nothing
LEAST_MTF = 1e-3


@dataclass(frozen=True)
class GuinierFit:
    """A line through ln⟨|F|⟩ over 1/d²: the B-factor is 4 times its slope.

    bfactor : Å², negative where the amplitudes fall; intercept : ln⟨|F|⟩ at 1/d² = 0; correlation : of the points with
    the line; shells : how many were fitted
    """

    bfactor: float
    intercept: float
    correlation: float
    shells: int


@dataclass(frozen=True)
class SharpenedMap:
    """A map sharpened by a B-factor, and its Guinier plots.

    volume : (d, d, d) float32, low-passed at the resolution; bfactor : Å², 0 where there was none to apply
    fit : GuinierFit, or None where it could not or was not to be fitted
    guinier : name → (shells,) ln of the mean amplitude: original, [mtf,] weighted, sharpened; -inf where all is 0
    """

    volume: np.ndarray
    bfactor: float
    fit: GuinierFit | None
    guinier: dict


def sharpen(volume, curve, *, pixel_size: float, resolution_a: float, bfactor: float = None, mtf=None) -> SharpenedMap:
    """Sharpen the mean of two half-maps.

    Parameters
    ----------
    volume : (d, d, d), unfiltered mean of the halves; pixel_size : Å/px
    curve : (d//2 + 1,) FSC of the halves, for the weight √(2 FSC / (1 + FSC))
    resolution_a : Å, where the fit and the map end
    bfactor : Å², negative sharpens; None fits it from 10 Å to the resolution, and applies 0 where that can't be done
    mtf : (d//2 + 1,) detector MTF at each shell of this map, or None
    """
    box = len(volume)
    index = shell_index_3d(box)
    spectrum = fft3_centred(volume) / np.float32(box**3)
    frequency = np.arange(box // 2 + 1) / (box * pixel_size)
    guinier = {"original": log_amplitudes(spectrum, index)}
    if mtf is not None:
        spectrum = spectrum / _by_shell(np.maximum(mtf, LEAST_MTF), index, beyond=np.inf)
        guinier["mtf"] = log_amplitudes(spectrum, index)
    spectrum = spectrum * _by_shell(fsc_weight(curve), index)
    guinier["weighted"] = log_amplitudes(spectrum, index)
    fit = None
    if bfactor is None:
        fit = fit_guinier(frequency, guinier["weighted"], resolution_a)
        bfactor = fit.bfactor if fit else 0.0
    radius = fourier_radius_3d(box)
    spectrum = spectrum * np.exp(np.float32(-bfactor / 4 / (box * pixel_size) ** 2) * radius**2)
    guinier["sharpened"] = log_amplitudes(spectrum, index)
    spectrum *= low_pass(radius, box * pixel_size / resolution_a)
    return SharpenedMap(ifft3_centred(spectrum * np.float32(box**3), box), float(bfactor), fit, guinier)


def fsc_weight(curve) -> np.ndarray:
    """√(2 FSC / (1 + FSC)) of each shell, 0 from the first one below LEAST_FSC on. Rosenthal and Henderson (2003)."""
    curve = np.asarray(curve, np.float64)
    ended = np.logical_or.accumulate(curve < LEAST_FSC)
    known = np.where(ended, 0, np.clip(curve, 0, 1))
    return np.sqrt(2 * known / (1 + known))


def fit_guinier(frequency, logarithms, resolution_a: float) -> GuinierFit | None:
    """Least squares through the shells between FIT_FROM_A and the resolution that have amplitude.

    frequency : (shells,) 1/Å; logarithms : (shells,) ln⟨|F|⟩. Returns None where fewer than FEWEST_SHELLS are left.
    """
    frequency, logarithms = np.asarray(frequency), np.asarray(logarithms)
    used = (frequency >= 1 / FIT_FROM_A) & (frequency <= 1 / resolution_a * (1 + 1e-6)) & np.isfinite(logarithms)
    if np.count_nonzero(used) < FEWEST_SHELLS:
        return None
    x, y = frequency[used] ** 2, logarithms[used]
    slope, intercept = np.polyfit(x, y, 1)
    return GuinierFit(float(4 * slope), float(intercept), float(np.corrcoef(x, y)[0, 1]), int(used.sum()))


def doubts_of_fit(fit: GuinierFit, resolution_a: float) -> str | None:
    """A sentence on why a fitted B-factor is not to be trusted and what to do; None where it is.

    resolution_a : Å, where the fit ended
    """
    reasons = []
    if resolution_a > COARSE_A:
        reasons.append(f"the map ends at {resolution_a:.1f} Å, and from {FIT_FROM_A:g} to {COARSE_A:g} Å the "
                       "amplitudes fall by the molecule's shape and not by a B-factor")
    if fit.shells < FEW_SHELLS:
        reasons.append(f"{fit.shells} shells are few for a line")
    if abs(fit.bfactor) > MOST_BFACTOR:
        reasons.append(f"usual are -40 to -150 Å², and beyond ±{MOST_BFACTOR:g} noise is sharpened")
    if not reasons:
        return None
    return (f"The fitted B-factor of {fit.bfactor:.0f} Å² is doubtful: {'; '.join(reasons)}. Give one with --bfactor "
            "(B-factor in the form), such as -100, or 0 for an unsharpened map, and compare the maps.")


def log_amplitudes(spectrum, index) -> np.ndarray:
    """(shells,) ln of the mean amplitude of each shell of a half transform, every stored coefficient counted once."""
    with np.errstate(divide="ignore"):
        return np.log(radial_average(np.abs(spectrum), index, int(index.max())))


def low_pass(shells, limit: float) -> np.ndarray:
    """1 up to the shell of a limit, 0 from EDGE_SHELLS beyond on, a raised cosine between: float32."""
    fall = np.clip((shells - (np.rint(limit) + 0.5)) / EDGE_SHELLS, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * fall)).astype(np.float32)


def mtf_of_shells(frequencies, values, *, mtf_pixel_size: float, box_size: int, pixel_size: float) -> np.ndarray:
    """(box//2 + 1,) MTF at the shells of a map.

    frequencies, values : the detector's curve, 1/px of it, 0 to 0.5; mtf_pixel_size : Å of a detector pixel on the
    specimen. Raises InputError where the map's shells reach beyond the curve, or it is no MTF.
    """
    frequencies, values = np.asarray(frequencies, float), np.asarray(values, float)
    if len(frequencies) < 2 or not (np.diff(frequencies) > 0).all() or not (values > 0).all():
        raise InputError("the MTF is no curve of rising frequencies and positive values; give a STAR file with "
                         "rlnResolutionInversePixel and rlnMtfValue")
    asked = np.arange(box_size // 2 + 1) / (box_size * pixel_size) * mtf_pixel_size
    if asked[-1] > frequencies[-1] * (1 + 1e-3):
        raise InputError(f"the map's Nyquist frequency is {asked[-1]:.3f} per detector pixel of {mtf_pixel_size:g} Å, "
                         f"where the MTF ends at {frequencies[-1]:.3f}; correct the pixel size of the MTF")
    return np.interp(asked, frequencies, values)


def _by_shell(values, index, beyond=0.0):
    """A value of each shell at each coefficient, float32; beyond : what the corners get."""
    return np.append(values, beyond).astype(np.float32)[index]
