"""Sensitivity to the random start (paper 1 §4.5, Fig. 12): do 15 starts end at the same map?

    python benchmarks/restarts.py -o DIR [--seeds 15] [--threads 2] [--set SET] [-- options of cryosgd abinitio]

The built-in phantom, 64 px of 4 Å/px, SNR 0.05, or a SET that `cryosgd simulate` made. Every pair of final maps is
aligned in the better hand and compared (cryosgd_plugin.engines.consensus). Bar: the mean FSC of the pairs is 0.5 or
more at 12 Å. The plot shows mean and standard deviation over the pairs, as the paper's, and the FSC to the truth. Run
to a finer resolution than 12 Å: beyond the runs' own, where the maps hold nothing, pairs still correlate at about 0.3,
by the leakage of the shape that they share.
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
)

from cryosgd_plugin.core.shells import crossing_resolution
from cryosgd_plugin.engines.consensus import compare_maps

AT_A = 12.0


def main(words=None):
    parser = command_line(__doc__, seeds=15)
    parser.add_argument("--set", type=Path, help="a simulated set (default: the phantom)")
    parser.add_argument("--particles", type=int, default=4000, help="of the phantom (%(default)s)")
    add_final_resolution(parser)
    arguments = parsed(parser, words)
    particles = (read_set(arguments.set.absolute()) if arguments.set else
                 phantom(arguments, particles=arguments.particles, snr=0.05))
    report = Report("restarts", arguments.output, particles.words)
    volumes, curves = [], []
    for seed in arguments.seeds:
        run = abinitio(particles.star, arguments.output / f"seed{seed}", "--diameter", particles.diameter, "--seed",
                       seed, "--threads", arguments.threads, "--final-resolution", arguments.final_resolution,
                       *arguments.options, reuse=arguments.reuse)
        volumes.append(run.volume())
        judged = judge(volumes[-1], particles.truths[0], particles.pixel)
        curves.append(judged.curve)
        report.add(seed=seed, fsc05_to_truth_a=judged.resolution_a, mirrored=judged.alignment.mirrored,
                   seconds=run.seconds, cpu_s=run.cpu)
    compare(report, volumes, curves, particles)
    return report.finish()


def compare(report, volumes, curves, particles):
    """The pairs' FSC against the bar, and the plot."""
    extent = len(volumes[0]) * particles.pixel
    found = compare_maps(volumes, radius=int(round(extent / AT_A)), pixel_size=particles.pixel,
                         diameter_a=min(particles.diameter, 0.95 * extent),
                         names=[f"seed {row['seed']}" for row in report.rows])
    shells = np.arange(found.curves.shape[-1])
    at = float(np.interp(extent / AT_A, shells, found.mean))
    report.facts.update(mean=found.mean, std=found.std, shell_spacing=1 / extent, verdict=found.verdict,
                        clusters=found.clusters, pairs_fsc05_a=found.pair_values(found.resolution_a))
    report.bar(at >= 0.5, f"mean FSC of {len(found.pair_values(found.resolution_a))} pairs at {AT_A:g} Å: {at:.2f} ± "
                          f"{np.interp(extent / AT_A, shells, found.std):.2f} (0.5 or more); the mean crosses 0.5 at "
                          f"{crossing_resolution(found.mean, 0.5, len(volumes[0]), particles.pixel):.1f} Å")
    print(found.verdict)
    made = figure(7, 4.5)
    axes = made.add_subplot()
    frequency = shells[1:] / extent
    axes.fill_between(frequency, (found.mean - found.std)[1:], (found.mean + found.std)[1:], alpha=0.3, linewidth=0)
    plot_fsc(axes, {"pairs of restarts, mean ± sd": found.mean, "to the truth, mean": np.mean(curves, axis=0)},
             len(volumes[0]), particles.pixel)
    axes.axvline(1 / AT_A, color="0.8", linewidth=0.8)
    axes.set_title(f"{len(volumes)} random starts; {particles.words}", fontsize=8)
    made.savefig(report.folder / "restarts.png")


if __name__ == "__main__":
    sys.exit(main())
