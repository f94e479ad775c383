"""Where the views are, and when the run knows: paper 1's Fig. 3 and Fig. 10, on a set seen from a belt of views.

    python benchmarks/view_directions.py -o DIR [--particles 1000] [--seeds 1] [--threads 2]
        [-- options of cryosgd abinitio]

The belt set of hard_sets.py: the built-in phantom, 90 % of whose views lie within 5° of a great circle, to 10 Å; of so
few particles that each is visited a dozen times. Fig. 3 is the KL divergence of each particle's distribution over view
directions from that of its last visit (of 500 particles at most), epoch by epoch: an epoch is as many image visits as
there are particles in the steps. Fig. 10 is the mean of these distributions over the particles at the end, on an
equal-area map.

Bars: in the last whole epoch the divergence is a tenth of the largest epoch's, or less; and of the mean distribution as
much lies within 15° of its own great circle as of the true views of theirs, to a tenth.
"""
from __future__ import annotations

import sys

import numpy as np
from _common import Report, abinitio, command_line, figure, judge, parsed
from hard_sets import FINAL_A, belt
from matplotlib.ticker import MaxNLocator

from cryosgd_plugin.core.poses import directions_to_vectors
from cryosgd_plugin.io.direction_pictures import draw_importance

BELT_HALF_DEG, SETTLED, AS_MUCH = 15.0, 0.1, 0.9


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--particles", type=int, default=1000, help="(%(default)s)")
    arguments = parsed(parser, words)
    particles = belt(arguments)[0]
    report = Report("view_directions", arguments.output, particles.words)
    true = share_on_belt(particles.table.rotations[:, 2], np.ones(len(particles.table)))
    curves = {}
    for seed in arguments.seeds:
        run = abinitio(particles.star, arguments.output / f"seed{seed}", "--diameter", particles.diameter, "--seed",
                       seed, "--threads", arguments.threads, "--final-resolution", FINAL_A["belt"], *arguments.options,
                       reuse=arguments.reuse)
        importance = run.results.importance()
        in_steps = len(particles.table) - run.results.summary()["held_out"]
        curves[seed] = epochs(run.results.history(), in_steps)
        show(seed, curves[seed])
        found = share_on_belt(directions_to_vectors(np.array(importance["directions_deg"])),
                              np.sum(importance["mass"], axis=0))
        report.add(seed=seed, fsc05_a=judge(run.volume(), particles.truths[0], particles.pixel).resolution_a,
                   on_belt=found, truly_on_belt=true, seconds=run.seconds, cpu_s=run.cpu)
        hold(report, seed, curves[seed], found, true)
        draw_importance(made := figure(9, 5), importance)
        made.savefig(arguments.output / f"view_directions_fig10_seed{seed}.png")
    report.facts["epochs"] = curves
    plot(arguments.output / "view_directions.png", curves, particles)
    return report.finish()


def epochs(history, in_steps: int) -> list:
    """A row for each epoch of in_steps image visits: mean KL (nats; nan where nothing was seen twice), Å at its end."""
    groups = {}
    for record in history:
        groups.setdefault((record["images_visited"] - 1) // in_steps + 1, []).append(record)
    rows = []
    for number, records in groups.items():
        known = [r["kl_directions"] for r in records if r["kl_directions"] is not None]
        rows.append(dict(epoch=number, images=sum(r["n_images"] for r in records),
                         kl_nats=float(np.mean(known)) if known else float("nan"), measured=len(known),
                         resolution_a=records[-1]["resolution_a"], noise_inflation=records[-1]["noise_inflation"]))
    return rows


def share_on_belt(vectors, mass) -> float:
    """Share of a distribution over directions, (n, 3) unit vectors and (n,) masses, within BELT_HALF_DEG of the great
    circle that holds most of it."""
    axis = np.linalg.eigh((vectors * mass[:, None]).T @ vectors)[1][:, 0]
    near = np.abs(vectors @ axis) <= np.sin(np.radians(BELT_HALF_DEG))
    return float(mass[near].sum() / mass.sum())


def show(seed, rows):
    print(f"  seed {seed}: epoch  images  KL (nats)  to Å   noise inflation")
    for row in rows:
        print(f"{row['epoch']:15d} {row['images']:7d} {row['kl_nats']:10.4f} {row['resolution_a']:6.1f} "
              f"{row['noise_inflation']:12.1f}", flush=True)


def hold(report, seed, rows, found, true):
    # the last is cut short where the run ends within it
    known = [row for row in rows[:-1] if np.isfinite(row["kl_nats"])] or rows[-1:]
    most = max(row["kl_nats"] for row in known)
    report.bar(known[-1]["kl_nats"] <= SETTLED * most, (
        f"seed {seed}: KL between visits {known[-1]['kl_nats']:.3f} nats in epoch {known[-1]['epoch']}, {most:.3f} "
        f"where it was largest (a tenth or less)"))
    report.bar(found >= AS_MUCH * true, f"seed {seed}: {found:.0%} of the importance distribution within "
                                        f"{BELT_HALF_DEG:g}° of a great circle, {true:.0%} of the true views (an even "
                                        f"spread: {np.sin(np.radians(BELT_HALF_DEG)):.0%})")


def plot(path, curves, particles):
    axes = (made := figure(7, 4.5)).add_subplot()
    for seed, rows in curves.items():
        axes.semilogy([row["epoch"] for row in rows], [row["kl_nats"] for row in rows], "o-", label=f"seed {seed}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel="KL of the view directions from the last visit's (nats)")
    axes.legend(fontsize=7)
    made.suptitle(particles.words, fontsize=8)
    made.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
