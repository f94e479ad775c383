"""The maps under estimation with their preconditioner, and the constraints put on them."""
from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from ...core.backend import array_module, to_host
from ...core.fourier import crop_rfft3, fft3_centred, ifft3_centred, pad_rfft3, resample_volume
from ...core.masks import soft_sphere
from ...ops.slicing import half_volume_radius, to_half_volume

# share of a shell's mean weight that a voxel is never taken to lie below: unseen directions move slowly, not wildly
WEIGHT_FLOOR = 0.2
# share of the largest shell's mean weight that no shell's is taken to lie below: the lowest shells, which the CTF
# hides, would else take steps that the constraints undo each time (the map of a crowded particle then collapses), and
# the outermost, where slices are sparse, would follow each minibatch's noise
SHELL_FLOOR = 0.3
# share of the structures' mean weight that no structure's is taken to lie below: one that few images choose slows down
CLASS_FLOOR = 0.2
# images that the running mean of the preconditioner remembers
WEIGHT_MEMORY = 2000.0
# shells beyond the radius in use that a packed gradient keeps: its rim, by the finite box
PACK_MARGIN = 3
# a map is centred where its centre of mass is off by this many px
CENTRED = 0.05


class Model:
    """K structures at the working box.

    volumes : (K, d, d, d) float32; a voxel holds the mass of its (larger) cell, see core/CONVENTIONS.md
    weight : running mean over images of Σ w C²/σ² on the half volume, one a structure; weight_images : (shells,) how
        many images each shell's mean has seen, capped by WEIGHT_MEMORY
    preconditioned : whether gradients are divided by these weights, or by their largest value alone
    batch_alone : whether the preconditioner is the last minibatch's own weight (where that is the whole data set)
    """

    def __init__(self, volumes, *, extent_a: float, diameter_a: float, preconditioned: bool = True,
                 batch_alone: bool = False):
        self.xp = array_module(volumes)
        self.volumes = volumes
        self.extent_a, self.diameter_a = extent_a, diameter_a
        self.preconditioned, self.batch_alone = preconditioned, batch_alone
        self.weight = self.weight_images = self.radius = self._inverse = None

    @property
    def box_size(self) -> int:
        return self.volumes.shape[-1]

    def set_radius(self, radius: int, box_size: int):
        """Work up to a Fourier radius in a box of box_size px: maps and preconditioner follow.

        Returns what brings other arrays of the maps' shape to the new box, or None where it stays.
        """
        resample = None
        if box_size != self.box_size:
            def resample(arrays):
                return self.xp.stack([resample_volume(a, box_size).astype(self.xp.float32) for a in arrays])
            self.volumes = resample(self.volumes)
        if radius != self.radius:
            self._extend_weights(radius)
        if resample is not None or radius != self.radius:
            self._inverse = None
        self.radius = radius
        return resample

    def half_volumes(self, volumes):
        """What slices are taken from."""
        return [to_half_volume(volume, self.radius) for volume in volumes]

    def accumulate(self, weight, n_images: int):
        """Take a minibatch's back-projected weights, (K, half volume) made Hermitian, into the preconditioner."""
        xp = self.xp
        shell = xp.asarray(_shells(self.radius))
        self.weight_images = np.minimum(self.weight_images + n_images, WEIGHT_MEMORY)
        share = xp.asarray((n_images / np.maximum(self.weight_images, n_images)).astype(np.float32))
        mean = weight / n_images
        self.weight = self.weight + share[shell] * (mean - self.weight)
        # a minibatch that favours few directions outweighs the mean there: its own weight bounds its step
        bound, typical = (mean, mean) if self.batch_alone else (xp.maximum(self.weight, mean), self.weight)
        least = CLASS_FLOOR * typical.mean(axis=0)
        bounded = [floored(xp.maximum(b, least), xp.maximum(t, least), self.radius, outer=True)
                   for b, t in zip(bound, typical)]
        largest = [float(b.max()) for b in bounded]
        self._inverse = xp.stack([self._inverse_on_nodes(b if self.preconditioned else xp.full_like(b, top))
                                  for b, top in zip(bounded, largest)])

    def precondition(self, g):
        """P⁻¹ g: each structure's Fourier coefficients divided by the mean weight of an image. (K, d, d, d) float32.

        Symmetric and positive definite. Raises ValueError before the first `accumulate` at this radius.
        """
        if self._inverse is None:
            raise ValueError("no preconditioner yet: compute a gradient at this resolution first")
        xp = self.xp
        forward, back = (fft.rfftn, fft.irfftn) if xp is np else (xp.fft.rfftn, xp.fft.irfftn)
        return xp.stack([back(forward(one) * inverse, s=one.shape).astype(xp.float32)
                         for one, inverse in zip(g, self._inverse)])

    def constrain(self, volumes, *, positivity: bool):
        """The volumes within a soft sphere around the particle, and non-negative."""
        xp = self.xp
        pixel = self.extent_a / self.box_size
        radius = self.diameter_a / 2 / pixel
        window = xp.asarray(soft_sphere(self.box_size, min(radius, self.box_size / 2 - 1), max(1.0, 0.1 * radius)))
        volumes = volumes * window.astype(xp.float32)
        return xp.maximum(volumes, 0) if positivity else volumes

    def centre(self, targets, least_px: float = CENTRED):
        """Move each map's centre of mass to its target, (K, 3) x, y, z in Å from the box centre; returns what moves
        other arrays alike, or None."""
        xp, box = self.xp, self.box_size
        wanted = box // 2 + np.asarray(targets)[:, ::-1] / (self.extent_a / box)
        offsets = []
        for volume, place in zip(self.volumes, wanted):
            host = to_host(xp.maximum(volume, 0))
            offset = np.array(ndimage.center_of_mass(host)) - place if host.sum() > 0 else np.zeros(3)
            offsets.append(offset if np.abs(offset).max() >= least_px else np.zeros(3))
        if not np.any(offsets):
            return None
        full, half = xp.fft.fftfreq(box), xp.fft.rfftfreq(box)

        def move(arrays):
            moved = []
            for array, (z, y, x) in zip(arrays, offsets):
                along = full[:, None, None] * z + full[None, :, None] * y + half[None, None, :] * x
                phases = xp.exp(2j * np.pi * along).astype(xp.complex64)
                moved.append(ifft3_centred(fft3_centred(array) * phases, box))
            return xp.stack(moved)

        self.volumes = move(self.volumes)
        return move

    def pack(self, g):
        """(K, s, s, s / 2 + 1) complex64, s = 2 (radius + PACK_MARGIN): the derivatives by the Fourier coefficients.

        A gradient by voxels is the sum of those by coefficients, whatever the box: they keep their meaning when the
        box changes, and only lack shells when the radius grows.
        """
        box = min(self.box_size, 2 * (self.radius + PACK_MARGIN))
        return self.xp.stack([crop_rfft3(fft3_centred(one), box) for one in g]) / np.float32(self.box_size ** 3)

    def unpack(self, packed):
        """(K, d, d, d) float32: the inverse of `pack` at the present box."""
        box = self.box_size
        resize = pad_rfft3 if packed.shape[1] <= box else crop_rfft3
        # a table that was read from a checkpoint lies on the host
        return self.xp.stack([ifft3_centred(resize(self.xp.asarray(one), box), box) for one in packed]) \
            * np.float32(box ** 3)

    def _extend_weights(self, radius):
        xp = self.xp
        shape = half_volume_radius(radius, xp=xp).shape
        weight = xp.zeros((len(self.volumes),) + shape, xp.float32)
        images = np.zeros(radius + 2)
        if self.weight is not None:
            r, h = min(self.weight.shape[1], shape[0]) // 2, min(self.weight.shape[3], shape[2])
            old, new = self.weight.shape[1] // 2, shape[0] // 2
            weight[:, new - r:new + r + 1, new - r:new + r + 1, :h] = \
                self.weight[:, old - r:old + r + 1, old - r:old + r + 1, :h]
            # the outermost old shell was only touched by the rim of the interpolation: begin it anew
            n = min(len(images), len(self.weight_images) - 2)
            images[:n] = self.weight_images[:n]
        self.weight, self.weight_images = weight, images

    def _inverse_on_nodes(self, weight):
        """(d, d, d // 2 + 1) float32: 1 / weight at the unpadded box's frequencies, with the gradient's scale."""
        xp, box, radius = self.xp, self.box_size, self.radius
        # each node of the box stands for the padded ones around it, as trilinear insertion has spread them
        line = np.array([0.25, 0.5, 0.25])
        smooth = ndimage.convolve1d(ndimage.convolve1d(to_host(weight), line, axis=0), line, axis=1)
        across = smooth.copy()
        across[:, :, 1:-1] = 0.5 * smooth[:, :, 1:-1] + 0.25 * (smooth[:, :, :-2] + smooth[:, :, 2:])
        across[:, :, 0] = 0.5 * (smooth[:, :, 0] + smooth[:, :, 1])
        centre = weight.shape[0] // 2
        reach = min(radius, (box - 1) // 2)
        index = np.arange(-reach, reach + 1)
        shell = _shells(radius)
        nodes = np.full((box, box, box // 2 + 1), across[shell == radius].mean(), np.float32)
        taken = centre + 2 * index
        wrapped = index % box
        nodes[wrapped[:, None], wrapped[None, :], :reach + 1] = across[taken[:, None], taken[None, :],
                                                                       :2 * reach + 1:2]
        return xp.asarray(1 / (nodes * (2 * box) ** 3))


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
