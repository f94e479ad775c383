"""A map against an atomic model: the model brought onto the map in either hand, its density, their FSC, and the pixel
size at which they agree best."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError
from ...core.fourier import fft3_centred, ifft3_centred
from ...core.masks import spherical_average
from ...core.settings import Settings, need
from ...core.shells import crossing_resolution, fourier_radius_3d, friedel_weights, fsc, radial_average, shell_index_3d
from ..align import Alignment, align_hands
from ..mask import dynamic_mask
from ..simulate.density import centre_of_mass, density_from_atoms, particle_diameter

# a map and a model are said to agree where their FSC is this: the map's noise is in the map alone
THRESHOLD = 0.5
# and to share something to where it is this
AGREE = 0.143
# Fourier shells up to which the model is brought onto the map: 3.5 Å for a particle that fills half of a 280 Å box
ALIGN_SHELLS = 40
# a shell of which the spherical average leaves a smaller share of the model's power says nothing of its shape
SHAPE_SHARE = 0.05
# hands whose mean FSC lies closer than this are not decided
UNDECIDED = 0.03


@dataclass(frozen=True)
class ModelConfig(Settings):
    """How a model is compared.

    resolution_a : Å up to which model and map are aligned and averages are taken, None for where they agree
    b_factor_a2 : Å² of all atoms; scan : pixel sizes are tried within this share of the stated one, 0 for none
    scan_step : share; half_plane : count shells as RELION does
    """

    resolution_a: float | None = None
    b_factor_a2: float = 60.0
    scan: float = 0.03
    scan_step: float = 0.005
    half_plane: bool = False

    def __post_init__(self):
        need(self.resolution_a is None or self.resolution_a > 0,
             f"a resolution of {self.resolution_a} Å is not positive")
        need(0 <= self.b_factor_a2 <= 1000, f"a B-factor of {self.b_factor_a2:g} Å² is not between 0 and 1000")
        need(0 <= self.scan <= 0.2, f"a scan of ±{self.scan:.0%} of the pixel size is not between 0 and 20 %")
        need(0 < self.scan_step <= 0.05, f"a scan step of {self.scan_step:g} is not between 0 and 0.05 (5 %)")


@dataclass(frozen=True)
class PlacedModel:
    """A model in the map's frame, in one hand.

    alignment : Alignment of the model's density, about its centre of mass, onto the map
    density : (d, d, d) float32, its shells' amplitudes those of the map; mask : (d, d, d), what both are compared in
    curve, shape_curve : (d//2 + 1,) FSC within the mask, of both as they are and without their spherical averages,
    which any ball of the right size has; NaN in the first shells, of which that leaves the model next to nothing
    """

    alignment: Alignment
    density: np.ndarray
    mask: np.ndarray
    curve: np.ndarray
    shape_curve: np.ndarray


@dataclass(frozen=True)
class PixelScan:
    """Mean FSC over the pixel sizes tried: pixel_sizes (n,) Å/px, scores (n,); best : Å/px at the parabola's top, or of
    the best one tried where that is the first or the last."""

    pixel_sizes: np.ndarray
    scores: np.ndarray

    @property
    def at_end(self) -> bool:
        return int(np.argmax(self.scores)) in (0, len(self.scores) - 1)

    @property
    def best(self) -> float:
        top = int(np.argmax(self.scores))
        if self.at_end:
            return float(self.pixel_sizes[top])
        near = slice(top - 1, top + 2)
        a, b, _ = np.polyfit(self.pixel_sizes[near] - self.pixel_sizes[top], self.scores[near], 2)
        return float(self.pixel_sizes[top] - b / (2 * a))


@dataclass(frozen=True)
class ModelFSC:
    """A map against a model: hands = (PlacedModel as the model is, PlacedModel of its mirror image), scores of both
    (mean FSC up to resolution_a), the better one, and the PixelScan, or None."""

    hands: tuple
    scores: tuple
    resolution_a: float
    scan: PixelScan | None

    @property
    def best(self) -> PlacedModel:
        return self.hands[int(np.argmax(self.scores))]


def model_fsc(volume, positions, elements, config: ModelConfig, *, pixel_size: float, mask=None) -> ModelFSC:
    """Compare a map with an atomic model.

    Parameters
    ----------
    volume : (d, d, d); pixel_size : Å/px; mask : (d, d, d), None makes one of the placed model
    positions : (n, 3) Å; elements : n symbols. Where the model lies does not matter: it is brought onto the map.

    Raises
    ------
    InputError : the model does not fit the box, has unknown elements, or the map is empty
    """
    positions = np.asarray(positions, float) - centre_of_mass(positions, elements)
    box = len(volume)
    model = _Model(positions, list(elements), config.b_factor_a2, box)
    finest = config.resolution_a or 2 * pixel_size
    radius = int(np.clip(round(box * pixel_size / finest), 3, min(ALIGN_SHELLS, box // 2 - 1)))
    target = volume if mask is None else volume * mask
    alignments = align_hands(model.density(None, pixel_size), target, radius=radius)
    hands = tuple(place(volume, model, one, pixel_size, mask, config.half_plane) for one in alignments)
    resolution = config.resolution_a
    if resolution is None:
        crossings = [crossing(one.curve, AGREE, box, pixel_size) for one in hands]
        resolution = min(crossings) if np.isfinite(crossings).any() else box * pixel_size / radius
    last = int(np.clip(np.floor(box * pixel_size / resolution + 1e-6), 1, box // 2))
    scores = tuple(mean_fsc(one.shape_curve, last, box) for one in hands)
    scan = None
    if config.scan > 0:
        best = hands[int(np.argmax(scores))]
        steps = int(round(config.scan / config.scan_step))
        sizes = pixel_size * (1 + config.scan_step * np.arange(-steps, steps + 1))
        # in a tight box the model may not fit at smaller ones
        sizes = np.array([size for size in sizes if model.fits(best.alignment, size)])
        scan = PixelScan(sizes, np.array([
            mean_fsc(fsc(matched(model.density(best.alignment, size), volume), volume, best.mask, config.half_plane),
                     last, box) for size in sizes]))
    return ModelFSC(hands, scores, float(resolution), scan)


class _Model:
    """Atoms about their centre of mass, and their density on a map's grid."""

    def __init__(self, positions, elements, b_factor_a2, box):
        self.positions, self.elements, self.b_factor_a2, self.box = positions, elements, b_factor_a2, box

    def density(self, alignment, pixel_size):
        """(d, d, d) of the atoms moved by an Alignment in px: exact, since atoms move and no map is resampled."""
        return density_from_atoms(self.placed(alignment, pixel_size), self.elements, self.box, pixel_size,
                                  self.b_factor_a2)

    def placed(self, alignment, pixel_size):
        """(n, 3) Å from the box centre, of the atoms moved by an Alignment."""
        if alignment is None:
            return self.positions
        flip = np.array([1.0, 1.0, -1.0 if alignment.mirrored else 1.0])
        return (self.positions * flip) @ alignment.rotation.T + alignment.shift_px * pixel_size

    def fits(self, alignment, pixel_size) -> bool:
        """Whether the box holds the atoms at a pixel size."""
        return np.linalg.norm(self.placed(alignment, pixel_size), axis=1).max() < self.box * pixel_size / 2


def place(volume, model, alignment, pixel_size, mask, half_plane) -> PlacedModel:
    """The model where an alignment puts it, and its FSC with the map."""
    density = model.density(alignment, pixel_size)
    if mask is None:
        mask = dynamic_mask(density, pixel_size, 1.1 * particle_diameter(density, pixel_size))
    left = _shell_power(density - spherical_average(density))
    first = np.flatnonzero(left >= SHAPE_SHARE * _shell_power(density))[0]
    density = matched(density, volume)
    shape = fsc(density - spherical_average(density), volume - spherical_average(volume), mask, half_plane)
    shape[:first] = np.nan
    return PlacedModel(alignment, density, mask, fsc(density, volume, mask, half_plane), shape)


def matched(density, volume) -> np.ndarray:
    """A model's density with the mean amplitude of each shell that the map has.

    So the mask carries as much from shell to shell in both, and the density shows the map's resolution.
    """
    box = len(volume)
    if np.shape(density) != np.shape(volume):
        raise InputError(f"the model's box of {len(density)} px differs from the map's of {box} px")
    wanted, there = _shell_power(volume), _shell_power(density)
    gain = np.sqrt(np.divide(wanted, there, out=np.zeros(len(wanted)), where=there > 0))
    return ifft3_centred(fft3_centred(density) * np.append(gain, 0).astype(np.float32)[shell_index_3d(box)], box)


def mean_fsc(curve, last: int, box: int) -> float:
    """FSC averaged over the coefficients of the known shells of 1 … last. Brown et al. (2015), Acta Cryst. D71, 136."""
    weights = np.broadcast_to(friedel_weights(box), fourier_radius_3d(box).shape)
    counts = np.bincount(shell_index_3d(box).ravel(), weights=weights.ravel(), minlength=last + 1)[1:last + 1]
    values = np.asarray(curve)[1:last + 1]
    known = np.isfinite(values)
    return float(np.average(values[known], weights=counts[known])) if known.any() else 0.0


def crossing(curve, threshold: float, box: int, pixel_size: float) -> float:
    """Å at which a curve falls below a threshold, its unknown first shells left out."""
    return crossing_resolution(np.nan_to_num(curve, nan=1.0), threshold, box, pixel_size)


def _shell_power(volume):
    box = len(volume)
    return radial_average(np.abs(fft3_centred(volume)) ** 2, shell_index_3d(box), box // 2 + 1)


def outcome(result: ModelFSC, volume, pixel_size: float) -> str:
    """What came out, in sentences."""
    box, best = len(volume), result.best

    def where(curve):
        found = crossing(curve, THRESHOLD, box, pixel_size)
        return f"to {found:.2f} Å" if np.isfinite(found) else "nowhere"

    words = (f"Map and model agree {where(best.curve)} (FSC {THRESHOLD}), and without their spherical averages "
             f"{where(best.shape_curve)}.")
    better, worse = max(result.scores), min(result.scores)
    compared = f"(mean FSC without spherical averages to {result.resolution_a:.1f} Å: {better:.3f}, of the other hand "
    compared += f"{worse:.3f})"
    if better - worse < UNDECIDED:
        words += f" The hand is not decided at this resolution {compared}."
    elif best.alignment.mirrored:
        words += f" The map has the other hand than the model: mirror it with `cryosgd flip-hand` {compared}."
    else:
        words += f" The map has the model's hand {compared}."
    if result.scan is not None:
        change = result.scan.best / pixel_size - 1
        if result.scan.at_end:
            words += (f" The pixel size may be wrong by more than {abs(change):.1%}: the best of those tried is the "
                      f"last, {result.scan.best:.4g} Å; scan further.")
        else:
            words += (f" The model fits best at {result.scan.best:.4f} Å/px, {change:+.1%} from the stated "
                      f"{pixel_size:.4f}.")
    return words
