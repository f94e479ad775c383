"""`cryosgd model-fsc`: a map against an atomic model."""
from __future__ import annotations

from ..engines.validation.model_fsc import ModelConfig
from ..io.models import FIRST
from ..job.model_fsc import run_model_fsc

# what is made of a model's file
COUNTED = ("every atom but water and hydrogen counts in full and with one B-factor, of alternative conformations the "
           "first: the file's occupancies and B-factors are not read")


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "model-fsc", help="a map against an atomic model",
        description="Bring an atomic model onto a map, in both hands, make its density by electron scattering factors "
                    "with the map's amplitudes, and compare the two by FSC within a mask, with and without their "
                    "spherical averages; then scan the pixel size.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("map", metavar="MAP.mrc", help="the map, a cube, such as the mean of two half-maps")
    add("model", metavar="MODEL", help=f"the model, PDB or mmCIF, anywhere: it is brought onto the map; {COUNTED}")
    add("-o", "--output", required=True, metavar="DIR", help="new folder for the results")
    add("--mask", metavar="MRC", help="soft mask, 0 to 1 (default: made of the model)")
    add("--pixel-size", type=float, metavar="A", help="Å/px of the map (default: as its header says)")
    add("--half-plane", action="store_true", help="count the half transform as RELION does (default: both mates)")
    add_model_options(parser)


def add_model_options(parser):
    """Assembly, resolution, B-factor and the scan of the pixel size."""
    default = ModelConfig()
    add = parser.add_argument
    add("--assembly", metavar="NAME", default=FIRST,
        help="biological assembly of the model: a name, first (default; the chains as they are where the file has "
             "none), or none")
    add("--resolution", type=float, metavar="A",
        help="hands and pixel sizes are compared up to this, Å (default: to where the FSC falls below 0.143)")
    add("--model-bfactor", type=float, default=default.b_factor_a2, metavar="A2",
        help="of the model's atoms, Å² (default %(default)g; the amplitudes are the map's anyway)")
    add("--scan", type=float, default=100 * default.scan, metavar="PERCENT",
        help="pixel sizes are tried within ± this, 0 for none (default %(default)g)")


def model_config(arguments) -> ModelConfig:
    """What was asked for."""
    return ModelConfig(resolution_a=arguments.resolution, b_factor_a2=arguments.model_bfactor,
                       scan=arguments.scan / 100, half_plane=arguments.half_plane)


def assembly(arguments):
    """The assembly's name, or None for the chains as they are."""
    return None if arguments.assembly.lower() == "none" else arguments.assembly


def run(arguments) -> int:
    """Compare, print the outcome; raises InputError before there is a folder."""
    summary = run_model_fsc(arguments.map, arguments.model, arguments.output, model_config(arguments),
                            mask=arguments.mask, pixel_size=arguments.pixel_size, assembly=assembly(arguments))
    print(summary["outcome"])
    print(f"wrote {arguments.output}")
    return 0
