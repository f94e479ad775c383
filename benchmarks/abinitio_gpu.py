"""A first map from many images on a GPU: wall time, and what each phase of it took.

    python benchmarks/abinitio_gpu.py -o DIR [--particles 100000] [--box 128] [--device cuda:0] [--threads 16]
        [--memory 12] [-- options of cryosgd abinitio]

The built-in phantom at 128 px of 2.8 Å/px, C1, one structure, SNR 0.05, from a random start. The set is simulated on
the CPU first (6.6 GB of stacks for 100,000), which is not timed; --reuse takes it as it is. On a machine without a GPU
it says so and does nothing; `--device cpu` runs the same there, and holds it against no bar of time.

Bars: 100,000 particles in under 60 seconds, of fewer as many a second; counted is the whole process, imports,
compilation and the last pass over all particles included, but for the reading of images. And FSC 0.5 to the truth
within 1.3 times the final resolution.
"""
from __future__ import annotations

import sys

from _common import ALLOWED, Report, abinitio, command_line, figure, judge, parsed, plot_fsc, simulated

from cryosgd_plugin.core.backend import gpu_report, parse_device
from cryosgd_plugin.core.errors import InputError

SECONDS, PARTICLES = 60.0, 100_000


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--particles", type=int, default=PARTICLES, metavar="N", help="(%(default)s)")
    parser.add_argument("--box", type=int, default=128, metavar="PX", help="(%(default)s)")
    parser.add_argument("--device", default="cuda:0", help="(%(default)s)")
    parser.add_argument("--memory", type=float, default=12.0, metavar="GB", help="of the host (%(default)g)")
    arguments = parsed(parser, words)
    try:
        kind = parse_device(arguments.device)[0]
    except InputError as error:
        raise SystemExit(f"abinitio_gpu.py: {error}") from error
    report = Report("abinitio_gpu", arguments.output, "Ab initio on a GPU: " + gpu_report()[1] if kind == "cuda" else
                    "Ab initio on the CPU, to compare: no bar of time")
    particles = simulated(arguments.output / "sets" / f"phantom_{arguments.particles}_{arguments.box}", "--particles",
                          arguments.particles, "--box", arguments.box, "--pixel-size", f"{2.8 * 128 / arguments.box:g}",
                          "--snr", 0.05, "--shift-sd", 4, "--defocus", 10000, 25000, "--seed", 1, "--threads",
                          arguments.threads, reuse=arguments.reuse)
    print(particles.words)
    curves = {}
    for seed in arguments.seeds:
        run = abinitio(particles.star, arguments.output / f"run{arguments.particles}_seed{seed}", "--diameter",
                       particles.diameter, "--device", arguments.device, "--threads", arguments.threads, "--memory",
                       arguments.memory, "--seed", seed, *arguments.options, reuse=arguments.reuse)
        found = judge(run.volume(), particles.truths[0], particles.pixel)
        curves[f"seed {seed}"] = found.curve
        summary = run.results.summary()
        report.facts[f"phases_seed{seed}"] = phases = phases_of(run.seconds, summary)
        print_phases(phases)
        reading = summary["reading"]["seconds"]
        report.add(seed=seed, fsc05_a=found.resolution_a, final_a=summary["resolution_a"], seconds=run.seconds,
                   reading_s=reading, after_reading_s=run.seconds - reading, cpu_s=run.cpu, memory_gb=run.memory_gb,
                   iterations=summary["iterations_done"], images_visited=summary["images_visited"])
    hold(report, arguments.particles, arguments.box, kind)
    made = figure(7, 4.5)
    plot_fsc(made.add_subplot(), curves, particles.table.box_size, particles.pixel)
    made.suptitle(particles.words, fontsize=8)
    made.savefig(arguments.output / "abinitio_gpu.png")
    return report.finish()


def phases_of(seconds: float, summary) -> dict:
    """{phase: dict(seconds, images)} of a run's wall time; what no phase has is imports, compilation and writing."""
    found = {name: dict(seconds=of["seconds"], images=of.get("images")) for name, of in summary["seconds"].items()}
    found["all else"] = dict(seconds=seconds - sum(of["seconds"] for of in found.values()), images=None)
    found["reading, within these"] = {name: summary["reading"][name] for name in ("seconds", "images")}
    return found


def print_phases(phases):
    for name, of in phases.items():
        rate = f"{of['images'] / of['seconds']:10.0f} images/s" if of["images"] and of["seconds"] else ""
        print(f"  {name:24s} {of['seconds']:8.1f} s {rate}".rstrip())


def hold(report, particles: int, box: int, kind: str):
    allowed = SECONDS * particles / PARTICLES
    for row in report.rows:
        if kind == "cuda":
            report.bar(row["after_reading_s"] < allowed, (
                f"seed {row['seed']}: {particles} × {box} px in {row['after_reading_s']:.1f} s after reading (under "
                f"{allowed:.3g}), {row['seconds']:.1f} s with it"))
        report.bar(row["fsc05_a"] <= ALLOWED * row["final_a"], (
            f"seed {row['seed']}: FSC 0.5 to the truth at {row['fsc05_a']:.2f} Å (within {ALLOWED} × the final "
            f"{row['final_a']:.2f} Å)"))


if __name__ == "__main__":
    sys.exit(main())
