"""Ab initio reconstruction of K structures by stochastic optimisation at marching resolution (papers 0 and 1).

What a run draws at first is in beginning.py, the poses it sums in levels.py and expectation.py, what a step minimises
in objective.py, by which rule in step_rule.py, how all of it changes in schedule.py, the maps' last pass in finish.py.
"""
from __future__ import annotations

import time
from typing import Iterator

import numpy as np

from ...core.backend import to_host
from ...core.fourier import resample_volume
from .beginning import (
    BOX_MARGIN,
    border_noise,
    choose_rows,
    hold_out,
    sagd_partition,
    starting_model,
    starting_scale,
)
from .centring import Centring
from .engine_state import collect_state, restore_state
from .expectation import expect
from .grids import fourier_radius
from .heldout import HeldOut
from .levels import LevelBuilder
from .objective import Minibatch
from .pose_memory import PoseMemory
from .scaled_prior import ScaledPrior
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
from .step_rule import make_step_rule
from .symmetry import Symmetriser

# far below one: all of the posterior's weight goes to the best pose
HARD = 1e-3
# optimisers that remember nothing, or no more than steps, of a map whose box may grow; others work at the final box
RESAMPLED = ("sgd", "sgd-momentum", "nesterov")
# SAGD's table does not follow a map that is moved: it is left alone until it is off by this many px
SAGD_CENTRED = 1.0
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
        self.assigned_rows = choose_rows(config, len(table), self.rng)
        self.held_out = HeldOut(self, hold_out(config, self.assigned_rows, self.rng))
        self.rows = np.setdiff1d(self.assigned_rows, self.held_out.rows)
        self.queue = np.empty(0, int)
        self.partition = None
        if config.optimiser == "sagd":
            # drawn by a generator of its own: all step rules begin at the same map
            self.partition = sagd_partition(config, self.rows, table_gb, np.random.default_rng([config.seed, 1]))
        self.symmetriser = Symmetriser(config.symmetry, config.symmetry_start)
        self.noise = border_noise(config, source, self.rows, self.rng)
        self.memory = PoseMemory(len(table), config.classes, config.oversampling)
        self.centring = Centring(config.classes, config.diameter_a)
        self.class_shares = np.full(config.classes, 1 / config.classes)
        self.optimiser = make_step_rule(config)
        self.prior = ScaledPrior(config)
        self.stopped = None
        self._levels = LevelBuilder(config, xp, self.devices)
        self._start(start_map)

    def steps(self) -> Iterator[dict]:
        """Run minibatches until the schedule is through or the held-out error has settled; each yields its record."""
        while not self.progress.done and not self.stopped:
            yield self._step()

    @property
    def finest_grid(self):
        """PoseGrid of the resolution in use."""
        self._prepare_levels()
        return self._levels.grids[-1]

    def teams(self, volumes) -> list:
        """For each device the pose levels at the resolution in use, [[Level]], of the given maps."""
        self._prepare_levels()
        return self._levels.teams(volumes)

    def load(self, rows):
        """Images of the given rows at the box that the finest level in use needs."""
        return self.source.images(rows, self._levels.crop_box)

    def expect(self, teams, rows, temperature: float, *, noise=None, **options):
        """The posterior of the given particles over the levels of `teams`; noise : σ², by default the present one."""
        return expect(teams[0], self.load(rows), self.table, rows, self.noise.spectrum if noise is None else noise,
                      temperature=temperature, threads=self.threads, lanes=self.lanes, replicas=teams[1:], **options)

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
        return self.memory.select(row, self._levels.grids[-1], rng)

    def state(self) -> dict:
        """Everything that the next step depends on, as arrays."""
        return collect_state(self)

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        restore_state(self, state)

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

    def end_steps(self) -> None:
        """Bring the maps to the final resolution, and impose the symmetry where its time had not come before the last
        step: a start at the run's end, or iterations that ended early."""
        self.set_resolution(self.config.final_resolution_a)
        if self.symmetriser.outstanding:
            self._symmetrise()

    def _step(self) -> dict:
        started, cpu_started = time.perf_counter(), time.process_time()
        config, model, progress = self.config, self.model, self.progress.value
        radius = self.set_resolution(resolution_at(progress, config))
        if self.symmetriser.is_due(progress):
            self._symmetrise()
        rows, batch, n_batches = self._next_rows(minibatch_at(progress, config))
        temperature = HARD if config.optimiser == "projection-matching" else self.inflation
        problem = Minibatch(self, rows, temperature, similarity=similarity_at(progress, config),
                            prior=self.prior.of(model), prior_weight=self.prior.weight(radius), batch=batch,
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
        record.update(seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu_started)
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
            number = self._next_minibatch()
            return self.partition[number], number, len(self.partition)
        count = min(count, len(self.rows))
        if len(self.queue) < count:
            self.queue = np.concatenate([self.queue, self.rng.permutation(self.rows)])
        taken, self.queue = self.queue[:count], self.queue[count:]
        return np.sort(taken), 0, 1

    def _next_minibatch(self) -> int:
        if self.config.sagd_drawing == "replacement":
            return int(self.rng.integers(len(self.partition)))
        if not len(self.queue):
            self.queue = self.rng.permutation(len(self.partition))
        number, self.queue = int(self.queue[0]), self.queue[1:]
        return number

    def _symmetrise(self):
        """Impose the group on the maps: what was remembered of others, and of poses in their frames, is void."""
        model = self.model
        model.volumes = self.xp.asarray(self.symmetriser.impose(to_host(model.volumes), model.radius, self.iteration))
        self.optimiser = make_step_rule(self.config)
        self.memory.forget()

    def _prepare_levels(self):
        self._levels.prepare(self.model.radius, self.symmetriser.current)

    def _start(self, start_map):
        self.model = starting_model(self.config, start_map, self.rng, self.xp)
        self.set_resolution(self.config.initial_resolution_a)
        level = self.teams(self.model.volumes)[0][-1]
        rows = self.rows[:: max(1, len(self.rows) // 100)][:100]
        prepared = level.matcher.prepare(self.load(rows), self.table, rows, self.noise.spectrum)
        self.model.volumes = self.model.volumes * starting_scale(level, prepared, self.noise.spectrum)
