"""`cryosgd refine`: a map to high resolution from a reference."""
from __future__ import annotations

import os

import numpy as np

from ..core.errors import InputError
from ..engines.refine.config import BOUNDS, KERNELS, MARGINALS, REGULARISATIONS, SEARCHES, SHARED_A, RefineConfig
from .run_options import (
    ConfigOptions,
    add_run_options,
    check_run_options,
    given_settings,
    job_options,
    particles_with_ctf,
)


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "refine", help="refine a map from one or several references (branch and bound)",
        description="Gold-standard refinement of one or several references: two independent half-sets, poses found by "
                    "a bounded search over all orientations and shifts. Reads no poses but for a local search. Writes "
                    "volume.mrc, half1.mrc, half2.mrc (of several classes class001.mrc and so on), mask.mrc, "
                    "particles.star, fsc.star, model.star, history.json, summary.json and pictures into DIR.")
    parser.set_defaults(run=run)
    parser.add_argument("particles", metavar="PARTICLES.star", help="RELION STAR file (3.0 or 3.1) with CTF values")
    parser.add_argument("--reference", nargs="+", required=True, metavar="MAP.mrc",
                        help="the map to begin with; several make as many classes")
    parser.add_argument("--classes", type=int, metavar="K",
                        help="so many classes of one reference, which begin with random parts of the particles "
                             "(default: one for each reference)")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="run folder")
    parser.add_argument("--mask", metavar="MASK", default="dynamic",
                        help="'dynamic' after each map, 'sphere' of the diameter, or an MRC file (default %(default)s)")
    add_run_options(parser, several_gpus=False)
    _add_config_options(parser)


def run(arguments) -> int:
    """Build the configuration and run it; raises InputError before computing wherever it can."""
    # imported here so that `cryosgd --help` doesn't wait for numba
    from ..job.refine import RefineJob
    check_run_options(arguments)
    table = particles_with_ctf(arguments.particles)
    mask = None if arguments.mask in ("dynamic", "sphere") else os.path.abspath(arguments.mask)
    if arguments.search == "local" and table.rotations is None:
        raise InputError(f"a local search begins at poses, and {arguments.particles} has none (rlnAngleRot and "
                         "others); refine globally first")
    config = make_config(arguments, table)
    with RefineJob(arguments.output, table, config, references=[os.path.abspath(path) for path in arguments.reference],
                   mask=mask, **job_options(arguments)) as job:
        job.run()
    return 0


def make_config(arguments, table) -> RefineConfig:
    """The frozen settings of a command line and a particle table."""
    values = given_settings(arguments, RefineConfig, table)
    values.update(classes=len(arguments.reference) if arguments.classes is None else arguments.classes,
                  mask=arguments.mask if arguments.mask in ("dynamic", "sphere") else "map")
    if values.get("search") == "local" and "shift_range_a" not in values:
        # the shifts that the particles have lie within, and as far around them as asked for
        reach = float(np.hypot(*table.shifts_a.T).max()) + values.get("local_shift_a", RefineConfig.local_shift_a)
        if reach > RefineConfig(**values).shift_range:
            values["shift_range_a"] = reach
    return RefineConfig(**values)


def _add_config_options(parser):
    options = ConfigOptions(parser, RefineConfig)
    options.begin("refinement")
    add = options.add
    add("--symmetry", "symmetry", "point group in RELION's orientation: C1, C4, D2, T, O, I1 …", metavar="GROUP")
    add("--diameter", "diameter_a", "particle diameter, Å; images are masked to it with a soft edge",
        "80 %% of the box", type=float, metavar="A")
    add("--initial-resolution", "initial_resolution_a", "the references are low-passed to this, Å", metavar="A")
    add("--shared-resolution", "shared_resolution_a", "coarser than this, Å, both halves have the same reference",
        f"{SHARED_A:g}, or the initial resolution where that is coarser", type=float, metavar="A")
    add("--shift-range", "shift_range_a", "largest shift searched, Å", "6 %% of the diameter, at least 10", type=float,
        metavar="A")
    add("--search", "search", "bounded; exhaustive on the same grid; or local, around the poses in PARTICLES.star",
        choices=SEARCHES)
    add("--local-angle", "local_angle_deg", "range of a local search, degrees", metavar="DEG")
    add("--local-shift", "local_shift_a", "range of a local search, Å", metavar="A")
    add("--certificate-share", "certificate_share", "take this share of the search's time more to certify it on a "
        "sample of the images; 0 for none", metavar="SHARE")
    options.switch("--overfitting-test", "overfitting_test", "refine a second time, with the particles' phases "
                   "randomised at high resolution, to see what noise alone would claim (doubles the time)")
    add("--bound", "bound", "what a pose may be worth at high resolution: its own slice, as if it were the true pose, "
        "or the strongest of all (paper 0), which prunes less", choices=BOUNDS)
    add("--deviations", "deviations", "standard deviations of noise that the bound allows for", metavar="K")
    add("--marginal", "marginal", "sum over the poses that count, or take the best", choices=MARGINALS)
    add("--kernel", "kernel", "what images are back-projected with", choices=KERNELS)
    add("--regularisation", "regularisation", "of the maps that particles are compared with: Wiener's, or sparse and "
        "smooth (paper 3)", choices=REGULARISATIONS)
    add("--alpha", "alpha", "sparsity of sparse-tv, in rms(AᴴDy) · ε", "chosen by each half", type=float, metavar="F")
    add("--beta", "beta", "total variation of sparse-tv, in rms(AᴴDy) · ε'", "chosen by each half", type=float,
        metavar="F")
    add("--gamma", "gamma", "how much sparse-tv holds a map to the last iteration's, in the mean weight", metavar="F")
    add("--epsilon", "epsilon", "density at which the molecule begins, for sparse-tv, in the maps' units",
        "proposed from each map", type=float, metavar="F")
    add("--epsilon-ratio", "epsilon_ratio", "ε' / ε of sparse-tv, 1/3 to 1", metavar="F")
    options.switch("--scale-correction", "scale_correction", "estimate how strong each particle's signal is")
    add("--iterations", "iterations", "at most so many with all particles, before the last one; some with samples of "
        "them come first", metavar="N")
    add("--max-particles", "max_particles", "use at most this many, drawn by the seed", "all", type=int, metavar="N")
    add("--seed", "seed", "seed of the half-sets and all samples", metavar="N")
