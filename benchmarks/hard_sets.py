"""Sets that ought to be difficult: is the map right, and does the run say so where it is not?

    python benchmarks/hard_sets.py -o DIR [--sets low-snr belt …] [--seeds 2] [--threads 2] [-- options of abinitio]

    low-snr   SNR 0.02                        inverted  dark protein, as recorded
    belt      90 % of the views within 5° of  few       200 particles
              the equator                     small     50 kDa of one chain of 1OEL; SNR 0.03
    junk      20 % of the images pure noise

Each of the built-in phantom, 2,000 particles of 64 px, 4 Å/px, SNR 0.05, where not said otherwise (`small`: 1OEL's
chain A without its last residues, at 3 Å/px). A map is right within 1.3 times the resolution of the true poses (of the
particles that are no junk). Bars: no set whose map is wrong passes in silence: the outcome sentence or a warning then
has words of doubt about this map; the general advice that every map to the final resolution gets is none. And no right
map is doubted so. The sentences are printed for you to judge. A refusal with a message is an answer too.
"""
from __future__ import annotations

import json
import sys

import gemmi
import numpy as np
from _common import (
    ALLOWED,
    CommandFailed,
    Report,
    abinitio,
    command_line,
    figure,
    judge,
    parsed,
    phantom,
    plain,
    plot_fsc,
    read_set,
    simulated,
)

from cryosgd_plugin.core.poses import euler_to_matrix
from cryosgd_plugin.engines.simulate.config import SimulateConfig
from cryosgd_plugin.engines.simulate.density import centre_of_mass
from cryosgd_plugin.engines.simulate.draw import without_truth
from cryosgd_plugin.engines.simulate.engine import simulate
from cryosgd_plugin.engines.simulate.phantom import phantom_atoms
from cryosgd_plugin.engines.simulate.project import atom_projector
from cryosgd_plugin.io.stack_writer import write_stack
from cryosgd_plugin.io.star import write_particles
from cryosgd_plugin.io.volumes import write_volume

BELT_SHARE, BELT_DEG, JUNK_SHARE = 0.9, 5.0, 0.2
# beyond what 1.3 times the true poses' resolution asks for
FINAL_A = {"low-snr": 10.0, "belt": 10.0, "junk": 10.0, "inverted": 10.0, "few": 10.0, "small": 7.0}
# kDa of `small`
SMALL_KDA = 50.0
# what a sentence of doubt has that says something of this map, and what every map's has
SPECIFIC = ("not consistent", "did not determine", "doubt", "unreliable", "may be wrong", "hardly any", "caution",
            "not to be trusted", "too few", "preferred")
GENERAL = ("before you trust",)


def main(words=None):
    parser = command_line(__doc__, seeds=2)
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--particles", type=int, default=2000, help="of each but `few` (%(default)s)")
    arguments = parsed(parser, words)
    report = Report("hard_sets", arguments.output, f"hard sets of {arguments.particles} particles")
    axes = (made := figure(8, 5)).add_subplot()
    for name in arguments.sets:
        particles, good = SETS[name](arguments)
        best = particles.oracle_resolution(rows=good)
        print(f"{name}: {particles.words}; true poses: FSC 0.5 at {best:.2f} Å", flush=True)
        for seed in arguments.seeds:
            curve = one(report, arguments, name, particles, best, seed)
            if curve is not None:
                plot_fsc(axes, {f"{name}, seed {seed}": curve}, particles.table.box_size, particles.pixel)
    made.savefig(arguments.output / "hard_sets.png")
    hold(report)
    return report.finish()


def hold(report):
    wrong = [row for row in report.rows if row["right"] is False]
    right = [row for row in report.rows if row["right"]]
    silent, alarms = ([f"{row['set']} seed {row['seed']}" for row in rows if (row["doubts"] == "specific") == doubted]
                      for rows, doubted in ((wrong, False), (right, True)))
    report.facts.update(right=len(right), wrong=len(wrong), silent=silent, false_alarms=alarms)
    print(f"{len(right)} of {len(report.rows)} maps are right, {len(wrong)} wrong")
    report.bar(not silent, f"{len(silent)} wrong maps without a word of doubt about them {', '.join(silent)}")
    report.bar(not alarms, f"{len(alarms)} right maps doubted {', '.join(alarms)}")


def one(report, arguments, name, particles, best, seed):
    """Run, judge and report one seed; its FSC curve, or None where the run was refused."""
    row = dict(set=name, seed=seed, true_poses_a=best)
    try:
        run = abinitio(particles.star, arguments.output / f"{name}_seed{seed}", "--diameter", particles.diameter,
                       "--seed", seed, "--threads", arguments.threads, "--final-resolution",
                       FINAL_A[name], *arguments.options, reuse=arguments.reuse)
    except CommandFailed as error:
        report.add(**row, right=None, doubts="refused", outcome=str(error).strip().splitlines()[-1])
        return None
    summary = run.results.summary()
    judged = judge(run.volume(), particles.truths[0], particles.pixel)
    said = " ".join([summary["outcome"], *summary["warnings"]])
    report.add(**row, fsc05_a=judged.resolution_a, right=bool(judged.resolution_a <= ALLOWED * best),
               claimed_a=summary["half_fsc_0143_a"], inverted=summary["inverted"], doubts=doubts_in(said),
               seconds=run.seconds, cpu_s=run.cpu, outcome=said)
    return judged.curve


def doubts_in(sentence: str) -> str:
    """How a sentence warns its reader: specific, general or none."""
    for kind, known in (("specific", SPECIFIC), ("general", GENERAL)):
        if any(words in sentence.lower() for words in known):
            return kind
    return "none"


def mass_kda(chain) -> float:
    """Of a gemmi Chain's atoms; a crystal structure's have no hydrogens, a fourteenth of a protein's mass."""
    return sum(atom.element.weight for residue in chain for atom in residue) * 14 / 13 / 1000


# ---- the sets: (SimulatedSet, rows that hold the structure or None for all)
def low_snr(arguments):
    return phantom(arguments, particles=arguments.particles, snr=0.02, name="low_snr"), None


def few(arguments):
    # of ten micrographs: two would leave gaps at their CTF's zeros
    return phantom(arguments, "--particles-per-micrograph", 20, particles=200, snr=0.05, name="few"), None


def inverted(arguments):
    return phantom(arguments, "--contrast", "black", particles=arguments.particles, snr=0.05, name="inverted"), None


def small(arguments):
    model = arguments.output / "sets" / "1OEL_A.cif"
    model.parent.mkdir(parents=True, exist_ok=True)
    structure = gemmi.read_structure(str(arguments.data / "maps_and_models" / "1OEL.pdb"))
    for chain in [chain.name for chain in structure[0] if chain.name != "A"]:
        structure[0].remove_chain(chain)
    chain = structure[0]["A"]
    while mass_kda(chain) > SMALL_KDA:
        del chain[-1]
    structure.make_mmcif_document().write_file(str(model))
    return simulated(arguments.output / "sets" / "small", "--model", model, "--particles", arguments.particles,
                     "--box", 64, "--pixel-size", 3, "--snr", 0.03, "--shift-sd", 3, "--defocus", 10000, 25000,
                     "--seed", 1, reuse=arguments.reuse), None


def belt(arguments):
    """Views of the phantom gathered about the plane across z; cosines of the others are uniform."""
    simulation = _phantom_simulation(arguments)
    n, rng = arguments.particles, np.random.default_rng(7)
    on_belt = rng.random(n) < BELT_SHARE
    tilt = np.where(on_belt, rng.normal(90, BELT_DEG / 2, n), np.degrees(np.arccos(rng.uniform(-1, 1, n))))
    simulation.table.rotations = euler_to_matrix(rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n))
    return _written(arguments, "belt", simulation, np.ones(n, bool)), None


def junk(arguments):
    """Some images hold noise alone."""
    good = np.random.default_rng(7).random(arguments.particles) >= JUNK_SHARE
    return _written(arguments, "junk", _phantom_simulation(arguments), good), np.flatnonzero(good)


SETS = {"low-snr": low_snr, "belt": belt, "junk": junk, "inverted": inverted, "few": few, "small": small}


def _phantom_simulation(arguments):
    config = SimulateConfig(n_particles=arguments.particles, box_size=64, pixel_size=4.0, snr=0.05, seed=1)
    positions, elements = phantom_atoms()
    projector = atom_projector(positions - centre_of_mass(positions, elements), elements, config.box_size,
                               config.pixel_size, config.model_bfactor_a2)
    return simulate([projector], config)


def _written(arguments, name, simulation, good):
    """Write a simulation as `cryosgd simulate` does, images that are not `good` without their signal."""
    folder, config = arguments.output / "sets" / name, simulation.config
    summary = folder / "summary.json"
    if not (arguments.reuse and summary.exists()
            and json.loads(summary.read_text(encoding="utf-8"))["parameters"] == plain(config.to_dict())):
        folder.mkdir(parents=True, exist_ok=True)
        simulation.table.stack_paths = [str(folder / "particles.mrcs")]
        rng = np.random.default_rng(8)

        def blocks():
            for first, images in simulation.blocks():
                bad = np.flatnonzero(~good[first:first + len(images)])
                images[bad] = rng.standard_normal((len(bad),) + images.shape[1:])
                yield images

        write_stack(folder / "particles.mrcs", blocks(), config.n_particles, config.box_size, config.pixel_size)
        write_volume(folder / "truth_volume.mrc", simulation.volumes[0], config.pixel_size)
        write_particles(folder / "truth.star", simulation.table)
        write_particles(folder / "particles.star", without_truth(simulation.table))
        summary.write_text(json.dumps(plain(dict(
            parameters=config.to_dict(), snr=simulation.snr, snr_energy_p2=simulation.snr_energy, diameter_a=190.0,
            signal_scale=simulation.signal_scale))), encoding="utf-8")
    return read_set(folder)


if __name__ == "__main__":
    sys.exit(main())
