"""Ab initio maps of real apoferritin (EMPIAR-10146) against the atomic model, seed by seed.

    python benchmarks/apoferritin.py [--data DIR] [--seeds 3] [--threads 2] [-- options of cryosgd abinitio]
    python benchmarks/apoferritin.py --map MAP.mrc ...      only judge maps that exist

DIR (default: CRYOSGD_TEST_DATA) holds apoferritin/ with particles_72.star and halfmaps/. Each seed is a process of
its own on the particles without their poses, timed from outside with imports and compilation. The map is aligned to
the model's density (either hand); spherical averages are removed from both; FSC within halfmaps/mask.mrc. A hollow
ball scores 0 here. A seed passes where every shell from 5 to 15 Å has FSC 0.5 or more.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cryosgd_plugin.core.shells import crossing_resolution
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.apoferritin import FIRST_SHELL, curve_to_model, least


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=os.environ.get("CRYOSGD_TEST_DATA", "../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--diameter", type=float, default=140.0)
    parser.add_argument("--map", type=Path, nargs="+", default=[])
    parser.add_argument("-o", "--output", type=Path, help="keep the run folders here")
    arguments, options = parser.parse_known_args()
    halfmaps = arguments.data / "apoferritin" / "halfmaps"
    passed = [report(path.name, read_volume(path)[0], halfmaps) for path in arguments.map]
    folder = arguments.output or (None if arguments.map else Path(tempfile.mkdtemp()))
    for seed in range(0 if arguments.map else arguments.seeds):
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-m", "cryosgd_plugin.cli", "abinitio",
                        arguments.data / "apoferritin" / "particles_72.star", "-o", folder / f"seed{seed}",
                        "--symmetry", "O", "--diameter", str(arguments.diameter), "--seed", str(seed), "--threads",
                        str(arguments.threads), *[o for o in options if o != "--"]],
                       check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - start, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        volume = read_volume(folder / f"seed{seed}" / "volume.mrc")[0]
        passed.append(report(f"seed {seed}, {seconds:.0f} s, {cpu:.0f} CPU-s", volume, halfmaps))
    print(f"{sum(passed)} of {len(passed)} pass")
    return 0 if all(passed) else 1


def report(name, volume, folder) -> bool:
    """Print the curve of one map; True where it passes."""
    curve, alignment, pixel = curve_to_model(volume, folder)
    lowest = least(curve, len(volume), pixel)
    # shells before the first one asked for are left out of the crossing: of near-spherical density nothing is left
    tail = np.concatenate([np.ones(FIRST_SHELL), curve[FIRST_SHELL:]])
    found = crossing_resolution(tail, 0.5, len(volume), pixel)
    print(f"{name}: FSC 0.5 at {found:.1f} Å, least to 15 Å {lowest:.2f}, "
          f"{'mirrored' if alignment.mirrored else 'same hand'}: {'passes' if lowest >= 0.5 else 'fails'}")
    print("   shells 3 to 24:", " ".join(f"{value:.2f}" for value in curve[3:25]), flush=True)
    return bool(lowest >= 0.5)


if __name__ == "__main__":
    sys.exit(main())
