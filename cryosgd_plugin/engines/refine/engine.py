"""Branch-and-bound refinement: two half-sets, each against its own maps, at a resolution that their FSC raises.

One iteration searches every particle over all orientations and shifts (search.py), climbs to its peaks (modes.py), adds
it to the sums of its half (posing.py), and makes the next maps of them (maps.py). The two halves meet in two places
only: below `shared_resolution_a` their references are the same, and their FSC says how far both are to be trusted. (A
dynamic mask is made of their mean.)
"""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Iterator

import numpy as np

from ...core.backend import to_host
from ...core.masks import soft_sphere
from ...core.settings import need
from ...core.side_by_side import side_by_side
from ...core.symmetry import point_group
from ...ops.slicing import hermitian
from ...ops.symmetrise import symmetrise, symmetry_envelope
from ..abinitio.beginning import starting_scale
from ..abinitio.finish import draw_halves
from ..abinitio.levels import LevelBuilder
from ..abinitio.matched import mask_radius_a
from ..mask import NoDensity, dynamic_mask
from ..validation.half_maps import HalfMapCurves, half_map_curves
from .bounds import share_beyond
from .certificate import CertificatePlan, as_record, certify
from .device_search import DeviceLocalSearch, DeviceSearch
from .images import ImagePreparer
from .local import LocalSearch
from .maps import inverse_tau2, low_pass, low_passed, of_both, share_low, shell_means, solve
from .memory import BLOCK, gpu_sums_bytes
from .particles import ParticleResults
from .phases import Phases
from .posing import HalfSums, Poser
from .record import iteration_record
from .regularise import SparseTV, Wiener
from .roundness import round_references
from .schedule import Convergence, grown, next_radius, radius_of_maps
from .search import BoundedSearch
from .spectra import ShellSpectra, mean_noise, shell_spectra
from .updates import border_noise, update_noise, update_scale

# images that the references' scale is estimated by, and how often
SCALE_IMAGES, SCALE_ROUNDS = 200, 3
# pairs that weak images are followed to before the last iteration (there search.MAX_CHILDREN)
EARLY_CHILDREN = 3000
# of shrinkage, the bound takes at least this: shells that are known worse hold next to nothing
LEAST_SHRINKAGE = 0.3


class Refinement:
    """One run: `steps()` yields a record after each iteration.

    table : ParticleTable; source : `images(rows, box)`; references : (K, box, box, box), at the particles' box, in any
    units; or one for all K classes, which begin with the maps of random parts of the particles that it has posed.
    threads : images worked on at a time. xp : numpy, or cupy to pose the particles, add them up and make maps on the
    current GPU, one half after the other; what this object holds stays on the host. mask : (box, box, box) in [0, 1]
    where config.mask is "map".
    half_set : (n,) 1 or 2; rows : of each half. results : ParticleResults. After an iteration: halves (2, K, …)
    unregularised maps, whole (K, …) the regularised ones of both, curves [HalfMapCurves] of each class within
    curve_mask, spectra [ShellSpectra] of each class, mask : of the next references.
    """

    def __init__(self, config, table, source, references, *, threads: int = 1, xp=np, mask=None):
        self.config, self.table, self.source, self.threads, self.xp = config, table, source, threads, xp
        self._ctf_scale, self._reading = table.ctf_scale, threading.Lock()
        rng = np.random.default_rng(config.seed)
        self.half_set = draw_halves(len(table), table.half_set, rng, table.image_id)
        rows = np.arange(len(table))
        if config.max_particles is not None and config.max_particles < len(table):
            rows = np.sort(rng.choice(rows, config.max_particles, replace=False))
        self.rows = [rows[self.half_set[rows] == half] for half in (1, 2)]
        need(all(len(rows) for rows in self.rows), "one of the two half-sets has no particles; give particles of both")
        self.operators = point_group(config.symmetry)
        self._envelope = symmetry_envelope(config.box_size, self.operators)
        self._levels = LevelBuilder(config, xp, (None,))
        self.iteration = 0
        self.results = ParticleResults(len(table), config.classes)
        if config.search == "local":
            self.results.begin(table)
        self._plan = CertificatePlan(config.certificate_share if config.search == "bounded" else 0)
        self.noise = border_noise(config, table, source, self.rows)
        self.radius = self.first_radius = config.first_radius
        # how far each shell of each map can be trusted: at first what the low-pass left of it
        self.shell_fsc = np.tile(low_pass(np.arange(config.box_size // 2 + 1), self.radius), (config.classes, 1))
        self.shrinkage = self.shell_fsc
        # poses that are known to begin with need no first phase
        n_half = 0 if config.search == "local" else min(len(half) for half in self.rows)
        self.convergence = Convergence(config.iterations, config.extent_a, n_half, config.classes)
        self.sphere = soft_sphere(config.box_size, config.diameter_a / 2 / config.pixel_size,
                                  0.05 * config.diameter_a / config.pixel_size)
        self.mask = self.curve_mask = self.sphere if mask is None else mask
        self._regulariser = self._make_regulariser()
        self._given = np.stack([low_passed(reference, self.radius) for reference in references])
        self.references = self.halves = self.whole = self.curves = self.spectra = None
        # of the iteration that goes on
        self._doubts = []

    _saved = ("iteration", "radius", "references", "noise", "shell_fsc", "shrinkage", "mask", "curve_mask", "halves",
              "whole")

    def steps(self) -> Iterator[dict]:
        """Iterate until nothing improves any more, then once with maps to Nyquist."""
        while not self.convergence.done:
            yield self._step()

    def state(self) -> dict:
        """Everything that the next iteration depends on, and the maps, as arrays; there is none before the first."""
        state = {name: getattr(self, name) for name in self._saved}
        parts = dict(results=self.results.state(), convergence=self.convergence.state(),
                     regulariser=self._regulariser.state(),
                     **{f"curves{k}": vars(curves) for k, curves in enumerate(self.curves)},
                     **{f"spectra{k}": vars(spectra) for k, spectra in enumerate(self.spectra)})
        return dict(state, certificate_budget=self._plan.budget,
                    **{f"{part}/{name}": value for part, of in parts.items() for name, value in of.items()})

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        def part(prefix):
            return {name[len(prefix) + 1:]: value for name, value in state.items() if name.startswith(prefix + "/")}

        for name in self._saved:
            value = np.asarray(state[name])
            setattr(self, name, value if value.ndim else int(value))
        self.results.restore(part("results"))
        self._plan.budget = int(state["certificate_budget"])
        self.convergence.restore(part("convergence"))
        self._regulariser.restore(part("regulariser"))
        self.curves = [HalfMapCurves(**part(f"curves{k}")) for k in range(self.config.classes)]
        self.spectra = [ShellSpectra(**part(f"spectra{k}")) for k in range(self.config.classes)]
        self._apply_scale()

    def _step(self) -> dict:
        started = time.perf_counter()
        config, last, self._doubts = self.config, self.convergence.last, []
        if self.references is None:
            self.references = self._scaled(self._given)
            self._doubts = round_references(self)
        radius = radius_of_maps(self.radius, config.box_size, last)
        preparer = self.preparer(radius)
        phases = Phases()
        sums, posed, certificate = self._pose(preparer, phases)
        posing = time.perf_counter() - started
        update_noise(self.noise, sums, preparer)
        with phases("maps"):
            self._make_maps(sums, radius)
        if config.scale_correction:
            update_scale(self.results.scale, posed)
            self._apply_scale()
        self.iteration += 1
        record = dict(iteration_record(self, posed, radius), **self._regulariser.record())
        record["warnings"] = self._doubts + record.get("warnings", [])
        following = min(grown(self.radius, bool(self.convergence.sample)), max(
            next_radius(curve, radius, self.first_radius, config.box_size) for curve in self.shell_fsc))
        self.convergence.note(record, following)
        if not last:
            self.radius = following
        # of both halves together, which may go on at the same time
        return dict(record, certificate=certificate, seconds_posing=posing, seconds_phases=phases.seconds,
                    seconds=time.perf_counter() - started)

    def _drawn(self):
        """The rows of each half-set that this iteration uses."""
        sample = self.convergence.sample
        if not sample:
            return self.rows
        rng = np.random.default_rng([self.config.seed, self.iteration, 3])
        return [np.sort(rng.choice(rows, sample, replace=False)) for rows in self.rows]

    def _pose(self, preparer, phases):
        """([HalfSums] of both halves, [(rows, PosedImages)], record of a certificate or None); adds to the Phases."""
        drawn = self._drawn()

        def pose_half(half, threads):
            poser = self._poser(self.references[half], preparer, threads)
            found = self._pose_half(half, drawn[half], poser)
            if self.xp is not np:
                poser.search.forget_slices()
            return (poser,) + found

        # once, before both halves share them
        self._levels.prepare(self.radius, self.config.symmetry)
        posers, sums, posed = zip(*side_by_side(pose_half, range(2), self._threads_of_halves))
        for poser in posers:
            phases.add(poser.phases)
        certified = [self._certify(half, drawn[half], poser, sum(int(one.scored.sum()) for _, one in blocks))
                     for half, (poser, blocks) in enumerate(zip(posers, posed))]
        return list(sums), posed[0] + posed[1], certified[0] or certified[1]

    @property
    def _parting(self):
        """Whether this iteration makes several classes of one reference, from random parts of the particles."""
        return self.references.shape[1] < self.config.classes

    def _blocks_of_parts(self, half, drawn):
        """(k, rows) of blocks of the rows drawn of a half-set; k : the class they make, None where poses tell it."""
        if not self._parting:
            return [(None, rows) for rows in self.blocks(drawn)]
        classes = self.config.classes
        part = np.random.default_rng([self.config.seed, half, 11]).permutation(np.arange(len(drawn)) % classes)
        return [(k, rows) for k in range(classes) for rows in self.blocks(drawn[part == k])]

    def _pose_half(self, half, drawn, poser):
        """(HalfSums, [(rows, PosedImages)]) of the rows drawn of one half-set."""
        config, radius = self.config, poser.preparer.radius
        sums = HalfSums(config.classes, len(self.table.optics), radius, self.radius, self.xp)
        posed, blocks = [], self._blocks_of_parts(half, drawn)
        for (k, _), (rows, images) in zip(blocks, self._read([rows for _, rows in blocks], poser.phases)):
            noise, of = self._noise_of(half, rows), sums if k is None else sums.of_class(k)
            result = poser.add(images, self.table, rows, noise, of)
            if k is not None:
                result = result.in_class(k, config.classes)
            self.results.keep(rows, result, self.operators)
            posed.append((rows, result))
        sums.to_host()
        for total in (sums.numerator, sums.weight):
            for k in range(config.classes):
                total[k] = symmetrise(hermitian(total[k]), self.operators, radius)
        return sums, posed

    def _certify(self, half, drawn, poser, scored):
        """Search some of the rows drawn of a half exhaustively where that is due: a record for the history, or None."""
        search, preparer = poser.search, poser.preparer
        self._plan.earn(scored, bool(search.bounds))
        if not search.bounds:
            return None
        finest = search.levels[-1]
        count = self._plan.spend(finest.grid, finest.n_rows, self.iteration, half, self.convergence.last,
                                 groups=len(np.unique(self.table.optics_id[drawn])), most=len(drawn))
        if not count:
            return None
        started = time.perf_counter()
        rng = np.random.default_rng([self.config.seed, self.iteration, half])
        sample = np.sort(rng.choice(drawn, count, replace=False))
        search.threads = self.threads
        everything = self._search(search.levels, shrinkage=None, rng=rng, threads=self.threads, exhaustive=True)
        parts = [certify(search, everything, preparer.low_passed(self._images(rows)), self.table, rows,
                         self._noise_of(half, rows), self.operators) for rows in self.blocks(sample)]
        n_poses = finest.n_rows * finest.grid.polar.n_angles * len(finest.grid.shifts_a)
        return as_record(parts, n_poses, time.perf_counter() - started, share_beyond(self.config.deviations))

    def _images(self, rows):
        # a source is read by one at a time
        with self._reading:
            return self.source.images(rows, self.config.box_size)

    def _read(self, blocks, phases):
        """(rows, images) of each block; for a GPU the next ones are read while it works. phases : take the waiting."""
        if self.xp is np:
            for rows in blocks:
                with phases("reading"):
                    images = self._images(rows)
                yield rows, images
            return
        blocks = list(blocks)
        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(self._images, blocks[0])
            for number, rows in enumerate(blocks):
                with phases("reading"):
                    images = following.result()
                if number + 1 < len(blocks):
                    following = reader.submit(self._images, blocks[number + 1])
                yield rows, images

    @property
    def _threads_of_halves(self):
        # a GPU has one queue, and one memory: halves share it one after the other
        return self.threads if self.xp is np else 1

    def blocks(self, rows):
        """The given rows in blocks (b,) of one optics group each."""
        for group in np.unique(self.table.optics_id[rows]):
            members = rows[self.table.optics_id[rows] == group]
            for first in range(0, len(members), BLOCK):
                yield members[first:first + BLOCK]

    def _noise_of(self, half, rows):
        return self.noise[half, self.table.optics_id[rows[0]]]

    def _level_stack(self, references):
        self._levels.prepare(self.radius, self.config.symmetry)
        return self._levels.teams([self.xp.asarray(reference.astype(np.float32)) for reference in references])[0]

    def _poser(self, references, preparer, threads):
        config, levels = self.config, self._level_stack(references)
        common = dict(rng=np.random.default_rng(config.seed), threads=threads)
        if self.xp is not np:
            common["reserved"] = gpu_sums_bytes(config, preparer.radius)
        if config.search == "local":
            local = LocalSearch if self.xp is np else DeviceLocalSearch
            search = local(levels, self.results.rotations, self.results.shifts_a, self.operators,
                           angle_deg=config.local_angle_deg, shift_a=config.local_shift_a, **common)
        else:
            search = self._search(levels, shrinkage=np.clip(self.shrinkage[:len(references), :self.radius + 1],
                                                          LEAST_SHRINKAGE, 1),
                                  exhaustive=config.search == "exhaustive", deviations=config.deviations,
                                  bound=config.bound,
                                  most_children=None if self.convergence.last else EARLY_CHILDREN, **common)
        return Poser(search, preparer, self.operators, soft=config.marginal == "soft", kernel=config.kernel)

    @property
    def _search(self):
        return BoundedSearch if self.xp is np else DeviceSearch

    def preparer(self, radius: int, pose_radius: int = None, xp=None) -> ImagePreparer:
        """Of images up to a Fourier radius; for poses up to the one in use, or to `pose_radius`; by xp or the engine's
        own."""
        config = self.config
        return ImagePreparer(radius, pose_radius or self.radius, box_size=config.box_size, pixel_size=config.pixel_size,
                             mask_radius_a=mask_radius_a(config.diameter_a, config.shift_range), xp=xp or self.xp)

    def _make_maps(self, sums, radius):
        config = self.config
        self.halves = np.stack([[self._solve(n, w, radius) for n, w in zip(one.numerator, one.weight)]
                                for one in sums])
        rng = np.random.default_rng([config.seed, self.iteration])
        self.curve_mask = self.mask
        self.curves = [half_map_curves(first, second, self.mask, rng) for first, second in zip(*self.halves)]
        curves = np.stack([one.trusted for one in self.curves])
        curves[:, radius + 1:] = 0
        wiener = np.stack([[self._solve(n, w, radius, curve) for n, w, curve in zip(one.numerator, one.weight, curves)]
                           for one in sums])
        if config.mask == "dynamic":
            self.mask = self._mask_of(wiener.mean(axis=(0, 1)))
        last = self.convergence.last
        regularised = self._regulariser.halves(wiener, sums, self.halves, curves, radius, self.curve_mask, last)
        # classes that chance has parted begin, as references do, alike in both halves: else they would part differently
        shared = self.first_radius + 1 if self._parting else config.extent_a / config.shared_resolution_a
        self.references = np.stack([share_low(first * self.mask, second * self.mask, shared)
                                    for first, second in zip(*regularised)], axis=1)
        self.whole = self._whole(sums, curves, radius, last)
        self.shell_fsc, self.shrinkage = curves, self._regulariser.shrinkage(curves)
        noise = mean_noise(self.noise, [one.images for one in sums])
        self.spectra = [shell_spectra(curve, [self.xp.asarray(one.weight[k]) for one in sums], noise, self.curve_mask,
                                      radius, len(self.operators)) for k, curve in enumerate(curves)]

    def _mask_of(self, volume):
        """The mask of the next references; the sphere where the map has no density to make one of, with a warning."""
        try:
            return dynamic_mask(volume, self.config.pixel_size, self.config.diameter_a)
        except NoDensity:
            self._doubts.append("The map has no density above its background, so it is masked with the sphere of the "
                                "particle's diameter: the particles may hold nothing but noise.")
            return self.sphere

    def _whole(self, sums, curves, radius, last):
        """(K, box, box, box): the maps of both halves together."""
        numerators, weights = sums[0].numerator + sums[1].numerator, sums[0].weight + sums[1].weight
        wiener = np.stack([self._solve(n, w, radius, of_both(curve))
                           for n, w, curve in zip(numerators, weights, curves)])
        unregularised = [self._solve(n, w, radius) for n, w in zip(numerators, weights)] if last else None
        return self._regulariser.whole(wiener, unregularised, weights, curves, radius, self.curve_mask, last)

    @property
    def traditional(self):
        """(K, box, box, box) Wiener's maps of the same poses and data, where `whole` was regularised otherwise."""
        return self._regulariser.traditional

    def _make_regulariser(self):
        config = self.config
        if config.regularisation == "wiener":
            return Wiener()
        return SparseTV(config.sparse_tv, config.penalties_chosen, pixel_size=config.pixel_size,
                        diameter_a=config.diameter_a, classes=config.classes, operators=self.operators,
                        seed=config.seed, threads=self.threads)

    def _solve(self, numerator, weight, radius, curve=None):
        """A map of symmetrised sums, regularised by its FSC curve where one is given."""
        numerator, weight = self.xp.asarray(numerator), self.xp.asarray(weight)
        ridge = None if curve is None else inverse_tau2(curve[:radius + 1], shell_means(weight, radius))
        return to_host(solve(numerator, weight, radius, self.config.box_size, ridge, self.config.kernel)
                       ) / self._envelope

    def _scaled(self, references):
        """(2, K, box, box, box): the references in the images' units, as each half finds by itself."""
        preparer = self.preparer(self.radius)
        # once, before both halves share them
        self._levels.prepare(self.radius, self.config.symmetry)

        def scale_half(half, threads):
            rows, maps = self.rows[half], references * self.mask
            sample = rows[::max(1, len(rows) // SCALE_IMAGES)][:SCALE_IMAGES]
            blocks = [(part, self._images(part)) for part in self.blocks(sample)]
            level = self._level_stack(maps)[-1]
            part, images = max(blocks, key=lambda block: len(block[0]))
            noise = self._noise_of(half, part)
            maps = maps * starting_scale(level, level.matcher.prepare(images, self.table, part, noise), noise)
            for _ in range(SCALE_ROUNDS):
                sums = HalfSums(len(maps), len(self.table.optics), self.radius, self.radius, self.xp)
                poser = self._poser(maps, preparer, threads)
                for part, images in blocks:
                    poser.add(images, self.table, part, self._noise_of(half, part), sums)
                maps = maps * np.float32(sums.linear.sum() / sums.square.sum())
            return maps

        return np.stack(side_by_side(scale_half, range(2), self._threads_of_halves)).astype(np.float32)

    def _apply_scale(self):
        self.table = replace(self.table, ctf_scale=self._ctf_scale * self.results.scale)
