"""How far ab initio maps agree with the truth, seed by seed, against a reconstruction with the true poses.

    python benchmarks/abinitio_quality.py SET --diameter 190 --seeds 5 [--threads 2] [-- options of cryosgd abinitio]

SET is a folder that `cryosgd simulate` made (benchmarks/make_simulated_sets.sh makes both sets of the README's table).
Each seed is a process of its own, timed from outside with imports and compilation. FSC to the truth, either hand, maps
aligned, within a soft mask around the true density; the same mask for the reconstruction with the true poses.
"""
from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cryosgd_plugin.core.masks import soft_mask_from_volume
from cryosgd_plugin.core.shells import crossing_resolution, fsc
from cryosgd_plugin.engines.align import align_volume
from cryosgd_plugin.engines.reconstruct import reconstruct
from cryosgd_plugin.io.source import ParticleSource
from cryosgd_plugin.io.star import read_particles
from cryosgd_plugin.io.volumes import read_volume

ALLOWED = 1.3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("set", type=Path)
    parser.add_argument("--diameter", type=float, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="keep the run folders here")
    arguments, options = parser.parse_known_args()
    truth, pixel = read_volume(arguments.set / "truth_volume.mrc")
    table = read_particles(arguments.set / "truth.star")
    known = json.loads((arguments.set / "summary.json").read_text())
    print(f"{arguments.set.name}: {len(table)} particles, {table.box_size} px, {pixel:g} Å/px, SNR {known['snr']:g}, "
          f"p² = {known['snr_energy_p2']:.0f}")
    mask = soft_mask_from_volume(truth, 0.1 * np.percentile(truth, 99.5), 2, 4)
    source = ParticleSource(table, box_size=table.box_size, diameter_a=arguments.diameter)
    best = score(reconstruct(source, table), truth, mask, pixel)
    print(f"true poses: FSC 0.5 at {best:.2f} Å; a seed passes at {ALLOWED * best:.2f} Å or finer")
    folder = arguments.output or Path(tempfile.mkdtemp())
    passed = 0
    for seed in range(arguments.seeds):
        found, seconds, cpu = run(arguments, options, folder / f"seed{seed}", seed, truth, mask, pixel)
        passed += found <= ALLOWED * best
        print(f"seed {seed}: FSC 0.5 at {found:.2f} Å = {found / best:.2f} × true poses; {seconds:.0f} s, "
              f"{cpu:.0f} CPU-s", flush=True)
    print(f"{passed} of {arguments.seeds} seeds pass")
    return 0 if passed == arguments.seeds else 1


def run(arguments, options, folder, seed, truth, mask, pixel):
    """(Å at FSC 0.5, wall seconds, CPU seconds) of one seed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "cryosgd_plugin.cli", "abinitio", arguments.set / "particles.star", "-o",
                    folder, "--diameter", str(arguments.diameter), "--seed", str(seed), "--threads",
                    str(arguments.threads), *[o for o in options if o != "--"]], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    volume = read_volume(folder / "volume.mrc")[0]
    aligned = align_volume(volume, truth, radius=truth.shape[0] // 3).apply(volume)
    return score(aligned, truth, mask, pixel), seconds, cpu


def score(volume, truth, mask, pixel):
    """Å at which the FSC to the truth falls below 0.5."""
    return crossing_resolution(fsc(volume, truth, mask=mask), 0.5, truth.shape[0], pixel)


if __name__ == "__main__":
    sys.exit(main())
