"""`cryosgd compare`: several maps on the same slices, in the same greys and with the same contour."""
from __future__ import annotations

from ..core.errors import InputError
from ..io.comparison import ALL_PLANES, DENSITY, SIGMA
from ..io.comparison_pictures import save_side_by_side_png
from ..io.files import check_absent
from ..io.volume_data import AXES, open_volume


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "compare", help="several maps side by side as a picture",
        description="Draw maps on the same slices, in one grey scale and with one contour, and their histograms. "
                    "Densities are brought to the first map's units by least squares, over the Fourier shells in which "
                    "the two maps agree; the picture says by which factor. Boxes and pixel sizes may differ: places "
                    "are in Å from the middle of the box. `cryosgd align` brings maps into one orientation.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("maps", nargs="+", metavar="MAP.mrc", help="the maps, two or more")
    add("-o", "--output", required=True, metavar="PNG", help="the picture")
    add("--labels", nargs="+", metavar="NAME", help="what to call them (default: their file names)")
    add("--plane", choices=("z", "y", "x", "all"), help="planes to draw (default: all, of more than three maps z)")
    add("--position", nargs=3, type=float, default=(0.0, 0.0, 0.0), metavar=("X", "Y", "Z"),
        help="where the planes cross, Å from the middle of the box (default 0 0 0)")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("--level", type=float, metavar="F", help="contour, density in the first map's units "
                                                                "(default: proposed)")
    level.add_argument("--sigma", type=float, metavar="F", help="contour, σ above each map's own mean")
    add("--zoom", type=float, default=1.0, metavar="F", help="1 shows whole boxes (default %(default)g)")
    add("--own-greys", action="store_true", help="each map in its own greys (default: one grey scale)")
    add("--as-they-are", action="store_true", help="do not match the densities")
    add("--pixel-size", type=float, metavar="A", help="Å/px of all maps (default: as their headers say)")
    add("--overwrite", action="store_true", help="replace a picture that exists (default: refuse)")


def run(arguments) -> int:
    """Read, match, draw; raises InputError before anything is written."""
    labels = arguments.labels or [None] * len(arguments.maps)
    if len(arguments.maps) < 2:
        raise InputError("a comparison needs two maps or more; name another one")
    if len(labels) != len(arguments.maps):
        raise InputError(f"{len(labels)} labels were given for {len(arguments.maps)} maps; give one for each, or none")
    if not arguments.zoom >= 1:
        raise InputError(f"a zoom of {arguments.zoom:g} is less than 1, which shows whole boxes; give 1 or more")
    if arguments.pixel_size is not None and not arguments.pixel_size > 0:
        raise InputError(f"--pixel-size {arguments.pixel_size:g} Å/px is not positive")
    check_absent(arguments.output, arguments.overwrite)
    volumes = [open_volume(path, arguments.pixel_size, label) for path, label in zip(arguments.maps, labels)]
    settings = dict(position_a=list(arguments.position[::-1]), zoom=arguments.zoom,
                    one_grey_range=not arguments.own_greys)
    if arguments.plane:
        settings["planes"] = ALL_PLANES if arguments.plane == "all" else (AXES.index(arguments.plane),)
    if arguments.sigma is not None:
        settings.update(unit=SIGMA, level=arguments.sigma)
    elif arguments.level is not None:
        settings.update(unit=DENSITY, level=arguments.level)
    maps = save_side_by_side_png(arguments.output, volumes, matched=not arguments.as_they_are, **settings)
    for number, one in enumerate(maps):
        print(f"{one.data.label}: {one.in_words() or ('the densities that count' if number == 0 else 'as it is')}")
    print(f"wrote {arguments.output}")
    return 0
