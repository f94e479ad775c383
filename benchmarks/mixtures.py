"""Mixtures of related structures from random starts: K = 2 and K = 3, against what the true maps could do.

    python benchmarks/mixtures.py -o DIR [--classes 2 3] [--seeds 5] [--threads 2] [--only-oracle] [--refine]
        [-- options of cryosgd abinitio]

The structures are the built-in phantom whole, without its head and hand (12 % of its mass), and with only half of its
arm (12 %), in one frame; K = 2 takes the first two. 64 px of 4 Å/px, SNR 0.1, 1,000 particles of each. The oracle is
one E-step over all particles with the true maps as models: the same marginalisation over poses and classes at the
final resolution, so that what it gets wrong no run can be blamed for. The set only judges where the oracle puts 97 %
or more in the right class. Classes are matched to the structures by the particles they share.

Bars, four seeds of five for each K: the share of particles in the right class is within 3 points of the oracle's, and
every class comes to FSC 0.5 to its own truth within 1.3 times what the true poses and classes give. --refine goes on
from each run's maps with `cryosgd refine`, all classes together: at least as many particles in the right class, less a
point, and every map as good or better.
"""
from __future__ import annotations

import sys

import gemmi
import numpy as np
from _common import (
    ALLOWED,
    Report,
    abinitio,
    command_line,
    engine_for,
    engine_run,
    figure,
    judge,
    parsed,
    plot_fsc,
    sheet,
    simulated,
)
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from cryosgd_plugin.core.fourier import resample_volume
from cryosgd_plugin.engines.abinitio.finish import Assignment, draw_halves
from cryosgd_plugin.engines.simulate._backbone import ATOM_ELEMENTS
from cryosgd_plugin.engines.simulate.phantom import phantom_domains
from cryosgd_plugin.io.star import read_particles

ORACLE_SHARE, POINTS, SEEDS_PASSING, FINAL_A = 0.97, 0.03, 0.8, 9.0
REFINED_LOSS = 0.01
ATOM_NAMES = ("N", "CA", "C", "O", "CB")


def main(words=None):
    parser = command_line(__doc__, seeds=5)
    parser.add_argument("--classes", type=int, nargs="+", choices=(2, 3), default=(2, 3))
    parser.add_argument("--particles", type=int, default=1000, help="of each structure (%(default)s)")
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--refine", action="store_true", help="also refine the classes of each run together")
    parser.add_argument("--only-oracle", action="store_true", help="simulate, judge the sets, and stop")
    arguments = parsed(parser, words)
    return max([one_mixture(arguments, classes) for classes in arguments.classes])


def one_mixture(arguments, classes):
    particles = simulated(
        arguments.output / "sets" / f"mixture_{classes}", "--model", *write_models(arguments.output / "sets", classes),
        "--particles", classes * arguments.particles, "--box", 64, "--pixel-size", 4, "--snr", arguments.snr,
        "--shift-sd", 4, "--defocus", 10000, 25000, "--seed", 1, "--threads", arguments.threads, reuse=arguments.reuse)
    report = Report(f"mixtures_{classes}", arguments.output, particles.words)
    best = [particles.oracle_resolution(structure) for structure in range(classes)]
    words = ["--classes", classes, "--diameter", particles.diameter, "--final-resolution", FINAL_A, *arguments.options]
    share = oracle_share(particles, words, arguments.threads)
    report.facts.update(oracle_share=share, true_poses_a=best)
    print(f"oracle: {share:.1%} of the particles in the right class; true poses and classes: FSC 0.5 at "
          f"{', '.join(f'{b:.2f}' for b in best)} Å", flush=True)
    report.bar(share >= ORACLE_SHARE, f"the set can be told apart: oracle {share:.1%} (needs {ORACLE_SHARE:.0%})")
    if arguments.only_oracle:
        return report.finish()
    shown, curves = {"truth": particles.truths}, {}
    for seed in arguments.seeds:
        run = abinitio(particles.star, arguments.output / f"k{classes}_seed{seed}", *words, "--seed", seed,
                       "--threads", arguments.threads, reuse=arguments.reuse)
        name = f"seed {seed}"
        shown[name] = judge_run(report, particles, run, best, share, name, curves)
        if arguments.refine:
            refined = engine_run(
                "refine", particles.star, arguments.output / f"k{classes}_seed{seed}_refined", "--reference",
                *(run.results.volume(k) for k in range(classes)), "--diameter", particles.diameter, "--seed", seed,
                "--threads", arguments.threads, reuse=arguments.reuse)
            shown[f"{name}, refined"] = judge_run(report, particles, refined, best, share, f"{name}, refined", curves)
            hold_refined(report, classes)
    hold(report)
    sheet(arguments.output / f"{report.name}.png", shown, [f"structure {k + 1}" for k in range(classes)],
          telling_section(particles.truths))
    made = figure(7, 4.5)
    plot_fsc(made.add_subplot(), curves, particles.table.box_size, particles.pixel)
    made.savefig(arguments.output / f"{report.name}_fsc.png")
    return report.finish()


def judge_run(report, particles, run, best, oracle, name, curves):
    """Add the row of a run; returns its maps in the order of the structures, aligned."""
    classes = len(best)
    found = read_particles(run.folder / "particles.star").class_id
    right, order = right_class(found, particles.table.class_id, classes)
    judged = [judge(run.volume(order[k]), particles.truths[k], particles.pixel) for k in range(classes)]
    ratios = [found.resolution_a / limit for found, limit in zip(judged, best)]
    curves.update({f"{name}, structure {k + 1}": found.curve for k, found in enumerate(judged)})
    report.add(run=name, right_class=right, below_oracle=oracle - right,
               **{f"fsc05_{k + 1}_a": found.resolution_a for k, found in enumerate(judged)}, worst_ratio=max(ratios),
               passes=bool(right >= oracle - POINTS and max(ratios) <= ALLOWED), seconds=run.seconds, cpu_s=run.cpu)
    return [found.aligned for found in judged]


def telling_section(truths):
    """(axis, index) of the slice in which the structures differ most."""
    apart = np.var(truths, axis=0)
    sums = [apart.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    axis = int(np.argmax([line.max() for line in sums]))
    return axis, int(np.argmax(sums[axis]))


def right_class(found, true, classes):
    """(share of particles in the class that stands for their structure, class of each structure, from 0)."""
    table = np.zeros((classes, classes))
    np.add.at(table, (true - 1, found - 1), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(true)), columns.tolist()


def oracle_share(particles, words, threads):
    """The share of particles that the true maps put into the right class, at the final resolution of a run."""
    engine, source = engine_for(particles.star, *words, threads=threads)
    with source, threadpool_limits(1):
        engine.set_resolution(engine.config.final_resolution_a)
        scale = particles.summary["signal_scale"]
        engine.model.volumes = np.stack([resample_volume(scale * truth, engine.model.box_size).astype(np.float32)
                                         for truth in particles.truths])
        n = len(particles.table)
        assignment = Assignment(engine, halves=draw_halves(n, None, np.random.default_rng(0)))
        for _ in assignment.chunks():
            pass
    return float(np.mean(assignment.class_mass.argmax(axis=1) == particles.table.class_id - 1))


def write_models(folder, classes):
    """Paths of the structures' atomic models, in one frame."""
    whole = phantom_domains()
    half = len(whole["arm"]) // 2
    structures = (whole, {name: atoms for name, atoms in whole.items() if name not in ("head", "hand")},
                  {**whole, "arm": whole["arm"][:half]})
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, domains in enumerate(structures[:classes]):
        paths.append(folder / f"structure{number + 1}.cif")
        write_model(paths[-1], domains)
    return paths


def write_model(path, domains):
    """Domains, name → (residues, 5, 3) Å of polyalanine, as the chains of an mmCIF file."""
    structure, model = gemmi.Structure(), gemmi.Model("1")
    for letter, residues in zip("ABCDE", domains.values()):
        chain = gemmi.Chain(letter)
        for number, positions in enumerate(residues):
            residue = gemmi.Residue()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
            for name, element, position in zip(ATOM_NAMES, ATOM_ELEMENTS, positions):
                atom = gemmi.Atom()
                atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*position)
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(path))


def hold_refined(report, classes):
    """The last row against the one before, from which it began."""
    before, after = report.rows[-2:]
    names = [f"fsc05_{k + 1}_a" for k in range(classes)]
    report.bar(after["right_class"] >= before["right_class"] - REFINED_LOSS
               and all(after[name] <= before[name] + 1e-6 for name in names),
               f"{after['run']}: {after['right_class']:.1%} in the right class (before {before['right_class']:.1%}), "
               f"maps to {', '.join(f'{after[name]:.2f}' for name in names)} Å (before "
               f"{', '.join(f'{before[name]:.2f}' for name in names)})")


def hold(report):
    rows = [row for row in report.rows if "refined" not in row["run"]]
    passing, needed = sum(row["passes"] for row in rows), int(np.ceil(SEEDS_PASSING * len(rows)))
    report.bar(passing >= needed, f"{passing} of {len(rows)} seeds (needs {needed}) within {100 * POINTS:g} "
                                  "points of the oracle's share in the right class and every class within "
                                  f"{ALLOWED} × true poses and classes")


if __name__ == "__main__":
    sys.exit(main())
