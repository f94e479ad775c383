"""An ab initio run in its folder: checks, progress, checkpoints, and what it leaves behind.

Whether a folder may be gone on with is in identity.py, its result files in result_files.py, summary.json in summary.py.
"""
from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np

from .. import __version__
from ..core.backend import get_array_module, parse_device
from ..core.ctf import unsupported_optics
from ..core.errors import InputError
from ..engines.abinitio.config import AbInitioConfig
from ..engines.abinitio.engine import AbInitio
from ..engines.abinitio.finish import Assignment, draw_halves
from ..engines.abinitio.memory import plan_lanes
from ..engines.abinitio.start import map_start
from ..engines.abinitio.step_rule import on_rare_minibatches
from ..io.abinitio_pictures import save_abinitio_pictures
from ..io.result_folder import JOB, PARTICLES, PICTURES
from ..io.source import ParticleSource
from ..io.stacks import check_stacks
from ..io.star import write_particles
from ..io.volumes import read_volume, write_volume
from .engine_job import EngineJob, minutes
from .identity import fingerprint, fingerprint_map
from .result_files import posed, save_pictures, write_maps
from .summary import STARVED, gradient_norms, summarise

# a killed run loses at most this much
CHECKPOINT_SECONDS = float(os.environ.get("CRYOSGD_CHECKPOINT_SECONDS", 20.0))
PROGRESS_SECONDS = 1.0
# progress maps kept of a run, at most about this many
PROGRESS_MAPS = 20
# of the memory budget: what reading and preparing images may take, and SAGD's table where there is one
SOURCE_SHARE, TABLE_SHARE = 0.25, 0.25


class AbInitioJob(EngineJob):
    """One run of the ab initio engine in a run folder; a context manager, which holds the folder's lock.

    folder : run folder. table : ParticleTable; its poses are not read. source_file : noted in job.json.
    resume : go on from the folder's checkpoint where there is one, else start. start_map : path of the map to start
    from, where config.start is "map".
    Raises InputError for whatever is wrong with the input, before computing.
    """

    memory_hint = "a coarser --final-resolution, a smaller --shift-range or fewer --threads"

    def __init__(self, folder, table, config: AbInitioConfig, *, source_file: str, device: str = "cpu",
                 threads: int = 1, memory_gb: float = 4.0, scratch_dir=None, resume: bool = False, start_map=None):
        self.started = time.time()
        self.config, self.device, self.threads, self.memory_gb = config, device, threads, memory_gb
        self.xp = get_array_module(device)
        self.devices = parse_device(device)[1] or (None,)
        self.table = table = replace(table, rotations=None, shifts_a=None, class_id=None,
                                     extra=dict(table.extra))
        self.warnings = check_stacks(table) + unsupported_optics(table)
        present = resume and os.path.exists(os.path.join(folder, JOB))
        self.start_map = self._read_start(start_map)
        self.table_gb = TABLE_SHARE * memory_gb if config.optimiser == "sagd" else 0.0
        self.lanes, box = plan_lanes(config, memory_gb * (1 - SOURCE_SHARE) - self.table_gb, threads,
                                     len(self.devices))
        if self.lanes < len(self.devices):
            self.warnings.append(f"The memory budget leaves work for {self.lanes} of {len(self.devices)} GPUs; raise "
                                 "--memory.")
        unseen = on_rare_minibatches(config, len(table), self.table_gb)
        self.warnings += [unseen] if unseen else []
        self.seconds = {}
        self.source = ParticleSource(table, box_size=box, diameter_a=config.diameter_a, scratch_dir=scratch_dir,
                                     memory_gb=memory_gb * SOURCE_SHARE, threads=threads)
        job = dict(program="abinitio", version=__version__, particles=source_file, n_particles=len(table),
                   table=fingerprint(table), parameters=config.to_dict(),
                   start_map=None if start_map is None else fingerprint_map(*self.start_map))
        self._open_folder(folder, present, job, lanes=self.lanes, device=device, threads=threads, memory_gb=memory_gb,
                          scratch=scratch_dir)
        # they settle the order of summation: threads and memory may change when a run goes on, these may not
        self.lanes = self.folder.read_job()["lanes"]

    def _run(self):
        start = time.perf_counter()
        print(self.contrast + (" Their sign is changed." if self.source.invert else ""), flush=True)
        engine = AbInitio(self.config, self.table, self.source, xp=self.xp, threads=self.threads, lanes=self.lanes,
                          devices=self.devices, start_map=self.start_map, table_gb=self.table_gb)
        checkpoint = self.folder.load_checkpoint() if self.folder.has_checkpoint else None
        if checkpoint is not None:
            engine.restore(_part(checkpoint, "engine_"))
            print(f"Going on from iteration {engine.iteration}.", flush=True)
        self.folder.truncate_history(engine.iteration)
        self._count("preparing", start)
        self._iterate(engine)
        assignment = self._assign(engine, checkpoint)
        return self._finish(engine, assignment)

    def _read_start(self, path):
        if (self.config.start == "map") != (path is not None):
            raise InputError("a starting map and the start 'map' belong together; give both or neither")
        if path is None:
            return None
        volume, pixel_size = read_volume(path)
        # refuse now what the engine would refuse after reading thousands of images
        map_start(volume, pixel_size, box_size=self.config.box_size, box_pixel_size=self.config.pixel_size,
                  diameter_a=self.config.diameter_a, resolution_a=self.config.initial_resolution_a)
        return volume, pixel_size

    def _iterate(self, engine):
        start, saved, shown, saving = time.perf_counter(), time.perf_counter(), 0.0, 0.0
        total, first = self.config.iterations, engine.iteration
        done_images, every, named = 0, max(1, total // PROGRESS_MAPS), set()
        for record in engine.steps():
            self.folder.append_history(record)
            done_images += record["n_images"]
            now, number = time.perf_counter(), record["iteration"]
            last = engine.progress.done or engine.stopped
            if now - shown > PROGRESS_SECONDS or last:
                left = (now - start) / (number - first) * max(0, total - number)
                print(f"\rIteration {number} of {total}: {record['resolution_a']:.1f} Å, {record['symmetry']}, "
                      f"{done_images / (now - start) / self.threads:.0f} images/s a core, {minutes(left)} left\n",
                      end="", flush=True)
                shown = now
            self._name_starving(record, named)
            if number % every == 0 or last:
                self._write_progress(engine, number)
            # what takes long to save is saved less often
            if now - saved > max(CHECKPOINT_SECONDS, 10 * saving) or last:
                saving = time.perf_counter()
                self.folder.save_checkpoint(_prefixed("engine_", engine.state()))
                saved = time.perf_counter()
                saving = saved - saving
        if engine.stopped:
            print(f"Stopped after {engine.iteration} iterations: {engine.stopped}.", flush=True)
        norms = gradient_norms(self.folder.history, engine)
        if norms is not None:
            print(f"Norm of the mean gradient of all minibatches, √gᵀP⁻¹g: {norms['first']:.3g} when the last"
                  f" resolution was reached, {norms['last']:.3g} at the end.", flush=True)
        if done_images:
            self._count("iterations", start, done_images)

    def _name_starving(self, record, named):
        """Warn of each class that hardly any image chooses, once; named : numbers of those warned of before."""
        for number, share in enumerate(record["class_shares"], start=1):
            if share < STARVED / self.config.classes and number not in named:
                named.add(number)
                print(f"Warning: at iteration {record['iteration']} class {number} wins only {share:.1%} of the "
                      "particles; if it does not recover, its map will be noise: try fewer classes, or another seed.",
                      flush=True)

    def _write_progress(self, engine, number):
        for structure, density in enumerate(engine.densities()):
            write_volume(self.folder.progress_path(number, structure, self.config.classes), density,
                         self.config.pixel_size)
        self._write_importance(engine)

    def _write_importance(self, engine):
        """The mean distribution of view directions over the particles visited (paper 1 Fig. 10)."""
        self.folder.write_importance(engine.memory.average_directions, engine.memory.average)

    def _assign(self, engine, checkpoint):
        start, saved = time.perf_counter(), time.perf_counter()
        print("A pose for every particle, and the map from all of them:", flush=True)
        halves = draw_halves(len(self.table), self.table.half_set, np.random.default_rng(self.config.seed),
                             self.table.image_id)
        assignment = Assignment(engine, rows=engine.assigned_rows, halves=halves)
        if checkpoint is not None and "assign_done" in checkpoint:
            assignment.restore(_part(checkpoint, "assign_"))
        first = assignment.done
        for done, total in assignment.chunks():
            now = time.perf_counter()
            rate = (done - first) / (now - start)
            print(f"\r{done} of {total} particles, {rate / self.threads:.0f} images/s a core, "
                  f"{minutes((total - done) / rate)} left\n", end="", flush=True)
            if now - saved > CHECKPOINT_SECONDS and done < total:
                self.folder.save_checkpoint({**_prefixed("engine_", engine.state()),
                                             **_prefixed("assign_", assignment.state())})
                saved = time.perf_counter()
        self._count("poses of all particles", start, len(assignment.rows) - first)
        return assignment

    def _finish(self, engine, assignment):
        config, path = self.config, self.folder.path
        results = assignment.reconstruct()
        write_maps(path, results, config)
        write_particles(path(PARTICLES), posed(self.table, assignment, config.classes))
        self._write_importance(engine)
        save_pictures(path(PICTURES), results, config)
        summary = summarise(self, engine, assignment, results, self.folder.history)
        self.folder.write_summary(summary)
        # they show class sizes, which are final only now
        save_abinitio_pictures(self.folder.folder)
        print(summary["outcome"], flush=True)
        return summary


def _prefixed(prefix, values):
    return {prefix + name: value for name, value in values.items()}


def _part(values, prefix):
    return {name[len(prefix):]: value for name, value in values.items() if name.startswith(prefix)}
