"""Ab initio reconstruction of K structures by stochastic optimisation at marching resolution (papers 0 and 1)."""
from __future__ import annotations

import json
import time
from typing import Iterator

import numpy as np

from ...core.backend import on_device, to_current_device, to_host
from ...core.fourier import resample_volume
from ...core.masks import soft_sphere
from ...core.settings import need
from ...ops.slicing import to_half_volume
from ..optimisers import make_optimiser
from .centring import Centring
from .expectation import Level, expect
from .grids import fourier_radius, make_levels
from .heldout import HeldOut
from .matched import MASK_EDGE, ImageMatcher
from .memory import sagd_minibatch
from .model import Model
from .noise import NoiseModel
from .objective import Minibatch
from .pose_memory import PoseMemory
from .priors import make_prior
from .schedule import (
    Progress,
    adapt_inflation,
    minibatch_at,
    resolution_at,
    similarity_at,
    step_size_at,
    target_share_at,
)
from .slices import back_project
from .start import map_start, perturbed_starts, random_starts
from .symmetry import Symmetriser

# images from whose borders the first noise spectrum is taken
NOISE_SAMPLE = 300
# room around the radius in use, px, so that non-negativity may act between the shells
BOX_MARGIN = 6
# far below one: all of the posterior's weight goes to the best pose
HARD = 1e-3
# optimisers that remember nothing, or no more than steps, of a map whose box may grow; others work at the final box
RESAMPLED = ("sgd", "sgd-momentum", "nesterov")
# the paper's run, in whose iterations SAGD's ε is given, and how often it halves
PAPER_ITERATIONS, PAPER_HALVING = 5000, 150
# SAGD's table does not follow a map that is moved: it is left alone until it is off by this many px
SAGD_CENTRED = 1.0
# fewer held-out particles tell nothing and are missed in a small set; only a march by need watches so few
LEAST_HELD_OUT = 50
# images that the class shares of the history remember
SHARE_MEMORY = 1000.0


class AbInitio:
    """One run: `steps()` yields a record after each minibatch; `finish.Assignment` then poses every particle.

    source : `images(rows, box) -> (n, box, box) float32`, normalised white particles (io/source.py or a test's own)
    table : ParticleTable, its rows match the source's. xp : numpy or cupy. threads : images worked on at a time.
    lanes : partial sums per minibatch; with the seed it settles the result (see `expect`). devices : numbers of the
    GPUs that share the lanes, the first being the current one; (None,) on the CPU or for the current GPU alone.
    start_map : (volume, Å/px) where config.start is "map". table_gb : for SAGD's table of gradients.
    """

    def __init__(self, config, table, source, *, xp=np, threads: int = 1, lanes: int = 4, devices=(None,),
                 start_map=None, table_gb: float = 1.0):
        self.config, self.table, self.source = config, table, source
        self.xp, self.threads, self.lanes, self.devices = xp, threads, lanes, tuple(devices)
        self.extent_a = config.box_size * config.pixel_size
        self.rng = np.random.default_rng(config.seed)
        self.iteration, self.images_visited = 0, 0
        self.inflation = 30.0 if config.inflates else 1.0
        self.progress = Progress(config.iterations, config.march == "need")
        used = self._choose_rows()
        self.held_out = HeldOut(self, self._hold_out(used))
        self.rows = np.setdiff1d(used, self.held_out.rows)
        self.assigned_rows = used
        self.queue = np.empty(0, int)
        self.partition = self._partition(table_gb) if config.optimiser == "sagd" else None
        self.symmetriser = Symmetriser(config.symmetry, config.symmetry_start)
        self.noise = self._border_noise()
        self.memory = PoseMemory(len(table), config.classes, config.oversampling)
        self.centring = Centring(config.classes, config.diameter_a)
        self.class_shares = np.full(config.classes, 1 / config.classes)
        self.optimiser = self._make_optimiser()
        self.prior_scale = (np.nan, 0)
        self.stopped = None
        self._levels_key = self._grids = self._matchers = None
        self._start(start_map)

    def steps(self) -> Iterator[dict]:
        """Run minibatches until the schedule is through or the held-out error has settled; each yields its record."""
        while not self.progress.done and not self.stopped:
            yield self._step()

    @property
    def finest_grid(self):
        """PoseGrid of the resolution in use."""
        self._prepare_grids()
        return self._grids[-1]

    def teams(self, volumes) -> list:
        """For each device the pose levels at the resolution in use, [[Level]], of the given maps."""
        self._prepare_grids()
        halves, teams = [to_half_volume(volume, self.model.radius) for volume in volumes], []
        for device, matchers in zip(self.devices, self._matchers):
            with on_device(device):
                local = [to_current_device(half, self.xp) for half in halves]
                teams.append([Level(grid, local, matcher, device) for grid, matcher in zip(self._grids, matchers)])
        return teams

    def load(self, rows):
        """Images of the given rows at the box that the finest level in use needs."""
        return self.source.images(rows, self._matchers[0][-1].crop_box)

    def expect(self, teams, rows, temperature: float, **options):
        """The posterior of the given particles over the levels of `teams`."""
        return expect(teams[0], self.load(rows), self.table, rows, self.noise.spectrum, temperature=temperature,
                      threads=self.threads, lanes=self.lanes, replicas=teams[1:], **options)

    def back_project(self, batch):
        """Gradient sum and weight of a BatchResult: ((K, half volume) complex64, likewise float32), not yet Hermitian:
        Aᴴ(Σ w C X/σ² − Σ w C²/σ² · A V) and Aᴴ Σ w C²/σ², at the radius in use and under the symmetry in force."""
        numerator, weight = batch.rings()
        return back_project(numerator - weight * batch.values, weight, batch.grid, self.symmetriser.operators,
                            self.model.radius, rows=batch.sums.rows, classes=self.config.classes)

    def select(self, row):
        """The importance sample of one particle, or None where it is to be searched."""
        if not self.config.importance_sampling:
            return None
        rng = np.random.default_rng([self.config.seed, self.iteration, int(row)])
        return self.memory.select(row, self._grids[-1], rng)

    def state(self) -> dict:
        """Everything that the next step depends on, as arrays."""
        model = self.model
        parts = dict(optimiser=self.optimiser.state(), memory=self.memory.state(), progress=self.progress.state(),
                     heldout=self.held_out.state())
        state = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        return dict(state, iteration=self.iteration, images_visited=self.images_visited, inflation=self.inflation,
                    queue=self.queue, volumes=to_host(model.volumes), weight=to_host(model.weight),
                    weight_images=model.weight_images, radius=model.radius, noise=self.noise.spectrum.copy(),
                    noise_images=self.noise.images_seen.copy(), symmetry=self.symmetriser.current,
                    prior_scale=np.array(self.prior_scale),
                    symmetry_scores=np.empty(0) if self.symmetriser.scores is None else self.symmetriser.scores,
                    centres=self.centring.targets, class_shares=self.class_shares, stopped=self.stopped or "",
                    random_state=json.dumps(self.rng.bit_generator.state))

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        xp, model = self.xp, self.model
        self.iteration, self.images_visited = int(state["iteration"]), int(state["images_visited"])
        self.inflation, self.queue = float(state["inflation"]), np.asarray(state["queue"])
        model.volumes, model.weight = xp.asarray(state["volumes"]), xp.asarray(state["weight"])
        model.weight_images, model.radius = np.asarray(state["weight_images"]), int(state["radius"])
        self.noise.spectrum, self.noise.images_seen = np.asarray(state["noise"]), np.asarray(state["noise_images"])
        self.symmetriser.current = str(state["symmetry"])
        self.prior_scale = float(state["prior_scale"][0]), int(state["prior_scale"][1])
        scores = np.asarray(state["symmetry_scores"])
        self.symmetriser.scores = scores if len(scores) else None
        self.centring.targets = np.array(state["centres"])
        self.class_shares, self.stopped = np.asarray(state["class_shares"]), str(state["stopped"]) or None
        self.rng.bit_generator.state = json.loads(str(state["random_state"]))
        self.optimiser.restore(_part(state, "optimiser"), xp)
        for name, part in (("memory", self.memory), ("progress", self.progress), ("heldout", self.held_out)):
            part.restore(_part(state, name))

    def densities(self) -> np.ndarray:
        """The maps as they are, at the particles' box; (K, box, box, box) float32 in the particles' units."""
        return np.stack([to_host(resample_volume(volume, self.config.box_size)).astype(np.float32)
                         for volume in self.model.volumes])

    def set_resolution(self, resolution_a: float) -> int:
        """Bring the model to the radius and working box of a resolution; returns the radius."""
        config = self.config
        radius = fourier_radius(resolution_a, config.box_size, config.pixel_size)
        widest = radius
        if config.optimiser not in RESAMPLED:
            widest = fourier_radius(config.final_resolution_a, config.box_size, config.pixel_size)
        resample = self.model.set_radius(radius, min(config.box_size, 2 * (widest + BOX_MARGIN)))
        if resample is not None:
            self.optimiser.transform(resample)
        return radius

    def _step(self) -> dict:
        started = time.perf_counter()
        config, model, progress = self.config, self.model, self.progress.value
        radius = self.set_resolution(resolution_at(progress, config))
        if self.symmetriser.is_due(progress):
            model.volumes = self.xp.asarray(self.symmetriser.impose(to_host(model.volumes), model.radius))
            self.optimiser = self._make_optimiser()
        rows, batch, n_batches = self._next_rows(minibatch_at(progress, config))
        temperature = HARD if config.optimiser == "projection-matching" else self.inflation
        problem = Minibatch(self, rows, temperature, similarity=similarity_at(progress, config),
                            prior=self._make_prior(), prior_weight=self._prior_weight(), batch=batch,
                            n_batches=n_batches)
        self.optimiser.step_size = step_size_at(progress, config)
        model.volumes = self.optimiser.step(model.volumes, problem)
        if config.centring and not self.symmetriser.fixes_centre:
            self.centring.follow(problem.images)
            least = {"least_px": SAGD_CENTRED} if config.optimiser == "sagd" else {}
            moved = model.centre(self.centring.targets, **least)
            if moved is not None:
                self.optimiser.transform(moved)
        self.noise.update(problem.residual, len(rows))
        divergence = self.memory.store(rows, problem.images, problem.grid, progress,
                                       [selection is not None for selection in problem.selections])
        self.images_visited += len(rows)
        record = self._record(problem, radius, divergence)
        self.iteration += 1
        record.update(self.held_out.after_step())
        record["seconds"] = time.perf_counter() - started
        if config.inflates:
            self.inflation = adapt_inflation(self.inflation, record["significant_share"],
                                             target_share_at(progress, config))
        self.progress.advance()
        return record

    def _record(self, problem, radius, divergence):
        images, n = problem.images, len(problem.rows)
        mass = np.mean([image.class_mass for image in images], axis=0)
        self.class_shares += (mass - self.class_shares) * min(1.0, n / SHARE_MEMORY)
        info = {name: value if np.isfinite(value) else None for name, value in self.optimiser.info.items()
                if name != "step_size"}
        return dict(
            iteration=self.iteration + 1, progress=self.progress.value, resolution_a=self.extent_a / radius,
            n_images=n, images_visited=self.images_visited, step_size=float(self.optimiser.step_size),
            significant_share=float(np.mean([i.effective_poses / i.n_poses for i in images])),
            evaluated_share=float(np.mean([i.evaluated / i.n_poses for i in images])),
            scores=int(sum(i.evaluated for i in images)),
            sampled_share=float(np.mean([s is not None for s in problem.selections])),
            noise_inflation=self.inflation, kl_directions=None if np.isnan(divergence) else divergence,
            log_likelihood=float(np.mean([i.log_evidence for i in images])),
            class_shares=[float(share) for share in self.class_shares],
            symmetry=self.symmetriser.current, **info)

    def _next_rows(self, count):
        """(rows, number of the minibatch in SAGD's partition, minibatches of it): the next of a random order of all,
        begun anew when it runs out; all rows for the methods that see the whole data set each time."""
        if self.config.whole_set:
            return self.rows, 0, 1
        if self.partition is not None:
            if not len(self.queue):
                self.queue = self.rng.permutation(len(self.partition))
            number, self.queue = int(self.queue[0]), self.queue[1:]
            return self.partition[number], number, len(self.partition)
        count = min(count, len(self.rows))
        if len(self.queue) < count:
            self.queue = np.concatenate([self.queue, self.rng.permutation(self.rows)])
        taken, self.queue = self.queue[:count], self.queue[count:]
        return np.sort(taken), 0, 1

    def _partition(self, table_gb):
        size = sagd_minibatch(self.config, len(self.rows), table_gb)
        parts = np.array_split(self.rng.permutation(self.rows), max(1, round(len(self.rows) / size)))
        return [np.sort(part) for part in parts]

    def _choose_rows(self):
        n, limit = len(self.table), self.config.max_particles
        if limit is None or limit >= n:
            return np.arange(n)
        return np.sort(self.rng.choice(n, limit, replace=False))

    def _hold_out(self, rows):
        count = min(self.config.held_out, len(rows) // 10)
        if count < LEAST_HELD_OUT and self.config.march == "iterations":
            count = 0
        return np.sort(self.rng.choice(rows, count, replace=False))

    def _prepare_grids(self):
        # of the shell, not of the iteration: a run that goes on from a checkpoint must build the same grids
        key = (self.model.radius, self.symmetriser.current)
        if key != self._levels_key:
            self._grids = make_levels(self.extent_a / self.model.radius, self.config, symmetry=key[1])
            self._matchers = [self._make_matchers(device) for device in self.devices]
            self._levels_key = key

    def _make_matchers(self, device):
        config = self.config
        # an off-centre particle lies within the mask's soft edge, or the mask is wider
        mask = config.diameter_a / 2 + max(0.0, config.shift_range - MASK_EDGE * config.diameter_a)
        with on_device(device):
            return [ImageMatcher(grid.polar, box_size=config.box_size, pixel_size=config.pixel_size,
                                 window_radius_a=config.diameter_a / 2 + max(config.shift_range, grid.largest_shift_a),
                                 mask_radius_a=mask, xp=self.xp)
                    for grid in self._grids]

    def _make_optimiser(self):
        config = self.config
        if config.whole_set:
            return make_optimiser("whole-step")
        settings = {}
        if config.optimiser == "sgd-momentum" or config.optimiser == "nesterov":
            settings["momentum"] = config.momentum
        if config.optimiser == "sagd":
            settings["halving_steps"] = max(1, round(config.iterations * PAPER_HALVING / PAPER_ITERATIONS))
        if config.optimiser in ("sagd", "hessian-free"):
            settings["value_rounding"] = 1e-6  # scores are float32
        return make_optimiser(config.optimiser, **settings)

    def _make_prior(self):
        """The prior at the maps' own scale, measured anew with each shell: in between the objective must not change."""
        config, box = self.config, self.model.box_size
        if config.prior == "uniform":
            return None
        if self.prior_scale[1] != self.model.radius:
            inside = self.xp.asarray(soft_sphere(box, config.diameter_a / 2 / (self.extent_a / box), 1.0) > 0.5)
            # in the particles' own voxels: a box that grows must not change it
            scale = max(float(volume[inside].mean()) for volume in self.model.volumes) * (box / config.box_size) ** 3
            need(scale > 0, f"the {config.prior} prior has made the maps vanish; lower the prior strength "
                            f"({config.prior_strength:g})")
            self.prior_scale = scale, self.model.radius
        scale = self.prior_scale[0] * (config.box_size / box) ** 3
        return make_prior(config.prior, config.prior_strength, scale=scale, voxel=config.box_size / box)

    def _prior_weight(self):
        """Independent elements of the particle at the resolution in use, over voxels: a prior on each voxel as if they
        were all independent outweighs thousands of images at low resolution."""
        elements = np.pi / 6 * (2 * self.config.diameter_a * self.model.radius / self.extent_a) ** 3
        return min(1.0, elements / self.config.box_size ** 3)

    def _border_noise(self):
        config = self.config
        sample = np.sort(self.rng.choice(self.rows, min(NOISE_SAMPLE, len(self.rows)), replace=False))
        images = self.source.images(sample, config.box_size)
        return NoiseModel.from_borders(images, min(config.diameter_a / 2 / config.pixel_size, 0.47 * config.box_size))

    def _start(self, start_map):
        """Starting maps scaled so that their slices have about the power that the images have above the noise."""
        config, xp = self.config, self.xp
        radius = fourier_radius(config.initial_resolution_a, config.box_size, config.pixel_size)
        box = min(config.box_size, 2 * (radius + BOX_MARGIN))
        diameter = config.diameter_a / self.extent_a * box
        if config.start == "map":
            need(start_map is not None, "the start 'map' needs a map; give one")
            density = map_start(*start_map, box_size=box, box_pixel_size=self.extent_a / box,
                                diameter_a=config.diameter_a, resolution_a=config.initial_resolution_a)
            volumes = perturbed_starts(density, config.classes, diameter, self.rng)
        else:
            volumes = random_starts(config.start, config.classes, box, diameter, self.rng)
        self.model = Model(xp.asarray(volumes), extent_a=self.extent_a, diameter_a=config.diameter_a,
                           preconditioned=config.preconditioner, batch_alone=config.whole_set)
        self.set_resolution(config.initial_resolution_a)
        level = self.teams(self.model.volumes)[0][-1]
        rows = self.rows[:: max(1, len(self.rows) // 100)][:100]
        prepared = level.matcher.prepare(self.load(rows), self.table, rows, self.noise.spectrum)
        sigma2 = self.noise.spectrum[1:self.model.radius + 1]
        excess = np.maximum(prepared.power.mean(axis=0) / sigma2 - prepared.noise_share, 0.02).sum()
        slices = to_host((xp.abs(level.bank().values) ** 2).mean(axis=(0, 2)))
        filtered = to_host(prepared.ctf_power.mean(axis=(0, 2))) * slices
        self.model.volumes = self.model.volumes * np.float32(np.sqrt(excess / filtered.sum()))


def _part(state, name):
    return {key[len(name) + 1:]: value for key, value in state.items() if key.startswith(name + "/")}
