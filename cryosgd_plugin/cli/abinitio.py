"""`cryosgd abinitio`: a first map from particle images alone."""
from __future__ import annotations

import os
from functools import partial

from ..core.errors import InputError
from ..engines.abinitio.config import MARCHES, OPTIMISERS, QUADRATURES, SAGD_DRAWINGS, AbInitioConfig
from ..engines.abinitio.noise import NOISES
from ..engines.abinitio.priors import PRIORS
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
        "abinitio", help="reconstruct a first map without reference or poses",
        description="Ab initio reconstruction of one or several structures by stochastic gradient descent from random "
                    "starts. Reads no poses. Writes volume.mrc, half1.mrc, half2.mrc (of several classes class001.mrc "
                    "and so on), particles.star with poses and classes, fsc.star, history.json, importance.json, "
                    "summary.json and pictures into DIR.")
    parser.set_defaults(run=run)
    parser.add_argument("particles", metavar="PARTICLES.star", help="RELION STAR file (3.0 or 3.1) with CTF values")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="run folder")
    add_run_options(parser)
    _add_config_options(parser)


def run(arguments) -> int:
    """Build the configuration and run it; raises InputError before computing wherever it can."""
    # imported here so that `cryosgd --help` doesn't wait for numba
    from ..job import AbInitioJob, RestartsJob
    check_run_options(arguments)
    table = particles_with_ctf(arguments.particles)
    config = make_config(arguments, table)
    if arguments.restarts < 1:
        raise InputError(f"{arguments.restarts} restarts were asked for; give 1 for a single run, or more")
    job = AbInitioJob if arguments.restarts == 1 else partial(RestartsJob, restarts=arguments.restarts)
    with job(arguments.output, table, config, start_map=_start_map(arguments), **job_options(arguments)) as run_of:
        run_of.run()
    return 0


def make_config(arguments, table) -> AbInitioConfig:
    """The frozen settings of a command line and a particle table."""
    values = given_settings(arguments, AbInitioConfig, table)
    if _start_map(arguments):
        values["start"] = "map"
    if arguments.final_resolution_a is None:
        values["final_resolution_a"] = max(AbInitioConfig.final_resolution_a, 2 * table.pixel_size)
    return AbInitioConfig(**values)


def _start_map(arguments):
    """The path of the map to start from, or None for a random start."""
    return None if arguments.start in (None, "spheres", "noise") else os.path.abspath(arguments.start)


def _add_config_options(parser):
    options = ConfigOptions(parser, AbInitioConfig)
    add, switch = options.add, options.switch
    options.begin("reconstruction")
    add("--classes", "classes", "structures to reconstruct at the same time", metavar="K")
    add("--symmetry", "symmetry", "point group in RELION's orientation: C1, C4, D2, T, O, I1 …", metavar="GROUP")
    add("--diameter", "diameter_a", "particle diameter, Å; images are masked to it with a soft edge",
        "80 %% of the box", type=float, metavar="A")
    add("--initial-resolution", "initial_resolution_a", "resolution at the start, Å", metavar="A")
    add("--final-resolution", "final_resolution_a", "resolution at the end, Å", "12, or Nyquist where that is coarser",
        metavar="A")
    add("--max-particles", "max_particles", "use at most this many particles, drawn by the seed", "all", type=int,
        metavar="N")
    add("--seed", "seed", "seed of all randomness", metavar="N")
    options.group.add_argument("--restarts", type=int, default=1, metavar="N",
                       help="run N seeds, SEED, SEED + 1 …, and say whether their maps agree (default %(default)s)")
    add("--start", "start", "'spheres' or 'noise' for random maps, or an MRC file to start from", type=str,
        metavar="KIND|MRC")
    options.begin("schedule")
    add("--iterations", "iterations", "minibatch steps", metavar="N")
    add("--minibatch", "minibatch", "images a step, at the start and at the end",
        "from the resolution and the number of classes", type=int, nargs=2, metavar=("N", "N"))
    add("--march", "march", "raise the resolution evenly over the iterations, when held-out particles are explained no "
        "better, or in the steps of paper 1 (0.005 1/Å each 3 %% of the run)", choices=MARCHES)
    add("--held-out", "held_out", "particles that no step sees, to watch the error of: a tenth of all at most, and "
        "none where that makes fewer than 50, unless the march is by need", metavar="N")
    switch("--early-stop", "early_stop", "end the last rest when the held-out error no longer falls")
    add("--significant-poses", "significant_poses", "share of poses that noise inflation aims at in the beginning",
        metavar="F")
    add("--class-similarity", "class_similarity", "share of each image given to all classes alike in the beginning",
        metavar="F")
    add("--symmetry-start", "symmetry_start", "share of the run, 0 to 1, after which the symmetry is imposed; at the "
        "latest before the final poses, however early the iterations end", metavar="F")
    options.begin("optimisation")
    add("--optimiser", "optimiser", "step rule, or a classical method for comparison", choices=OPTIMISERS)
    add("--step-size", "step_size", "share of the preconditioned step, at the start and at the end",
        "0.5 0.3, or as the optimiser needs", type=float, nargs=2, metavar=("F", "F"))
    add("--momentum", "momentum", "share of the former step that is taken again, for sgd-momentum and nesterov alike",
        metavar="F")
    add("--sagd-minibatch", "sagd_minibatch", "images in each minibatch of SAGD's fixed partition, at least",
        metavar="N")
    add("--sagd-drawing", "sagd_drawing", "SAGD's minibatches once each in epochs of random order, or drawn with "
        "replacement and without a bound on its steps, as in paper 1", choices=SAGD_DRAWINGS)
    switch("--preconditioner", "preconditioner", "divide gradients by each voxel's CTF² weight")
    add("--noise", "noise", "a noise variance for each shell, or one for all (paper 1)", choices=NOISES)
    add("--prior", "prior", "prior on the density of the maps on the way; the final map has none",
        choices=tuple(PRIORS))
    add("--prior-strength", "prior_strength", "weight of the prior, a pure number", metavar="F")
    switch("--positivity", "positivity", "keep the density non-negative")
    switch("--centring", "centring", "hold the map's centre of mass where the particles' shifts spread evenly about "
                                     "zero")
    options.begin("poses")
    add("--shift-range", "shift_range_a", "largest shift searched, Å", "6 %% of the diameter, at least 10", type=float,
        metavar="A")
    switch("--importance-sampling", "importance_sampling", "sample the poses of particles seen twice before")
    add("--oversampling", "oversampling", "samples per effective pose on each axis of the importance distribution "
        "(directions, in-plane angles, shifts)", metavar="F")
    add("--quadrature", "quadrature", "directions and shifts: HEALPix and a square grid, or paper 1's scheme",
        choices=QUADRATURES)
