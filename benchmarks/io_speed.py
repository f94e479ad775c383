"""How fast particles come in: STAR files of many rows, and images from stacks and from the scratch cache.

    python benchmarks/io_speed.py [--rows 1000000] [--images 5000] [--box 128] [--working-box 64]

Prints seconds for reading and writing a STAR file with 20 columns, and images per second of each pass of the particle
source, on one thread. Peak memory is that of this process (ru_maxrss); gemmi holds the text of the STAR file in it.
"""
import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cryosgd_plugin.core.particles import OpticsGroup, ParticleTable  # noqa: E402
from cryosgd_plugin.core.poses import random_rotations  # noqa: E402
from cryosgd_plugin.io.source import ParticleSource  # noqa: E402
from cryosgd_plugin.io.stack_writer import write_stack  # noqa: E402
from cryosgd_plugin.io.star import read_particles, write_particles  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("rows", 1_000_000), ("images", 5000), ("box", 128), ("working-box", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        images(Path(folder), arguments, rng)
        star(Path(folder), arguments, rng)


def images(folder, arguments, rng):
    n, box = arguments.images, arguments.box
    blocks = (rng.standard_normal((min(500, n - first), box, box), np.float32) for first in range(0, n, 500))
    write_stack(folder / "stack.mrcs", blocks, n, box, 1.5)
    table = a_table([str(folder / "stack.mrcs")], n, box, rng)
    diameter = 0.7 * box * 1.5
    for words, scratch in (("from the stack", None), ("filling the cache", folder / "scratch"),
                           ("from the cache", folder / "scratch")):
        with ParticleSource(table, box_size=arguments.working_box, diameter_a=diameter, memory_gb=0.5,
                            scratch_dir=scratch) as source:
            for _ in source.blocks():
                pass
            rate = source.statistics()["images_per_second"]
        print(f"{n} × {box} px to {arguments.working_box} px {words}: {rate:.0f} images/s")


def star(folder, arguments, rng):
    n = arguments.rows
    stacks = [str(folder / f"mic_{i:05d}.mrcs") for i in range(max(1, n // 200))]
    table = a_table(stacks, n, arguments.box, rng)
    table.rotations, table.shifts_a = random_rotations(n, rng), rng.normal(size=(n, 2))
    for tag in ("rlnCoordinateX", "rlnCoordinateY", "rlnCtfMaxResolution", "rlnCtfFigureOfMerit"):
        table.extra[tag] = rng.uniform(0, 4000, n).round(3)
    table.extra["rlnMicrographName"] = np.array([b"micrographs/mic_%05d.mrc" % i for i in table.stack_id])
    for words, action in (("written", lambda: write_particles(folder / "p.star", table)),
                          ("read", lambda: read_particles(folder / "p.star", images_must_exist=False))):
        start = time.perf_counter()
        action()
        print(f"STAR file of {n} rows, {os.path.getsize(folder / 'p.star') / 1e6:.0f} MB: {words} in "
              f"{time.perf_counter() - start:.1f} s, peak memory {peak_mb():.0f} MB")


def a_table(stacks, n, box, rng):
    stack_id = (np.arange(n) * len(stacks) // n).astype(np.int32)
    return ParticleTable(
        stack_paths=stacks, stack_id=stack_id, stack_index=np.arange(n) - np.searchsorted(stack_id, stack_id),
        optics=[OpticsGroup("opticsGroup1", 300.0, 2.7, 0.1, 1.5, box)], optics_id=np.zeros(n, np.int32),
        defocus_u=rng.uniform(1e4, 2e4, n), defocus_v=rng.uniform(1e4, 2e4, n),
        defocus_angle_deg=rng.uniform(-90, 90, n), phase_shift_deg=np.zeros(n),
        ctf_bfactor=np.zeros(n), ctf_scale=np.ones(n), ids=np.arange(1, n + 1))


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
