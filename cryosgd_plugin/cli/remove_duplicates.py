"""`cryosgd remove-duplicates`: particles that were picked twice, and images that stand in a file twice."""
from __future__ import annotations

import numpy as np

from ..core.duplicates import centres_of, repeated_images, score_column, too_close
from ..core.errors import InputError
from ..io.files import check_absent
from ..io.star import read_particles, write_particles
from .expand_symmetry import refuse_input

COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
# in this order; the second is that of the movies, which may have been binned since
MICROGRAPH_PIXEL_SIZES = ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "remove-duplicates", help="remove particles that were picked or joined twice",
        description="Of particles whose centres lie closer than a distance in the same micrograph keep the one of the "
                    "highest score, and of an image that stands in the file twice one row. The centre is the "
                    "coordinate less the shift that the alignment found. A duplicate is the same noise twice: in both "
                    "half-sets it makes a resolution that is none. Of a symmetry-expanded file one mate of each "
                    "particle is kept.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("particles", metavar="PARTICLES.star", help="RELION STAR file (3.0 or 3.1)")
    add("-o", "--output", required=True, metavar="OUT.star", help="STAR file to write (RELION 3.1 format)")
    add("--distance", type=float, required=True, metavar="A",
        help="closer than this, Å, is too close; half the particle's diameter or less. 0: only the same image twice")
    add("--micrograph-pixel-size", type=float, metavar="A",
        help="Å/px of the micrographs that the coordinates count in (default: as the file states)")
    add("--score", metavar="COLUMN",
        help="column that says how good a particle is, the higher the better (default: rlnMaxValueProbDistribution, "
             "rlnLogLikeliContribution or rlnAutopickFigureOfMerit; else the first in the file is kept)")
    add("--keep-same-image", action="store_true",
        help="keep rows of the same image whose centres are apart, as of subunits (default: keep one)")
    add("--overwrite", action="store_true", help="replace an output file that exists (default: refuse)")


def run(arguments) -> int:
    """Read, choose, write; raises InputError before anything is written."""
    refuse_input(arguments.output, arguments.particles)
    check_absent(arguments.output, arguments.overwrite)
    table = read_particles(arguments.particles, images_must_exist=False)
    score_name = score_column(table.extra, arguments.score)
    score = np.zeros(len(table)) if score_name is None else _numbers(table, score_name)
    images = np.stack([table.stack_id, table.stack_index], axis=1)
    images = np.unique(images, axis=0, return_inverse=True)[1].ravel()
    twice = np.zeros(len(table), bool) if arguments.keep_same_image else repeated_images(images, score)
    close = np.zeros(len(table), bool)
    if arguments.distance != 0:
        micrographs, centres_a = _centres(table, arguments.micrograph_pixel_size)
        close = too_close(micrographs, centres_a, arguments.distance, score, left_out=twice)
    kept = table.take(~(twice | close))
    print(f"kept of several: {f'that of the highest {score_name}' if score_name else 'the first in the file'}")
    write_particles(arguments.output, kept)
    print(f"wrote {arguments.output}: {len(kept)} of {len(table)} particles; {twice.sum()} rows showed an image again, "
          f"{close.sum()} were closer than {arguments.distance:g} Å to a better one")
    return 0


def _centres(table, given):
    missing = [tag for tag in ("rlnMicrographName", *COORDINATES) if tag not in table.extra]
    if missing:
        raise InputError(f"the particles have no {', '.join(missing)}, so their distances are not known; give "
                         "--distance 0 to remove the same image twice alone")
    coordinates = np.stack([_numbers(table, tag) for tag in COORDINATES], axis=1)
    return table.extra["rlnMicrographName"], centres_of(coordinates, _pixel_size(table, given), table.shifts_a)


def _pixel_size(table, given):
    """Å/px of the micrographs, a number or (n,): as given, else as the file states; says so where that is a guess."""
    if given is not None:
        return given
    for tag in MICROGRAPH_PIXEL_SIZES:
        if tag in table.extra:
            sizes = _numbers(table, tag)
        elif all(tag in group.extra for group in table.optics):
            sizes = np.array([_number(group.extra[tag], tag) for group in table.optics])[table.optics_id]
        else:
            continue
        listed = ", ".join(f"{size:g}" for size in np.unique(sizes))
        print(f"the coordinates count in micrographs of {listed} Å/px ({tag})" + (
            "" if tag == MICROGRAPH_PIXEL_SIZES[0] else ", those of the movies: if the micrographs were binned since, "
            "give --micrograph-pixel-size"))
        return sizes
    raise InputError("the file does not state the micrographs' pixel size, in which the coordinates count; give "
                     "--micrograph-pixel-size")


def _number(value, tag):
    try:
        return np.asarray(value).astype(np.float64)
    except ValueError as error:
        raise InputError(f"column {tag} holds a value that is no number ({error}); correct it") from error


def _numbers(table, tag):
    return _number(table.extra[tag], tag)
