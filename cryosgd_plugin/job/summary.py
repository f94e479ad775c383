"""The figures that a finished run leaves in summary.json, the outcome in words (words.py) first."""
from __future__ import annotations

import platform
import resource
import time

import numba
import numpy as np
import scipy

from .. import __version__
from ..core.shells import crossing_resolution
from .words import outcome

# a structure with less than this share of an even one's particles is named, on the way and in the outcome
STARVED = 0.2


def summarise(job, engine, assignment, results, history) -> dict:
    """The entries of summary.json of an AbInitioJob whose engine is through.

    results : [Reconstruction]; history : the records of its steps
    """
    config, source = job.config, job.source
    in_use = config.box_size * config.pixel_size / results[0].radius
    consistent = [_consistent(result, config, in_use) for result in results]
    rows = assignment.rows
    counts = np.bincount(assignment.structures[rows], minlength=config.classes)
    expected = assignment.class_mass[rows].mean(axis=0)
    starved = [k + 1 for k, share in enumerate(expected) if share < STARVED / config.classes]
    scores, imposed = engine.symmetriser.scores, engine.symmetriser.imposed
    return dict(
        outcome=outcome(config, len(rows), consistent, in_use, scores, counts, starved, engine.stopped,
                        imposed=None if imposed is None else (imposed, engine.iteration)),
        resolution_a=in_use, half_fsc_0143_a=consistent[0] if len(results) == 1 else consistent,
        parameters=config.to_dict(), n_particles=len(rows), class_sizes=counts.tolist(),
        class_shares=expected.tolist(), starved_classes=starved,
        symmetry_score=None if scores is None else float(scores[0]) if len(scores) == 1 else scores.tolist(),
        symmetry_imposed_after=imposed, contrast=job.contrast, inverted=bool(source.invert), stopped=engine.stopped,
        iterations_done=engine.iteration, images_visited=engine.images_visited,
        gradient_norm=gradient_norms(history, engine), held_out=len(engine.held_out.rows),
        working_box_px=source.box_size, working_pixel_size=source.pixel_size, lanes=job.lanes, **run_facts(job))


def run_facts(job) -> dict:
    """What a summary says of a run whatever its engine: cost, machine, versions, warnings."""
    return dict(warnings=job.warnings, seconds=job.seconds, total_seconds=time.time() - job.started,
                cpu_seconds=_cpu_seconds(),
                peak_memory_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,  # Linux counts KiB
                memory_budget_gb=job.memory_gb, device=job.device, threads=job.threads,
                reading=job.source.statistics(), version=__version__, versions=_versions(job.xp),
                seed=job.config.seed, host=platform.node())


def gradient_norms(history, engine):
    """SAGD's measure of convergence (paper 1 §3.3): √ḡᵀP⁻¹ḡ of all minibatches' gradients, first and last at the
    resolution that the steps ended at, as dict(first, last). None of other step rules, which know one minibatch's, and
    where a minibatch was never seen."""
    if engine.partition is None:
        return None
    whole = [record["gradient_norm"] for record in history if record["resolution_a"] == history[-1]["resolution_a"]
             and record["batches_seen"] == len(engine.partition)]
    return dict(first=whole[0], last=whole[-1]) if whole else None


def _consistent(result, config, in_use):
    """Å at which a structure's halves fall below 0.143, no finer than the resolution in use; None where they never
    agree."""
    crossing = crossing_resolution(result.fsc[:result.radius + 1], 0.143, config.box_size, config.pixel_size)
    return max(crossing, in_use) if np.isfinite(crossing) else None


def _cpu_seconds():
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _versions(xp):
    versions = dict(python=platform.python_version(), numpy=np.__version__, scipy=scipy.__version__,
                    numba=numba.__version__)
    if xp is not np:
        versions["cupy"] = xp.__version__
    return versions
