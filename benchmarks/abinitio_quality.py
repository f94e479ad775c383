"""How far ab initio maps agree with the truth, seed by seed, against a reconstruction with the true poses.

    python benchmarks/abinitio_quality.py SET -o DIR [--seeds 5] [--threads 2] [--cpu-limit S] [-- options of abinitio]

SET is a folder that `cryosgd simulate` made (benchmarks/make_simulated_sets.sh makes both sets of the README's table).
FSC to the truth, either hand, maps aligned, within a soft mask around the true density; the same mask for the
reconstruction with the true poses. Bar: every seed within 1.3 times the true poses' resolution, and where it is given
within the CPU limit.
"""
from __future__ import annotations

import sys
from pathlib import Path

from _common import ALLOWED, Report, abinitio, command_line, figure, judge, parsed, plot_fsc, read_set


def main(words=None):
    parser = command_line(__doc__, seeds=5)
    parser.add_argument("set", type=Path)
    parser.add_argument("--diameter", type=float, help="Å (default: as the set's summary says)")
    parser.add_argument("--cpu-limit", type=float, default=float("inf"), metavar="S", help="CPU seconds a seed")
    arguments = parsed(parser, words)
    particles = read_set(arguments.set.absolute())
    report = Report("abinitio_quality", arguments.output, particles.words)
    rows, curves = seed_rows(particles, arguments, report, arguments.diameter or particles.diameter)
    judge_rows(report, rows, arguments.cpu_limit)
    plot(arguments.output / "abinitio_quality.png", curves, particles)
    return report.finish()


def seed_rows(particles, arguments, report, diameter):
    """(rows, curves) of all seeds; the rows are in the report as well."""
    best = judge(particles.oracle(), particles.truths[0], particles.pixel, align=False)
    print(f"true poses: FSC 0.5 at {best.resolution_a:.2f} Å", flush=True)
    report.facts["true_poses_a"] = best.resolution_a
    rows, curves = [], {"true poses": best.curve}
    for seed in arguments.seeds:
        run = abinitio(particles.star, arguments.output / f"seed{seed}", "--diameter", diameter, "--seed", seed,
                       "--threads", arguments.threads, *arguments.options, reuse=arguments.reuse)
        judged = judge(run.volume(), particles.truths[0], particles.pixel)
        curves[f"seed {seed}"] = judged.curve
        rows.append(dict(seed=seed, fsc05_a=judged.resolution_a, of_true_poses=judged.resolution_a / best.resolution_a,
                         mirrored=judged.alignment.mirrored, seconds=run.seconds, cpu_s=run.cpu))
        report.add(**rows[-1])
    return rows, curves


def judge_rows(report, rows, cpu_limit):
    """Hold the seeds against the bars."""
    good = sum(row["of_true_poses"] <= ALLOWED for row in rows)
    report.bar(good == len(rows), f"{good} of {len(rows)} seeds within {ALLOWED} × true poses")
    if cpu_limit < float("inf"):
        quick = sum(row["cpu_s"] < cpu_limit for row in rows)
        report.bar(quick == len(rows), f"{quick} of {len(rows)} seeds under {cpu_limit:g} CPU-s "
                                       f"(most {max(row['cpu_s'] for row in rows):.0f})")


def plot(path, curves, particles):
    made = figure(7, 4.5)
    plot_fsc(made.add_subplot(), curves, particles.table.box_size, particles.pixel)
    made.suptitle(particles.words, fontsize=9)
    made.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
