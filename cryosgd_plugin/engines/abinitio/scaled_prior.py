"""The prior on maps (priors.py) at the maps' own scale, and what it weighs beside the images."""
from __future__ import annotations

import numpy as np

from ...core.masks import soft_sphere
from ...core.settings import need
from .priors import make_prior


class ScaledPrior:
    """The prior that an AbInitioConfig asks for. measured : (the maps' scale, the Fourier radius it was taken at)."""

    def __init__(self, config):
        self.config = config
        self.extent_a = config.box_size * config.pixel_size
        self.measured = (np.nan, 0)

    def of(self, model):
        """The prior of priors.py at the scale of a Model's maps, or None for a uniform one.

        Their scale is measured anew with each shell: in between the objective must not change. Raises InputError where
        the maps have vanished.
        """
        config, box = self.config, model.box_size
        if config.prior == "uniform":
            return None
        if self.measured[1] != model.radius:
            inside = model.xp.asarray(soft_sphere(box, config.diameter_a / 2 / (self.extent_a / box), 1.0) > 0.5)
            # in the particles' own voxels: a box that grows must not change it
            scale = max(float(volume[inside].mean()) for volume in model.volumes) * (box / config.box_size) ** 3
            need(scale > 0, f"the {config.prior} prior has made the maps vanish; lower the prior strength "
                            f"({config.prior_strength:g})")
            self.measured = scale, model.radius
        scale = self.measured[0] * (config.box_size / box) ** 3
        return make_prior(config.prior, config.prior_strength, scale=scale, voxel=config.box_size / box)

    def weight(self, radius: int) -> float:
        """Independent elements of the particle at the resolution in use, over voxels: a prior on each voxel as if they
        were all independent outweighs thousands of images at low resolution."""
        elements = np.pi / 6 * (2 * self.config.diameter_a * radius / self.extent_a) ** 3
        return min(1.0, elements / self.config.box_size ** 3)
