"""`cryosgd abinitio`: a first map from particle images alone."""
from __future__ import annotations

import argparse
import os

from ..core.errors import InputError
from ..engines.abinitio.config import OPTIMISERS, START_KINDS, AbInitioConfig

# where the particle's diameter isn't given: this share of the box
DIAMETER_SHARE = 0.8


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "abinitio", help="reconstruct a first map without reference or poses",
        description="Ab initio reconstruction by stochastic gradient descent from a random start. Reads no poses. "
                    "Writes volume.mrc, half1.mrc, half2.mrc, particles.star with poses, fsc.star, history.json, "
                    "summary.json and pictures into DIR.")
    parser.set_defaults(run=run)
    parser.add_argument("particles", metavar="PARTICLES.star", help="RELION STAR file (3.0 or 3.1) with CTF values")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="run folder")
    _add_run_options(parser)
    _add_config_options(parser)


def run(arguments) -> int:
    """Build the configuration and run it; raises InputError before computing wherever it can."""
    # imported here so that `cryosgd --help` doesn't wait for numba
    from ..io.star import read_particles
    from ..job import AbInitioJob
    if arguments.threads < 1:
        raise InputError(f"{arguments.threads} threads were asked for; give 1 or more")
    if not arguments.memory > 0:
        raise InputError(f"a memory budget of {arguments.memory:g} GB can't hold anything; give 1 or more")
    table = read_particles(arguments.particles)
    if not table.has_ctf:
        raise InputError(f"{arguments.particles} has no CTF (rlnDefocusU and others); estimate it first")
    config = make_config(arguments, table)
    with AbInitioJob(arguments.output, table, config, source_file=os.path.abspath(arguments.particles),
                     device=arguments.device, threads=arguments.threads, memory_gb=arguments.memory,
                     scratch_dir=arguments.scratch, resume=arguments.resume) as job:
        job.run()
    return 0


def make_config(arguments, table) -> AbInitioConfig:
    """The frozen settings of a command line and a particle table."""
    values = {name: getattr(arguments, name) for name in AbInitioConfig.__dataclass_fields__
              if getattr(arguments, name, None) is not None}
    values.update(pixel_size=table.pixel_size, box_size=table.box_size)
    if arguments.diameter_a is None:
        values["diameter_a"] = round(DIAMETER_SHARE * table.box_size * table.pixel_size, 1)
        print(f"No --diameter was given: taking {values['diameter_a']:g} Å, {DIAMETER_SHARE:.0%} of the box.",
              flush=True)
    if arguments.final_resolution_a is None:
        values["final_resolution_a"] = max(AbInitioConfig.final_resolution_a, 2 * table.pixel_size)
    return AbInitioConfig(**values)


def _add_run_options(parser):
    group = parser.add_argument_group("computing")
    add = group.add_argument
    add("--device", default="cpu", help="cpu, cuda (the first GPU), or cuda:0,1: the GPUs that share the work "
                                        "(default %(default)s)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="CPU threads (default: all, %(default)s)")
    add("--memory", type=float, default=4.0, metavar="GB", help="memory budget, GB (default %(default)g)")
    add("--scratch", metavar="DIR", help="folder on a fast disk for a float16 copy of the downsampled particles "
                                         "(default: read the stacks each time)")
    add("--continue", dest="resume", action="store_true",
        help="go on from the last checkpoint in DIR; start where there is none")


def _add_config_options(parser):
    default = AbInitioConfig
    group = parser.add_argument_group("reconstruction")

    def add(name, field, words, shown=None, **kwargs):
        value = getattr(default, field, None)
        shown = shown or (f"{value:g}" if isinstance(value, (int, float)) else value)
        kwargs.setdefault("type", type(value))
        group.add_argument(name, dest=field, help=f"{words} (default {shown})", **kwargs)

    add("--symmetry", "symmetry", "point group in RELION's orientation: C1, C4, D2, T, O, I1 …", metavar="GROUP")
    add("--diameter", "diameter_a", "particle diameter, Å; images are masked to it with a soft edge",
        "80 %% of the box", type=float, metavar="A")
    add("--initial-resolution", "initial_resolution_a", "resolution at the start, Å", metavar="A")
    add("--final-resolution", "final_resolution_a", "resolution at the end, Å", "12, or Nyquist where that is coarser",
        metavar="A")
    add("--max-particles", "max_particles", "use at most this many particles, drawn by the seed", "all", type=int,
        metavar="N")
    add("--seed", "seed", "seed of all randomness", metavar="N")
    add("--iterations", "iterations", "minibatch steps", metavar="N")
    add("--minibatch", "minibatch", "images a step, at the start and at the end", _pair(default.minibatch), type=int,
        nargs=2, metavar=("N", "N"))
    add("--step-size", "step_size", "share of the preconditioned step, at the start and at the end",
        _pair(default.step_size), type=float, nargs=2, metavar=("F", "F"))
    add("--momentum", "momentum", "share of the former step that is taken again", metavar="F")
    add("--significant-poses", "significant_poses", "share of poses that noise inflation aims at in the beginning",
        metavar="F")
    add("--shift-range", "shift_range_a", "largest shift searched, Å", "6 %% of the diameter, at least 10", type=float,
        metavar="A")
    add("--symmetry-start", "symmetry_start", "share of the run after which the symmetry is imposed", metavar="F")
    add("--start", "start", "random start", choices=START_KINDS)
    add("--optimiser", "optimiser", "optimiser", choices=OPTIMISERS)
    for name, words in (("positivity", "keep the density non-negative"), ("centring", "keep the map centred")):
        group.add_argument(f"--{name}", dest=name, action=argparse.BooleanOptionalAction, default=None,
                           help=f"{words} (default: yes)")


def _pair(values):
    return " ".join(f"{v:g}" for v in values)
