"""What the jobs of all engines share: the folder's lock, threads, warnings, one way to run out of memory."""
from __future__ import annotations

import time

import numba
import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from ..core.allocator import keep_freed_memory
from ..core.errors import InputError
from ..io.result_folder import SUMMARY
from ..io.runfolder import RunFolder
from .identity import refuse_other_job

# entries of job.json that may change when a run goes on: the fingerprint of the particles stands for them
NOTED = ("particles", "n_particles")


class EngineJob:
    """A run in a folder; a context manager, which holds the folder's lock.

    A subclass sets source (ParticleSource), warnings [str], threads, xp and seconds {}, calls `_open_folder`, and has
    `_run() -> summary`. memory_hint : what a user may give less of.
    """

    memory_hint = "fewer --threads"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Release the stacks and the folder."""
        self.source.close()
        self.folder.close()

    def _open_folder(self, folder, present, job, **machine):
        """Look at a sample of the images, then make the run folder, or go on in the one that is present.

        job : entries of job.json that settle the result: those of a present folder have to be the same, but for NOTED;
        machine : the others, of a new folder. What was opened is closed again where this fails.
        """
        try:
            # damaged images among a sample leave no folder behind
            self.contrast, self.source.invert = self.source.check_sample()
            self.folder = RunFolder(folder, resume=present)
        except BaseException:
            self.source.close()
            raise
        try:
            if present:
                refuse_other_job(self.folder, job, [name for name in job if name not in NOTED])
            else:
                self.folder.write_job(dict(job, **machine))
        except BaseException:
            self.close()
            raise

    def run(self) -> dict:
        """Run to the end; returns the summary."""
        if self.folder.path(SUMMARY).exists():
            print(f"This run is finished: see {self.folder.path(SUMMARY)}.", flush=True)
            return {}
        for sentence in self.warnings:
            print(f"Warning: {sentence}", flush=True)
        keep_freed_memory()
        numba.set_num_threads(min(self.threads, numba.config.NUMBA_NUM_THREADS))
        # images are shared out to threads; a BLAS that starts its own as well would only be in their way
        with threadpool_limits(1), scipy.fft.set_workers(self.threads):
            try:
                return self._run()
            except MemoryError as error:  # CuPy's OutOfMemoryError is one
                raise InputError(f"{'the GPU' if self.xp is not np else 'this machine'} has too little free memory "
                                 f"({error}); give {self.memory_hint}") from error

    def _count(self, phase, start, images=None):
        seconds = time.perf_counter() - start
        self.seconds[phase] = dict(seconds=seconds)
        if images:
            self.seconds[phase].update(images=images, images_per_second_per_core=images / seconds / self.threads)


def minutes(seconds) -> str:
    """A duration in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
