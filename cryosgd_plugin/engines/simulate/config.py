"""The settings of a simulation: one frozen object, built alike by the form, the command line and the tests."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from ...core.settings import Settings, need

NOISE_KINDS = ("white", "coloured")
POSE_DISTRIBUTIONS = ("uniform", "preferred")
CONTRASTS = ("white", "black")


@dataclass(frozen=True)
class SimulateConfig(Settings):
    """Settings of the particle simulation.

    n_particles; box_size : px; pixel_size : Å/px. These have no default.
    snr : variance of the clean CTF-modulated images over the whole box / noise variance; None leaves out the noise.
    noise : 'white', or 'coloured' with the spectrum of `noise.coloured_power`.
    voltage_kv : kV; cs_mm : mm; amplitude_contrast : fraction; optics_groups : number of groups that micrographs
        are dealt to in turn (of equal optics).
    particles_per_micrograph : particles that share one defocus, astigmatism and phase shift.
    defocus_range_a : Å, of the mean defocus, uniform over micrographs. astigmatism_a : Å, largest defocus U − V,
        uniform from 0, at any angle. phase_shift_range_deg : degrees, uniform over micrographs.
    ctf_bfactor_a2 : Å², envelope exp(−B k²/4) of all images, stated in the STAR file.
    model_bfactor_a2 : Å², displacement of the atoms where a structure is a model (a part of the true volume).
    shift_sd_a : Å, standard deviation of each in-plane shift, normal.
    poses : 'uniform', or 'preferred': view directions of von Mises-Fisher density ∝ exp(concentration · d·axis) about
        preferred_axis (x, y, z in the volume frame), in-plane angles uniform.
    fractions : share of each structure, one a structure, summing to 1.
    coat_a : Å, thickness of a disordered coat around each structure, another one in each image (coat.py); 0 for none.
        The SNR is that of the images without it. coat_density : its mean density, over the structure's.
    contrast : of the protein in the images, 'white' as particle programs expect, or 'black' as recorded.
    seed : of all randomness; the images don't depend on the block size or the number of threads.
    """

    n_particles: int
    box_size: int
    pixel_size: float
    snr: Optional[float] = 0.05
    noise: str = "white"
    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    optics_groups: int = 1
    particles_per_micrograph: int = 100
    defocus_range_a: tuple = (10000.0, 25000.0)
    astigmatism_a: float = 300.0
    phase_shift_range_deg: tuple = (0.0, 0.0)
    ctf_bfactor_a2: float = 0.0
    model_bfactor_a2: float = 60.0
    shift_sd_a: float = 4.0
    poses: str = "uniform"
    concentration: float = 5.0
    preferred_axis: tuple = (0.0, 0.0, 1.0)
    fractions: tuple = (1.0,)
    coat_a: float = 0.0
    coat_density: float = 0.5
    contrast: str = "white"
    seed: int = 0

    def __post_init__(self):
        for name, value in vars(self).items():
            for number in value if isinstance(value, tuple) else (value,):
                need(isinstance(number, (str, type(None))) or np.isfinite(number),
                      f"{name} is {number}; give a finite number")
        need(self.n_particles >= 1, f"{self.n_particles} particles were asked for; give 1 or more")
        need(self.box_size >= 16, f"box {self.box_size} px is too small; give 16 px or more")
        need(self.pixel_size > 0, f"pixel size {self.pixel_size} Å/px is not positive")
        need(self.snr is None or self.snr > 0, f"SNR {self.snr} is not positive; leave out the noise with --no-noise")
        need(self.noise in NOISE_KINDS, f"noise '{self.noise}' is unknown; choose of {', '.join(NOISE_KINDS)}")
        need(self.voltage_kv > 0, f"voltage {self.voltage_kv} kV is not positive; typical values are 200 and 300 kV")
        need(self.cs_mm >= 0, f"spherical aberration {self.cs_mm} mm is negative; typical is 2.7 mm")
        need(0 <= self.amplitude_contrast <= 1,
              f"amplitude contrast {self.amplitude_contrast} must lie in [0, 1]; typical for protein is 0.07 to 0.1")
        need(self.optics_groups >= 1, f"{self.optics_groups} optics groups were asked for; give 1 or more")
        need(self.particles_per_micrograph >= 1,
              f"{self.particles_per_micrograph} particles per micrograph; give 1 or more")
        low, high = _pair("defocus range", self.defocus_range_a)
        need(low <= high, f"defocus range {low:g} to {high:g} Å runs backwards; exchange the two")
        need(self.astigmatism_a >= 0, f"astigmatism {self.astigmatism_a:g} Å is negative")
        low, high = _pair("phase shift range", self.phase_shift_range_deg)
        need(low <= high, f"phase shift range {low:g} to {high:g}° runs backwards; exchange the two")
        need(self.ctf_bfactor_a2 >= 0 and self.model_bfactor_a2 >= 0,
              f"B-factors {self.ctf_bfactor_a2:g} and {self.model_bfactor_a2:g} Å² must not be negative")
        need(self.shift_sd_a >= 0, f"shift sd {self.shift_sd_a:g} Å is negative")
        need(4 * self.shift_sd_a <= self.box_size * self.pixel_size / 2,
              f"shift sd {self.shift_sd_a:g} Å throws particles out of the box of "
              f"{self.box_size * self.pixel_size:g} Å; give {self.box_size * self.pixel_size / 8:g} Å or less")
        need(self.poses in POSE_DISTRIBUTIONS,
              f"pose distribution '{self.poses}' is unknown; choose of {', '.join(POSE_DISTRIBUTIONS)}")
        need(self.concentration >= 0, f"concentration {self.concentration:g} is negative; 0 is uniform, 50 sharp")
        need(len(self.preferred_axis) == 3 and any(self.preferred_axis),
              f"preferred axis {self.preferred_axis} is no direction; give three numbers, not all zero")
        need(len(self.fractions) >= 1 and all(f > 0 for f in self.fractions) and abs(sum(self.fractions) - 1) < 1e-6,
              f"fractions {self.fractions} must be positive and sum to 1, one for each structure")
        need(self.coat_a >= 0 and self.coat_density > 0,
             f"a coat of {self.coat_a:g} Å and density {self.coat_density:g} can't be; give a thickness of 0 or more, "
             "and a density above 0")
        need(self.contrast in CONTRASTS, f"contrast '{self.contrast}' is unknown; choose of {', '.join(CONTRASTS)}")
        need(self.seed >= 0, f"seed {self.seed} is negative; give 0 or more")



def _pair(name, values):
    need(len(values) == 2, f"{name} {values} must be two numbers, lowest and highest")
    return values
