"""Options that the commands of all engines share: the machine's, and those that are fields of a config."""
from __future__ import annotations

import argparse
import os

from ..core.errors import InputError

# where the particle's diameter isn't given: this share of the box
DIAMETER_SHARE = 0.8


def add_run_options(parser, several_gpus: bool = True) -> None:
    """Device, threads, memory, scratch disk and --continue; several_gpus : whether more than one may be given."""
    group = parser.add_argument_group("computing")
    add = group.add_argument
    others = "cuda:0,1: the GPUs that share the work" if several_gpus else "cuda:1: that one"
    add("--device", default="cpu", help=f"cpu, cuda (the first GPU), or {others} (default %(default)s)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="CPU threads (default: all, %(default)s)")
    add("--memory", type=float, default=4.0, metavar="GB", help="memory budget, GB (default %(default)g)")
    add("--scratch", metavar="DIR", help="folder on a fast disk for a float16 copy of the downsampled particles "
                                         "(default: read the stacks each time)")
    add("--continue", dest="resume", action="store_true",
        help="go on from the last checkpoint in DIR; start where there is none")


def check_run_options(arguments) -> None:
    """Raise InputError for threads or a memory that can't be."""
    if arguments.threads < 1:
        raise InputError(f"{arguments.threads} threads were asked for; give 1 or more")
    if not arguments.memory > 0:
        raise InputError(f"a memory budget of {arguments.memory:g} GB can't hold anything; give 1 or more")


def particles_with_ctf(path):
    """The ParticleTable of a STAR file; InputError where it has no CTF."""
    # imported here so that `cryosgd --help` doesn't wait for it
    from ..io.star import read_particles
    table = read_particles(path)
    if not table.has_ctf:
        raise InputError(f"{path} has no CTF (rlnDefocusU and others); estimate it first")
    return table


def job_options(arguments) -> dict:
    """What every engine's job is told of particles and machine."""
    return dict(source_file=os.path.abspath(arguments.particles), device=arguments.device, threads=arguments.threads,
                memory_gb=arguments.memory, scratch_dir=arguments.scratch, resume=arguments.resume)


def given_settings(arguments, config_class, table) -> dict:
    """Fields of a config class that were given, and those that the particles settle."""
    values = {name: getattr(arguments, name) for name in config_class.__dataclass_fields__
              if getattr(arguments, name, None) is not None}
    return dict(values, pixel_size=table.pixel_size, box_size=table.box_size,
                diameter_a=_diameter_or_default(arguments, table))


def _diameter_or_default(arguments, table) -> float:
    """The diameter that was given, Å, or DIAMETER_SHARE of the box, which is then said."""
    if arguments.diameter_a is not None:
        return arguments.diameter_a
    diameter = round(DIAMETER_SHARE * table.box_size * table.pixel_size, 1)
    print(f"No --diameter was given: taking {diameter:g} Å, {DIAMETER_SHARE:.0%} of the box.", flush=True)
    return diameter


class ConfigOptions:
    """Adds options that are fields of a config class, whose defaults they show; a None leaves the default.

    parser : ArgumentParser; default : the frozen dataclass
    """

    def __init__(self, parser, default):
        self.parser, self.default, self.group = parser, default, None

    def begin(self, title: str):
        """What follows belongs to a group of that title."""
        self.group = self.parser.add_argument_group(title)

    def add(self, name, field, words, shown=None, **kwargs):
        """An option with a value, of the default's type unless another is given; shown : the default in words."""
        value = getattr(self.default, field, None)
        shown = shown or (f"{value:g}" if isinstance(value, (int, float)) else value)
        kwargs.setdefault("type", type(value))
        self.group.add_argument(name, dest=field, help=f"{words} (default {shown})", **kwargs)

    def switch(self, name, field, words):
        """An option and its --no- counterpart."""
        shown = "yes" if getattr(self.default, field) else "no"
        self.group.add_argument(name, dest=field, action=argparse.BooleanOptionalAction, default=None,
                                help=f"{words} (default: {shown})")


def auto_or_number(text):
    """The type of an option that takes a number, or "auto", which is None."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor auto") from None
