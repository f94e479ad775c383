"""`cryosgd convert`: particle files to each other, with or without writing their images anew."""
from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..core.errors import InputError
from ..io.cryosparc import read_cs
from ..io.files import check_absent
from ..io.source import ParticleSource
from ..io.stack_writer import write_stack
from ..io.stacks import check_stacks
from ..io.star import read_particles, write_particles


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "convert", help="convert particle files (RELION 3.0, 3.1, cryoSPARC) and restack their images",
        description="Convert particles of RELION (3.0 or 3.1 STAR) or cryoSPARC (.cs) to a RELION STAR file; with "
                    "--stack write their images into one new stack too, downsampled by cropping in Fourier space.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("particles", metavar="IN", help="particles: .star or .cs")
    add("-o", "--output", required=True, metavar="OUT.star", help="STAR file to write (RELION 3.1 format)")
    add("--to-relion-3.0", dest="relion_30", action="store_true",
        help="write RELION 3.0 format: no optics groups, shifts in px (default: 3.1)")
    add("--passthrough", metavar="CS", help="cryoSPARC's passthrough file, for fields that IN lacks")
    stated = parser.add_argument_group("where IN doesn't state them")
    stated.add_argument("--pixel-size", type=float, metavar="A", help="Å/px (default: an error)")
    stated.add_argument("--voltage", type=float, metavar="KV", help="kV (default: an error)")
    stated.add_argument("--cs", type=float, metavar="MM", help="spherical aberration, mm (default: an error)")
    stated.add_argument("--amplitude-contrast", type=float, metavar="F", help="fraction (default: an error)")
    images = parser.add_argument_group("images")
    images.add_argument("--stack", metavar="OUT.mrcs",
                        help="write the images into this stack (default: keep the old stacks)")
    images.add_argument("--box", type=int, metavar="PX",
                        help="box of the new stack, px, showing the same field (default: the first optics group's)")
    images.add_argument("--invert", action="store_true", help="change the sign of the images (default: keep)")
    images.add_argument("--normalise", type=float, metavar="A",
                        help="particle diameter, Å: bring the background to mean 0 and sd 1 (default: keep values)")
    images.add_argument("--float16", action="store_true", help="write 16-bit floats, MRC mode 12 (default: 32-bit)")
    images.add_argument("--memory", type=float, default=2.0, metavar="GB",
                        help="memory budget, GB (default %(default)s)")
    add("--overwrite", action="store_true", help="replace output files that exist (default: refuse)")


def run(arguments) -> int:
    """Read, convert, write; raises InputError before anything is written where it can."""
    for path in filter(None, (arguments.output, arguments.stack)):
        check_absent(path, arguments.overwrite)
    if not arguments.stack and (arguments.box or arguments.invert or arguments.normalise or arguments.float16):
        raise InputError("--box, --invert, --normalise and --float16 change images; give --stack OUT.mrcs too")
    table, notes = _read(arguments)
    if arguments.stack:
        notes += check_stacks(table)
        table = _restack(table, arguments)
    notes += write_particles(arguments.output, table, relion_30=arguments.relion_30)
    for note in notes:
        print(f"note: {note}")
    groups = f", {len(table.optics)} optics group{'s' if len(table.optics) != 1 else ''}"
    print(f"wrote {arguments.output}: {len(table)} particles{'' if arguments.relion_30 else groups}")
    return 0


def restacked(table, path, box, pixel_size):
    """The table of particles whose images were written in its order to one stack of `box` px, pixel_size Å/px."""
    names = np.array([f"{index + 1:06d}@{table.stack_paths[stack]}".encode("utf-8") for index, stack in
                      zip(table.stack_index.tolist(), table.stack_id.tolist())])
    carried = {key: value for key, value in table.carried.items() if key != "image_texts"}
    return replace(
        table, stack_paths=[str(Path(path).absolute())], stack_id=np.zeros(len(table), np.int32),
        stack_index=np.arange(len(table), dtype=np.int64), carried=carried,
        optics=[replace(group, box_size=box, pixel_size=pixel_size) for group in table.optics],
        extra={"rlnImageOriginalName": names, **table.extra})


def _read(arguments):
    stated = {"pixel_size": arguments.pixel_size, "voltage_kv": arguments.voltage, "cs_mm": arguments.cs,
              "amplitude_contrast": arguments.amplitude_contrast, "images_must_exist": bool(arguments.stack)}
    if Path(arguments.particles).suffix == ".cs":
        return read_cs(arguments.particles, passthrough=arguments.passthrough, **stated)
    if arguments.passthrough:
        raise InputError(f"--passthrough belongs to cryoSPARC's .cs files, not to {arguments.particles}")
    return read_particles(arguments.particles, **stated), []


def _restack(table, arguments):
    path = Path(arguments.stack)
    if any(path.absolute() == Path(stack).absolute() for stack in table.stack_paths):
        raise InputError(f"{path} is one of the stacks to read; give another name")
    if len({(group.box_size, group.pixel_size) for group in table.optics}) > 1 and not arguments.normalise:
        raise InputError("the optics groups differ in box or pixel size; bringing them to one grid needs a background "
                         "of 0: add --normalise DIAMETER")
    box = arguments.box or table.box_size
    diameter = arguments.normalise or table.box_size * table.pixel_size
    started = time.monotonic()
    with ParticleSource(table, box_size=box, diameter_a=diameter, memory_gb=arguments.memory, invert=arguments.invert,
                        normalise=bool(arguments.normalise)) as source:
        kind = "float16" if arguments.float16 else "float32"
        with tqdm(total=len(table), unit=" images", file=sys.stderr, disable=None) as bar:
            write_stack(path, _grey_blocks(source, bar), len(table), box, source.pixel_size, kind)
        pixel_size = source.pixel_size
    print(f"wrote {path}: {len(table)} images of {box} px at {pixel_size:.5g} Å/px, {time.monotonic() - started:.1f} s")
    return restacked(table, path, box, pixel_size)


def _grey_blocks(source, bar):
    """All images in the table's order, keeping grey values, as one expects of downsampling (the engines keep sums)."""
    factor = np.float32((source.box_size / source.full_box) ** 2)
    for rows, images in source.blocks(np.arange(len(source))):
        yield images * factor
        bar.update(len(rows))
