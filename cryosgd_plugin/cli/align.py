"""`cryosgd align`: one map brought onto another by rotation, shift and hand."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..core.errors import InputError
from ..core.masks import check_mask
from ..core.poses import matrix_to_euler
from ..core.shells import crossing_resolution, fsc
from ..engines.align import align_hands
from ..engines.align_grid import MAGNIFICATION, onto_grid
from ..engines.align_maps import DEFAULT_SHELLS, compared_radius
from ..io.comparison_pictures import save_side_by_side_png
from ..io.files import check_absent
from ..io.runfolder import write_json
from ..io.volume_data import VolumeData
from ..io.volumes import read_volume, write_volume

# hands whose correlations lie closer than this are not decided
UNDECIDED = 0.03


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "align", help="bring one map onto another: rotation, shift and hand",
        description="Find the rotation, shift and hand that bring MOVING onto REFERENCE, and write it on the "
                    "reference's grid. Both hands are tried, and both correlations shown. The correlation is taken "
                    "with half-whitened spectra: 1 for the same map.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("moving", metavar="MOVING.mrc", help="the map to move")
    add("reference", metavar="REFERENCE.mrc", help="the map it is brought onto")
    add("-o", "--output", required=True, metavar="OUT.mrc", help="the moved map")
    add_resolution(parser)
    add("--no-mirror", action="store_true", help="keep the hand of MOVING (default: also try its mirror image)")
    add("--mask", metavar="MRC", help="soft mask on the reference, for the search and the FSC (default: none)")
    add("--half-maps", nargs=2, metavar=("HALF1.mrc", "HALF2.mrc"),
        help="half-maps of MOVING, moved as it is: OUT_half1.mrc and OUT_half2.mrc (default: none)")
    add("--json", metavar="FILE", help="also write the numbers as JSON (default: only print them)")
    add("--png", metavar="FILE",
        help="also draw the reference, the moved map and MOVING as it was, on the same slices (default: none)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def add_resolution(parser):
    """The two ways to say how far maps are compared."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--resolution", type=float, metavar="A",
                       help=f"compare the maps up to this resolution, Å (default: {DEFAULT_SHELLS} Fourier shells)")
    group.add_argument("--radius", type=int, metavar="SHELLS", help="the same as a number of Fourier shells")


def radius_of(arguments, box, pixel_size) -> int:
    """Fourier radius of --resolution or --radius; raises InputError where the box can't hold it."""
    return compared_radius(box, pixel_size, resolution_a=arguments.resolution, shells=arguments.radius)


def run(arguments) -> int:
    """Align, print, write; raises InputError before anything is written."""
    halves = dict(zip(moved_half_maps(arguments.output), arguments.half_maps or ()))
    for path in filter(None, (arguments.output, arguments.json, arguments.png, *halves)):
        check_absent(path, arguments.overwrite)
    moving, moving_pixel = read_volume(arguments.moving)
    halves = {path: half_map(half, arguments.moving, moving, moving_pixel) for path, half in halves.items()}
    reference, pixel_size = read_volume(arguments.reference)
    for path, volume in ((arguments.moving, moving), (arguments.reference, reference)):
        refuse_empty(path, volume)
    box = len(reference)
    moving, words = onto_grid(moving, moving_pixel, box, pixel_size)
    if words:
        print(f"{arguments.moving}: {words}")
    mask = check_mask(read_volume(arguments.mask, need_pixel_size=False)[0], box) if arguments.mask else None
    radius = radius_of(arguments, box, pixel_size)
    target = reference if mask is None else reference * mask
    refuse_empty(f"{arguments.reference} within the mask", target)

    hands = align_hands(moving, target, radius=radius, hands=not arguments.no_mirror)
    best = max(hands, key=lambda found: found.correlation)
    aligned = best.apply(moving)
    curve = fsc(aligned, reference, mask)
    result = _result(best, hands, curve, box, pixel_size, radius)
    _report(result, arguments)
    write_volume(arguments.output, aligned, pixel_size)
    print(f"wrote {arguments.output}")
    for path, half in halves.items():
        write_volume(path, best.apply(onto_grid(half, moving_pixel, box, pixel_size)[0]), pixel_size)
        print(f"wrote {path}")
    if arguments.json:
        write_json(arguments.json, {"moving": arguments.moving, "reference": arguments.reference, **result})
        print(f"wrote {arguments.json}")
    if arguments.png:
        maps = {"reference": reference, "moved onto it": aligned, "as it was": moving}
        save_side_by_side_png(arguments.png, [VolumeData(one, pixel_size, label) for label, one in maps.items()])
        print(f"wrote {arguments.png}")
    return 0


def moved_half_maps(output) -> list:
    """Where the moved half-maps lie, beside the moved map."""
    output = Path(output)
    return [output.with_name(f"{output.stem}_half{number}{output.suffix}") for number in (1, 2)]


def half_map(path, whole_path, whole, pixel_size):
    """A half-map of a map that was read; raises InputError where it has another box or pixel size."""
    volume, its_pixel = read_volume(path)
    if volume.shape != whole.shape or abs(its_pixel - pixel_size) > MAGNIFICATION * pixel_size:
        raise InputError(f"{path} ({len(volume)} px, {its_pixel:.4g} Å/px) is no half-map of {whole_path} "
                         f"({len(whole)} px, {pixel_size:.4g} Å/px); give those that were made with it")
    return volume


def refuse_empty(path, volume):
    """Raise InputError for a map whose voxels are all the same."""
    if volume.min() == volume.max():
        raise InputError(f"{path} is empty: every voxel is {float(volume.flat[0]):g}; give a map with density")


def describe(alignment, pixel_size):
    """The numbers of an alignment, in degrees and Å."""
    vector = Rotation.from_matrix(alignment.rotation).as_rotvec()
    angle = float(np.linalg.norm(vector))
    return {"mirrored": alignment.mirrored, "correlation": alignment.correlation,
            "euler_deg": [float(value) for value in matrix_to_euler(alignment.rotation)],
            "axis": vector / angle if angle > 1e-6 else [0.0, 0.0, 1.0], "angle_deg": float(np.degrees(angle)),
            "rotation": alignment.rotation, "shift_a": alignment.shift_px * pixel_size}


def _result(best, hands, curve, box, pixel_size, radius):
    other = next((found.correlation for found in hands if found is not best), None)
    return {**describe(best, pixel_size), "correlation_other_hand": other,
            "hand_decided": None if other is None else best.correlation - other >= UNDECIDED,
            "compared_to_a": box * pixel_size / radius,
            "fsc_0.5_a": crossing_resolution(curve, 0.5, box, pixel_size),
            "fsc_0.143_a": crossing_resolution(curve, 0.143, box, pixel_size)}


def _report(result, arguments):
    print(f"compared up to {result['compared_to_a']:.3g} Å")
    print("rotation    rot {:.2f}°, tilt {:.2f}°, psi {:.2f}° (RELION's Euler angles)".format(*result["euler_deg"]))
    print("            {:.2f}° about ({:.3f}, {:.3f}, {:.3f})".format(result["angle_deg"], *result["axis"]))
    print("shift       x {:.2f}, y {:.2f}, z {:.2f} Å, after the rotation".format(*result["shift_a"]))
    print(f"hand        {'mirrored (z reversed first)' if result['mirrored'] else 'as it is'}")
    other = result["correlation_other_hand"]
    print(f"correlation {result['correlation']:.3f}" + ("" if other is None else f", of the other hand {other:.3f}"))
    if result["hand_decided"] is False:
        print("            The hands fit nearly alike: at this resolution the hand is not decided; try a finer "
              "--resolution.")
    for threshold in ("0.5", "0.143"):
        crossing = result[f"fsc_{threshold}_a"]
        print(f"FSC         {threshold} at {crossing:.2f} Å" if np.isfinite(crossing) else
              f"FSC         below {threshold} from the first shell on")
