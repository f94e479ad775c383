"""The figures that a finished refinement leaves in summary.json, the outcome in words first."""
from __future__ import annotations

import numpy as np

from .summary import STARVED, run_facts


def summarise(job, engine) -> dict:
    """The entries of summary.json of a RefineJob whose engine is through."""
    config = engine.config
    rows = np.concatenate(engine.rows)
    resolutions = [float(curves.resolution(config.box_size, config.pixel_size)) for curves in engine.curves]
    counts = np.bincount(engine.results.structures[rows], minlength=config.classes)
    history = job.folder.history
    return dict(
        outcome=outcome(config, resolutions, counts, len(rows), engine.convergence.reason, history[-1]),
        resolution_a=resolutions[0] if config.classes == 1 else resolutions,
        parameters=config.to_dict(), n_particles=len(rows), half_sets=[len(half) for half in engine.rows],
        class_sizes=counts.tolist(), iterations_done=engine.iteration, stopped=engine.convergence.reason,
        pruned=history[-1]["pruned"], scored=history[-1]["scored"], pose_width_deg=history[-1]["width_deg"],
        broad_share=history[-1]["broad"], capped_share=history[-1]["capped"], contrast=job.contrast,
        inverted=bool(job.source.invert), **run_facts(job))


def outcome(config, resolutions, counts, n_particles, reason, record) -> str:
    """What a biologist should know of the result, in sentences."""
    if config.classes == 1:
        words = f"A map from {n_particles} particles at {_resolved(resolutions[0], config)}."
    else:
        each = "; ".join(f"class {k + 1} with {count} particles ({count / n_particles:.0%}) at {_resolved(one, config)}"
                         for k, (one, count) in enumerate(zip(resolutions, counts)))
        words = f"{config.classes} maps from {n_particles} particles: {each}."
        starved = [k + 1 for k, count in enumerate(counts) if count < STARVED * n_particles / config.classes]
        if starved:
            words += f" Class {', '.join(map(str, starved))} won hardly any particles: leave its reference out."
    words += f" The iterations ended because {reason}."
    if record["capped"] > 0.05:
        words += (f" Of {record['capped']:.0%} of the particles more poses were possible than could be followed, so "
                  "the best may have been missed.")
    if record["broad"] > 0.5:
        words += (f" {record['broad']:.0%} of the particles have no definite pose: they say too little, or the "
                  "reference is not theirs.")
    return words + " The hand is that of the reference: refinement can't tell it."


def _resolved(resolution, config):
    if not np.isfinite(resolution) or resolution > config.initial_resolution_a:
        return (f"no resolution beyond that of the reference ({config.initial_resolution_a:g} Å): the two halves do "
                "not agree, so nothing was found that is not in the reference")
    nyquist = 2 * config.pixel_size
    words = f"{resolution:.1f} Å (FSC 0.143 of independent halves, corrected for the mask)"
    if resolution < 1.05 * nyquist:
        words += f", the limit of the pixel size ({nyquist:.2g} Å): take less downsampled particles for more"
    return words
