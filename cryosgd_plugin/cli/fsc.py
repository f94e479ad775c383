"""`cryosgd fsc`: the Fourier shell correlation of two maps."""
from __future__ import annotations

import numpy as np

from ..core.masks import check_mask
from ..core.shells import crossing_resolution, fsc, shell_resolution
from ..io.files import check_absent
from ..io.fsc_star import write_fsc
from ..io.fsc_xml import write_fsc_xml
from ..io.pictures import save_fsc_png
from ..io.volumes import read_pair, read_volume

_THRESHOLDS = (0.143, 0.5)


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "fsc", help="Fourier shell correlation of two maps",
        description="Fourier shell correlation of two maps (two half-maps, or a map and a model map on the same grid), "
                    "shell by shell, and the resolutions at which it falls below 0.143 and 0.5. The maps are compared "
                    "as they stand: align them first.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("maps", nargs=2, metavar="MRC", help="the two maps: cubes of one box and one pixel size")
    add("--mask", metavar="MRC", help="soft mask with values 0 to 1, multiplied into both maps (default: none)")
    add("--pixel-size", type=float, metavar="A", help="Å/px of both maps (default: as their headers say)")
    add("--half-plane", action="store_true",
        help="count the half transform as RELION does (default: both Friedel mates; differs in small shells)")
    add("-o", "--output", metavar="STAR", help="write the curve as a STAR file (default: only print it)")
    add("--xml", metavar="XML", help="write the curve as the EMDB asks for it (default: only print it)")
    add("--png", metavar="PNG", help="draw the curve (default: no picture)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Read, compare, print; raises InputError for maps that can't be compared."""
    for path in filter(None, (arguments.output, arguments.xml, arguments.png)):
        check_absent(path, arguments.overwrite)
    a, b, pixel_size = read_pair(*arguments.maps, arguments.pixel_size)
    box = len(a)
    mask = None
    if arguments.mask:
        mask = check_mask(read_volume(arguments.mask, need_pixel_size=False)[0], box)
    curve = fsc(a, b, mask, half_plane=arguments.half_plane)

    print(f"{'shell':>5} {'1/Å':>10} {'Å':>9} {'FSC':>9}")
    for shell, (resolution, value) in enumerate(zip(shell_resolution(box, pixel_size), curve)):
        print(f"{shell:5d} {shell / (box * pixel_size):10.5f} {resolution:9.3f} {value:9.5f}")
    print()
    for threshold in _THRESHOLDS:
        print(_crossing_sentence(curve, threshold, box, pixel_size))

    kind = "masked" if arguments.mask else "unmasked"
    if arguments.output:
        general = {"rlnUnfilteredMapHalf1": arguments.maps[0], "rlnUnfilteredMapHalf2": arguments.maps[1]}
        if arguments.mask:
            general["rlnMaskName"] = arguments.mask
        write_fsc(arguments.output, {kind: curve}, box_size=box, pixel_size=pixel_size, general=general)
        print(f"wrote {arguments.output}")
    if arguments.xml:
        write_fsc_xml(arguments.xml, np.arange(1, len(curve)) / (box * pixel_size), curve[1:], f"FSC, {kind}")
        print(f"wrote {arguments.xml}")
    if arguments.png:
        save_fsc_png(arguments.png, {kind: curve}, box_size=box, pixel_size=pixel_size, thresholds=_THRESHOLDS)
        print(f"wrote {arguments.png}")
    return 0


def _crossing_sentence(curve, threshold, box, pixel_size):
    if (curve[1:] >= threshold).all():
        return f"FSC stays at {threshold:g} or above to the last shell ({box * pixel_size / (len(curve) - 1):.3g} Å)"
    if curve[1] < threshold:
        return f"FSC lies below {threshold:g} from the first shell on"
    return f"FSC = {threshold:g} at {crossing_resolution(curve, threshold, box, pixel_size):.2f} Å"
