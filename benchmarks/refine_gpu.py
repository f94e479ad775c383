"""Refinement of many large images on a GPU: wall time, and images per second of each phase.

    python benchmarks/refine_gpu.py -o DIR [--particles 100000] [--box 256] [--device cuda:0] [--threads 16]
        [--memory 12] [-- options of cryosgd refine]

The built-in phantom at 256 px of 1.2 Å/px, C1, SNR 0.05, from the truth low-passed to 30 Å. The set is simulated on the
CPU first (26 GB of stacks for 100,000), which is not timed; --reuse takes it as it is. On a machine without a GPU it
says so and does nothing.

Bar: 100,000 particles in under 8 minutes; of fewer, as many images per second.
"""
from __future__ import annotations

import sys

from _common import Report, command_line, engine_run, judge, parsed, simulated

from cryosgd_plugin.core.backend import gpu_report, parse_device
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.job.refine_summary import phases

MINUTES, PARTICLES = 8.0, 100_000


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--particles", type=int, default=PARTICLES, metavar="N", help="(%(default)s)")
    parser.add_argument("--box", type=int, default=256, metavar="PX", help="(%(default)s)")
    parser.add_argument("--device", default="cuda:0", help="(%(default)s)")
    parser.add_argument("--memory", type=float, default=12.0, metavar="GB", help="of the host (%(default)g)")
    arguments = parsed(parser, words)
    try:
        parse_device(arguments.device)
    except InputError as error:
        raise SystemExit(f"refine_gpu.py: {error}") from error
    report = Report("refine_gpu", arguments.output, f"Refinement on a GPU: {gpu_report()[1]}")
    pixel = 1.2 * 256 / arguments.box
    particles = simulated(arguments.output / "sets" / f"phantom_{arguments.particles}_{arguments.box}", "--particles",
                          arguments.particles, "--box", arguments.box, "--pixel-size", f"{pixel:g}", "--snr", 0.05,
                          "--shift-sd", 4, "--defocus", 10000, 25000, "--seed", 1, "--threads", arguments.threads,
                          reuse=arguments.reuse)
    print(particles.words)
    for seed in arguments.seeds:
        run = engine_run("refine", particles.star, arguments.output / f"run{arguments.particles}_seed{seed}",
                         "--reference", particles.folder / "truth_volume.mrc", "--diameter", particles.diameter,
                         "--device", arguments.device, "--threads", arguments.threads, "--memory", arguments.memory,
                         "--seed", seed, *arguments.options, reuse=arguments.reuse)
        found = judge(run.volume(), particles.truths[0], particles.pixel)
        summary, history = run.results.summary(), run.results.history()
        print_iterations(history)
        report.facts[f"phases_seed{seed}"] = phases(history)
        report.add(seed=seed, fsc05_a=found.resolution_a, claimed_a=summary["resolution_a"], minutes=run.seconds / 60,
                   cpu_s=run.cpu, memory_gb=run.memory_gb, iterations=len(history),
                   images_per_s=sum(record["n_images"] for record in history) / run.seconds)
        allowed = MINUTES * arguments.particles / PARTICLES
        report.bar(run.seconds < 60 * allowed, f"seed {seed}: {arguments.particles} × {arguments.box} px in "
                                               f"{run.seconds / 60:.1f} minutes (under {allowed:.1f})")
    return report.finish()


def print_iterations(history):
    """What each iteration took, and each phase of all of them together."""
    for record in history:
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(record["seconds_phases"].items()))
        print(f"  iteration {record['iteration']}: {record['n_images']} images at "
              f"{record['resolution_in_use_a']:.1f} Å, {record['seconds']:.1f} s ({parts})")
    for name, of in phases(history).items():
        print(f"  {name:20s} {of['seconds']:8.1f} s {of['images_per_second']:10.0f} images/s")


if __name__ == "__main__":
    sys.exit(main())
