"""Pose levels: a grid with the maps' slices and the images' sampling on its rings, and how a run builds them."""
from __future__ import annotations

import numpy as np

from ...core.backend import array_module, on_device, to_current_device
from ...ops.polar import correlate, harmonics, shifted_harmonics
from ...ops.slicing import to_half_volume
from .grids import make_levels
from .matched import ImageMatcher, mask_radius_a
from .selection import Selection
from .slices import SliceBank


class Level:
    """One grid with the K models' half volumes and the images' sampling on its rings; device : the GPU they lie on."""

    def __init__(self, grid, halves, matcher, device=None):
        xp = array_module(halves[0])
        self.grid, self.halves, self.matcher, self.xp, self.device = grid, halves, matcher, xp, device
        self.phases = matcher.shift_phases(grid.shifts_a)
        self._whole = self._phases_by_angle = None

    @property
    def classes(self) -> int:
        return len(self.halves)

    @property
    def n_rows(self) -> int:
        return self.classes * self.grid.n_directions

    def bank(self, rows=None) -> SliceBank:
        """The models' slices at some rows, or at all."""
        if rows is not None:
            return SliceBank(self.halves, self.grid, rows)
        if self._whole is None:
            self._whole = SliceBank(self.halves, self.grid)
        return self._whole

    def image_harmonics(self, filtered, shifts=None):
        """(m, radius, s) complex64 harmonics of one image under the given rows of the shift grid."""
        if self.xp is np:
            if self._phases_by_angle is None:
                self._phases_by_angle = np.ascontiguousarray(self.phases.transpose(2, 1, 0))
            return shifted_harmonics(filtered, self._phases_by_angle, shifts)
        phases = self.phases if shifts is None else self.phases[self.xp.asarray(shifts)]
        return self.xp.ascontiguousarray(harmonics(filtered * phases).transpose(2, 1, 0))

    def scores(self, bank, image, ctf_harmonics, selection: Selection, temperature: float = 1.0, pairs=None):
        """(a, d, s) log probabilities of one image's selected poses, up to its own constant; or (a, p) of the pairs of
        direction and shift whose numbers among the selected, direction · s + shift, are given.

        Log weights, the shifts' prior among them, count `temperature` times: inflated noise changes what an image
        says, not what is known beforehand, nor how many points one stands for.
        """
        xp = self.xp
        linear, square = bank.pick(selection.rows)
        power = (square @ xp.conj(ctf_harmonics)[:, :, None])[:, :, 0]
        offset = self.grid.log_shift_weights[slice(None) if selection.shifts is None else selection.shifts][None, :]
        if selection.log_shifts is not None:
            offset = offset + selection.log_shifts
        if selection.log_rows is not None:
            offset = offset + selection.log_rows[:, None]
        offset = temperature * offset
        scores = correlate(image, linear, self.grid.polar.n_angles, power=power, angles=selection.angles,
                           offset=xp.asarray(offset.astype(np.float32)), turns=selection.turns, pairs=pairs)
        if selection.log_angles is not None:
            weights = xp.asarray((temperature * selection.log_angles).astype(np.float32))
            scores += weights.reshape((-1,) + (1,) * (scores.ndim - 1))
        return scores


class LevelBuilder:
    """The levels that suit a resolution and a symmetry, of whatever maps; config : AbInitioConfig.

    devices : numbers of GPUs, each of which gets its own levels, or (None,). grids : [PoseGrid] coarse to fine, None
    before the first `prepare`; radius : Fourier radius that they were made for.
    """

    def __init__(self, config, xp, devices):
        self.config, self.xp, self.devices = config, xp, devices
        self.extent_a = config.box_size * config.pixel_size
        self.radius = self.grids = self._matchers = self._key = None

    @property
    def crop_box(self) -> int:
        """Box in px that the finest level needs images at."""
        return self._matchers[0][-1].crop_box

    def prepare(self, radius: int, symmetry: str) -> None:
        """Make the grids for a Fourier radius under a symmetry, unless these are the present ones."""
        # of the shell, not of the iteration: a run that goes on from a checkpoint must build the same grids
        key = (radius, symmetry)
        if key != self._key:
            self.grids = make_levels(self.extent_a / radius, self.config, symmetry=symmetry)
            self._matchers = [self._make_matchers(device) for device in self.devices]
            self.radius, self._key = radius, key

    def teams(self, volumes) -> list:
        """[[Level]], coarse to fine for each device, of the given maps."""
        halves, teams = [to_half_volume(volume, self.radius) for volume in volumes], []
        for device, matchers in zip(self.devices, self._matchers):
            with on_device(device):
                local = [to_current_device(half, self.xp) for half in halves]
                teams.append([Level(grid, local, matcher, device) for grid, matcher in zip(self.grids, matchers)])
        return teams

    def _make_matchers(self, device):
        config = self.config
        mask = mask_radius_a(config.diameter_a, config.shift_range)
        # grids that differ in their shifts alone take the same images
        reach = {}
        for grid in self.grids:
            reach[grid.polar] = max(reach.get(grid.polar, config.shift_range), grid.largest_shift_a)
        with on_device(device):
            made = {polar: ImageMatcher(polar, box_size=config.box_size, pixel_size=config.pixel_size,
                                        window_radius_a=config.diameter_a / 2 + largest, mask_radius_a=mask, xp=self.xp)
                    for polar, largest in reach.items()}
        return [made[grid.polar] for grid in self.grids]
