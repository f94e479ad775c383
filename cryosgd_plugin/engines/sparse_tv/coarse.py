"""The same problem on a coarser grid, on which penalties are tried: a box of the same side in Å."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.fourier import resample_volume
from .config import SparseTVConfig
from .problem import FourierData

# fixed-point gap that suffices to rank penalties
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Coarse:
    """A half's data, settings and ε for a box of at most so many px.

    finer : how many of its voxels the full problem has in one's place along an axis; heavier : how much more its data
    weigh on average, in a unit that both share
    """

    data: FourierData
    config: SparseTVConfig
    epsilon: float
    finer: float
    heavier: float

    def settings(self, alpha: float, beta: float, gamma: float) -> SparseTVConfig:
        """The penalties of the full problem, in its units, for this one."""
        # neighbours are farther apart here, so that they differ by more and there are fewer of them
        return replace(self.config, alpha=alpha, beta=beta / self.finer, gamma=gamma / self.heavier)

    def map(self, volume):
        """A map (d, d, d) of the full problem in this box."""
        return resample_volume(volume, self.data.box) if self.finer > 1 else volume

    def mask(self, mask):
        """The same of a mask in [0, 1]."""
        return np.clip(self.map(mask) / np.float32(self.finer ** 3), 0, 1) if self.finer > 1 else mask


def coarse(data: FourierData, config: SparseTVConfig, epsilon: float, largest_box: int) -> Coarse:
    """The problem of `data` for a box of at most `largest_box` px; epsilon : where the config leaves it open."""
    epsilon, full = config.epsilon or epsilon, data
    finer = max(1.0, data.box / largest_box)
    config = replace(config, epsilon=None, epsilon_ratio=config.epsilon_ratio * finer,
                     tolerance=max(config.tolerance, TOLERANCE))
    if finer == 1:
        return Coarse(data, config, epsilon, 1.0, 1.0)
    # raw coefficients stay as they are: a voxel holds that much more, and the square of a unitary one is as much larger
    share = np.float32(1 / finer ** 3)
    line = np.fft.fftfreq(largest_box, 1 / largest_box).astype(int)
    weight, prior = (values[line][:, line][:, :, :largest_box // 2 + 1] * share for values in (data.weight, data.prior))
    data = FourierData(resample_volume(data.volume, largest_box), weight, prior, threads=data.threads)
    return Coarse(data, config, epsilon / float(share), finer, data.mean_weight / (full.mean_weight * float(share)))
