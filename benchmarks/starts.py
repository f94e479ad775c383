"""Refinement from good and bad references: what comes out, and whether the run says so.

    python benchmarks/starts.py -o DIR [--starts truth turned blurred mirror protein sphere] [--threads 2]
        [-- options of cryosgd refine]

The built-in phantom, 1,000 × 64 px of 4 Å/px, C1, SNR 0.05. The references: the truth at 30 Å (truth), turned by 30°
about an odd axis (turned), at 40 Å (blurred), its mirror image (mirror), another protein of about its size (protein:
β-galactosidase, the map of ../shared), and a ball of the particle's diameter (sphere).

Bars: from the first three FSC 0.5 to the truth within one shell of the first; the mirror image gives the mirrored map
as good as that (each summary says that the hand is the reference's); the others reach the truth, or the summary says
that the fit is suspicious or that nothing was found.
"""
from __future__ import annotations

import sys

import numpy as np
from _common import Report, command_line, engine_run, judge, parsed, phantom, sheet
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.hand import flip_volume
from cryosgd_plugin.core.masks import soft_sphere
from cryosgd_plugin.core.symmetry import rotate_volume
from cryosgd_plugin.io.volumes import write_volume

STARTS = ("truth", "turned", "blurred", "mirror", "protein", "sphere")
RIGHT = ("truth", "turned", "blurred", "mirror")
BLURRED_A = 40.0
TURN = Rotation.from_rotvec(np.radians(30) * np.array([2, -1, 2]) / 3).as_matrix()
# what a summary says of a fit that is not to be believed
DOUBTS = ("suspicious", "nothing was found", "no definite pose")
# and of every fit's hand
HAND = "refinement can't tell it"


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    arguments = parsed(parser, words)
    report = Report("starts", arguments.output, "Refinement from good and bad references")
    particles = phantom(arguments, particles=1000, snr=0.05)
    print(particles.words)
    truth, shell_a = particles.truths[0], particles.table.box_size * particles.pixel
    maps = {"truth": [truth]}
    for start in arguments.starts:
        path = write_reference(start, particles, arguments)
        run = engine_run("refine", particles.star, arguments.output / start, "--reference", path, "--diameter",
                         particles.diameter, "--initial-resolution", BLURRED_A if start == "blurred" else 30.0,
                         "--threads", arguments.threads, "--seed", 0, *arguments.options, reuse=arguments.reuse)
        found, outcome = judge(run.volume(), truth, particles.pixel), run.results.summary()["outcome"]
        claimed = run.results.summary()["resolution_a"]
        maps[start] = [found.aligned]
        doubted = any(doubt in outcome for doubt in DOUBTS)
        report.add(start=start, fsc05_a=found.resolution_a, mirrored=found.alignment.mirrored, claimed_a=claimed,
                   doubted=doubted, hand_open=HAND in outcome, cpu_s=run.cpu)
        print(f"    {outcome}")
    rows = {row["start"]: row for row in report.rows}
    best = rows[arguments.starts[0]]["fsc05_a"]
    for start, row in rows.items():
        reached = np.isfinite(row["fsc05_a"]) and shell_a / best - shell_a / row["fsc05_a"] <= 1
        right_hand = row["mirrored"] == (start == "mirror") if start in RIGHT else True
        report.bar((reached and right_hand and not row["doubted"] or (start not in RIGHT and row["doubted"]))
                   and row["hand_open"],
                   f"{start}: {row['fsc05_a']:.1f} Å to the truth, mirrored: {row['mirrored']}, the summary doubts the "
                   f"fit: {row['doubted']}")
    sheet(arguments.output / "starts.png", maps, ["central section"])
    return report.finish()


def write_reference(start, particles, arguments):
    """Path of the map to begin with."""
    if start == "protein":
        return arguments.data / "maps_and_models" / "ngl_betaGal_100_3.54A.mrc"
    truth, path = particles.truths[0], arguments.output / f"start_{start}.mrc"
    volume = {"turned": lambda: rotate_volume(truth, TURN), "mirror": lambda: flip_volume(truth),
              "sphere": lambda: soft_sphere(len(truth), particles.diameter / 2 / particles.pixel - 3, 3)}
    write_volume(path, volume.get(start, lambda: truth)(), particles.pixel)
    return path


if __name__ == "__main__":
    sys.exit(main())
