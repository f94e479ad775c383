"""`cryosgd flip-hand`: the mirror image of a map, with its particles' poses."""
from __future__ import annotations

from ..core.errors import InputError
from ..core.hand import MIRRORS, flip_poses, flip_volume
from ..io.files import check_absent
from ..io.star import read_particles, write_particles
from ..io.volumes import read_volume, write_volume


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "flip-hand", help="mirror a map, and its particles' poses with it",
        description="The other hand of a map. Ab initio maps have a random hand, which no untilted image can tell. The "
                    "map is inverted through the box centre, voxel n//2: that is the mirror image, and every point "
                    "group keeps its axes. Poses are changed so that the images show the new map just as they showed "
                    "the old one.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("map", metavar="IN.mrc", help="the map, a cube")
    add("-o", "--output", required=True, metavar="OUT.mrc", help="the mirrored map")
    add("--axis", choices=tuple(MIRRORS), default="xyz",
        help="xyz inverts all three; x, y or z mirrors along that axis alone, which can turn the axes of T and I "
             "(default %(default)s)")
    add("--particles", metavar="STAR", help="particles with poses of this map (default: only the map)")
    add("--particles-out", metavar="STAR", help="the same particles with the poses of the mirrored map")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Mirror and write; raises InputError before anything is written."""
    if bool(arguments.particles) != bool(arguments.particles_out):
        raise InputError("--particles and --particles-out belong together; give both or neither")
    for path in filter(None, (arguments.output, arguments.particles_out)):
        check_absent(path, arguments.overwrite)
    volume, pixel_size = read_volume(arguments.map)
    table = read_particles(arguments.particles, images_must_exist=False) if arguments.particles else None
    if table is not None:
        table = flip_poses(table, arguments.axis)
    write_volume(arguments.output, flip_volume(volume, arguments.axis), pixel_size)
    how = "inverted through its centre (x, y and z)" if arguments.axis == "xyz" else f"mirrored along {arguments.axis}"
    print(f"wrote {arguments.output}: {arguments.map} {how}, about voxel {volume.shape[0] // 2}")
    if table is not None:
        write_particles(arguments.particles_out, table)
        print(f"wrote {arguments.particles_out}: {len(table)} particles with the poses of the mirrored map")
    return 0
