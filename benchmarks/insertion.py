"""What back-projecting one image at one pose costs with either kernel.

    python benchmarks/insertion.py [--boxes 64 128] [--poses 400] [--threads 1]

Prints milliseconds a pose and nanoseconds a coefficient, the best of five, of user CPU time on the given threads.
Compilation isn't counted.
"""
import argparse
import resource
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cryosgd_plugin.core.poses import random_rotations  # noqa: E402
from cryosgd_plugin.engines.refine.images import ImagePreparer  # noqa: E402
from cryosgd_plugin.ops.pose_insert import insert_poses  # noqa: E402
from cryosgd_plugin.ops.slicing import KERNELS  # noqa: E402

IMAGES, REPEATS = 20, 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--boxes", type=int, nargs="+", default=[64, 128], help="px (64 128)")
    parser.add_argument("--poses", type=int, default=400, help="back-projected together (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    arguments = parser.parse_args()
    import numba
    numba.set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    for box in arguments.boxes:
        radius = box // 2 - 1
        points = ImagePreparer(radius, radius, box_size=box, pixel_size=1.0, mask_radius_a=0.4 * box).points
        filtered = (rng.normal(size=(IMAGES, len(points))) + 1j * rng.normal(size=(IMAGES, len(points))))
        weight = rng.random((IMAGES, len(points)), np.float32)
        n = arguments.poses
        poses = (random_rotations(n, rng), 0.02 * rng.normal(size=(n, 2)), rng.integers(IMAGES, size=n), np.ones(n))
        for kernel in KERNELS:
            seconds = min(user_time(insert_poses, filtered.astype(np.complex64), weight, points, *poses, radius,
                                    kernel=kernel) for _ in range(1 + REPEATS))
            print(f"{box} px, {len(points)} coefficients, {kernel:9s}: {1e3 * seconds / n:.3f} ms a pose, "
                  f"{1e9 * seconds / n / len(points):.1f} ns a coefficient")


def user_time(function, *arguments, **options):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    function(*arguments, **options)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before


if __name__ == "__main__":
    main()
