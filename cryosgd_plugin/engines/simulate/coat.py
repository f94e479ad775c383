"""A disordered coat around a structure, another one in each image: a detergent micelle, say, or floppy domains."""
from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.errors import InputError
from . import _gridding
from .density import fourier_images, radial_frequency

# a piece of the coat: the side of the cube that it fills on average, and its Gaussian's standard deviation, Å
PIECE_A, PIECE_SD_A = 10.0, 4.0
# density that belongs to the structure, as a share of its bright parts
LEVEL = 0.1


class Coat:
    """Pieces at random places of the layer around a density.

    volume : (d, d, d) of the structure; thickness_a : Å of the layer; density : its mean, over that of the structure
    Raises InputError where no layer fits the box.
    """

    def __init__(self, volume, pixel_size: float, thickness_a: float, density: float):
        self.box = len(volume)
        inside = volume > LEVEL * np.percentile(volume, 99.9)
        layer = (ndimage.distance_transform_edt(~inside) * pixel_size <= thickness_a) & ~inside
        self.places = (np.argwhere(layer)[:, ::-1] - self.box // 2).astype(np.float64)
        radius = np.sqrt((self.places ** 2).sum(axis=1))
        if not len(radius) or radius.max() >= self.box / 2 - 1:
            raise InputError(f"a coat of {thickness_a:g} Å reaches beyond the box of {self.box} px × {pixel_size:g} "
                             "Å/px, or is thinner than a pixel; give a larger box, or another thickness")
        self.pieces = max(1, int(len(radius) * (pixel_size / PIECE_A) ** 3))
        self.weight = density * float(volume[inside].mean()) * len(radius) / self.pieces
        frequency = radial_frequency(self.box, 2) / pixel_size
        self.transfer = np.exp(-2 * (np.pi * PIECE_SD_A * frequency) ** 2) * (frequency * pixel_size < 0.5)

    def project(self, rotations, streams):
        """(n, d, d // 2 + 1) complex128 raw coefficients of each image's own coat, as PointProjector.project; streams :
        n random generators."""
        fine = _gridding.fine_size(self.box)
        grids = np.zeros((len(rotations), 1, fine, fine))
        weights, starts = np.full(self.pieces, self.weight), np.array([0, self.pieces])
        for grid, rotation, rng in zip(grids, np.asarray(rotations, np.float64), streams):
            points = self.places[rng.integers(len(self.places), size=self.pieces)]
            points = points + rng.uniform(-0.5, 0.5, points.shape)
            _gridding.spread_images(points, weights, starts, np.ascontiguousarray(rotation[None]), fine / self.box,
                                    _gridding.kernel_table(), grid[None])
        return fourier_images(grids[:, 0], self.box) * self.transfer
