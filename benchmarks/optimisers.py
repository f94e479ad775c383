"""The poster's comparison: eight optimisers from the same random start, after 5,000 and 50,000 images and at the end.

    python benchmarks/optimisers.py -o DIR [--sets simulated apoferritin] [--images 100000] [--seeds 1] [--threads 2]
        [--final-resolution 10] [--preconditioner with without] [--optimisers sgd nesterov …]
        [-- options of cryosgd abinitio]

The simulated set is the built-in phantom (64 px of 4 Å/px, SNR 0.05), the real one apoferritin (72 px of 2.667 Å/px,
symmetry O, spherical averages removed, see apoferritin.py). Minibatches of 250 images for all, so that equal iterations
are equal images; the held-out error never ends a run. Each map is the minibatch map of that moment (the nearest that
was kept, one in twenty of the run; SAGD's minibatches differ by a few images, so its end is the map nearest to the
others' images); after the last pass over all particles, which is no optimiser's, it is judged once more. Of each: Å at
FSC 0.5, and the error of the same held-out images, −log p at the final resolution with the noise of the images'
borders, the same for all (nats an image; no map at all has 0). CPU seconds up to there are the run's share by its own
clock.

Bars: qualitatively similar results, as the poster has it: at the end every optimiser, with the preconditioner, is
within 1.3 times the best one's resolution; no map counts as finer than the resolution that the runs end at, for what
lies beyond, no step has looked at. The default is the best, or as good: its map explains the held-out images by 98 % or
more of the nats that the best one's does, mean over the seeds, and none that is as good took less than 80 % of its CPU
time. Those without the preconditioner are shown for comparison.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
from _common import (
    ALLOWED,
    Report,
    abinitio,
    add_final_resolution,
    command_line,
    engine_for,
    figure,
    judge,
    parsed,
    phantom,
    sheet,
)
from matplotlib.ticker import NullFormatter

from cryosgd_plugin.core.fourier import resample_volume
from cryosgd_plugin.core.shells import crossing_resolution
from cryosgd_plugin.engines.abinitio.config import AbInitioConfig
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.apoferritin import FIRST_SHELL, curve_to_model

OPTIMISERS = ("sgd", "sgd-momentum", "nesterov", "adagrad", "tonga", "olbfgs", "hessian-free", "sagd")
VISITED = (5_000, 50_000)
END, AFTER = "end", "after the last pass"
MINIBATCH = 250
# share of the best one's gain over no map, in nats, from which on a rule is as good; share of the default's CPU time
# below which one that is as good would be the better default (clocks of one machine differ by a tenth between runs)
AS_GOOD, CHEAPER = 0.98, 0.8
# maps of a run that are judged for its curve, evenly spread on the logarithm of the images: aligning one takes seconds
CURVE_POINTS = 6


@dataclass
class Target:
    """A set and how its maps are judged: volume → (Å at FSC 0.5, aligned map)."""

    name: str
    star: Path
    words: list
    judge: Callable
    truth: np.ndarray


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--sets", nargs="+", choices=("simulated", "apoferritin"), default=("simulated", "apoferritin"))
    parser.add_argument("--particles", type=int, default=5000, help="of the simulated set (%(default)s)")
    parser.add_argument("--images", type=int, default=100_000, help="image visits of a run (%(default)s)")
    add_final_resolution(parser)
    parser.add_argument("--optimisers", nargs="+", choices=OPTIMISERS, default=OPTIMISERS)
    parser.add_argument("--preconditioner", nargs="+", choices=("with", "without"), default=("with", "without"))
    arguments = parsed(parser, words)
    status = 0
    for name in arguments.sets:
        status |= compare(arguments, simulated_target(arguments) if name == "simulated" else real_target(arguments))
    return status


def compare(arguments, target):
    report = Report(f"optimisers_{target.name}", arguments.output, f"{target.name}, {target.star.name}: "
                    f"{arguments.images} images in minibatches of {MINIBATCH}")
    paths, shown = {}, {"truth": [target.truth, None, None, None]}
    for seed in arguments.seeds:
        error_of = held_out_error(arguments, target, seed)
        for preconditioner in arguments.preconditioner:
            for optimiser in arguments.optimisers:
                name = optimiser + ("" if preconditioner == "with" else ", plain")
                run = one(arguments, target, optimiser, preconditioner, seed)
                maps, curve = stages(run, target, error_of, arguments.images)
                for stage, (row, _) in maps.items():
                    report.add(optimiser=optimiser, preconditioner=preconditioner, seed=seed, map=stage, **row)
                if seed == 0:
                    paths[name] = curve
                    shown[name] = [aligned for _, aligned in maps.values()]
    report.facts["curves"] = paths
    hold(report, run.results.history()[-1]["resolution_a"])
    plot(arguments.output / f"{report.name}.png", paths, target)
    sheet(arguments.output / f"{report.name}_slices.png", shown,
          [*(f"{count // 1000}K" for count in VISITED), "end", "last pass"])
    return report.finish()


def one(arguments, target, optimiser, preconditioner, seed):
    iterations = max(10, round(arguments.images / MINIBATCH))
    return abinitio(
        target.star, arguments.output / f"{target.name}_{optimiser}_{preconditioner}_seed{seed}", *target.words,
        "--final-resolution", arguments.final_resolution, "--seed", seed, "--threads", arguments.threads,
        "--iterations", iterations, "--minibatch", MINIBATCH, MINIBATCH, "--sagd-minibatch", MINIBATCH,
        "--no-early-stop", *arguments.options, "--optimiser", optimiser,
        "--preconditioner" if preconditioner == "with" else "--no-preconditioner", reuse=arguments.reuse)


def stages(run, target, error_of, run_images):
    """({stage: (row, aligned map)}, the run's curves over images visited); run_images : visits at the end."""
    history = run.results.history()
    visited = {record["iteration"]: record["images_visited"] for record in history}
    cpu = dict(zip(visited, np.cumsum([record["seconds"] for record in history]) * run.cpu / run.seconds))
    paths = dict(run.results.progress_volumes())

    def nearest(count):
        return min(paths, key=lambda iteration: abs(visited[iteration] - count))

    chosen = {f"{count} images": nearest(count) for count in VISITED}
    chosen[END] = nearest(run_images)
    spread = np.geomspace(visited[min(paths)], visited[max(paths)], CURVE_POINTS)
    volumes = {iteration: read_volume(paths[iteration])[0]
               for iteration in sorted({*chosen.values(), *map(nearest, spread)})}
    judged = {iteration: target.judge(volume) for iteration, volume in volumes.items()}
    maps = {}
    for stage, iteration in chosen.items():
        found, aligned = judged[iteration]
        maps[stage] = dict(images=visited[iteration], fsc05_a=found, held_out_error=error_of(volumes[iteration]),
                           cpu_s=cpu[iteration]), aligned
    final = run.volume()
    found, aligned = target.judge(final)
    maps[AFTER] = dict(images=history[-1]["images_visited"], fsc05_a=found, held_out_error=error_of(final),
                       cpu_s=run.cpu), aligned
    errors = [(r["images_visited"], r["held_out_error"]) for r in history if "held_out_error" in r]
    return maps, dict(images=[visited[it] for it in judged], fsc05_a=[found for found, _ in judged.values()],
                      error_images=[count for count, _ in errors], held_out_error=[error for _, error in errors])


def held_out_error(arguments, target, seed):
    """A function of a map: mean −log p of the images that the runs of this seed hold out, nats an image (nan where
    the set is too small to hold any out)."""
    engine, _ = engine_for(target.star, *target.words, "--final-resolution", arguments.final_resolution,
                           *arguments.options, threads=arguments.threads, seed=seed)
    engine.set_resolution(engine.config.final_resolution_a)

    def error(volume):
        if not len(engine.held_out.rows):
            return float("nan")
        small = resample_volume(volume, engine.model.box_size).astype(np.float32)
        batch = engine.expect(engine.teams(small[None]), engine.held_out.rows, 1.0, accumulate=False)
        return -float(np.mean([image.log_evidence for image in batch.images]))

    return error


def simulated_target(arguments):
    particles = phantom(arguments, particles=arguments.particles, snr=0.05)
    print(particles.words)

    def against_truth(volume):
        found = judge(volume, particles.truths[0], particles.pixel)
        return found.resolution_a, found.aligned

    return Target("simulated", particles.star, ["--diameter", particles.diameter], against_truth, particles.truths[0])


def real_target(arguments):
    folder = arguments.data / "apoferritin"

    def against_model(volume):
        curve, alignment, pixel = curve_to_model(volume, folder / "halfmaps")
        tail = np.concatenate([np.ones(FIRST_SHELL), curve[FIRST_SHELL:]])
        return crossing_resolution(tail, 0.5, len(volume), pixel), alignment.apply(volume)

    return Target("apoferritin", folder / "particles_72.star", ["--symmetry", "O", "--diameter", 140], against_model,
                  read_volume(folder / "halfmaps" / "model_7a4m_2.5A.mrc")[0])


def hold(report, finest_a):
    """Hold the preconditioned runs' last minibatch maps against the best one, none counting as finer than finest_a."""
    rows = [row for row in report.rows if row["preconditioner"] == "with" and row["map"] == END]
    if not rows:
        return
    ranked = ranking(rows, finest_a)
    best, finest = ranked[0], min(row["fsc05_a"] for row in ranked)
    good = sum(row["fsc05_a"] <= ALLOWED * finest for row in ranked)
    report.facts["ranking"] = ranked
    print("at the end, by what the map explains of held-out images: " + "; ".join(_shown(row) for row in ranked))
    report.bar(good == len(ranked), f"{good} of {len(ranked)} preconditioned optimisers end within {ALLOWED} × the "
                                    f"finest {finest:.2f} Å")
    default = next((row for row in ranked if row["optimiser"] == AbInitioConfig.optimiser), None)
    if default is None:
        return
    as_good = [row for row in ranked if row["gain"] >= AS_GOOD * best["gain"]]
    cheapest = min(as_good, key=lambda row: row["cpu_s"])
    share = default["gain"] / best["gain"]
    report.bar(default in as_good, (
        f"the default is number {ranked.index(default) + 1} of {len(ranked)}, with {share:.1%} of the best one's nats "
        f"(needs {AS_GOOD:.0%}): {_shown(default)}; {_shown(best)}"))
    report.bar(cheapest["cpu_s"] >= CHEAPER * default["cpu_s"], (
        f"the cheapest of the {len(as_good)} that are as good took {cheapest['cpu_s'] / default['cpu_s']:.0%} of the "
        f"default's CPU time (at least {CHEAPER:.0%}): {_shown(cheapest)}"))


def ranking(rows, finest_a) -> list:
    """Means over the seeds of each optimiser's rows, best first: gain over no map, its spread, Å, CPU seconds."""
    means = []
    for optimiser in dict.fromkeys(row["optimiser"] for row in rows):
        of = [row for row in rows if row["optimiser"] == optimiser]
        gains = [-row["held_out_error"] for row in of]
        means.append(dict(optimiser=optimiser, seeds=len(of), gain=float(np.mean(gains)), spread=float(np.ptp(gains)),
                          fsc05_a=float(np.mean([max(row["fsc05_a"], finest_a) for row in of])),
                          cpu_s=float(np.mean([row["cpu_s"] for row in of]))))
    return sorted(means, key=lambda row: -row["gain"])


def _shown(row):
    return f"{row['optimiser']} {row['gain']:.2f} nats an image, {row['fsc05_a']:.2f} Å, {row['cpu_s']:.0f} CPU-s"


def plot(path, paths, target):
    made = figure(11, 4.5)
    left, right = made.subplots(1, 2)
    for name, curve in paths.items():
        style = "--" if name.endswith("plain") else "-"
        left.semilogx(curve["images"], 1 / np.array(curve["fsc05_a"]), style, label=name)
        right.semilogx(curve["error_images"], curve["held_out_error"], style, label=name)
    for axes in (left, right):
        axes.xaxis.set_minor_formatter(NullFormatter())
    left.set(xlabel="images visited", ylabel="frequency at FSC 0.5 (1/Å)")
    right.set(xlabel="images visited", ylabel="held-out error at the resolution in use (nats an image)")
    left.legend(fontsize=7)
    made.suptitle(target.name, fontsize=9)
    made.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
