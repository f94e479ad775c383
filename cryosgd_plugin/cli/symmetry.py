"""`cryosgd symmetry`: which point group a map has, and the map on its axes."""
from __future__ import annotations

import sys

from ..core.errors import InputError
from ..core.symmetry import point_group, symmetrise
from ..engines.align_symmetry import find_symmetry
from ..io.files import check_absent
from ..io.runfolder import write_json
from ..io.volumes import read_volume, write_volume
from .align import add_resolution, compared_radius, describe, refuse_empty


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
    add("--json", metavar="FILE", help="also write the numbers as JSON (default: only print them)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Search, print, write; raises InputError before anything is written."""
    if arguments.symmetrise and not arguments.output:
        raise InputError("--symmetrise needs a file to write the averaged map to; give it with --output")
    if not 2 <= arguments.max_fold <= 60:
        raise InputError(f"--max-fold {arguments.max_fold} is not between 2 and 60")
    if arguments.group and len(point_group(arguments.group)) == 1:
        raise InputError("--group C1 has no axes to look for; leave it out to try all groups")
    for path in filter(None, (arguments.output, arguments.json)):
        check_absent(path, arguments.overwrite)
    volume, pixel_size = read_volume(arguments.map)
    refuse_empty(arguments.map, volume)
    radius = compared_radius(arguments, len(volume), pixel_size)
    finest = len(volume) * pixel_size / radius
    print(f"{arguments.map}, up to {finest:.3g} Å ({radius} Fourier shells)")
    report = find_symmetry(volume, radius=radius, max_fold=arguments.max_fold, progress=_progress,
                           groups=[arguments.group] if arguments.group else None)
    _print_table(report, finest)
    if arguments.output:
        _write(arguments, report, volume, pixel_size)
    if arguments.json:
        write_json(arguments.json, {"map": arguments.map, "resolution_a": finest, "group": report.group,
                                    "verdict": report.verdict, "not_spherical": report.uneven,
                                    "left_out": report.left_out, "groups": [{**_row(report, fit),
                                        "alignment": describe(fit.alignment, pixel_size)} for fit in report.fits]})
        print(f"wrote {arguments.json}")
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


def _write(arguments, report, volume, pixel_size):
    group = (arguments.group or report.group).upper()
    if group == "C1":
        print(f"{arguments.output} is not written: C1 has no axes to turn the map to")
        return
    turned = report.fit(group).alignment.apply(volume)
    if arguments.symmetrise:
        turned = symmetrise(turned, group)
    write_volume(arguments.output, turned, pixel_size)
    print(f"wrote {arguments.output}: the map on the axes of {group}"
          f"{', averaged over the group' if arguments.symmetrise else ''}")


def _progress(group):
    if sys.stderr.isatty():
        print(f"\rtrying {group:4}", end="\r", file=sys.stderr, flush=True)
