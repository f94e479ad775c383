"""`cryosgd validate`: everything that can be asked of two half-maps, in one folder."""
from __future__ import annotations

from ..engines.validation.postprocess import PostprocessConfig
from ..job.validate import Validation, run_validation
from .local_resolution import add_local_options, local_config
from .model_fsc import COUNTED, add_model_options, assembly, model_config
from .postprocess import add_half_maps, add_sharpening, half_map_files, sharpening


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "validate", help="everything that can be asked of two half-maps",
        description="Post-processing, local resolution and resolution by direction (conical FSC) of two half-maps; of "
                    "their particles how evenly the views sample Fourier space (SCF*); and the map against a model. "
                    "One folder, one summary.")
    parser.set_defaults(run=run)
    add_half_maps(parser)
    add = parser.add_argument
    add("--particles", metavar="STAR", help="particles with the poses that gave the maps (default: none)")
    add("--symmetry", default="C1", metavar="GROUP", help="point group that was imposed (default %(default)s)")
    add("--model", metavar="FILE", help=f"atomic model, PDB or mmCIF; {COUNTED} (default: none)")
    add_sharpening(parser)
    add_local_options(parser)
    add_model_options(parser)


def run(arguments) -> int:
    """Validate, print the outcomes; raises InputError before there is a folder."""
    asked = Validation(
        half_map_files(arguments), arguments.particles, arguments.model, arguments.symmetry, assembly(arguments),
        PostprocessConfig(arguments.bfactor, arguments.half_plane, arguments.seed), local_config(arguments),
        model_config(arguments), **sharpening(arguments))
    summary = run_validation(asked, arguments.output)
    for sentence in summary["outcome"]:
        print(sentence)
    print(f"wrote {arguments.output}")
    return 0
