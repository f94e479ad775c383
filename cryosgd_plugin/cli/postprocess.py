"""`cryosgd postprocess`: resolution and sharpened map of two half-maps."""
from __future__ import annotations

from ..core.errors import InputError
from ..engines.mask import EDGE_PX, MaskShape
from ..engines.validation.halves import DIAMETER_SHARE
from ..engines.validation.postprocess import PostprocessConfig
from ..job.half_map_files import HalfMapFiles
from ..job.postprocess import run_postprocess
from .run_options import auto_or_number


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "postprocess", help="resolution and sharpened map of two half-maps",
        description="FSC of two half-maps without a mask, within one, with phases randomised, and corrected for the "
                    "mask (Chen et al. 2013); then the map, divided by the detector's MTF, weighted by the FSC, "
                    "sharpened by a B-factor, and low-passed at the resolution. A mask that decides the curve by "
                    "itself is named, and its resolution is not reported.")
    parser.set_defaults(run=run)
    add_half_maps(parser)
    add_sharpening(parser)


def add_half_maps(parser):
    """Half-maps, output folder, mask and pixel size: what all validating commands take."""
    add = parser.add_argument
    add("maps", nargs=2, metavar="HALF.mrc", help="the two half-maps, unfiltered and unmasked: cubes of one box")
    add("-o", "--output", required=True, metavar="DIR", help="new folder for the results")
    add("--mask", metavar="MRC", help="soft mask, 0 to 1 (default: made of the maps)")
    # argparse formats help by %: a percent sign is two
    add("--diameter", type=float, metavar="A",
        help=f"particle diameter for the mask that is made, Å (default: {DIAMETER_SHARE:.0%}% of the box)")
    shape = MaskShape()
    add("--mask-threshold", type=float, default=shape.threshold, metavar="F",
        help="density within the mask that is made, as a share of the brightest (default %(default)g)")
    add("--mask-extend", type=float, default=shape.extend_a, metavar="A",
        help="growth of that mask, Å (default %(default)g)")
    add("--mask-edge", type=float, default=shape.edge_a, metavar="A",
        help=f"width of its soft edge, Å, {EDGE_PX:g} px at least (default %(default)g)")
    add("--pixel-size", type=float, metavar="A", help="Å/px of the maps (default: as their headers say)")
    add("--half-plane", action="store_true",
        help="count the half transform as RELION does (default: both Friedel mates; differs in small shells)")
    add("--seed", type=int, default=0, metavar="N", help="of the random phases (default %(default)s)")


def add_sharpening(parser):
    """MTF and B-factor."""
    add = parser.add_argument
    add("--bfactor", type=auto_or_number, default=None, metavar="A2",
        help="B-factor to sharpen by, Å², negative sharpens; auto fits it from 10 Å to the resolution (default)")
    add("--mtf", metavar="STAR", help="the detector's MTF, as RELION's STAR files (default: none divided out)")
    add("--mtf-pixel-size", type=float, metavar="A",
        help="Å of a detector pixel on the specimen, the unbinned one (default: the maps' pixel size)")


def half_map_files(arguments) -> HalfMapFiles:
    """What was given of the half-maps."""
    shape = MaskShape(arguments.mask_threshold, arguments.mask_extend, arguments.mask_edge)
    if arguments.mask and shape != MaskShape():
        raise InputError("--mask-threshold, --mask-extend and --mask-edge are of a mask that is made; leave them out, "
                         "or leave out --mask")
    return HalfMapFiles(*arguments.maps, arguments.mask, arguments.pixel_size, arguments.diameter, shape)


def sharpening(arguments) -> dict:
    """The keywords `mtf` and `mtf_pixel_size`; raises InputError where they don't fit together."""
    if arguments.mtf_pixel_size is not None:
        if not arguments.mtf:
            raise InputError("--mtf-pixel-size belongs to an MTF; give --mtf, or leave it out")
        if not arguments.mtf_pixel_size > 0:
            raise InputError(f"--mtf-pixel-size {arguments.mtf_pixel_size:g} Å is not positive")
    return dict(mtf=arguments.mtf, mtf_pixel_size=arguments.mtf_pixel_size)


def run(arguments) -> int:
    """Post-process, print the outcome; raises InputError before there is a folder."""
    config = PostprocessConfig(arguments.bfactor, arguments.half_plane, arguments.seed)
    summary = run_postprocess(half_map_files(arguments), arguments.output, config, **sharpening(arguments))
    print(summary["outcome"])
    print(f"wrote {arguments.output}")
    return 0
