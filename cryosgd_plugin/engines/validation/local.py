"""Local resolution: where in the map two half-maps agree to how many Å.

The FSC of windows cut out around every voxel (Cardone, Heymann and Steven 2013, J. Struct. Biol. 184, 226), taken for
all voxels at once: both halves are band-passed shell by shell, and the products of what is left are averaged over a
Gaussian window, whose transform is as wide as the bands. The average is taken within the mask and nothing is
multiplied into the maps, so that no mask's edge correlates. Spectra are flattened first, else the strong low
frequencies of a band would decide it.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.fourier import fft3_centred, ifft3_centred
from ...core.settings import Settings, need
from ...core.shells import fourier_radius_3d, radial_average, shell_index_3d

# Cardone et al.'s threshold: noise is in both halves and the window holds few coefficients
THRESHOLD = 0.5
# the window's full width at half maximum, in units of the global resolution; at that resolution it then holds about a
# thousand independent numbers, and the correlation of noise scatters by 0.03
WINDOW_RESOLUTIONS = 5.0
# in a box without room for that one, no smaller window than this is taken unasked: noise scatters by 0.12 in it
LEAST_RESOLUTIONS = 2.0
# widths of a window that a box can hold: px, and share of the box
LEAST_PX, MOST_OF_BOX = 4, 0.5
FWHM = 2 * np.sqrt(2 * np.log(2))
# beyond so many σ the window is cut
REACH = 3.0


@dataclass(frozen=True)
class LocalConfig(Settings):
    """window_a : full width at half maximum of the window, Å, None for `usual_window`; threshold : FSC at which a
    voxel's curve ends."""

    window_a: float | None = None
    threshold: float = THRESHOLD

    def __post_init__(self):
        need(self.window_a is None or self.window_a > 0, f"a window of {self.window_a} Å is not positive")
        need(0 < self.threshold < 1, f"a threshold of {self.threshold:g} is not between 0 and 1")


@dataclass(frozen=True)
class LocalResolution:
    """volume : (d, d, d) float32 Å, `coarsest_a` outside the mask and where the halves agree nowhere; window_a : Å;
    shortened : whether the box had no room for the usual window; coarsest_a, finest_a : the ends of what was searched,
    Å; mask : (d, d, d)"""

    volume: np.ndarray
    window_a: float
    shortened: bool
    coarsest_a: float
    finest_a: float
    mask: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """(n,) Å of the voxels within the mask (above 0.5)."""
        return self.volume[self.mask > 0.5]


def usual_window(box_size: int, pixel_size: float, resolution_a: float) -> float | None:
    """Å of the window where none is asked for: 5 resolutions, half the box at most; None where that is less than 2.

    box_size : px; pixel_size : Å/px; resolution_a : the global one, Å
    """
    window_a = min(WINDOW_RESOLUTIONS * resolution_a, MOST_OF_BOX * box_size * pixel_size)
    return window_a if window_a >= LEAST_RESOLUTIONS * resolution_a else None


def no_room(box_size: int, pixel_size: float, resolution_a: float) -> str:
    """Why there is no usual window, in a sentence."""
    return (f"No local resolution is told: the half-maps agree to {resolution_a:.1f} Å, of which half the box of "
            f"{box_size} px × {pixel_size:g} Å/px, {MOST_OF_BOX * box_size * pixel_size:.0f} Å, holds less than "
            f"{LEAST_RESOLUTIONS:g}, too few to compare places; give a window by --window to see one all the same.")


def local_resolution(first, second, mask, config: LocalConfig, *, pixel_size: float,
                     resolution_a: float) -> LocalResolution:
    """Local resolution of two half-maps within a mask.

    first, second, mask : (d, d, d); pixel_size : Å/px; resolution_a : the global resolution, Å, for the window's size
    Raises InputError where a window that was asked for does not fit the box or holds too few voxels, and where there is
    no usual one.
    """
    box = len(first)
    window_a = config.window_a or usual_window(box, pixel_size, resolution_a)
    need(window_a is not None, no_room(box, pixel_size, resolution_a))
    window_px = window_a / pixel_size
    need(LEAST_PX <= window_px <= MOST_OF_BOX * box,
         f"a window of {window_a:.1f} Å is {window_px:.1f} px wide, in a box of {box} px; give one between "
         f"{LEAST_PX * pixel_size:.1f} and {MOST_OF_BOX * box * pixel_size:.1f} Å")
    sigma = window_px / FWHM
    width = box / (2 * np.pi * sigma)
    # no wave that the window doesn't hold once
    bands = np.arange(box / window_px, box // 2 - width / 2, width)
    spectra = [_flattened(fft3_centred(half)) for half in (first, second)]
    radius = fourier_radius_3d(box)
    weight = np.asarray(mask, np.float32)

    def averaged(values):
        return ndimage.gaussian_filter(values * weight, sigma, mode="constant", truncate=REACH)

    reached = np.full(first.shape, bands[0], np.float32)
    rising, before = weight > 0, None
    for number, band in enumerate(bands):
        share = np.exp(-0.5 * ((radius - band) / width) ** 2).astype(np.float32)
        a, b = (ifft3_centred(spectrum * share, box) for spectrum in spectra)
        power = averaged(a * a) * averaged(b * b)
        correlation = np.divide(averaged(a * b), np.sqrt(power), out=np.zeros_like(a), where=power > 0)
        ended = rising & (correlation < config.threshold)
        if number:
            fraction = (before[ended] - config.threshold) / (before[ended] - correlation[ended])
            reached[ended] = bands[number - 1] + fraction * (band - bands[number - 1])
        rising &= ~ended
        before = correlation
    reached[rising] = bands[-1]
    extent = box * pixel_size
    shortened = config.window_a is None and window_a < WINDOW_RESOLUTIONS * resolution_a
    return LocalResolution((extent / reached).astype(np.float32), float(window_a), shortened, float(extent / bands[0]),
                           float(extent / bands[-1]), weight)


def outcome(result: LocalResolution, threshold: float, whole_a: float) -> str:
    """What came out, in a sentence or two. whole_a : Å at which the whole maps' FSC falls below the threshold."""
    low, middle, high = np.percentile(result.values, (5, 50, 95))
    words = (f"Within the mask the local resolution (FSC {threshold:g}) runs from {low:.1f} to {high:.1f} Å (5th to "
             f"95th percentile), median {middle:.1f} Å, seen through windows of {result.window_a:.0f} Å; the curve of "
             f"the whole maps is {threshold:g} at {whole_a:.1f} Å.")
    if result.shortened:
        words += (f" The windows are half the box: there is no room for {WINDOW_RESOLUTIONS:g} times the resolution, "
                  "and smaller windows scatter more.")
    lost = float(np.mean(result.values >= 0.999 * result.coarsest_a))
    if lost > 0.01:
        words += (f" In {lost:.0%} of the mask the halves do not even agree to {result.coarsest_a:.0f} Å: solvent "
                  "within the mask, or parts that move.")
    return words


def _flattened(spectrum):
    """A half transform with rms amplitude 1 in each shell and nothing beyond the last."""
    box = len(spectrum)
    index = shell_index_3d(box)
    power = radial_average(np.abs(spectrum) ** 2, index, box // 2 + 1)
    gain = np.divide(1, np.sqrt(power), out=np.zeros(len(power)), where=power > 0)
    return spectrum * np.append(gain, 0).astype(np.float32)[index]
