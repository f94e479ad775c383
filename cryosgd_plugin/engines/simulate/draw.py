"""What is drawn at random for each particle before any image is made: pose, shift, structure, micrograph, CTF."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.particles import OpticsGroup, ParticleTable
from ...core.poses import euler_to_matrix, random_rotations
from .config import SimulateConfig

# streams of one seed, so that drawing more of one thing never changes another
_POSES, _MICROGRAPHS, _STRUCTURES, NOISE, COAT = range(5)


def draw_particles(config: SimulateConfig, stack_path="particles.mrcs") -> ParticleTable:
    """The true particle table: all slices of one stack in order, class_id the true structure (1-based).

    rlnMicrographName is in `extra`; the micrographs themselves don't exist.
    """
    n = config.n_particles
    micrograph = np.arange(n) // config.particles_per_micrograph
    count = int(micrograph[-1]) + 1
    rng = stream(config.seed, _MICROGRAPHS)
    defocus = rng.uniform(*config.defocus_range_a, count)
    astigmatism = rng.uniform(0, config.astigmatism_a, count)
    angle = rng.uniform(0, 180, count)
    phase_shift = rng.uniform(*config.phase_shift_range_deg, count)
    optics = [OpticsGroup(f"opticsGroup{i + 1}", config.voltage_kv, config.cs_mm, config.amplitude_contrast,
                          config.pixel_size, config.box_size) for i in range(config.optics_groups)]
    rng = stream(config.seed, _POSES)
    rotations = draw_rotations(config, rng)
    names = np.array([f"micrograph{i + 1:06d}.mrc" for i in range(count)])
    return ParticleTable(
        stack_paths=[str(stack_path)], stack_id=np.zeros(n, np.int32), stack_index=np.arange(n, dtype=np.int64),
        optics=optics, optics_id=(micrograph % config.optics_groups).astype(np.int32),
        defocus_u=(defocus + astigmatism / 2)[micrograph], defocus_v=(defocus - astigmatism / 2)[micrograph],
        defocus_angle_deg=angle[micrograph], phase_shift_deg=phase_shift[micrograph],
        ctf_bfactor=np.full(n, float(config.ctf_bfactor_a2)), ctf_scale=np.ones(n), ids=np.arange(1, n + 1),
        rotations=rotations, shifts_a=rng.normal(0, config.shift_sd_a, (n, 2)),
        class_id=_structures(config), extra={"rlnMicrographName": names[micrograph]})


def draw_rotations(config: SimulateConfig, rng):
    """(n, 3, 3) float64 A: uniform over SO(3), or with view directions gathered about the preferred axis."""
    if config.poses == "uniform":
        return random_rotations(config.n_particles, rng)
    views = von_mises_fisher(config.n_particles, config.preferred_axis, config.concentration, rng)
    rot = np.degrees(np.arctan2(views[:, 1], views[:, 0]))
    tilt = np.degrees(np.arccos(np.clip(views[:, 2], -1, 1)))
    return euler_to_matrix(rot, tilt, rng.uniform(-180, 180, config.n_particles))


def von_mises_fisher(n, axis, concentration, rng):
    """n unit vectors (n, 3) of density ∝ exp(concentration · d·axis); 0 is uniform.

    By inverting the distribution of the cosine: Fisher, Lewis & Embleton (1987), Statistical Analysis of Spherical
    Data, §3.6.2. The mean cosine is coth κ − 1/κ.
    """
    u = rng.uniform(0, 1, n)
    if concentration < 1e-6:
        cosine = 2 * u - 1
    else:
        cosine = 1 + np.log(u + (1 - u) * np.exp(-2 * concentration)) / concentration
    cosine = np.clip(cosine, -1, 1)
    sine, around = np.sqrt(1 - cosine ** 2), rng.uniform(0, 2 * np.pi, n)
    axis = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    # any two vectors that complete the axis to a frame will do
    first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    return (cosine[:, None] * axis + (sine * np.cos(around))[:, None] * first
            + (sine * np.sin(around))[:, None] * second)


def without_truth(table: ParticleTable) -> ParticleTable:
    """The table as a microscope would give it: CTF kept; poses, shifts and true structure taken out."""
    return replace(table, rotations=None, shifts_a=None, class_id=None)


def stream(seed, *numbers):
    """An independent random generator for each tuple of numbers."""
    return np.random.default_rng([int(seed), *map(int, numbers)])


def _structures(config):
    shares = np.asarray(config.fractions) / np.sum(config.fractions)
    rng = stream(config.seed, _STRUCTURES)
    return (1 + rng.choice(len(shares), size=config.n_particles, p=shares)).astype(np.int32)
