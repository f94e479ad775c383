"""Three priors on the density (paper 1 §4.6, Fig. 13): uniform, conditionally autoregressive, exponential.

    python benchmarks/priors.py -o DIR [--seeds 1] [--threads 2] [--strengths 0.3 1 3] [--set SET] [-- options]

The built-in phantom, 64 px of 4 Å/px, SNR 0.05, or a SET that `cryosgd simulate` made. Of each prior and strength:
Å at FSC 0.5 to the truth, and the background: the rms outside the molecule's mask, within the particle's sphere, over
the mean density inside the mask. The map is the minibatch map at the end of the iterations, where the prior acts; the
final map of the last pass, which has none, is judged beside it. Bars, from the figure: the exponential prior's
background is below 0.95 of the uniform one's at some strength, with no loss in resolution; likewise the autoregressive
one's.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from _common import (
    Report,
    abinitio,
    add_final_resolution,
    command_line,
    figure,
    judge,
    parsed,
    phantom,
    plot_fsc,
    read_set,
    sheet,
    truth_mask,
)

from cryosgd_plugin.core.masks import distance_from_centre
from cryosgd_plugin.io.volumes import read_volume

PRIORS = ("uniform", "car", "exponential")
# a prior may cost this much resolution, as a share, which is the seeds' own scatter
NO_LOSS = 1.03
# and has to bring the background below this share of the uniform prior's
LOWER = 0.95


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--set", type=Path, help="a simulated set (default: the phantom)")
    parser.add_argument("--particles", type=int, default=2000, help="of the phantom (%(default)s)")
    add_final_resolution(parser)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.3, 1.0, 3.0], metavar="F")
    arguments = parsed(parser, words)
    particles = (read_set(arguments.set.absolute()) if arguments.set else
                 phantom(arguments, particles=arguments.particles, snr=0.05))
    report = Report("priors", arguments.output, particles.words)
    report.facts["true_poses_a"] = particles.oracle_resolution()
    curves, maps = {}, {"truth": [particles.truths[0]] * 2}
    for prior in PRIORS:
        for strength in [1.0] if prior == "uniform" else arguments.strengths:
            name = prior if prior == "uniform" else f"{prior} {strength:g}"
            for seed in arguments.seeds:
                shown = one(report, arguments, particles, name, prior, strength, seed)
                if seed == 0:
                    curves[name], maps[name] = shown[0].curve, [judged.aligned for judged in shown]
    hold(report)
    made = figure(7, 4.5)
    plot_fsc(made.add_subplot(), curves, particles.table.box_size, particles.pixel)
    made.suptitle(f"minibatch maps to the truth, seed 0; {particles.words}", fontsize=8)
    made.savefig(arguments.output / "priors.png")
    sheet(arguments.output / "priors_slices.png", maps, ["minibatch map", "after the last pass"])
    return report.finish()


def one(report, arguments, particles, name, prior, strength, seed):
    """Run and judge one prior: (Judged of the minibatch map, Judged of the final map)."""
    words = ["--prior", prior] + ([] if prior == "uniform" else ["--prior-strength", strength])
    run = abinitio(particles.star, arguments.output / f"{name.replace(' ', '_')}_seed{seed}", "--diameter",
                   particles.diameter, "--seed", seed, "--threads", arguments.threads, "--final-resolution",
                   arguments.final_resolution, *arguments.options, *words, reuse=arguments.reuse)
    truth = particles.truths[0]
    last, final = (judge(volume, truth, particles.pixel)
                   for volume in (read_volume(run.results.progress_volumes()[-1][1])[0], run.volume()))
    report.add(prior=prior, strength=strength, seed=seed, fsc05_a=last.resolution_a,
               background=background(last.aligned, truth, particles), fsc05_final_a=final.resolution_a,
               background_final=background(final.aligned, truth, particles), seconds=run.seconds, cpu_s=run.cpu)
    return last, final


def background(volume, truth, particles):
    """rms outside the molecule, within the particle's sphere, over the mean density inside the molecule."""
    mask = truth_mask(truth)
    sphere = distance_from_centre(len(truth), 3) * particles.pixel <= particles.diameter / 2
    outside = volume[(mask == 0) & sphere]
    return float(np.sqrt(np.mean(outside ** 2)) / volume[mask > 0.5].mean())


def hold(report):
    uniform = [row for row in report.rows if row["prior"] == "uniform"]
    noise, fine = (np.mean([row[key] for row in uniform]) for key in ("background", "fsc05_a"))
    for prior in PRIORS[1:]:
        by_strength = {}
        for row in report.rows:
            if row["prior"] == prior:
                by_strength.setdefault(row["strength"], []).append((row["background"], row["fsc05_a"]))
        means = {strength: np.mean(values, axis=0) for strength, values in by_strength.items()}
        kept = {strength: mean for strength, mean in means.items() if mean[1] <= NO_LOSS * fine} or means
        strength, (level, resolution) = min(kept.items(), key=lambda item: item[1][0])
        report.bar(level <= LOWER * noise and resolution <= NO_LOSS * fine,
                   f"{prior} {strength:g}: background {level:.3f} (at most {LOWER:g} × uniform's {noise:.3f}), "
                   f"FSC 0.5 at {resolution:.2f} Å (uniform {fine:.2f} Å)")


if __name__ == "__main__":
    sys.exit(main())
