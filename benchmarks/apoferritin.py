"""Ab initio maps of real apoferritin (EMPIAR-10146) against the atomic model, seed by seed.

    python benchmarks/apoferritin.py [--data DIR] [--seeds 3] [--threads 2] [options of cryosgd abinitio]
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

from cryosgd_plugin.core.masks import spherical_average
from cryosgd_plugin.core.shells import crossing_resolution, fsc
from cryosgd_plugin.engines.align import align_volume
from cryosgd_plugin.io.volumes import read_volume

FIRST_SHELL, FINEST_A = 5, 15.0
# up to 12 Å, where the given half-maps still agree with the model
ALIGN_RADIUS = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CRYOSGD_TEST_DATA", "../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--diameter", type=float, default=140.0)
    parser.add_argument("--map", type=Path, nargs="+", default=[])
    parser.add_argument("-o", "--output", type=Path, help="keep the run folders here")
    arguments, options = parser.parse_known_args()
    judge = Judge(arguments.data / "apoferritin" / "halfmaps")
    passed = [judge.report(path.name, read_volume(path)[0]) for path in arguments.map]
    folder = arguments.output or Path(tempfile.mkdtemp())
    for seed in range(0 if arguments.map else arguments.seeds):
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-m", "cryosgd_plugin.cli", "abinitio",
                        arguments.data / "apoferritin" / "particles_72.star", "-o", folder / f"seed{seed}",
                        "--symmetry", "O", "--diameter", str(arguments.diameter), "--seed", str(seed), "--threads",
                        str(arguments.threads), *options],
                       check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - start, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        volume = read_volume(folder / f"seed{seed}" / "volume.mrc")[0]
        passed.append(judge.report(f"seed {seed}, {seconds:.0f} s, {cpu:.0f} CPU-s", volume))
    print(f"{sum(passed)} of {len(passed)} pass")
    return 0 if all(passed) else 1


class Judge:
    """Compares maps with the model's density in the folder of half-maps."""

    def __init__(self, folder):
        self.model, self.pixel = read_volume(folder / "model_7a4m_2.5A.mrc")
        self.mask = read_volume(folder / "mask.mrc")[0]
        self.model_rest = self.model - spherical_average(self.model)

    def report(self, name, volume) -> bool:
        """Print the curve of one map; True where it passes."""
        alignment = align_volume(volume, self.model, radius=ALIGN_RADIUS)
        aligned = alignment.apply(volume)
        curve = fsc(aligned - spherical_average(aligned), self.model_rest, mask=self.mask)
        box = len(volume)
        asked = curve[FIRST_SHELL:int(box * self.pixel / FINEST_A) + 1]
        # shells before the first one asked for are left out of the crossing: of near-spherical density nothing is left
        tail = np.concatenate([np.ones(FIRST_SHELL), curve[FIRST_SHELL:]])
        found = crossing_resolution(tail, 0.5, box, self.pixel)
        print(f"{name}: FSC 0.5 at {found:.1f} Å, least of shells {FIRST_SHELL} to {FIRST_SHELL + len(asked) - 1} "
              f"{asked.min():.2f}, {'mirrored' if alignment.mirrored else 'same hand'}: "
              f"{'passes' if asked.min() >= 0.5 else 'fails'}")
        print("   shells 3 to 24:", " ".join(f"{value:.2f}" for value in curve[3:25]), flush=True)
        return bool(asked.min() >= 0.5)


if __name__ == "__main__":
    sys.exit(main())
