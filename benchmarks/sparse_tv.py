"""Sparse + total-variation maps beside Wiener's: FSC of the final map with the truth, same particles, same start.

    python benchmarks/sparse_tv.py -o DIR [--sets preferred low-snr coat] [--seeds 3] [--threads 2] [--poses true]
        [--ablations] [-- options of cryosgd refine]

The phantom, 1,000 × 64 px of 4 Å/px, another set for each seed. preferred: SNR 0.05, views about one axis (κ = 8).
low-snr: SNR 0.02. coat: SNR 0.05, with a disordered coat of 20 Å and a fifth of the phantom's density, whose mean is
ordered and no part of the truth. --poses true (the map-making step alone, in minutes) takes the true poses; --poses
refined (default) refines from the low-passed truth by either method. --ablations compares variants of the step at true
poses, each with penalties that it chooses itself: ℓ1, TV and both; reweighted (both) and convex; trilinear and Gaussian
kernel; γ off (both), 0.05 and 0.2 against a map that knew half as far; with Wiener's prior and without.

Bars: the FSC falls below 0.5 less than a shell earlier than Wiener's in every run, and later on average in one set.
`area` is the sum over shells of the difference of both curves, `worst` the difference where it is least (within the
shells in which Wiener's is 0.143 or more).
"""
from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from _common import Report, command_line, engine_run, figure, judge, parsed, phantom, plot_fsc, sheet

from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.engines.mask import dynamic_mask
from cryosgd_plugin.engines.reconstruct import back_projected
from cryosgd_plugin.engines.refine.maps import inverse_tau2, of_both, shell_means, solve
from cryosgd_plugin.engines.sparse_tv.choose import LEVELS, choose
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.of_halves import propose_epsilon
from cryosgd_plugin.engines.sparse_tv.problem import FourierData
from cryosgd_plugin.engines.sparse_tv.solver import sparse_tv_map
from cryosgd_plugin.engines.sparse_tv.weights import weights_of_sums, with_prior
from cryosgd_plugin.engines.validation.half_maps import half_map_curves
from cryosgd_plugin.io.source import ParticleSource

SETS = {"preferred": ("--poses", "preferred", "--concentration", 8, "--preferred-axis", 1, 0, 0), "low-snr": (),
        "coat": ("--coat", 20, "--coat-density", 0.2)}
SNR = {"low-snr": 0.02}
TRADITIONAL, SPARSE = "traditional", "sparse + TV"
# name → (config, α tried, β tried, prior, kernel)
CHOSEN = SparseTVConfig()
ABLATIONS = {
    "both": (CHOSEN, LEVELS, LEVELS, True, "trilinear"),
    "ℓ1 only": (CHOSEN, LEVELS, (), True, "trilinear"),
    "TV only": (CHOSEN, (), LEVELS, True, "trilinear"),
    "convex": (replace(CHOSEN, convex=True), LEVELS, LEVELS, True, "trilinear"),
    "Gaussian kernel": (CHOSEN, LEVELS, LEVELS, True, "gaussian"),
    "without prior": (CHOSEN, LEVELS, LEVELS, False, "trilinear"),
    "paper's α 0.5, β 1.6, no prior": (CHOSEN, None, None, False, "trilinear"),
}


def main(words=None):
    parser = command_line(__doc__, seeds=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--poses", choices=("refined", "true"), default="refined")
    parser.add_argument("--ablations", action="store_true", help="of the map-making step, at true poses")
    arguments = parsed(parser, words)
    name = "sparse_tv_ablations" if arguments.ablations else f"sparse_tv_{arguments.poses}"
    report = Report(name, arguments.output, "Sparse + TV beside Wiener's maps: FSC with the truth")
    maps, curves = {}, {}
    for of in arguments.sets:
        for seed in arguments.seeds:
            particles = phantom(arguments, "--seed", seed, *SETS[of], particles=1000, snr=SNR.get(of, 0.05),
                                name=f"{of}_{seed}")
            print(particles.words, flush=True)
            if arguments.ablations:
                found, facts = ablated(particles, arguments.threads)
            elif arguments.poses == "true":
                found, facts = at_true_poses(particles, arguments.threads)
            else:
                found, facts = refined(particles, arguments, of, seed)
            judged = {key: judge(volume, particles.truths[0], particles.pixel, align=arguments.poses == "refined"
                                 and not arguments.ablations) for key, volume in found.items()}
            for key in list(judged)[1:]:
                report.add(set=of, seed=seed, map=key, **compared(judged[TRADITIONAL], judged[key], particles),
                           **facts[key])
            if seed == 0:
                curves[of] = {key: one.curve for key, one in judged.items()}
                maps[of] = [particles.truths[0]] + [one.aligned for one in judged.values()]
    report.facts["curves"] = curves
    draw(arguments.output / f"{name}.png", curves, particles)
    sheet(arguments.output / f"{name}_maps.png", maps, ["truth", *curves[arguments.sets[0]]])
    if not arguments.ablations:
        hold(report)
    return report.finish()


def compared(traditional, other, particles):
    extent = particles.table.box_size * particles.pixel
    held = np.logical_and.accumulate(traditional.curve[1:] >= 0.143)
    gap = (other.curve - traditional.curve)[1:][held]
    return dict(traditional_a=traditional.resolution_a, fsc05_a=other.resolution_a,
                gain_a=traditional.resolution_a - other.resolution_a,
                gain_shells=extent / other.resolution_a - extent / traditional.resolution_a, area=float(gap.sum()),
                worst=float(gap.min()))


def hold(report):
    least = min(row["gain_shells"] for row in report.rows)
    report.bar(least > -1, f"never worse by a shell: the least gain is {least:.2f} shells")
    means = {of: np.mean([row["gain_shells"] for row in report.rows if row["set"] == of])
             for of in {row["set"]: None for row in report.rows}}
    words = ", ".join(f"{of} {gain:+.2f}" for of, gain in means.items())
    report.bar(max(means.values()) > 0, f"better on at least one set: shells gained on average: {words}")


# ---- the map-making step alone
class Sums:
    """What the true poses give of a set: half volumes of each half, unregularised maps, their FSC and a mask."""

    def __init__(self, particles, kernel="trilinear"):
        self.table, self.pixel, self.diameter, self.kernel = (particles.table, particles.pixel, particles.diameter,
                                                              kernel)
        self.box = self.table.box_size
        self.radius = self.box // 2 - 1
        # noise of variance 1 in a pixel has this in a raw coefficient
        noise = np.full(self.box, float(self.box ** 2))
        with ParticleSource(self.table, box_size=self.box, diameter_a=self.diameter) as source:
            source.invert = particles.summary["parameters"]["contrast"] == "black"
            self.sums = [back_projected(source, self.table, radius=self.radius, noise=noise, kernel=kernel,
                                        rows=np.arange(half, len(self.table), 2)) for half in (0, 1)]
        self.sums.append(tuple(a + b for a, b in zip(*self.sums)))
        self.unregularised = [self._solve(*one) for one in self.sums]
        rng = np.random.default_rng(0)
        sphere = soft_sphere(self.box, self.diameter / 2 / self.pixel, 3)
        first = half_map_curves(*self.unregularised[:2], sphere, rng).trusted
        self.mask = dynamic_mask(self._solve(*self.sums[2], of_both(first)), self.pixel, self.diameter)
        curve = half_map_curves(*self.unregularised[:2], self.mask, rng).trusted
        self.curves = [curve, curve, of_both(curve)]
        self.wiener = [self._solve(*one, curve) for one, curve in zip(self.sums, self.curves)]

    def data(self, index, prior, threads):
        """FourierData of half 0, half 1, or both (2)."""
        weight = weights_of_sums(self.sums[index][1], self.box, self.radius)
        terms = with_prior(weight, self.curves[index]) if prior else (weight,)
        return FourierData(self.unregularised[index], *terms, threads=threads)

    def sparse(self, threads, config=CHOSEN, alphas=LEVELS, betas=LEVELS, prior=True):
        """SparseTVMap of both halves with the mean of their choices, as a refinement makes its last map."""
        if alphas is not None:
            found = [choose(self.data(half, prior, threads), config, mask=self.mask, alphas=alphas, betas=betas,
                            epsilon=propose_epsilon(self.wiener[half], self.pixel, self.diameter),
                            difference=self.unregularised[0] - self.unregularised[1],
                            rng=np.random.default_rng([0, half])).config for half in (0, 1)]
            config = replace(config, alpha=(found[0].alpha + found[1].alpha) / 2,
                             beta=(found[0].beta + found[1].beta) / 2)
        epsilon = propose_epsilon(self.wiener[2], self.pixel, self.diameter)
        return config, sparse_tv_map(self.data(2, prior, threads), config, epsilon=epsilon)

    def _solve(self, numerator, weight, curve=None):
        ridge = None if curve is None else inverse_tau2(curve[:self.radius + 1], shell_means(weight, self.radius))
        return solve(numerator, weight, self.radius, self.box, ridge, self.kernel)


def at_true_poses(particles, threads):
    sums = Sums(particles)
    config, found = sums.sparse(threads)
    return {TRADITIONAL: sums.wiener[2], SPARSE: found.volume}, {SPARSE: described(config, found)}


def ablated(particles, threads):
    sums = {kernel: Sums(particles, kernel) for kernel in ("trilinear", "gaussian")}
    maps, facts = {TRADITIONAL: sums["trilinear"].wiener[2], "Wiener, Gaussian kernel": sums["gaussian"].wiener[2]}, {}
    facts["Wiener, Gaussian kernel"] = dict(alpha=0.0, beta=0.0)
    for name, (config, alphas, betas, prior, kernel) in ABLATIONS.items():
        config, found = sums[kernel].sparse(threads, config, alphas, betas, prior)
        maps[name], facts[name] = found.volume, described(config, found)
    # the map of an earlier iteration, which knew half as far
    of = sums["trilinear"]
    data, epsilon = of.data(2, True, threads), propose_epsilon(of.wiener[2], of.pixel, of.diameter)
    config = replace(CHOSEN, alpha=facts["both"]["alpha"], beta=facts["both"]["beta"])
    known = data.shells <= of.radius // 2
    before = sparse_tv_map(FourierData(data.volume, data.weight * known, data.prior), config, epsilon=epsilon).volume
    for gamma in (0.05, 0.2):
        found = sparse_tv_map(data, replace(config, gamma=gamma), epsilon=epsilon, previous=before)
        maps[f"γ {gamma:g}"], facts[f"γ {gamma:g}"] = found.volume, described(config, found)
    return maps, facts


def described(config, found):
    return dict(alpha=config.alpha, beta=config.beta, gap=found.gap, zeros=found.zeros, variation=found.variation)


# ---- whole refinements
def refined(particles, arguments, of, seed):
    maps, facts = {}, {}
    for name, method in ((TRADITIONAL, "wiener"), (SPARSE, "sparse-tv")):
        run = engine_run(
            "refine", particles.star, arguments.output / f"{of}_{seed}_{method}", "--reference",
            particles.folder / "truth_volume.mrc", "--diameter", particles.diameter, "--initial-resolution", 30,
            "--regularisation", method, "--seed", seed, "--threads", arguments.threads, *arguments.options,
            reuse=arguments.reuse)
        maps[name] = run.volume()
        last = run.results.history()[-1]
        facts[name] = dict(claimed_a=run.results.summary()["resolution_a"], seconds=run.seconds, cpu_s=run.cpu)
        if method == "sparse-tv":
            facts[name]["penalties"] = str([[float(f"{p:.2g}") for p in half[0]] for half in
                                            last["sparse_tv"]["penalties"]])
    return maps, facts


def draw(path, curves, particles):
    made = figure(5 * len(curves), 4)
    for number, (of, lines) in enumerate(curves.items(), 1):
        axes = made.add_subplot(1, len(curves), number)
        plot_fsc(axes, lines, particles.table.box_size, particles.pixel)
        axes.set_title(of, fontsize=10)
    made.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
