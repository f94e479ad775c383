"""Simulated particle images with known truth, in blocks, so that a million particles never sit in memory."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...core.ctf import ctf_for
from ...core.errors import InputError
from ...core.fourier import frequencies_2d, ifft2_centred
from ...core.particles import ParticleTable
from ...core.shells import friedel_weights
from . import _gridding
from .coat import Coat
from .config import SimulateConfig
from .draw import COAT, NOISE, draw_particles, stream
from .noise import noise_images, noise_power

# particles whose clean images set the scale of the whole stack, spread evenly over it
_SCALE_SAMPLE = 512
# bytes of oversampled grids that one block of projections may take
_BLOCK_BYTES = 64 * 2 ** 20


@dataclass
class Simulation:
    """A simulated data set: the truth, and its images on demand. Made by `simulate`.

    table : true poses, shifts, CTF and structure of each particle
    volumes : list of (d, d, d) float32, the true density of each structure, in its own units
    signal_scale : images = ± signal_scale · C · projection(volume) + noise of standard deviation 1
    snr : measured on the sample that set the scale (None without noise); sample_size : its particles
    coats : Coat of each structure, none by default
    snr_energy : mean p² = Σ |C·Y|² / σ² over the full Fourier plane of the sample (None without noise)
    """

    config: SimulateConfig
    table: ParticleTable
    projectors: list
    noise_power: np.ndarray
    signal_scale: float = 1.0
    snr: float = None
    snr_energy: float = None
    sample_size: int = 0
    coats: list = field(default_factory=list)

    @property
    def volumes(self) -> list:
        """True density of each structure, (d, d, d) float32."""
        return [projector.volume for projector in self.projectors]

    def clean_coefficients(self, rows, coated: bool = False):
        """(n, d, d//2 + 1) complex128 of particles `rows`: signal_scale · C · shifted projection, white protein.

        coated : with the disordered coats, where there are any
        """
        rows = np.atleast_1d(rows)
        config, table = self.config, self.table
        kx, ky = frequencies_2d(config.box_size, config.pixel_size)
        images = np.empty((len(rows),) + kx.shape, np.complex128)
        for number, projector in enumerate(self.projectors, start=1):
            members = np.flatnonzero(table.class_id[rows] == number)
            if len(members):
                rotations = table.rotations[rows[members]]
                images[members] = projector.project(rotations)
                if coated and self.coats:
                    images[members] += self.coats[number - 1].project(
                        rotations, [stream(config.seed, COAT, row) for row in rows[members]])
        # the shift is what *centres* the particle, which therefore sits at minus the shift
        shifts = table.shifts_a[rows]
        images *= np.exp(2j * np.pi * (kx * shifts[:, 0, None, None] + ky * shifts[:, 1, None, None]))
        return images * ctf_for(table, rows, kx, ky) * self.signal_scale

    def images(self, rows):
        """(n, d, d) float32 images of particles `rows`, the same whichever rows are asked for together."""
        rows = np.atleast_1d(rows)
        box = self.config.box_size
        sign = -1 if self.config.contrast == "black" else 1
        images = sign * ifft2_centred(self.clean_coefficients(rows, coated=True).astype(np.complex64), box)
        if self.config.snr is None:
            return images
        return images + noise_images(self.noise_power, [stream(self.config.seed, NOISE, row) for row in rows], box)

    def blocks(self):
        """Yields (first row, images (n, d, d) float32) over the whole set, in order."""
        step = self.block_size
        for first in range(0, len(self.table), step):
            yield first, self.images(np.arange(first, min(first + step, len(self.table))))

    @property
    def block_size(self) -> int:
        """Images a block, bounded by memory."""
        fine = _gridding.fine_size(self.config.box_size)
        groups = max(len(projector.transfer) for projector in self.projectors)
        return int(np.clip(_BLOCK_BYTES // (8 * groups * fine ** 2), 1, 256))


def simulate(projectors, config: SimulateConfig, stack_path="particles.mrcs") -> Simulation:
    """Draw a data set and fix its scale.

    projectors : list of PointProjector (project.py), one for each of config.fractions.
    Returns a Simulation; its images follow from `blocks()`.

    The CTF acts within the box (its tails wrap around), so that the model that reconstruction programs assume is
    exact. The noise has standard deviation 1 in each pixel, as normalised particles have in their background; the
    signal is scaled to the SNR, by one factor for all images. Without noise the signal's mean variance is 1.

    Raises InputError where structures and fractions or boxes differ.
    """
    projectors = list(projectors)
    if len(projectors) != len(config.fractions):
        raise InputError(f"{len(projectors)} structures came with {len(config.fractions)} fractions; give one for each")
    for projector in projectors:
        if projector.box_size != config.box_size:
            raise InputError(f"a structure was prepared for a box of {projector.box_size} px, not {config.box_size} px")
    simulation = Simulation(config, draw_particles(config, stack_path), projectors,
                            noise_power(config.noise, config.box_size, config.pixel_size))
    if config.coat_a:
        simulation.coats = [Coat(volume, config.pixel_size, config.coat_a, config.coat_density)
                            for volume in simulation.volumes]
    _fix_scale(simulation)
    return simulation


def _fix_scale(simulation):
    """Set signal_scale and the measured SNR figures from an even sample of clean images."""
    config = simulation.config
    n, box = config.n_particles, config.box_size
    sample = np.unique(np.linspace(0, n - 1, min(n, _SCALE_SAMPLE)).astype(int))
    pairs = friedel_weights(box)
    variance = energy = 0.0
    for first in range(0, len(sample), simulation.block_size):
        power = np.abs(simulation.clean_coefficients(sample[first:first + simulation.block_size])) ** 2 * pairs
        # Parseval; the image's mean is no variance
        variance += (power.sum() - power[:, 0, 0].sum()) / box ** 4
        energy += (power / (simulation.noise_power * box ** 2)).sum()
    variance, energy = variance / len(sample), energy / len(sample)
    if not variance > 0:
        raise InputError("the clean images are constant: the structures have no contrast at this box and pixel size")
    gain = (1.0 if config.snr is None else config.snr) / variance
    simulation.signal_scale = float(np.sqrt(gain))
    simulation.sample_size = len(sample)
    if config.snr is not None:
        simulation.snr, simulation.snr_energy = float(variance * gain), float(energy * gain)
