"""`cryosgd symmetry`: which point group a map has, and the map on its axes."""
from __future__ import annotations

import sys

from ..core.errors import InputError
from ..core.symmetry import point_group, symmetrise
from ..engines.align_symmetry import PRESENT, find_symmetry
from ..io.files import check_absent
from ..io.runfolder import write_json
from ..io.symmetry_pictures import save_symmetry_png
from ..io.volumes import read_volume, write_volume
from .align import add_resolution, describe, half_map, moved_half_maps, radius_of, refuse_empty


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "symmetry", help="which point group a map has, and the map on its axes",
        description="Try C2 to Cn, then those of D2 to Dn, T, O and I whose axes were found, and say which group the "
                    "map has. Score: share of the power that survives symmetrisation, without the spherical average. "
                    "Expected: what the best subgroup alone would give. Weakest: correlation of the map with itself "
                    "under the operator that fits worst, every shell weighing the same; a group that is there gives "
                    "0.5 to 1.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("map", metavar="MAP.mrc", help="the map, a cube")
    add_resolution(parser)
    add("--group", metavar="G", help="try this group alone, such as D7 (default: all)")
    add("--max-fold", type=int, default=12, metavar="N", help="largest fold of C and D (default %(default)s)")
    add("-o", "--output", metavar="OUT.mrc",
        help="write the map turned onto the axes of the group found, or of --group, in RELION's orientation")
    add("--symmetrise", action="store_true", help="also average OUT.mrc over the group (default: only turn it)")
    add("--half-maps", nargs=2, metavar=("HALF1.mrc", "HALF2.mrc"),
        help="half-maps of MAP, turned as it is: OUT_half1.mrc and OUT_half2.mrc (default: none)")
    add("--json", metavar="FILE", help="also write the numbers as JSON (default: only print them)")
    add("--png", metavar="FILE", help="also draw how well each group fits, and to which resolution (default: none)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Search, print, write; raises InputError before anything is written."""
    for given, option in ((arguments.symmetrise, "--symmetrise"), (arguments.half_maps, "--half-maps")):
        if given and not arguments.output:
            raise InputError(f"{option} needs a file to write the turned map to; give it with --output")
    if not 2 <= arguments.max_fold <= 60:
        raise InputError(f"--max-fold {arguments.max_fold} is not between 2 and 60")
    if arguments.group and len(point_group(arguments.group)) == 1:
        raise InputError("--group C1 has no axes to look for; leave it out to try all groups")
    halves = dict(zip(moved_half_maps(arguments.output), arguments.half_maps or ())) if arguments.output else {}
    for path in filter(None, (arguments.output, arguments.json, arguments.png, *halves)):
        check_absent(path, arguments.overwrite)
    volume, pixel_size = read_volume(arguments.map)
    refuse_empty(arguments.map, volume)
    halves = {path: half_map(half, arguments.map, volume, pixel_size) for path, half in halves.items()}
    radius = radius_of(arguments, len(volume), pixel_size)
    finest = len(volume) * pixel_size / radius
    print(f"{arguments.map}, up to {finest:.3g} Å ({radius} Fourier shells)")
    report = find_symmetry(volume, radius=radius, max_fold=arguments.max_fold, progress=_progress,
                           groups=[arguments.group] if arguments.group else None)
    _print_table(report, finest)
    turned_to = (arguments.group or report.group).upper() if arguments.output else "C1"
    if turned_to != "C1":
        _write(arguments, report, turned_to, {arguments.output: volume, **halves}, pixel_size)
    elif arguments.output:
        print(f"{arguments.output} is not written: C1 has no axes to turn the map to")
    found = {
        "map": arguments.map, "resolution_a": finest, "group": report.group, "turned_to": turned_to,
        "verdict": report.verdict, "not_spherical": report.uneven, "left_out": report.left_out,
        "box_size": len(volume), "pixel_size": pixel_size, "weakest_of_a_group_that_is_there": PRESENT,
        "groups": [{**_row(report, fit), "curve": fit.curve, "alignment": describe(fit.alignment, pixel_size)}
                   for fit in report.fits]}
    for path, write in ((arguments.json, write_json), (arguments.png, save_symmetry_png)):
        if path:
            write(path, found)
            print(f"wrote {path}")
    return 0


def _row(report, fit):
    return {"group": fit.group, "order": fit.order, "score": fit.score, "expected": report.expected[fit.group],
            "weakest": fit.weakest, "fsc": float(fit.curve[-1])}


def _print_table(report, finest):
    fsc_title = f"FSC at {finest:.3g} Å"
    print(f"{'group':>6} {'order':>6} {'score':>7} {'expected':>9} {'weakest':>8} {fsc_title:>14}")
    for fit in report.fits:
        row = _row(report, fit)
        print(f"{row['group']:>6} {row['order']:6d} {row['score']:7.3f} {row['expected']:9.3f} {row['weakest']:8.3f} "
              f"{row['fsc']:14.3f}")
    if report.left_out:
        print(f"not searched, as their cyclic groups do not fit: {', '.join(report.left_out)}")
    print()
    print(report.verdict)


def _write(arguments, report, group, maps, pixel_size):
    alignment = report.fit(group).alignment
    for path, volume in maps.items():
        turned = alignment.apply(volume)
        write_volume(path, symmetrise(turned, group) if arguments.symmetrise else turned, pixel_size)
        print(f"wrote {path}: on the axes of {group}{', averaged over the group' if arguments.symmetrise else ''}")


def _progress(group):
    if sys.stderr.isatty():
        print(f"\rtrying {group:4}", end="\r", file=sys.stderr, flush=True)
