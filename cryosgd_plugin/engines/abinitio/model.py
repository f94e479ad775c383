"""The map under estimation with its momentum and preconditioner, and the constraints put on it."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.backend import array_module, to_host
from ...core.fourier import fft3_centred, ifft3_centred, resample_volume
from ...core.masks import soft_sphere
from ...ops.slicing import from_half_volume, half_volume_radius, hermitian, to_half_volume

# share of a shell's mean weight that a voxel is never taken to lie below: unseen directions move slowly, not wildly
WEIGHT_FLOOR = 0.2
# share of the largest shell's mean weight that no shell's is taken to lie below: the lowest shells, which the CTF
# hides, would else take steps that the constraints undo each time (the map of a crowded particle then collapses), and
# the outermost, where slices are sparse, would follow each minibatch's noise
SHELL_FLOOR = 0.3
# images that the running mean of the preconditioner remembers
WEIGHT_MEMORY = 2000.0


class Model:
    """One structure at the working box.

    volume, momentum : (d, d, d) float32; a voxel holds the mass of its (larger) cell, see core/CONVENTIONS.md
    weight : running mean over images of Σ w C²/σ² on the half volume; weight_images : (shells,) how many images
        each shell's mean has seen, capped by WEIGHT_MEMORY
    """

    def __init__(self, volume, *, extent_a: float, diameter_a: float):
        self.xp = array_module(volume)
        self.volume = volume
        self.momentum = self.xp.zeros_like(volume)
        self.extent_a, self.diameter_a = extent_a, diameter_a
        self.weight = None
        self.weight_images = None
        self.radius = None

    @property
    def box_size(self) -> int:
        return self.volume.shape[0]

    def set_radius(self, radius: int, box_size: int):
        """Work up to a Fourier radius in a box of box_size px: map, momentum and preconditioner follow."""
        xp = self.xp
        if box_size != self.box_size:
            self.volume = resample_volume(self.volume, box_size).astype(xp.float32)
            self.momentum = resample_volume(self.momentum, box_size).astype(xp.float32)
        if radius != self.radius:
            shape = half_volume_radius(radius, xp=xp).shape
            weight = xp.zeros(shape, xp.float32)
            images = np.zeros(radius + 2)
            if self.weight is not None:
                r, h = min(self.weight.shape[0], shape[0]) // 2, min(self.weight.shape[2], shape[2])
                old, new = self.weight.shape[0] // 2, shape[0] // 2
                weight[new - r:new + r + 1, new - r:new + r + 1, :h] = \
                    self.weight[old - r:old + r + 1, old - r:old + r + 1, :h]
                # the outermost old shell was only touched by the rim of the interpolation: begin it anew
                n = min(len(images), len(self.weight_images) - 2)
                images[:n] = self.weight_images[:n]
            self.weight, self.weight_images, self.radius = weight, images, radius

    def half_volume(self):
        """What slices are taken from."""
        return to_half_volume(self.volume, self.radius)

    def step(self, gradient, weight, n_images: int, *, step_size: float, momentum: float) -> float:
        """One preconditioned step with momentum (paper 0 eq. 7, G divided by the accumulated CTF² weight).

        gradient, weight : half volumes straight from the back-projection of n_images images
        Returns the relative change of the map.
        """
        xp = self.xp
        preconditioner = self._accumulate(hermitian(weight), n_images)
        direction = from_half_volume(hermitian(gradient) / (n_images * preconditioner), self.box_size)
        self.momentum = momentum * self.momentum + (1 - momentum) * step_size * direction
        self.volume = self.volume + self.momentum
        norm = float(xp.linalg.norm(self.volume))
        return float(xp.linalg.norm(self.momentum)) / norm if norm else np.inf

    def constrain(self, *, positivity: bool, centring: bool):
        """Window, non-negativity, centre of mass at the box centre: in place."""
        xp = self.xp
        pixel = self.extent_a / self.box_size
        radius = self.diameter_a / 2 / pixel
        window = xp.asarray(soft_sphere(self.box_size, min(radius, self.box_size / 2 - 1), max(1.0, 0.1 * radius)))
        self.volume = self.volume * window.astype(xp.float32)
        if positivity:
            self.volume = xp.maximum(self.volume, 0)
        if centring:
            self._centre()

    def _accumulate(self, weight, n_images):
        """Update the running mean of the weights; returns what to divide by: the mean or the batch's own, floored."""
        xp = self.xp
        shell = xp.asarray(_shells(self.radius))
        self.weight_images = np.minimum(self.weight_images + n_images, WEIGHT_MEMORY)
        share = xp.asarray((n_images / np.maximum(self.weight_images, n_images)).astype(np.float32))
        self.weight = self.weight + share[shell] * (weight / n_images - self.weight)
        # a minibatch that favours few directions outweighs the mean there: its own weight bounds its step
        return floored(xp.maximum(self.weight, weight / n_images), self.weight, self.radius, outer=True)

    def _centre(self):
        xp = self.xp
        host = to_host(xp.maximum(self.volume, 0))
        if host.sum() <= 0:
            return
        offset = np.array(ndimage.center_of_mass(host)) - self.box_size // 2
        if np.abs(offset).max() < 0.05:
            return
        full, half = xp.fft.fftfreq(self.box_size), xp.fft.rfftfreq(self.box_size)
        along = full[:, None, None] * offset[0] + full[None, :, None] * offset[1] + half[None, None, :] * offset[2]
        phases = xp.exp(2j * np.pi * along).astype(xp.complex64)
        self.volume = ifft3_centred(fft3_centred(self.volume) * phases, self.box_size)
        self.momentum = ifft3_centred(fft3_centred(self.momentum) * phases, self.box_size)


def floored(weight, typical, radius: int, *, outer: bool):
    """Weights of a half volume that no voxel's step may be divided by less than.

    Raised to WEIGHT_FLOOR of the shell's mean of `typical` (a half volume of weights, or `weight` itself), and to
    SHELL_FLOOR of the largest of these means. outer : also beyond the shell of the largest mean.
    """
    xp = array_module(weight)
    shell = _shells(radius)
    # summed on the host: CuPy's bincount adds in no fixed order, and a run must repeat to the bit
    mean = np.bincount(shell.ravel(), weights=to_host(typical).ravel(), minlength=radius + 2)
    mean /= np.maximum(np.bincount(shell.ravel(), minlength=radius + 2), 1)
    # beyond the resolution in use only rims are filled: the last full shell's floor holds there
    mean[radius + 1] = mean[radius]
    best = len(mean) if outer else int(np.argmax(mean))
    floor = WEIGHT_FLOOR * mean
    floor[:best] = np.maximum(floor[:best], SHELL_FLOOR * mean.max())
    floor = floor.astype(np.float32)
    return xp.maximum(weight, xp.asarray(np.maximum(floor, 1e-30))[xp.asarray(shell)])


def _shells(radius):
    return np.minimum(np.rint(half_volume_radius(radius)), radius + 1).astype(int)
