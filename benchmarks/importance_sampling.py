"""Importance sampling of the quadrature against the exact sum (paper 1 §4.4, Fig. 8 and 9).

    python benchmarks/importance_sampling.py -o DIR [--figures 8 9] [--states 0.4 0.6 0.8 1.0] [--images 100]
        [--final-resolution A] [--threads 2] [-- options of cryosgd abinitio]

Figure 8: ASPIRE's 70S ribosome, 1,500 particles, 64 px of 5 Å/px, SNR 0.1; a run is stopped at shares of its
iterations. There, for 100 images that the run would sample (pose_memory.py), log p by a sample of the quadrature is
compared with the sum over every structure, direction, in-plane angle and shift, for s0 from 1 to 50; the importance
distributions are those of the images' last visits, as in the run, and so is the noise inflation T. The gradient is that
by the map's Fourier coefficients, summed over these images. |Δ log p| is relative to |log p| without the image's own
−½ Σ|X|²/σ², which is no part of the sum (with it, as in the paper, the relative error would be smaller still). `search`
is what the other images get, measured on 100 of all.

Figure 9: the poses scored in each iteration of a run, against the naive count of paper 1 §3.2 at that frequency
(directions × in-plane angles × shifts of the whole quadrature), with each of our quadrature schemes. As large as the
paper's experiment, where that count is 8 · 10⁹ at last: the built-in phantom in 128 px of 2.8 Å/px, SNR 0.05, to 9 Å,
and so few particles that each is visited many times.

Bars: at s0 = 10 in every state mean |Δ log p| ≤ 0.05 nat and gradient cosine ≥ 0.99, in figure 8; and after each run of
figure 9 a sampled image takes 100,000-fold fewer poses than the paper's count at its last frequency, 0.11 1/Å. That is
what the paper reports, whose images are all sampled. Here each is searched anew now and then, too; the average of all
images from the first iteration at the final frequency on is told beside it.
"""
from __future__ import annotations

import sys

import numpy as np
from _common import Report, abinitio, command_line, engine_for, figure, judge, parsed, phantom, ribosome
from threadpoolctl import threadpool_limits

from cryosgd_plugin.engines.abinitio.grids import spiral_counts
from cryosgd_plugin.engines.abinitio.slices import back_project
from cryosgd_plugin.io.result_folder import CHECKPOINT
from cryosgd_plugin.ops.slicing import hermitian

OVERSAMPLING = (1, 2, 3, 5, 10, 20, 50)
SCHEMES = ("healpix", "saff-kuijlaars")
FINEST_A, MEMORY_GB = 9.0, 8
LARGEST_ERROR, LEAST_COSINE, FEWER = 0.05, 0.99, 1e5
# 1/Å, at the end of the paper's runs; the relative error that made it choose s0 = 10
PAPER_FREQUENCY, PAPER_ERROR = 0.11, 1e-3
# of 100 images, one standard deviation to either side where they are normal
SPREAD = (16, 50, 84)
# samples drawn of each image at each s0
DRAWS = 2
# images whose exact sums are held at a time: each sums over all directions
CHUNK = 25


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--particles", type=int, default=1500, help="of the ribosome (%(default)s)")
    parser.add_argument("--states", type=float, nargs="+", default=[0.4, 0.6, 0.8, 1.0],
                        help="shares of the iterations")
    parser.add_argument("--images", type=int, default=100, help="compared in each state (%(default)s)")
    parser.add_argument("--final-resolution", type=float, default=11.0, metavar="A", help="of the runs (%(default)g)")
    parser.add_argument("--figures", type=int, nargs="+", choices=(8, 9), default=(8, 9))
    parser.add_argument("--revisited", type=int, default=600, help="particles of figure 9's runs (%(default)s)")
    arguments = parsed(parser, words)
    report, shares = Report("importance_sampling", arguments.output, "paper 1, figures 8 and 9"), {}
    if 8 in arguments.figures:
        particles = ribosome(arguments, particles=arguments.particles, snr=0.1)
        print(particles.words)
        common = ["--diameter", particles.diameter, "--final-resolution", arguments.final_resolution,
                  *arguments.options]
        with threadpool_limits(1):
            for seed in arguments.seeds:
                figure_8(report, arguments, particles, common, seed)
        hold(report)
        tell_cheapest(report)
    if 9 in arguments.figures:
        particles = phantom(arguments, "--box", 128, "--pixel-size", 2.8, particles=arguments.revisited, snr=0.05,
                            name="phantom_128")
        print(particles.words)
        shares = figure_9(report, arguments, particles)
        hold_fewer(report)
    plot(arguments.output / "importance_sampling.png", report, shares)
    return report.finish()


def figure_8(report, arguments, particles, common, seed):
    engine, source = engine_for(particles.star, *common, "--no-early-stop", threads=arguments.threads, seed=seed)
    wanted = sorted({max(1, round(share * engine.config.iterations)) for share in arguments.states})
    with source:
        for record in engine.steps():
            if record["iteration"] in wanted:
                compare(report, engine, arguments.images, seed)


def compare(report, engine, count, seed):
    """Add a row for the search, and one for each s0 of images that the run would sample now, if there are any."""
    used = engine.memory.oversampling
    where = dict(seed=seed, iteration=engine.iteration, resolution_a=engine.extent_a / engine.model.radius,
                 inflation=engine.inflation)
    teams, rng = engine.teams(engine.model.volumes), np.random.default_rng(seed)
    rows = np.sort(rng.choice(engine.rows, min(count, len(engine.rows)), replace=False))
    exact = expected(engine, [[teams[0][-1]]], rows)
    report.add(**where, s0="search", images=len(rows), **measured([expected(engine, teams, rows)], exact)[0])
    foreseen = np.array([row for row in engine.rows if engine.memory.foresees(row)], int)
    if not len(foreseen):
        print(f"  iteration {engine.iteration}: no image's posterior is where it was, so all are searched")
        return
    rows = np.sort(rng.choice(foreseen, min(count, len(foreseen)), replace=False))
    exact = expected(engine, [[teams[0][-1]]], rows)
    for s0 in OVERSAMPLING:
        found = [expected(engine, teams, rows, [sample(engine, row, s0, draw) for row in rows])
                 for draw in range(DRAWS)]
        figures, spread = measured(found, exact)
        report.add(**where, s0=s0, images=len(rows), **figures)
        report.facts.setdefault("figure_8", []).append(dict(where, s0=s0, **spread))
    engine.memory.oversampling = used


def measured(found, exact):
    """(mean errors of approximate sums, (log p, gradient, shares) each, against the exact ones; percentiles SPREAD over
    the images of their relative errors and of the shares of the quadrature)."""
    log_p, gradient, _ = exact
    errors = np.mean([np.abs(approximate - log_p) for approximate, _, _ in found], axis=0)
    shares = np.mean([shares for _, _, shares in found], axis=0)
    figures = dict(mean_error_nat=errors.mean(), relative_error=errors.mean() / np.abs(log_p).mean(),
                   cosine=float(np.mean([cosine(approximate, gradient) for _, approximate, _ in found])),
                   fraction=shares.mean())
    return figures, dict(relative_error=np.percentile(errors / np.abs(log_p), SPREAD),
                         fraction=np.percentile(shares, SPREAD))


def sample(engine, row, oversampling, draw):
    """A Selection at any s0, also where the run would rather search."""
    engine.memory.oversampling = oversampling
    rng = np.random.default_rng([oversampling, draw, int(row)])
    return engine.memory.select(row, engine.finest_grid, rng, limit=np.inf)


def expected(engine, teams, rows, selections=None):
    """(log p of each image, gradient by the map's Fourier coefficients, each image's share of the quadrature)."""
    log_p, shares, gradient = [], [], 0.0
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        batch = engine.expect(teams, rows[part], engine.inflation,
                              selections=None if selections is None else selections[part])
        numerator, weight = batch.rings()
        total, _ = back_project(numerator - weight * batch.values, weight, batch.grid, engine.symmetriser.operators,
                                engine.model.radius, rows=batch.sums.rows, classes=engine.config.classes)
        gradient = gradient + np.stack([hermitian(half) for half in total])
        log_p += [image.log_evidence for image in batch.images]
        shares += [image.evaluated / image.n_poses for image in batch.images]
    return np.array(log_p), gradient, np.array(shares)


def cosine(a, b) -> float:
    return float(np.vdot(a, b).real / (np.linalg.norm(a) * np.linalg.norm(b)))


def figure_9(report, arguments, particles):
    """{scheme: (Å, share of the naive count) of each iteration} of whole runs."""
    shares, extent = {}, particles.table.box_size * particles.pixel
    papers = naive_count(extent * PAPER_FREQUENCY)
    for scheme in SCHEMES:
        common = ["--diameter", particles.diameter, "--final-resolution", FINEST_A]
        options = ["--quadrature", scheme, "--no-early-stop", *arguments.options]
        run = abinitio(particles.star, arguments.output / scheme, *common, "--seed", 0, "--threads", arguments.threads,
                       "--memory", MEMORY_GB, *options, reuse=arguments.reuse)
        history = run.results.history()
        shares[scheme] = [(r["resolution_a"], r["scores"] / r["n_images"] / naive_count(extent / r["resolution_a"]))
                          for r in history]
        finest = min(resolution for resolution, _ in shares[scheme])
        there = [r for r in history if r["resolution_a"] == finest]
        poses = [r["scores"] / r["n_images"] for r in there]
        drawn = sample_size(run, particles, [*common, *options])
        judged = judge(run.volume(), particles.truths[0], particles.pixel)
        report.add(scheme=scheme, finest_a=finest, naive_count=naive_count(extent / finest), papers_count=papers,
                   own_fold=1 / np.mean([r["evaluated_share"] for r in there]), fold_mean=papers / np.mean(poses),
                   fold_best=papers / min(poses), fold_sampled=papers / drawn,
                   sampled=np.mean([r["sampled_share"] for r in there]), fsc05_a=judged.resolution_a,
                   seconds=run.seconds, cpu_s=run.cpu)
        report.facts[f"shares_{scheme}"] = shares[scheme]
    return shares


def sample_size(run, particles, words) -> float:
    """Mean number of poses in a sample of the images that a run would sample after its last iteration; nan where there
    are none."""
    engine, source = engine_for(particles.star, *words, memory_gb=MEMORY_GB)
    source.close()
    with np.load(run.results.path(CHECKPOINT), allow_pickle=False) as kept:
        engine.restore({name[len("engine_"):]: kept[name] for name in kept.files if name.startswith("engine_")})
    selections = [selection for selection in map(engine.select, engine.rows) if selection is not None]
    return float(np.mean([len(one.rows) * len(one.angles) * len(one.shifts) for one in selections] or [np.nan]))


def naive_count(radius: float) -> float:
    """Quadrature points of paper 1 §3.2 at a Fourier radius, px."""
    directions, angles, axis = spiral_counts(radius)
    return directions * angles * axis ** 2


def hold(report):
    for s0, name in ((10, "s0 = 10"), ("search", "search")):
        rows = [row for row in report.rows if row.get("s0") == s0]
        worst = max((row["mean_error_nat"] for row in rows), default=np.inf)
        least = min((row["cosine"] for row in rows), default=-1.0)
        report.bar(worst <= LARGEST_ERROR, f"{name}: mean |Δ log p| at most {worst:.1e} nat (bar {LARGEST_ERROR})")
        report.bar(least >= LEAST_COSINE, f"{name}: gradient cosine at least {least:.4f} (bar {LEAST_COSINE})")


def tell_cheapest(report):
    """Print how few poses are as accurate as the paper asks of s0 = 10."""
    drawn = [row for row in report.rows if row.get("s0", "search") != "search"]
    for number in sorted({row["iteration"] for row in drawn}):
        rows = [row for row in drawn if row["iteration"] == number]
        good = [row for row in rows if row["relative_error"] < PAPER_ERROR]
        if good:
            cheapest = min(good, key=lambda row: row["s0"])
            print(f"iteration {number}, {cheapest['resolution_a']:.1f} Å: a relative error below {PAPER_ERROR:.1%} "
                  f"takes s0 = {cheapest['s0']}, {1 / cheapest['fraction']:.3g}-fold fewer poses than our grid has")


def hold_fewer(report):
    for row in report.rows:
        if "scheme" in row:
            report.bar(row["fold_sampled"] >= FEWER, (
                f"{row['scheme']}: at {row['finest_a']:.2f} Å a sampled image takes {row['fold_sampled']:,.0f}-fold "
                f"fewer poses than the {row['papers_count']:.2g} of paper 1's quadrature at {PAPER_FREQUENCY:g} 1/Å "
                f"(paper: more than {FEWER:,.0f}). From there on {1 - row['sampled']:.0%} of the images were searched, "
                f"so that the average is {row['fold_mean']:,.0f}-fold (best iteration {row['fold_best']:,.0f}), and "
                f"{row['own_fold']:,.0f}-fold fewer than our own grid has"))


def plot(path, report, shares):
    made = figure(12, 4.2)
    left, middle, right = made.subplots(1, 3)
    drawn = [row for row in report.facts.get("figure_8", []) if row["seed"] == 0]
    for number in sorted({row["iteration"] for row in drawn}):
        rows = [row for row in drawn if row["iteration"] == number]
        s0 = [row["s0"] for row in rows]
        for axes, name in ((left, "relative_error"), (middle, "fraction")):
            low, middling, high = np.transpose([row[name] for row in rows])
            axes.errorbar(s0, middling, yerr=(middling - low, high - middling), fmt="o-", capsize=3, linewidth=1,
                          markersize=4, label=f"iteration {number}, {rows[0]['resolution_a']:.1f} Å")
    left.axhline(PAPER_ERROR, color="0.6", linestyle="--", linewidth=0.8)
    left.set(xlabel="s0", ylabel="relative error of log p", xscale="log", yscale="log")
    middle.set(xlabel="s0", ylabel="share of the quadrature", xscale="log", yscale="log")
    left.set_title("median of the images, 16th to 84th percentile", fontsize=8)
    for scheme, curve in shares.items():
        right.semilogy([1 / resolution for resolution, _ in curve], [share for _, share in curve], ".", label=scheme)
    right.set(xlabel="frequency in use (1/Å)", ylabel="share of the naive quadrature, each iteration")
    for axes in (left, right):
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=7)
    made.suptitle(report.about, fontsize=8)
    made.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
