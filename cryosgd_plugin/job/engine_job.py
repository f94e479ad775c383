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


class EngineJob:
    """A run in a folder; a context manager, which holds the folder's lock.

    A subclass sets folder (RunFolder), source (ParticleSource), warnings [str], threads, xp and seconds {}, and has
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
