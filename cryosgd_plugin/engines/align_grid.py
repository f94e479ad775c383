"""A map on the grid of another one: same pixel size, same box, same centre."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..core.fourier import resample_volume

# beyond this ratio of pixel sizes one of the headers is more likely wrong than right
LARGEST_RATIO = 4.0
# error in magnification that is let pass: 0.1 % moves the edge of a 400 Å particle by 0.2 Å
MAGNIFICATION = 1e-3


def onto_grid(volume, pixel_size, box_size, target_pixel_size):
    """Resample a map (by crop or pad in Fourier space), then pad or crop it about its centre.

    volume : (d, d, d); pixel sizes in Å/px. Returns ((box_size,)*3 float32, words on what was done or None). Densities
    keep their values. Raises InputError where the pixel sizes differ more than fourfold.
    """
    ratio = target_pixel_size / pixel_size
    if not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO:
        raise InputError(f"pixel sizes of {pixel_size:.4g} and {target_pixel_size:.4g} Å/px differ more than "
                         f"{LARGEST_RATIO:g}-fold; correct the wrong header, or resample one of the maps first")
    box, words = len(volume), None
    if abs(ratio - 1) > MAGNIFICATION:
        padded, small = _boxes(box, ratio)
        volume = _placed(volume, padded)
        volume = resample_volume(volume, small) * np.float32((small / padded) ** 3)
        words = f"resampled from {box} px at {pixel_size:.4g} Å/px to {target_pixel_size:.4g} Å/px"
    if len(volume) != box_size:
        verb = "cropped" if len(volume) > box_size else "padded with zeros"
        words = f"{words or f'of {box} px'}, {verb} to {box_size} px"
    return _placed(volume, box_size), words


def _boxes(box, ratio):
    """(box padded to, box resampled to) whose quotient is the ratio, the least padding that is good enough."""
    candidates = [(padded, int(round(padded / ratio))) for padded in range(box, 2 * box + 1)]
    return next((pair for pair in candidates if abs(pair[0] / pair[1] / ratio - 1) < MAGNIFICATION),
                min(candidates, key=lambda pair: abs(pair[0] / pair[1] / ratio - 1)))


def _placed(volume, box):
    """Padded with zeros or cropped, the voxel n // 2 kept at n // 2."""
    old = len(volume)
    if old == box:
        return np.asarray(volume, np.float32)
    kept = min(old, box)
    source, target = old // 2 - kept // 2, box // 2 - kept // 2
    placed = np.zeros((box,) * 3, np.float32)
    inner, outer = slice(target, target + kept), slice(source, source + kept)
    placed[inner, inner, inner] = volume[outer, outer, outer]
    return placed
