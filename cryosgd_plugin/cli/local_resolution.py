"""`cryosgd local-resolution`: where in a map two half-maps agree to how many Å."""
from __future__ import annotations

from ..engines.validation.local import THRESHOLD, WINDOW_RESOLUTIONS, LocalConfig
from ..job.local_resolution import run_local_resolution
from .postprocess import add_half_maps, half_map_files


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "local-resolution", help="where in a map two half-maps agree to how many Å",
        description="Correlates two half-maps shell by shell within Gaussian windows around every voxel of a mask, and "
                    "says to how many Å each place is resolved: the FSC of small windows (Cardone et al. 2013), for "
                    "all voxels at once. Outside the mask the map holds the coarsest resolution that was searched.")
    parser.set_defaults(run=run)
    add_half_maps(parser)
    add_local_options(parser)


def add_local_options(parser):
    """Window and threshold."""
    add = parser.add_argument
    add("--window", type=float, metavar="A",
        help=f"full width at half maximum of the window, Å (default: {WINDOW_RESOLUTIONS:g} times the global "
             "resolution, half the box at most)")
    add("--local-threshold", type=float, default=THRESHOLD, metavar="F",
        help="FSC at which the curve of a place ends (default %(default)g)")


def local_config(arguments) -> LocalConfig:
    """What was asked for."""
    return LocalConfig(arguments.window, arguments.local_threshold)


def run(arguments) -> int:
    """Compare, print the outcome; raises InputError before there is a folder."""
    summary = run_local_resolution(half_map_files(arguments), arguments.output, local_config(arguments))
    print(summary["outcome"])
    print(f"wrote {arguments.output}")
    return 0
