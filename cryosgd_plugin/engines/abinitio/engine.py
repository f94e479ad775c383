"""Ab initio reconstruction by preconditioned SGD with momentum at marching resolution (papers 0 and 1)."""
from __future__ import annotations

import json
import time
from typing import Iterator

import numpy as np

from ...core.backend import on_device, to_current_device, to_host
from ...core.fourier import resample_volume
from .expectation import Level, expect
from .grids import fourier_radius, make_levels
from .matched import MASK_EDGE, ImageMatcher
from .model import Model
from .noise import NoiseModel
from .schedule import adapt_inflation, minibatch_at, resolution_at, step_size_at, target_share_at
from .slices import back_project
from .start import random_start
from .symmetry import Symmetriser

# images from whose borders the first noise spectrum is taken
NOISE_SAMPLE = 300
# room around the radius in use, px, so that non-negativity may act between the shells
BOX_MARGIN = 6


class AbInitio:
    """One run: `steps()` yields a record after each minibatch; `finish.Assignment` then poses every particle.

    source : `images(rows, box) -> (n, box, box) float32`, normalised white particles (io/source.py or a test's own)
    table : ParticleTable, its rows match the source's. xp : numpy or cupy. threads : images worked on at a time.
    lanes : partial sums per minibatch; with the seed it settles the result (see `expect`). devices : numbers of the
    GPUs that share the lanes, the first being the current one; (None,) on the CPU or for the current GPU alone.
    """

    def __init__(self, config, table, source, *, xp=np, threads: int = 1, lanes: int = 4, devices=(None,)):
        self.config, self.table, self.source = config, table, source
        self.xp, self.threads, self.lanes, self.devices = xp, threads, lanes, tuple(devices)
        self.extent_a = config.box_size * config.pixel_size
        self.rng = np.random.default_rng(config.seed)
        self.iteration = 0
        self.inflation = 30.0
        self.rows = self._choose_rows()
        self.queue = np.empty(0, int)
        self.symmetriser = Symmetriser(config.symmetry, config.symmetry_start)
        self.noise = self._border_noise()
        self.model = self._start()
        self._levels_key = None
        self._grids = self._matchers = None

    def steps(self) -> Iterator[dict]:
        """Run minibatches until the iterations are used up; each yields its record for the history."""
        while self.iteration < self.config.iterations:
            yield self._step()

    def levels(self, resolution_a: float, *, symmetry: str) -> list[list[Level]]:
        """For each device the pose levels at a resolution, with slices of the model as it is now."""
        config = self.config
        radius = fourier_radius(resolution_a, config.box_size, config.pixel_size)
        # of the shell, not of the iteration: a run that goes on from a checkpoint must build the same grids
        resolution_a = self.extent_a / radius
        key = (radius, symmetry)
        if key != self._levels_key:
            self._grids = make_levels(resolution_a, config, symmetry=symmetry)
            self._matchers = [self._make_matchers(device) for device in self.devices]
            self._levels_key = key
        half, teams = self.model.half_volume(), []
        for device, matchers in zip(self.devices, self._matchers):
            with on_device(device):
                local = to_current_device(half, self.xp)
                teams.append([Level(grid, local, matcher, device) for grid, matcher in zip(self._grids, matchers)])
        return teams

    def load(self, rows):
        """Images of the given rows at the box that the finest level in use needs."""
        return self.source.images(rows, self._matchers[0][-1].crop_box)

    def expect(self, teams, rows, temperature: float):
        """The posterior of the given particles over the levels of `levels()`."""
        return expect(teams[0], self.load(rows), self.table, rows, self.noise.spectrum, temperature=temperature,
                      shift_sd_a=max(self.config.shift_range / 2, 1.0), threads=self.threads, lanes=self.lanes,
                      replicas=teams[1:])

    def gradient(self, batch, level, radius: int):
        """(gradient, weight) half volumes: Aᴴ(Σ w C X/σ² − Σ w C²/σ² · A V), and Aᴴ Σ w C²/σ²."""
        numerator, weight = batch.sums.rings()
        return back_project(numerator - weight * level.bank.values, weight, level.grid, self.symmetriser.operators,
                            radius)

    def state(self) -> dict:
        """Everything that the next step depends on, as arrays."""
        model = self.model
        return dict(iteration=self.iteration, inflation=self.inflation, queue=self.queue, rows=self.rows,
                    volume=to_host(model.volume), momentum=to_host(model.momentum), weight=to_host(model.weight),
                    weight_images=model.weight_images, radius=model.radius, noise=self.noise.spectrum.copy(),
                    noise_images=self.noise.images_seen.copy(), symmetry=self.symmetriser.current,
                    symmetry_score=np.nan if self.symmetriser.score is None else self.symmetriser.score,
                    random_state=json.dumps(self.rng.bit_generator.state))

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        xp, model = self.xp, self.model
        self.iteration, self.inflation = int(state["iteration"]), float(state["inflation"])
        self.queue, self.rows = np.asarray(state["queue"]), np.asarray(state["rows"])
        model.volume, model.momentum = xp.asarray(state["volume"]), xp.asarray(state["momentum"])
        model.weight, model.weight_images = xp.asarray(state["weight"]), np.asarray(state["weight_images"])
        model.radius = int(state["radius"])
        self.noise.spectrum, self.noise.images_seen = np.asarray(state["noise"]), np.asarray(state["noise_images"])
        self.symmetriser.current = str(state["symmetry"])
        score = float(state["symmetry_score"])
        self.symmetriser.score = None if np.isnan(score) else score
        self.rng.bit_generator.state = json.loads(str(state["random_state"]))

    def density(self) -> np.ndarray:
        """The map as it is, at the particles' box; (box,)*3 float32 in the particles' units."""
        return to_host(resample_volume(self.model.volume, self.config.box_size)).astype(np.float32)

    def set_resolution(self, resolution_a: float) -> int:
        """Bring the model to the radius and working box of a resolution; returns the radius."""
        config = self.config
        radius = fourier_radius(resolution_a, config.box_size, config.pixel_size)
        self.model.set_radius(radius, min(config.box_size, 2 * (radius + BOX_MARGIN)))
        return radius

    def _step(self) -> dict:
        started = time.perf_counter()
        config, model = self.config, self.model
        resolution = resolution_at(self.iteration, config)
        radius = self.set_resolution(resolution)
        if self.symmetriser.is_due(self.iteration, config.iterations):
            model.volume = self.xp.asarray(self.symmetriser.impose(to_host(model.volume), model.radius))
            model.momentum = self.xp.zeros_like(model.volume)
        teams = self.levels(resolution, symmetry=self.symmetriser.current)
        rows = self._next_rows(minibatch_at(self.iteration, config))
        batch = self.expect(teams, rows, self.inflation)
        finest = teams[0][-1]
        change = self._update(batch, finest, radius)
        self.noise.update(batch, finest.bank)
        share = float(np.mean([image.effective_poses / image.n_poses for image in batch.images]))
        record = dict(
            iteration=self.iteration + 1, resolution_a=self.extent_a / radius, n_images=len(rows),
            step_size=step_size_at(self.iteration, config), significant_share=share, noise_inflation=self.inflation,
            log_likelihood=float(np.mean([i.log_evidence - np.log(i.n_poses) for i in batch.images])),
            change=change, symmetry=self.symmetriser.current, seconds=time.perf_counter() - started)
        self.inflation = adapt_inflation(self.inflation, share, target_share_at(self.iteration, config))
        self.iteration += 1
        return record

    def _update(self, batch, level, radius) -> float:
        """One preconditioned step along the gradient; then the constraints."""
        config = self.config
        gradient, weights = self.gradient(batch, level, radius)
        change = self.model.step(gradient, weights, len(batch.images), momentum=config.momentum,
                                 step_size=step_size_at(self.iteration, config))
        self.model.constrain(positivity=config.positivity,
                             centring=config.centring and not self.symmetriser.fixes_centre)
        return change

    def _next_rows(self, count):
        """The next rows of a random order of all, begun anew when it runs out."""
        count = min(count, len(self.rows))
        if len(self.queue) < count:
            self.queue = np.concatenate([self.queue, self.rng.permutation(self.rows)])
        taken, self.queue = self.queue[:count], self.queue[count:]
        return np.sort(taken)

    def _choose_rows(self):
        n, limit = len(self.table), self.config.max_particles
        if limit is None or limit >= n:
            return np.arange(n)
        return np.sort(self.rng.choice(n, limit, replace=False))

    def _make_matchers(self, device):
        config = self.config
        window = config.diameter_a / 2 + config.shift_range
        # an off-centre particle lies within the mask's soft edge, or the mask is wider
        mask = config.diameter_a / 2 + max(0.0, config.shift_range - MASK_EDGE * config.diameter_a)
        with on_device(device):
            return [ImageMatcher(grid.polar, box_size=config.box_size, pixel_size=config.pixel_size,
                                 window_radius_a=window, mask_radius_a=mask, xp=self.xp)
                    for grid in self._grids]

    def _border_noise(self):
        config = self.config
        sample = np.sort(self.rng.choice(self.rows, min(NOISE_SAMPLE, len(self.rows)), replace=False))
        images = self.source.images(sample, config.box_size)
        return NoiseModel.from_borders(images, min(config.diameter_a / 2 / config.pixel_size, 0.47 * config.box_size))

    def _start(self):
        """A random map scaled so that its slices have about the power that the images have above the noise."""
        config, xp = self.config, self.xp
        radius = fourier_radius(config.initial_resolution_a, config.box_size, config.pixel_size)
        box = min(config.box_size, 2 * (radius + BOX_MARGIN))
        volume = random_start(config.start, box, config.diameter_a / self.extent_a * box, self.rng)
        model = Model(xp.asarray(volume), extent_a=self.extent_a, diameter_a=config.diameter_a)
        model.set_radius(radius, box)
        self.model, self._levels_key, self._grids = model, None, None
        levels = self.levels(config.initial_resolution_a, symmetry="C1")[0]
        rows = self.rows[:: max(1, len(self.rows) // 100)][:100]
        prepared = levels[-1].matcher.prepare(self.load(rows), self.table, rows, self.noise.spectrum)
        sigma2 = self.noise.spectrum[1:radius + 1]
        excess = np.maximum(prepared.power.mean(axis=0) / sigma2 - prepared.noise_share, 0.02).sum()
        slices = to_host((xp.abs(levels[-1].bank.values) ** 2).mean(axis=(0, 2)))
        filtered = to_host(prepared.ctf_power.mean(axis=(0, 2))) * slices
        model.volume = model.volume * np.float32(np.sqrt(excess / filtered.sum()))
        return model
