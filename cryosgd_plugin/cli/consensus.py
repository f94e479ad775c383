"""`cryosgd consensus`: do several maps, such as restarts, show the same structure?"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.masks import check_mask
from ..engines.align_grid import MAGNIFICATION
from ..engines.consensus import compare_maps
from ..io.agreement import CONSENSUS, CONSENSUS_FSC, CONSENSUS_JSON, CONSENSUS_PNG, agreement_of, write_mean_fsc
from ..io.consensus_pictures import save_agreement_png
from ..io.files import check_absent, explained
from ..io.runfolder import write_json
from ..io.volumes import read_volume, write_volume
from .align import add_resolution, describe, radius_of

_FILES = (CONSENSUS, CONSENSUS_JSON, CONSENSUS_FSC, CONSENSUS_PNG)


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "consensus", help="do several maps (restarts) show the same structure?",
        description="Align every pair of maps, both hands, and compare them by FSC; group those that agree, average "
                    "the largest group, and say what the starts are worth. A map that is empty or can't be read is "
                    "named and left out.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("maps", nargs="+", metavar="MAP.mrc", help="two maps or more: cubes of one box and one pixel size")
    add("-o", "--output", required=True, metavar="DIR",
        help="folder for consensus.mrc, the aligned maps, consensus.json, fsc.star and consensus.png")
    add_resolution(parser)
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--mask", metavar="MRC", help="soft mask on the first map (default: a sphere)")
    window.add_argument("--diameter", type=float, metavar="A",
                        help="diameter of the spherical mask, Å (default: as the box holds)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Compare, print, write; raises InputError before anything is written."""
    if len(arguments.maps) < 2:
        raise InputError("one map has nothing to be compared with; give two or more")
    folder = Path(arguments.output)
    names = _names(arguments.maps)
    for file in (*_FILES, *(f"aligned_{name}.mrc" for name in names)):
        check_absent(folder / file, arguments.overwrite)
    volumes, pixel_size, unreadable = _read(arguments.maps)
    box = next(len(volume) for volume in volumes if volume is not None)
    kept = [i for i, volume in enumerate(volumes) if volume is not None]
    mask = check_mask(read_volume(arguments.mask, need_pixel_size=False)[0], box) if arguments.mask else None
    found = compare_maps([volumes[i] for i in kept], radius=radius_of(arguments, box, pixel_size),
                         pixel_size=pixel_size, mask=mask, diameter_a=arguments.diameter,
                         names=[names[i] for i in kept], progress=_progress)
    verdict = found.verdict + "".join(f" {names[i]} was left out: {reason}." for i, reason in unreadable.items())
    _print_table(found)
    print(verdict)
    with explained("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write(folder, found, verdict, {**{names[i]: reason for i, reason in unreadable.items()}, **found.failed})
    print(f"wrote {', '.join(_FILES)} and the aligned maps to {folder}")
    return 0


def _names(paths):
    """Short names: the file's, with its folder's where files share one."""
    stems = [Path(path).stem for path in paths]
    if len(set(stems)) < len(stems):
        stems = [f"{Path(path).resolve().parent.name}_{Path(path).stem}" for path in paths]
    if len(set(stems)) < len(stems):
        stems = [f"{number + 1:02d}_{stem}" for number, stem in enumerate(stems)]
    return stems


def _read(paths):
    """(maps or None, pixel size, {number: why it can't be read}); raises InputError where fewer than two are left."""
    volumes, pixels, unreadable = [], {}, {}
    for number, path in enumerate(paths):
        try:
            volume, pixels[number] = read_volume(path)
        except InputError as error:
            volume, unreadable[number] = None, str(error)
        volumes.append(volume)
    if len(pixels) < 2:
        raise InputError(f"{len(pixels)} of {len(paths)} maps can be read, at least 2 are needed: "
                         + "; ".join(unreadable.values()))
    first = next(iter(pixels))
    for number, pixel in pixels.items():
        if abs(pixel / pixels[first] - 1) > MAGNIFICATION or len(volumes[number]) != len(volumes[first]):
            raise InputError(f"{paths[first]} has {len(volumes[first])} px at {pixels[first]:.4g} Å/px, "
                             f"{paths[number]} {len(volumes[number])} px at {pixel:.4g} Å/px; bring them to one grid, "
                             "for example with `cryosgd align`")
    return volumes, pixels[first], unreadable


def _print_table(found):
    print(f"compared up to {found.box_size * found.pixel_size / found.radius:.3g} Å; brought onto "
          f"{found.names[found.reference]}")
    group_of = {i: number + 1 for number, cluster in enumerate(found.clusters) for i in cluster}
    print(f"{'map':>24} {'group':>6} {'hand':>9} {'mean FSC':>9} {'best pair at FSC 0.5':>22}")
    for row, i in enumerate(found.used):
        others = np.arange(len(found.used)) != row
        best = found.resolution_a[row, others].min()
        print(f"{found.names[i]:>24} {group_of[i]:6d} {'mirrored' if found.alignments[row].mirrored else 'as is':>9} "
              f"{found.similarity[row, others].mean():9.3f} {f'{best:.3g} Å' if np.isfinite(best) else '-':>22}")
    print()


def _write(folder, found, verdict, failed):
    pixel_size, maps = found.pixel_size, []
    write_volume(folder / CONSENSUS, found.consensus, pixel_size)
    for i, volume, alignment in zip(found.used, found.aligned, found.alignments):
        file = f"aligned_{found.names[i]}.mrc"
        write_volume(folder / file, volume, pixel_size)
        maps.append(dict(name=found.names[i], file=file, agrees=i in found.clusters[0],
                         alignment=describe(alignment, pixel_size)))
    write_mean_fsc(folder / CONSENSUS_FSC, found.mean, found.std, box_size=found.box_size, pixel_size=pixel_size)
    report = dict(found.report(), maps=maps, consensus=CONSENSUS, verdict=verdict, left_out=failed)
    save_agreement_png(folder / CONSENSUS_PNG, agreement_of(report, folder), title=f"{len(maps)} maps")
    write_json(folder / CONSENSUS_JSON, report)


def _progress(done, pairs):
    if sys.stderr.isatty():
        print(f"\raligning pair {done + 1} of {pairs} ", end="\r", file=sys.stderr, flush=True)
