"""Refinement of many larger images: wall time and memory.

    python benchmarks/refine_size.py -o DIR [--particles 5000] [--threads 2] [-- options of cryosgd refine]

The built-in phantom at 128 px of 2 Å/px, C1, SNR 0.05, from the truth low-passed to 30 Å.

Bars: 5,000 particles in under 20 minutes on two idle cores, in less than 4 GB at its peak.
"""
from __future__ import annotations

import sys

from _common import Report, command_line, engine_run, judge, parsed, simulated

MINUTES, MEMORY_GB = 20.0, 4.0


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--particles", type=int, default=5000, metavar="N", help="(%(default)s)")
    arguments = parsed(parser, words)
    report = Report("refine_size", arguments.output, "Refinement of many larger images")
    particles = simulated(arguments.output / "sets" / f"phantom_{arguments.particles}", "--particles",
                          arguments.particles, "--box", 128, "--pixel-size", 2, "--snr", 0.05, "--shift-sd", 4,
                          "--defocus", 10000, 25000, "--seed", 1, reuse=arguments.reuse)
    print(particles.words)
    for seed in arguments.seeds:
        run = engine_run("refine", particles.star, arguments.output / f"run{arguments.particles}_seed{seed}",
                         "--reference", particles.folder / "truth_volume.mrc", "--diameter", particles.diameter,
                         "--threads", arguments.threads, "--seed", seed, *arguments.options, reuse=arguments.reuse)
        found = judge(run.volume(), particles.truths[0], particles.pixel)
        summary, history = run.results.summary(), run.results.history()
        report.add(seed=seed, fsc05_a=found.resolution_a, claimed_a=summary["resolution_a"], minutes=run.seconds / 60,
                   cpu_s=run.cpu, memory_gb=run.memory_gb, posing_share=sum(one["seconds_posing"] for one in history)
                   / run.seconds, pruned=(summary["pruned"] or [float("nan")])[-1], iterations=len(history))
        report.bar(run.seconds < 60 * MINUTES and run.memory_gb < MEMORY_GB,
                   f"seed {seed}: {run.seconds / 60:.1f} minutes with {arguments.threads} threads (under {MINUTES:g}), "
                   f"{run.memory_gb:.2f} GB (under {MEMORY_GB:g})")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
