"""What two half-maps agree on: FSC without a mask, within one, and corrected for the mask by randomised phases."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError
from ...core.fourier import fft3_centred, ifft3_centred
from ...core.shells import crossing_resolution, fourier_radius_3d, fsc

# shells beyond the first random one that Chen et al. (2013) and RELION leave uncorrected
KEPT_SHELLS = 2
# RELION 3.1's factor on the quotient of the box's voxels and the mask's above 0.5
BOX_SHARE = 0.476
# phases are randomised from the first shell in which the unmasked FSC lies below this
RANDOMISED_BELOW = 0.8
# the FSC at which two halves of a data set are said to agree
THRESHOLD = 0.143
# where maps of random phases correlate by more than this, the mask decides and not the signal
MASK_DECIDES = 0.5
# a mask within which random phases correlate by more than this on average, two shells or more beyond the first random
# one, is too tight: a soft one leaves next to nothing there (0.04 for apoferritin's, 0.30 for its tight one)
TIGHT, TIGHT_SHELLS = 0.2, slice(2, 6)


@dataclass(frozen=True)
class HalfMapCurves:
    """FSC curves of two half-maps, (box // 2 + 1,) each.

    corrected : (masked − randomised) / (1 − randomised) from shell `first_randomised` + kept shells on, `masked` below
    """

    unmasked: np.ndarray
    masked: np.ndarray
    randomised: np.ndarray
    corrected: np.ndarray
    first_randomised: int

    @property
    def trusted(self) -> np.ndarray:
        """The corrected curve, and the unmasked one where the correction would divide by next to nothing."""
        decided = np.arange(len(self.masked)) >= int(self.first_randomised)
        decided &= self.randomised > MASK_DECIDES
        return np.where(decided, self.unmasked, self.corrected)

    @property
    def mask_share(self) -> float:
        """Mean correlation that the mask alone gives maps of random phases; above TIGHT it is too tight. 0 where no
        phases were randomised."""
        shells = self.randomised[int(self.first_randomised):][TIGHT_SHELLS]
        return float(np.mean(shells)) if len(shells) else 0.0

    def resolution(self, box_size: int, pixel_size: float, radius: int = None) -> float:
        """Å at which the trusted curve falls below 0.143; radius : last shell that the maps hold."""
        last = len(self.corrected) if radius is None else radius + 1
        return crossing_resolution(self.trusted[:last], THRESHOLD, box_size, pixel_size)


def half_map_curves(first, second, mask, rng, *, kept_shells: int = 0, half_plane: bool = False) -> HalfMapCurves:
    """Curves of two unregularised half-maps (d, d, d) within a soft mask; rng : for the phases.

    kept_shells : shells from the first random one on that are not corrected. half_plane : as in `core.shells.fsc`.
    What a mask adds to the correlation of noise, and what it carries from shells that agree into their neighbours,
    shows in maps whose phases beyond a shell are random, and is taken off. Chen et al. (2013), Ultramicroscopy 135, 24;
    they leave KEPT_SHELLS more as they are: where a coarse start has given both maps the same low end, these hold
    nothing but its leakage.
    """
    unmasked, masked = fsc(first, second, half_plane=half_plane), fsc(first, second, mask, half_plane)
    below = np.flatnonzero(unmasked[1:] < RANDOMISED_BELOW) + 1
    start = int(below[0]) if len(below) else len(unmasked)
    randomised, corrected = masked.copy(), masked.copy()
    if start < len(unmasked):
        # RELION randomises from the middle of the first shell on, whose outer half is then left as it is
        radius = start if kept_shells else start - 0.5
        randomised = fsc(randomise_phases(first, radius, rng), randomise_phases(second, radius, rng), mask, half_plane)
        changed = slice(start + kept_shells, None)
        corrected[changed] = without_noise(masked[changed], randomised[changed])
    return HalfMapCurves(unmasked, masked, randomised, corrected, start)


def without_noise(measured, random) -> np.ndarray:
    """(FSC − FSC_n) / (1 − FSC_n), FSC_n being that of random phases. Chen et al. (2013), eq. 4."""
    known = np.minimum(random, 0.999)
    return (measured - known) / (1 - known)


def solvent_free(unmasked, mask) -> np.ndarray:
    """What the unmasked FSC would be without the noise of the solvent, by the size of the mask alone.

    f · FSC / (1 + (f − 1) · FSC), f being by how much the box exceeds the particle: rlnParticleBoxFractionSolventMask
    and rlnFourierShellCorrelationParticleMaskFraction of RELION 3.1.
    """
    excess = box_excess(mask)
    return excess * unmasked / (1 + (excess - 1) * unmasked)


def box_excess(mask) -> float:
    """How many times the noise of the box exceeds that within the mask, as RELION estimates it."""
    inside = int(np.count_nonzero(np.asarray(mask) > 0.5))
    if not inside:
        raise InputError("no voxel of the mask exceeds 0.5; make a mask that is 1 inside the particle")
    return BOX_SHARE * mask.size / inside


def randomise_phases(volume, radius: float, rng) -> np.ndarray:
    """The map with random phases from a Fourier radius (px) on, and its own amplitudes."""
    box = volume.shape[0]
    coefficients = fft3_centred(volume)
    # the phases of a real map of noise have the symmetry that keeps this one real
    noise = fft3_centred(rng.standard_normal(volume.shape).astype(np.float32))
    phases = noise / np.maximum(np.abs(noise), 1e-30)
    return ifft3_centred(np.where(fourier_radius_3d(box) >= radius, np.abs(coefficients) * phases, coefficients), box)
