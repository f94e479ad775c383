"""Time to a good first map, beside RELION's: a ribosome of 1,500 particles, seed by seed.

    python benchmarks/speed.py -o DIR [--seeds 5] [--threads 2] [-- options of cryosgd abinitio]
    benchmarks/relion_initial_model.sh DIR/sets/ribosome OUTPUT     the peer, once; its figures stay in benchmarks/peer

ASPIRE's 70S ribosome, 64 px of 5 Å/px, SNR 0.1. Bar: every seed within 1.3 times the true poses' resolution (FSC 0.5
to the truth) in under 200 CPU seconds, imports and compilation included. What RELION 3.1.3's initial model (stochastic
gradient descent, as its window starts the job) took on the same particles is read from benchmarks/peer, where its
command, log and CPU time are kept; the maps that it wrote on its way are judged alike with --peer-run OUTPUT, once.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from _common import PEER_BUILD, Report, command_line, judge, parsed, ribosome
from abinitio_quality import ALLOWED, judge_rows, plot, seed_rows

from cryosgd_plugin.io.volumes import read_volume

CPU_LIMIT = 200.0
PEER = Path(__file__).resolve().parent / "peer"


def main(words=None):
    parser = command_line(__doc__, seeds=5)
    parser.add_argument("--particles", type=int, default=1500)
    parser.add_argument("--diameter", type=float, default=290.0, help="Å (%(default)g)")
    parser.add_argument("--peer-run", type=Path, metavar="OUTPUT", help="RELION's run, whose maps are to be judged")
    arguments = parsed(parser, words)
    particles = ribosome(arguments, particles=arguments.particles, snr=0.1)
    report = Report("speed", arguments.output, f"{particles.words}; beside {PEER_BUILD}")
    rows, curves = seed_rows(particles, arguments, report, arguments.diameter)
    judge_rows(report, rows, CPU_LIMIT)
    add_peer(report, rows, curves, particles, arguments.peer_run)
    plot(arguments.output / "speed.png", curves, particles)
    return report.finish()


def add_peer(report, rows, curves, particles, run):
    """Put RELION's figures beside ours; judge its maps and keep the figures where its run is given."""
    record = PEER / "relion_initial_model.json"
    if not record.exists():
        print(f"no {record}: run benchmarks/relion_initial_model.sh once to compare with RELION")
        return
    peer = json.loads(record.read_text(encoding="utf-8"))
    if run is not None:
        peer["maps"], curves["RELION"] = judge_run(run, particles)
        record.write_text(json.dumps(peer, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report.facts["relion"] = peer
    mean = sum(row["cpu_s"] for row in rows) / len(rows)
    print(f"{peer['program']}: {peer['iterations']} of {peer['planned']} iterations in {peer['cpu_s']:.0f} CPU-s; ours "
          f"{mean:.0f} CPU-s a seed on average")
    needed = report.facts["true_poses_a"] * ALLOWED
    for found in peer.get("maps", []):
        print(f"  iteration {found['iteration']}, {found['seconds']:.0f} s on one core: FSC 0.5 at "
              f"{found['fsc05_a']:.1f} Å{' (within the bar)' if found['fsc05_a'] <= needed else ''}")


def judge_run(run, particles):
    """([what each tenth map and the last of RELION's run are worth, and when they were written], the last's FSC)."""
    maps = sorted(run.glob("run_it*_class001.mrc"))
    started, found = maps[0].stat().st_mtime, []
    for path in [*maps[10:-1:10], maps[-1]]:
        judged = judge(read_volume(path)[0], particles.truths[0], particles.pixel)
        found.append(dict(iteration=int(path.name[6:9]), seconds=round(path.stat().st_mtime - started),
                          fsc05_a=round(float(judged.resolution_a), 2)))
    return found, judged.curve


if __name__ == "__main__":
    sys.exit(main())
