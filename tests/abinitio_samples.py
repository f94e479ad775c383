"""A small set of simulated particles for the engine's tests: blobs at known poses, in memory."""
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.ctf import ctf_for
from cryosgd_plugin.core.fourier import fft2_centred, frequencies_2d, ifft2_centred, resample_images, shift_phases
from cryosgd_plugin.core.particles import OpticsGroup, ParticleTable

BOX, PIXEL = 24, 8.0
BLOBS = np.array([[0, 0, -40], [38, 0, -8], [-15, 34, 10], [5, -20, 42], [-8, -6, 10], [20, 22, 28.0]])
WIDTH = 11.0


class Source:
    """Images in memory, resampled as io.source does."""

    def __init__(self, images):
        self.stack = images

    def images(self, rows, box):
        return self.stack[rows] if box == self.stack.shape[1] else resample_images(self.stack[rows], box)


def density(blobs=BLOBS, box=BOX, pixel=PIXEL):
    """(box,)*3 float32: Gaussian blobs (x, y, z in Å)."""
    axis = (np.arange(box) - box // 2) * pixel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return sum(np.exp(-((x - b[0]) ** 2 + (y - b[1]) ** 2 + (z - b[2]) ** 2) / (2 * WIDTH ** 2))
               for b in blobs).astype(np.float32)


def particles(n, *, noise_sd, seed=0, blobs=BLOBS, shift_sd=4.0):
    """(Source, ParticleTable with the true poses): projections summed blob by blob, CTF, shifts, white noise."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(n, random_state=seed).as_matrix()
    shifts = rng.normal(0, shift_sd, (n, 2))
    defocus = rng.uniform(12000, 25000, n)
    ones, zeros = np.ones(n), np.zeros(n)
    table = ParticleTable(
        stack_paths=["none"], stack_id=zeros.astype(np.int32), stack_index=np.arange(n),
        optics=[OpticsGroup("one", 300.0, 2.7, 0.1, PIXEL, BOX)], optics_id=zeros.astype(np.int32),
        defocus_u=defocus + 150, defocus_v=defocus - 150, defocus_angle_deg=rng.uniform(0, 180, n),
        phase_shift_deg=zeros, ctf_bfactor=zeros, ctf_scale=ones, ids=np.arange(n), rotations=rotations,
        shifts_a=shifts)
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    y, x = np.meshgrid(axis, axis, indexing="ij")
    clean = np.zeros((n, BOX, BOX))
    for blob in blobs:
        centres = rotations @ blob
        clean += np.exp(-((x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2)
                        / (2 * WIDTH ** 2))
    kx, ky = frequencies_2d(BOX, PIXEL)
    spectrum = fft2_centred(clean.astype(np.float32)) * ctf_for(table, np.arange(n), kx, ky)
    images = ifft2_centred(spectrum * shift_phases(kx, ky, -shifts), BOX)
    images = images + rng.normal(0, noise_sd, images.shape)
    return Source((images / max(noise_sd, 1e-6)).astype(np.float32)), table


def joined(first, second):
    """One ParticleTable of two that `particles` gave: the second's rows after the first's."""
    columns = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in (
        "stack_id", "optics_id", "defocus_u", "defocus_v", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor",
        "ctf_scale", "rotations", "shifts_a")}
    n = len(first) + len(second)
    return replace(first, **columns, stack_index=np.arange(n), ids=np.arange(n))
