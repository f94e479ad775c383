"""Post-processing of two half-maps: curves, resolution, and the sharpened map."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.masks import has_hard_edge
from ...core.settings import Settings, need
from .half_maps import KEPT_SHELLS, THRESHOLD, TIGHT, HalfMapCurves, box_excess, half_map_curves, solvent_free
from .halves import SAME_MAP, HalfMaps, doubts, same_map
from .sharpening import FEWEST_SHELLS, FIT_FROM_A, SharpenedMap, doubts_of_fit, sharpen

CONVENTION = {False: "shell s: coefficients of the full Fourier transform whose radius rounds to s",
              True: "shell s: coefficients of the half transform (kx >= 0) whose radius rounds to s, as RELION counts"}
# what to do about a mask that is too tight. Of halves that end at one shell, as low-passed ones do, every mask carries
# the strong shells into the empty ones
WIDEN_GIVEN = "Make a wider mask with a softer edge."
WIDEN_MADE = ("It was made of the maps: raise --mask-extend and --mask-edge (in the form: widen the mask by, soft "
              "edge). Of halves that end abruptly no mask may be wide enough; then the unmasked curve is the one to "
              "report.")


@dataclass(frozen=True)
class PostprocessConfig(Settings):
    """bfactor : Å², negative sharpens, None fits it; half_plane : count shells as RELION does; seed : of the phases."""

    bfactor: float | None = None
    half_plane: bool = False
    seed: int = 0

    def __post_init__(self):
        need(self.bfactor is None or abs(self.bfactor) <= 2000,
             f"a B-factor of {self.bfactor} Å² is beyond ±2000; give a negative one, such as -100, or auto")
        need(self.seed >= 0, f"seed {self.seed} is negative; give 0 or more")


@dataclass(frozen=True)
class Postprocessed:
    """What two half-maps are worth.

    curves : HalfMapCurves; solvent_free : (shells,) the unmasked curve without the solvent's noise, by the mask's size
    box_excess : of that estimate; tight : whether the mask decides the masked curve, which is then not believed
    resolution_a, unmasked_a : Å at 0.143 of the believed and of the unmasked curve, infinity where there is none
    independent : False where both halves are one map, of which no resolution can be told
    sharpened : SharpenedMap, or None where the halves agree nowhere; warnings : sentences
    """

    curves: HalfMapCurves
    solvent_free: np.ndarray
    box_excess: float
    tight: bool
    resolution_a: float
    unmasked_a: float
    independent: bool
    sharpened: SharpenedMap | None
    warnings: list

    @property
    def believed(self) -> np.ndarray:
        """(shells,) the curve that the resolution is read from: corrected, or unmasked where the mask is too tight."""
        return self.curves.unmasked if self.tight else self.curves.corrected

    @property
    def sharpening_doubts(self) -> list:
        """Sentences on a fitted B-factor that is not to be trusted; [] of a given one."""
        fit = self.sharpened.fit if self.sharpened else None
        doubt = doubts_of_fit(fit, self.resolution_a) if fit else None
        return [doubt] if doubt else []

    @property
    def last_shell(self) -> int:
        """The last shell before the believed curve falls below 0.143, which RELION calls the final resolution."""
        below = np.flatnonzero(self.believed[1:] < THRESHOLD)
        return int(below[0]) if len(below) else len(self.believed) - 1


def postprocess(halves: HalfMaps, config: PostprocessConfig, mtf=None) -> Postprocessed:
    """Curves, resolution and sharpened map of two half-maps.

    mtf : (d//2 + 1,) detector MTF at the maps' shells, or None
    """
    rng = np.random.default_rng(config.seed)
    curves = half_map_curves(halves.first, halves.second, halves.mask, rng, kept_shells=KEPT_SHELLS,
                             half_plane=config.half_plane)
    tight = curves.mask_share > TIGHT
    believed = curves.unmasked if tight else curves.corrected
    independent = not same_map(curves.unmasked)
    resolution, unmasked = (halves.crossing(curve) if independent else np.inf for curve in (believed, curves.unmasked))
    if not np.isfinite(unmasked):
        # halves that differ from the first shell on: what a mask makes of their means is no agreement
        resolution = np.inf
    sharpened = None
    if np.isfinite(resolution):
        sharpened = sharpen(halves.mean, believed, pixel_size=halves.pixel_size, resolution_a=resolution,
                            bfactor=config.bfactor, mtf=mtf)
    warnings = doubts(halves, curves.unmasked)
    if has_hard_edge(halves.mask):
        warnings.append("The mask has a hard edge, which correlates by itself; give it a soft edge of 5 px or more.")
    return Postprocessed(curves, solvent_free(curves.unmasked, halves.mask), box_excess(halves.mask), tight, resolution,
                         unmasked, independent, sharpened, warnings)


def outcome(result: Postprocessed, halves: HalfMaps, config: PostprocessConfig) -> str:
    """What came out, in sentences that a biologist can act on."""
    if not result.independent:
        return SAME_MAP
    if not np.isfinite(result.resolution_a):
        words = "The half-maps agree at no resolution: they show noise, or are not on one frame."
    elif result.tight:
        words = (f"The mask is too tight: within it, maps of random phases still correlate by "
                 f"{result.curves.mask_share:.2f}, so the masked curve flatters and no resolution is read from it. "
                 f"Without a mask the half-maps agree to {result.resolution_a:.2f} Å (FSC {THRESHOLD}). "
                 f"{WIDEN_GIVEN if halves.mask_given else WIDEN_MADE}")
    else:
        words = (f"The half-maps agree to {result.resolution_a:.2f} Å (FSC {THRESHOLD} within the mask, "
                 f"{_how(result, halves)}")
        unmasked = f"{result.unmasked_a:.2f} Å" if np.isfinite(result.unmasked_a) else "no agreement"
        words += f"; without a mask {unmasked}; FSC 0.5 at {halves.crossing(result.believed, 0.5):.2f} Å)."
    if (result.believed[1:] >= THRESHOLD).all():
        words += " The curve ends at the pixel size's limit before it falls: smaller pixels may show more."
    made = "as given" if halves.mask_given else "made of the maps"
    words += f" The mask, {made}, holds {halves.mask.mean():.0%} of the box."
    return " ".join([*result.warnings, words, *_sharpening(result, config)])


def _how(result, halves):
    first = result.curves.first_randomised
    if first >= len(result.curves.masked):
        return "in which no phases could be randomised"
    return f"corrected by phases randomised from {halves.box_size * halves.pixel_size / first:.1f} Å on"


def _sharpening(result, config):
    if result.sharpened is None:
        return ["No map was sharpened."]
    bfactor, fit = result.sharpened.bfactor, result.sharpened.fit
    if config.bfactor is not None:
        return [f"The map is sharpened by B = {bfactor:.0f} Å², as given."]
    if fit is None:
        return [f"The map is not sharpened: fewer than {FEWEST_SHELLS} shells lie between {FIT_FROM_A:g} Å and the "
                "resolution, too few to fit a B-factor; give one."]
    return [f"The map is sharpened by B = {bfactor:.0f} Å², fitted to {fit.shells} shells (correlation "
            f"{fit.correlation:.2f}).", *result.sharpening_doubts]
