"""The figures that a finished refinement leaves in summary.json, the outcome in words first."""
from __future__ import annotations

import numpy as np

from ..core.evidence import agreement
from ..engines.validation.half_maps import TIGHT
from .summary import STARVED, run_facts
from .words import class_numbers

# a resolution worse than this share of the reference's was hardly won from the particles
SUSPICIOUS = 0.6
# of certified images, the share that a sound search finds the best pose of
SOUND_SHARE = 0.995


def summarise(job, engine, asymmetries, overfitting=None) -> dict:
    """The entries of summary.json of a RefineJob whose engine is through; asymmetries : [Asymmetry or None] of the
    classes; overfitting : [OverfittingCurves] or None."""
    config = engine.config
    rows = np.concatenate(engine.rows)
    resolutions = [_told(config, curves) for curves in engine.curves]
    counts = np.bincount(engine.results.structures[rows], minlength=config.classes)
    history = job.folder.history
    certificate = pooled(history)
    words = outcome(config, resolutions, counts, len(rows), engine.convergence.reason, history[-1])
    return dict(
        outcome=" ".join([words, *sparse_words(history[-1]), *symmetry_words(config, asymmetries),
                          *mask_words(engine.curves),
                          *certificate_words(certificate), *overfitting_words(config, overfitting or [])]),
        resolution_a=resolutions[0] if config.classes == 1 else resolutions,
        parameters=config.to_dict(), n_particles=len(rows), half_sets=[len(half) for half in engine.rows],
        class_sizes=counts.tolist(), iterations_done=engine.iteration, stopped=engine.convergence.reason,
        phases=phases(history), pruned=history[-1]["pruned"], cut=history[-1]["cut"], scored=history[-1]["scored"],
        pose_width_deg=history[-1]["width_deg"], broad_share=history[-1]["broad"],
        capped_share=history[-1]["capped"], contrast=job.contrast, inverted=bool(job.source.invert),
        certificate=certificate, sparse_tv=history[-1].get("sparse_tv"),
        asymmetry=[one and dict(vars(one), found=one.found) for one in asymmetries],
        overfitting=[dict(random_from_a=config.extent_a / one.first, noise_correlation=one.noise_correlation,
                          resolution_a=_told(config, one))
                     for one in overfitting or []], **run_facts(job))


def warned(history) -> list:
    """What the iterations warned of, each sentence once: as the last of them said it, and in how many."""
    found = {}
    for record in history:
        for sentence in record.get("warnings", ()):
            # the figures after the colon differ from one iteration to the next
            found.setdefault(sentence.split(":")[0], []).append((record["iteration"], sentence))
    return [f"Iteration {said[-1][0]}{f' and {len(said) - 1} before' if len(said) > 1 else ''}: {said[-1][1]}"
            for said in found.values()]


def sparse_words(record) -> list:
    """What the final maps' penalties were and what they left, a sentence for each class; none for Wiener's maps."""
    said = record.get("sparse_tv") or {}
    words = []
    for k, one in enumerate(said.get("whole", ())):
        which = "The map" if len(said["whole"]) == 1 else f"Class {k + 1}"
        if one is None:
            words.append(f"{which} is Wiener's: the penalties left none that is sparse and smooth.")
            continue
        halves = "; ".join(f"half {half}: α {of_half[k][0]:.2g}, β {of_half[k][1]:.2g}"
                           for half, of_half in enumerate(said["penalties"], 1))
        words.append(f"{which} is sparse and smooth ({halves}): {one['zeros']:.0%} of its voxels are empty, its total "
                     f"variation is {one['variation']:.0%} of the unregularised map's.")
    return words


def phases(history) -> dict:
    """{phase: seconds and images_per_second} of all iterations together; each image counts once for each of them."""
    totals, images = {}, sum(record["n_images"] for record in history)
    for record in history:
        for name, seconds in record.get("seconds_phases", {}).items():
            totals[name] = totals.get(name, 0.0) + seconds
    return {name: dict(seconds=seconds, images_per_second=images / max(seconds, 1e-9))
            for name, seconds in sorted(totals.items())}


def phase_lines(history) -> list:
    """Where the time went, in words; none where nothing was timed."""
    words = [f"{name} {of['seconds']:.0f} s ({of['images_per_second']:.3g} images/s)"
             for name, of in phases(history).items()]
    return [f"Time by phase, both halves together: {'; '.join(words)}."] if words else []


def pooled(history) -> dict:
    """What the certificates of a run's iterations say together; None where there are none."""
    parts = [record["certificate"] for record in history if record.get("certificate")]
    if not parts:
        return None
    count = np.array([part["images"] for part in parts])
    lost = np.concatenate([part["lost_nats"] for part in parts])
    covered = np.concatenate([part["covered"] for part in parts])
    levels = min(len(part["pruned"]) for part in parts)
    seconds = sum(part["seconds"] for part in parts)
    return dict(
        images=int(count.sum()), same_share=sum(part["same"] for part in parts) / int(count.sum()),
        lost_nats=dict(mean=float(lost.mean()), largest=float(lost.max())),
        covered=dict(mean=float(covered.mean()), least=float(covered.min())),
        above_bound=sum(part["above_bound"] for part in parts), bounds=sum(part["bounds"] for part in parts),
        # records of before did not state it
        above_expected=sum(part.get("above_share", 1e-3) * part["bounds"] for part in parts),
        # iterations at a finer resolution have more levels: these are counted from the finest
        **{name: [float(np.average([part[name][level - levels] for part in parts], weights=count))
                  for level in range(levels)] for name in ("pruned", "cut")},
        scored_share=float(np.average([part["scored_share"] for part in parts], weights=count)),
        seconds=seconds, time_share=seconds / sum(record["seconds"] for record in history))


def certificate_words(certificate) -> list:
    """What the certificate means, in a sentence or none."""
    if certificate is None:
        return []
    n, same = certificate["images"], round(certificate["same_share"] * certificate["images"])
    words = (f"{n} images were also searched exhaustively: the bounded search had found the same best pose in {same} "
             f"of them, and {certificate['covered']['mean']:.1%} of the posterior on average, with "
             f"{certificate['scored_share']:.1%} of the poses scored; {certificate['above_bound']} of "
             f"{certificate['bounds']} best poses scored more than their bound, of which it allows for "
             f"{certificate['above_expected']:.1g}.")
    # as many as chance would give a sound search once in a hundred
    expected = (1 - SOUND_SHARE) * n
    if n - same > expected + 2.3 * np.sqrt(expected) + 1:
        words += " That is too few: raise the bound's standard deviations, or search exhaustively."
    return [words]


def overfitting_words(config, overfitting) -> list:
    """What the overfitting test of each class says, a sentence each."""
    words = []
    for k, one in enumerate(overfitting):
        which = "" if len(overfitting) == 1 else f" of class {k + 1}"
        words.append(f"With phases random beyond {config.extent_a / one.first:.1f} Å the halves{which} correlate by "
                     f"{one.noise_correlation:.2f} there; without that they "
                     f"{agreement(_told(config, one))}"
                     + (": the particles' noise is being fitted." if one.noise_correlation > TIGHT else "."))
    return words


def symmetry_words(config, asymmetries) -> list:
    """A warning for each class whose symmetry is in doubt."""
    words = []
    for k, one in enumerate(asymmetries):
        if one is not None and one.found:
            which = "" if len(asymmetries) == 1 else f" of class {k + 1}"
            words.append(f"The particles{which} may not have {config.symmetry}: a map without it explains those of the "
                         f"other half better, by {one.gain:.2g} ± {one.error:.1g} nats each. That is so too where they "
                         "differ among themselves or their poses are not settled: refine in one of its subgroups or in "
                         "C1, from a map that does not have it either, and compare.")
    return words


def mask_words(curves) -> list:
    """A warning where a mask decides the curves."""
    tight = [one.mask_share for one in curves if one.mask_share > TIGHT]
    if not tight:
        return []
    return [f"The mask is too tight: maps with random phases correlate by {max(tight):.2f} within it. Widen it, or "
            "give it a softer edge, before you trust the masked curves."]


def outcome(config, resolutions, counts, n_particles, reason, record) -> str:
    """What a biologist should know of the result, in sentences. resolutions : of each class, as config.resolved says
    them."""
    if config.classes == 1:
        words = f"A map from {n_particles} particles at {_at(resolutions[0], config)}."
    else:
        each = "; ".join(f"class {k + 1} with {count} particles ({count / n_particles:.0%}) at {_at(one, config)}"
                         for k, (one, count) in enumerate(zip(resolutions, counts)))
        words = f"{config.classes} maps from {n_particles} particles: {each}."
        starved = [k + 1 for k, count in enumerate(counts) if count < STARVED * n_particles / config.classes]
        if starved:
            words += f" {class_numbers(starved)} won hardly any particles: leave " + (
                "its reference out." if len(starved) == 1 else "their references out.")
    best = min(resolutions)
    if SUSPICIOUS * config.initial_resolution_a < best <= config.initial_resolution_a:
        words += (f" That is hardly beyond the {config.initial_resolution_a:g} Å of the reference: the fit is "
                  "suspicious. Compare the map with class averages, and try a reference made from the particles "
                  "themselves (ab initio).")
    words += f" The iterations ended because {reason}."
    if record["capped"] > 0.05:
        words += (f" For {record['capped']:.0%} of the particles the bound left more poses than are followed, and only "
                  "the likeliest by then were: ")
        words += "the certificate tells what that cost." if record.get("certificate") else "the best may be missed."
    if record["broad"] > 0.5:
        words += (f" {record['broad']:.0%} of the particles have no definite pose: they say too little, or the "
                  "reference is not theirs.")
    return words + " The hand is that of the reference: refinement can't tell it."


def _told(config, curves):
    """Å to which the halves of some curves agree, as far as that is evidence."""
    return config.resolved(curves.resolution(config.box_size, config.pixel_size))


def _at(resolution, config):
    if not np.isfinite(resolution):
        return (f"no resolution beyond that of the reference ({config.initial_resolution_a:g} Å): the two halves do "
                "not agree there, so nothing was found that is not in the reference")
    nyquist = 2 * config.pixel_size
    words = f"{resolution:.1f} Å (FSC 0.143 of independent halves, corrected for the mask)"
    if resolution < 1.05 * nyquist:
        words += f", the limit of the pixel size ({nyquist:.2g} Å): take less downsampled particles for more"
    return words
