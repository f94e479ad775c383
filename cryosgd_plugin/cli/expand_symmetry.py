"""`cryosgd expand-symmetry`: each particle once for every pose that a point group calls equivalent."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.expansion import MATE_TAG, PARENT_TAG, doubts, expanded_blocks, expansion_group
from ..io.files import check_absent
from ..io.star import read_particles, write_particle_blocks


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "expand-symmetry", help="each particle once for each operator of a point group",
        description="Repeat each particle with all the poses that are equivalent under the point group, so that what "
                    "breaks the symmetry (a ligand at one site of many, subunits of several shapes) can be classified "
                    f"or refined without it, within a mask on one site. Adds the columns {PARENT_TAG} (row of the "
                    f"particle in the file read, from 1) and {MATE_TAG} (1 is the pose as it was); all others, the "
                    "images and the shifts stay. Use the rows with local searches or none at all: a search over all "
                    "poses would bring the mates back together.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("particles", metavar="PARTICLES.star", help="particles with poses on the axes of the group: of a refinement "
                                                    "under that symmetry")
    add("--symmetry", required=True, metavar="GROUP", help="point group in RELION's orientation: C4, D7, T, O, I1 …")
    add("-o", "--output", required=True, metavar="OUT.star", help="STAR file to write (RELION 3.1 format)")
    add("--seed", type=int, default=0, metavar="N",
        help="seed of the half-sets, drawn by particle where the file has none (default %(default)s)")
    add("--overwrite", action="store_true", help="replace an output file that exists (default: refuse)")


def run(arguments) -> int:
    """Read, expand, write; raises InputError before anything is written."""
    operators = expansion_group(arguments.symmetry)
    refuse_input(arguments.output, arguments.particles)
    check_absent(arguments.output, arguments.overwrite)
    table = read_particles(arguments.particles, images_must_exist=False)
    blocks = expanded_blocks(table, operators, np.random.default_rng(arguments.seed))
    for sentence in doubts(table):
        print(f"warning: {sentence}")
    if table.half_set is None:
        print("note: the file has no half-sets; drawn by particle, so that all mates of one are in the same")
    write_particle_blocks(arguments.output, blocks)
    print(f"wrote {arguments.output}: {len(table)} particles in {len(operators)} poses each, "
          f"{len(table) * len(operators)} rows")
    return 0


def refuse_input(output, source):
    """Raise InputError where a command would write over the file that it reads, whatever its name."""
    if Path(output).exists() and Path(source).exists() and Path(output).samefile(source):
        raise InputError(f"{output} is the file to read; give another name")
