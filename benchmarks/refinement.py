"""Refinement from a low-passed start beside RELION's auto-refine, and what its certificates say.

    python benchmarks/refinement.py -o DIR [--sets ribosome groel phantom] [--seeds 3] [--threads 2]
        [--certify 1] [--exhaustive 40] [-- options of cryosgd refine]
    benchmarks/relion_auto_refine.sh DIR/sets/SET OUTPUT …      the peer, once a set; kept in benchmarks/peer

ribosome: ASPIRE's 70S, 500 × 64 px of 5 Å/px, C1, SNR 0.1. groel: 1OEL, 300 × 128 px of 2.8 Å/px, D7, SNR 0.02.
phantom: 500 × 64 px of 4 Å/px, C1, SNR 0.1. The reference is the truth, low-passed to 30 Å (50 for the ribosome).
Each map is aligned with the truth; pose errors are medians, the nearest symmetry mate counting, after what all poses
are turned and shifted by in common.

Bars, against what benchmarks/peer holds of RELION 3.1.3 (Debian's double precision build without the accelerated CPU
path): FSC 0.5 to the truth no worse by more than one shell, angular and shift errors at most 5 % worse, ten times
less CPU time. Of the certificates of all runs together: 600 images or more, 99.5 % with the same best pose, and no more
poses above their bound than the share that the bound states (a cell in a thousand, and 4 standard deviations).
--certify SHARE adds a run of each set that certifies with this share of the scores, where the default of 0.05 buys few
images; only its certificate counts. --exhaustive N also times the search without bounds, of N particles, at the run's
resolution and at the pixels': where p² is 400 or more, ten times slower, and 95 % pruned with bounds.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from _common import (
    PEER_BUILD,
    Report,
    command_line,
    engine_run,
    figure,
    judge,
    parsed,
    phantom,
    plot_fsc,
    ribosome,
    simulated,
)
from scipy.spatial.transform import Rotation

from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.job.refine_summary import pooled

SETS = ("ribosome", "groel", "phantom")
SYMMETRY = {"groel": "D7"}
START_A = {"ribosome": 50.0}
FASTER, WORSE = 10.0, 1.05
SAME_SHARE, CERTIFIED = 0.995, 600
# of finding the common frame among the poses that are right
FRAME_ROUNDS = 5
STRONG_P2, PRUNED, SPEED_UP = 400, 0.95, 10.0
# Å over the pixel size: a hair coarser than Nyquist
FINEST = 2.1
PEER = Path(__file__).resolve().parent / "peer"


def main(words=None):
    parser = command_line(__doc__, seeds=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--certify", type=float, default=0.0, metavar="SHARE",
                        help="of the scores, for certificates of one more run of each set (default: no such run)")
    parser.add_argument("--exhaustive", type=int, default=0, metavar="N", help="particles of the timing without bounds")
    arguments = parsed(parser, words)
    report = Report("refinement", arguments.output, f"Refinement from the low-passed truth, beside {PEER_BUILD}")
    curves, histories = {}, []
    for name in arguments.sets:
        particles = make_set(name, arguments)
        print(particles.words)
        for seed in arguments.seeds:
            run = refined(particles, name, arguments, f"{name}_seed{seed}", "--seed", seed)
            row, curves[f"{name}, seed {seed}"] = judged(run, particles, name)
            history = run.results.history()
            histories += history
            report.add(set=name, seed=seed, **row, **certified(history), seconds=run.seconds, cpu_s=run.cpu)
        if arguments.certify:
            histories += refined(particles, name, arguments, f"{name}_certified", "--seed", arguments.seeds.stop,
                                 "--certificate-share", arguments.certify).results.history()
        hold_peer(report, name, particles)
        if arguments.exhaustive:
            compare_exhaustive(report, particles, name, arguments)
    hold_certificate(report, histories)
    made = figure(7, 4.5)
    axes = made.add_subplot()
    for name, (curve, box, pixel) in curves.items():
        plot_fsc(axes, {name: curve}, box, pixel)
    made.savefig(arguments.output / "refinement.png")
    return report.finish()


def make_set(name, arguments):
    if name == "ribosome":
        return ribosome(arguments, particles=500, snr=0.1)
    if name == "phantom":
        return phantom(arguments, particles=500, snr=0.1)
    return simulated(
        arguments.output / "sets" / "groel", "--model", arguments.data / "maps_and_models" / "1OEL.pdb", "--assembly",
        1, "--particles", 300, "--box", 128, "--pixel-size", 2.8, "--snr", 0.02, "--ctf-bfactor", 100, "--voltage",
        300, "--defocus", 10000, 30000, "--astigmatism", 500, "--shift-sd", 5, "--seed", 1, "--threads",
        arguments.threads, reuse=arguments.reuse)


def refined(particles, name, arguments, folder, *words):
    return engine_run(
        "refine", particles.star, arguments.output / folder, "--reference", particles.folder / "truth_volume.mrc",
        "--diameter", particles.diameter, "--symmetry", SYMMETRY.get(name, "C1"), "--initial-resolution",
        START_A.get(name, 30.0), "--shared-resolution", max(40.0, START_A.get(name, 0.0)), "--threads",
        arguments.threads, *words, *arguments.options, reuse=arguments.reuse)


def judged(run, particles, name):
    """(row of figures, (FSC to the truth, box, pixel)) of a run."""
    found = judge(run.volume(), particles.truths[0], particles.pixel)
    angles, shifts = pose_errors(read_particles(run.results.path("particles.star")), particles.table,
                                 SYMMETRY.get(name, "C1"))
    summary = run.results.summary()
    return dict(fsc05_a=found.resolution_a, claimed_a=summary["resolution_a"], angle_deg=angles, shift_px=shifts,
                pruned=(summary["pruned"] or [float("nan")])[-1]), (found.curve, particles.table.box_size,
                                                                    particles.pixel)


def pose_errors(found, true, symmetry):
    """(degrees, px): medians over the particles, whose order is the same. The frame of a map is nobody's error: what
    all poses are turned and shifted by in common is taken off first."""
    operators = point_group(symmetry)
    nearest = np.argmin([angular_distance_deg(found.rotations @ one, true.rotations) for one in operators], axis=0)
    rotations = found.rotations @ operators[nearest]
    frame, kept = np.eye(3), slice(None)
    for _ in range(FRAME_ROUNDS):
        frame = Rotation.from_matrix(np.swapaxes(rotations[kept], 1, 2) @ true.rotations[kept]).mean().as_matrix()
        angles = angular_distance_deg(rotations @ frame, true.rotations)
        kept = angles <= 2 * np.median(angles)
    views, gap = (found.rotations[:, :2], found.shifts_a - true.shifts_a)
    offset = np.zeros(3)
    for _ in range(FRAME_ROUNDS):
        offset = np.linalg.lstsq(views[kept].reshape(-1, 3), gap[kept].ravel(), rcond=None)[0]
        shifts = np.hypot(*(gap - views @ offset).T) / true.pixel_size
        kept = shifts <= 2 * np.median(shifts)
    return float(np.median(angles)), float(np.median(shifts))


def certified(history):
    found = pooled(history)
    if found is None:
        return dict(certified=0, same=float("nan"), covered=float("nan"), above_bound=0, certificate_time=0.0)
    return dict(certified=found["images"], same=found["same_share"], covered=found["covered"]["mean"],
                above_bound=found["above_bound"], certificate_time=found["time_share"])


def hold_peer(report, name, particles):
    """Bars against RELION's figures of the same set, where they are kept."""
    record = PEER / f"relion_auto_refine_{name}.json"
    if not record.exists():
        report.bar(False, f"{name}: no {record.name}; run benchmarks/relion_auto_refine.sh once to compare with RELION")
        return
    peer = json.loads(record.read_text(encoding="utf-8"))
    report.facts[f"relion_{name}"] = peer
    rows = [row for row in report.rows if row["set"] == name]
    extent = particles.table.box_size * particles.pixel
    for row in rows:
        shells = extent / peer["fsc05_a"] - extent / row["fsc05_a"]
        good = (shells <= 1 and row["angle_deg"] <= WORSE * peer["angle_deg"]
                and row["shift_px"] <= WORSE * peer["shift_px"] and row["cpu_s"] * FASTER <= peer["cpu_s"])
        report.bar(good, f"{name}, seed {row['seed']}: FSC 0.5 at {row['fsc05_a']:.2f} Å (RELION "
                         f"{peer['fsc05_a']:.2f}), {row['angle_deg']:.2f}° ({peer['angle_deg']:.2f}), "
                         f"{row['shift_px']:.3f} px ({peer['shift_px']:.3f}), {peer['cpu_s'] / row['cpu_s']:.1f} times "
                         "less CPU time")


def hold_certificate(report, histories):
    found = pooled(histories)
    if found is None:
        return
    report.facts["certificate"] = found
    report.bar(found["images"] >= CERTIFIED and found["same_share"] >= SAME_SHARE,
               f"{found['same_share']:.2%} of {found['images']} certified images have the same best pose "
               f"({SAME_SHARE:.1%} of {CERTIFIED} needed)")
    allowed = found["above_expected"] + 3 * np.sqrt(found["above_expected"])
    report.bar(found["above_bound"] <= allowed, f"{found['above_bound']} of {found['bounds']} best poses above their "
                                                f"bound (at most {allowed:.1f})")


def compare_exhaustive(report, particles, name, arguments):
    """Seconds an image of the last iteration with and without bounds, from the truth at the last run's resolution and
    at the finest that the pixels allow. With bounds of all particles, which share what a bound costs beforehand."""
    p2, counts = particles.summary["snr_energy_p2"], {"bounded": len(particles.table),
                                                      "exhaustive": arguments.exhaustive}
    for where, start in (("run", report.rows[-1]["fsc05_a"]), ("finest", FINEST * particles.pixel)):
        words = ["--iterations", 1, "--initial-resolution", start, "--shared-resolution", max(40.0, start),
                 "--certificate-share", 0]
        last = {search: refined(particles, name, arguments, f"{name}_{where}_{search}", *words, "--search", search,
                                "--max-particles", count).results.history()[-1] for search, count in counts.items()}
        seconds = {search: record["seconds_posing"] / counts[search] for search, record in last.items()}
        pruned = last["bounded"]["pruned"]
        ratio = seconds["exhaustive"] / seconds["bounded"]
        report.facts[f"exhaustive_{name}_{where}"] = dict(
            resolution_a=last["bounded"]["resolution_in_use_a"], seconds_an_image=seconds, ratio=ratio, pruned=pruned,
            p2=p2, scored={search: record["scored"] for search, record in last.items()})
        said = (f"{name}, p² {p2:.0f}, at {last['bounded']['resolution_in_use_a']:.1f} Å: {seconds['bounded']:.3f} s "
                f"an image, {ratio:.1f} times faster than exhaustive, {100 * (pruned or [0])[-1]:.1f} % pruned")
        if p2 >= STRONG_P2:
            report.bar(ratio >= SPEED_UP and bool(pruned) and pruned[-1] >= PRUNED, said)
        else:
            print(f"{said} (little can be pruned of so weak images)")


if __name__ == "__main__":
    sys.exit(main())
