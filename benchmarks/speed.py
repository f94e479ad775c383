"""Time to a good first map, beside RELION's: a ribosome of 1,500 particles, seed by seed.

    python benchmarks/speed.py -o DIR [--seeds 5] [--threads 2] [-- options of cryosgd abinitio]
    benchmarks/relion_initial_model.sh DIR/sets/ribosome OUTPUT     the peer, once; its figures stay in benchmarks/peer

ASPIRE's 70S ribosome, 64 px of 5 Å/px, SNR 0.1. Bar: every seed within 1.3 times the true poses' resolution (FSC 0.5
to the truth) in under 200 CPU seconds, imports and compilation included. What RELION 3.1.3's initial model (stochastic
gradient descent, as its window starts the job) took on the same particles is read from benchmarks/peer, where its
command, log and CPU time are kept, and its map is judged alike where it lies there.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from _common import Report, command_line, judge, parsed, ribosome
from abinitio_quality import judge_rows, plot, seed_rows

from cryosgd_plugin.io.volumes import read_volume

CPU_LIMIT = 200.0
PEER = Path(__file__).resolve().parent / "peer"


def main(words=None):
    parser = command_line(__doc__, seeds=5)
    parser.add_argument("--particles", type=int, default=1500)
    parser.add_argument("--diameter", type=float, default=290.0, help="Å (%(default)g)")
    parser.add_argument("--peer-map", type=Path, metavar="MRC", help="RELION's map of these particles, to be judged")
    arguments = parsed(parser, words)
    particles = ribosome(arguments, particles=arguments.particles, snr=0.1)
    report = Report("speed", arguments.output, particles.words)
    rows, curves = seed_rows(particles, arguments, report, arguments.diameter)
    judge_rows(report, rows, CPU_LIMIT)
    add_peer(report, rows, curves, particles, arguments.peer_map)
    plot(arguments.output / "speed.png", curves, particles)
    return report.finish()


def add_peer(report, rows, curves, particles, path):
    """Put RELION's figures beside ours; judge its map and keep the figure where one is given."""
    record = PEER / "relion_initial_model.json"
    if not record.exists():
        print(f"no {record}: run benchmarks/relion_initial_model.sh once to compare with RELION")
        return
    peer = json.loads(record.read_text(encoding="utf-8"))
    if path is not None:
        judged = judge(read_volume(path)[0], particles.truths[0], particles.pixel)
        curves["RELION"] = judged.curve
        peer["fsc05_a"] = judged.resolution_a
        record.write_text(json.dumps(peer, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report.facts["relion"] = peer
    mean = sum(row["cpu_s"] for row in rows) / max(1, len(rows))
    found = f"FSC 0.5 at {peer['fsc05_a']:.2f} Å" if "fsc05_a" in peer else "its map was not judged: give --peer-map"
    print(f"{peer['program']}: {peer['cpu_s']:.0f} CPU-s, {found}; ours {mean:.0f} CPU-s a seed on average, "
          f"{peer['cpu_s'] / max(mean, 1e-9):.1f} times faster")


if __name__ == "__main__":
    sys.exit(main())
