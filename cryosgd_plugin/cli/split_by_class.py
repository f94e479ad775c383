"""`cryosgd split-by-class`: the particles of each class in a file of their own, or of chosen classes in one."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.classes import class_rows
from ..core.errors import InputError
from ..io.files import check_absent
from ..io.star import read_particles, write_particles
from .expand_symmetry import refuse_input


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "split-by-class", help="the particles of each class in a file of their own",
        description="Split a STAR file by rlnClassNumber, for example to refine each structure of a mixture by itself; "
                    "or take chosen classes out of it. All columns stay.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("particles", metavar="PARTICLES.star", help="particles of a classification")
    add("-o", "--output", required=True, metavar="OUT.star",
        help="class 1 goes to OUT_class001.star and so on; with --together all go to OUT.star (RELION 3.1 format)")
    add("--classes", type=int, nargs="+", metavar="N", help="only these classes (default: all)")
    add("--together", action="store_true", help="write the chosen classes into one file (default: one for each)")
    add("--min-posterior", type=float, default=0.0, metavar="P",
        help="leave out particles whose posterior probability of their class is below this, 0 to 1; for results of "
             "`cryosgd` (default: keep all)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Read, split, write; raises InputError before anything is written."""
    table = read_particles(arguments.particles, images_must_exist=False)
    rows = class_rows(table, arguments.classes, arguments.min_posterior)
    output = Path(arguments.output)
    files = {output.with_name(f"{output.stem}_class{number:03d}{output.suffix}"): found
             for number, found in rows.items()}
    if arguments.together:
        # in the order of the file, as if the others had been deleted from it
        files = {output: np.sort(np.concatenate(list(rows.values())))}
    for path, found in files.items():
        refuse_input(path, arguments.particles)
        check_absent(path, arguments.overwrite)
        if not len(found):
            raise InputError(f"no particle is left for {path.name}; lower --min-posterior")
    for path, found in files.items():
        write_particles(path, table.take(found))
        print(f"wrote {path}: {len(found)} of {len(table)} particles")
    return 0
