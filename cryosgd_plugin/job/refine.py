"""A refinement in its folder: checks, progress, a checkpoint after each iteration, and what it leaves behind."""
from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np

from .. import __version__
from ..core.backend import get_array_module, gpu_memory, parse_device
from ..core.ctf import unsupported_optics
from ..core.errors import InputError
from ..core.evidence import agreement
from ..core.masks import check_mask, check_mask_frame, has_hard_edge
from ..engines.refine.asymmetry import asymmetry
from ..engines.refine.config import RefineConfig, check_references
from ..engines.refine.engine import Refinement
from ..engines.refine.halves import odd_halves_warning
from ..engines.refine.memory import SOURCE_SHARE, check_gpu_memory, check_memory
from ..engines.refine.randomised import RandomisedPhases, first_random_shell, overfitting_curves
from ..engines.refine.symmetry_check import LEAST_CORRELATION, correlation_with_mates
from ..engines.reframe import reframed_map
from ..io.refine_pictures import save_refine_pictures
from ..io.result_folder import JOB, PARTICLES, PICTURES, RANDOMISED
from ..io.runfolder import RunFolder
from ..io.source import ParticleSource
from ..io.stacks import check_stacks
from ..io.star import write_particles
from ..io.undistort import undistorted_table
from ..io.volumes import read_volume, write_volume
from .engine_job import EngineJob, minutes
from .identity import fingerprint, fingerprint_halves, fingerprint_map, fingerprint_poses
from .refine_results import posed, save_pictures, write_maps, write_overfitting, write_shells
from .refine_summary import phase_lines, summarise, warned


class RefineJob(EngineJob):
    """One run of the refinement engine in a run folder; a context manager, which holds the folder's lock.

    folder : run folder. table : ParticleTable; its half-sets are kept, its poses read for a local search only.
    references : paths of the maps to begin with, one for each class or one for all. mask : path of a mask, where
    config.mask is "map".
    source_file : noted in job.json. resume : go on from the folder's checkpoint where there is one, else start.
    Raises InputError for whatever is wrong with the input, before computing.
    """

    memory_hint = "fewer --threads, or downsample the particles"

    def __init__(self, folder, table, config: RefineConfig, *, references, source_file: str, mask=None,
                 device: str = "cpu", threads: int = 1, memory_gb: float = 4.0, scratch_dir=None,
                 resume: bool = False):
        self.started = time.time()
        self.config, self.device, self.threads, self.memory_gb = config, device, threads, memory_gb
        if len(parse_device(device)[1]) > 1:
            raise InputError(f"a refinement runs on one GPU, and device '{device}' names several; give one of them")
        self.xp = get_array_module(device)
        check_memory(config, threads, memory_gb)
        if self.xp is not np:
            check_gpu_memory(config, gpu_memory(self.xp))
        if config.search != "local":
            table = replace(table, rotations=None, shifts_a=None)
        elif table.rotations is None:
            raise InputError("a local search begins at poses, and the particles have none (rlnAngleRot and others); "
                             "refine them globally first")
        self.table = table = replace(table, class_id=None, extra=dict(table.extra))
        self.warnings = check_stacks(table) + unsupported_optics(table) + repeated(table) + odd_halves(table)
        if config.regularisation == "sparse-tv":
            self.warnings += config.sparse_tv.unusual()
        if config.search == "local" and (table.half_set is None or set(np.unique(table.half_set)) != {1, 2}):
            self.warnings.append("The poses to begin with are known, but not of which half-set each particle was: "
                                 "new half-sets begin at poses that both had a share in, and so are not independent.")
        self.references = self._read_references(references)
        self.mask = self._read_mask(mask)
        self.seconds = {}
        present = resume and os.path.exists(os.path.join(folder, JOB))
        self.source = ParticleSource(table, box_size=config.box_size, diameter_a=config.diameter_a,
                                     scratch_dir=scratch_dir, memory_gb=memory_gb * SOURCE_SHARE, threads=threads,
                                     undistort=True)
        job = dict(program="refine", version=__version__, particles=source_file, n_particles=len(table),
                   table=fingerprint(table), poses=fingerprint_poses(table), half_sets=fingerprint_halves(table),
                   parameters=config.to_dict(),
                   references=[fingerprint_map(map_, config.pixel_size) for map_ in self.references],
                   mask=None if mask is None else fingerprint_map(self.mask, config.pixel_size))
        self._open_folder(folder, present, job, device=device, threads=threads, memory_gb=memory_gb,
                          scratch=scratch_dir)

    def _run(self):
        start = time.perf_counter()
        print(self.contrast + (" Their sign is changed." if self.source.invert else ""), flush=True)
        engine = self._refinement(self.config, self.source)
        if self.folder.has_checkpoint:
            engine.restore(self.folder.load_checkpoint())
            print(f"Going on after iteration {engine.iteration}.", flush=True)
        self.folder.truncate_history(engine.iteration)
        self._count("preparing", start)
        start, first = time.perf_counter(), engine.iteration
        self._iterate(engine, self.folder)
        self._count("iterations", start, sum(record["n_images"] for record in self.folder.history[first:]))
        for line in phase_lines(self.folder.history):
            print(line, flush=True)
        overfitting = None
        if self.config.overfitting_test:
            start = time.perf_counter()
            try:
                overfitting = self._refine_randomised(engine)
            except InputError as error:
                # what was refined is not lost for it
                self.warnings.append(f"The overfitting test could not be made: {error}.")
            self._count("overfitting test", start)
        start = time.perf_counter()
        asymmetries = [asymmetry(engine, k) for k in range(self.config.classes)]
        self._count("symmetry", start)
        return self._finish(engine, overfitting, asymmetries)

    def _refinement(self, config, source):
        return Refinement(config, undistorted_table(self.table), source, self.references, threads=self.threads,
                          xp=self.xp, mask=self.mask)

    def _iterate(self, engine, folder):
        for record in engine.steps():
            self._report(record)
            folder.append_history(record)
            folder.save_checkpoint(engine.state())
            for k, volume in enumerate(engine.whole):
                write_volume(folder.progress_path(record["iteration"], k, self.config.classes), volume,
                             self.config.pixel_size)

    def _refine_randomised(self, engine) -> list:
        """[OverfittingCurves] of the classes: the same refinement of particles whose phases are random from where the
        halves begin to differ. It has a folder of its own, where it goes on from its checkpoint."""
        config = replace(self.config, overfitting_test=False, certificate_share=0.0)
        shell = first_random_shell(engine)
        print(f"Overfitting test: once more, with random phases beyond {config.extent_a / shell:.1f} Å.", flush=True)
        with RunFolder(self.folder.path(RANDOMISED), resume=self.folder.path(RANDOMISED).joinpath(JOB).exists()) as own:
            own.write_job(dict(self.folder.read_job(), program="refine, phases randomised", first_random_shell=shell))
            source = RandomisedPhases(self.source, self.table, shell, config.box_size, config.seed)
            again = self._refinement(config, source)
            if own.has_checkpoint:
                again.restore(own.load_checkpoint())
            own.truncate_history(again.iteration)
            self._iterate(again, own)
        return overfitting_curves(engine, again, shell)

    def _report(self, record):
        moved = "" if record["change_deg"] is None else f", poses moved by {record['change_deg']:.2g}°"
        pruned = f", {100 * record['pruned'][-1]:.1f} % of the poses pruned" if record["pruned"] else ""
        if record["capped"] > 0:
            pruned += f" and {100 * record['cut'][-1]:.1f} % left out by a limit"
        print(f"Iteration {record['iteration']}{' (the last)' if record['last'] else ''}: poses at "
              f"{record['resolution_in_use_a']:.1f} Å, halves {agreement(*record['resolved_a'])}{moved}{pruned}, "
              f"{minutes(record['seconds'])}", flush=True)
        for sentence in record.get("warnings", ()):
            print(f"Warning: {sentence}", flush=True)

    def _finish(self, engine, overfitting, asymmetries):
        path = self.folder.path
        write_maps(path, engine)
        write_shells(path, self.table, engine)
        write_particles(path(PARTICLES), posed(self.table, engine))
        save_pictures(path(PICTURES), engine, self.folder.history)
        if overfitting:
            write_overfitting(path, self.config, overfitting)
        self.warnings += warned(self.folder.history)
        summary = summarise(self, engine, asymmetries, overfitting)
        self.folder.write_summary(summary)
        # they show class sizes, which are final only now
        save_refine_pictures(self.folder.folder)
        print(summary["outcome"], flush=True)
        return summary

    def _read_references(self, paths):
        config = self.config
        check_references(len(paths), config.classes)
        maps = []
        for path in paths:
            volume, pixel_size = read_volume(path)
            try:
                maps.append(reframed_map(volume, pixel_size, box_size=config.box_size,
                                         box_pixel_size=config.pixel_size, diameter_a=config.diameter_a,
                                         resolution_a=config.initial_resolution_a))
            except InputError as error:
                raise InputError(f"reference {path}: {error}") from error
            found = correlation_with_mates(maps[-1], config.symmetry)
            if found < LEAST_CORRELATION:
                self.warnings.append(
                    f"The reference {path} does not have {config.symmetry} on its own axes: it correlates with its "
                    f"symmetry mates by {found:.2f}. Turn it onto the axes with `cryosgd symmetry`, or refine in C1 if "
                    "the particles do not have this symmetry.")
        return maps

    def _read_mask(self, path):
        if (self.config.mask == "map") != (path is not None):
            raise InputError("a mask file and the mask 'map' belong together; give both or neither")
        if path is None:
            return None
        try:
            mask, pixel_size = read_volume(path, need_pixel_size=False)
            check_mask_frame(mask.shape, self.config.box_size, pixel_size, self.config.pixel_size)
            mask = check_mask(mask, self.config.box_size)
        except InputError as error:
            raise InputError(f"mask {path}: {error}") from error
        if has_hard_edge(mask):
            self.warnings.append(f"The mask {path} has a hard edge, by which noise correlates between the half-maps; "
                                 "give it a soft edge of 5 px or more.")
        return mask


def odd_halves(table) -> list:
    """A warning where half-sets are given but aren't exactly 1 and 2: others are then drawn."""
    return odd_halves_warning([] if table.half_set is None else np.unique(table.half_set).tolist())


def repeated(table) -> list:
    """A warning where the same image stands in the table more than once: in half-sets given it may be in both."""
    images = table.image_id
    count = len(images) - len(np.unique(images))
    if not count:
        return []
    halves = ""
    if table.half_set is not None:
        both = len(np.intersect1d(*(images[table.half_set == half] for half in (1, 2))))
        halves = f", {both} of them in both half-sets, which then agree without any signal" if both else ""
    return [f"{count} particles are there more than once{halves}; remove duplicates before you trust the resolution."]
