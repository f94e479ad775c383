"""Optics groups as the text of a data_optics block, which is how Scipion keeps them beside a set of particles."""
from __future__ import annotations

import io as text_io
from types import SimpleNamespace

import numpy as np
from gemmi import cif

from ..core.errors import InputError
from .star_images import ImageColumn
from .star_optics import optics_31, optics_columns
from .star_tables import write_header, write_loop


def optics_to_text(optics) -> str:
    """data_optics of a list of OpticsGroup as STAR text; groups are numbered from 1 in that order."""
    file = text_io.BytesIO()
    write_header(file, "optics")
    write_loop(file, optics_columns(SimpleNamespace(optics=list(optics))))
    return file.getvalue().decode("utf-8")


def optics_from_text(text, *, pixel_size, box_size, where):
    """(list of OpticsGroup, their numbers (m,) int64) from STAR text with a data_optics block.

    pixel_size Å/px and box_size px hold for every group, whatever the text says: a Scipion set has one of each, and
    cropping or scaling it leaves the text behind. where : words for messages.
    Raises InputError where the text is no STAR, has no data_optics, or lacks what a group needs.
    """
    try:
        document = cif.read_string(text)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{where}: the optics groups are no STAR text ({error}); import the particles "
                         "again") from error
    block = document.find_block("optics")
    if block is None or block.find_loop("_rlnOpticsGroup").get_loop() is None:
        raise InputError(f"{where}: the optics groups have no data_optics table with rlnOpticsGroup; import the "
                         "particles again")
    numbers = [str(number) for number in block.find_loop("_rlnOpticsGroup")]
    loop = block.find_loop("_rlnOpticsGroup").get_loop()
    for tag, value in (("_rlnImagePixelSize", f"{pixel_size:.9g}"), ("_rlnImageSize", str(box_size))):
        if tag not in loop.tags:
            loop.add_columns([tag], value)
        column = block.find_loop(tag)
        for row in range(len(column)):
            column[row] = value
    one_of_each = cif.Block("particles")
    one_of_each.init_loop("_rln", ["OpticsGroup"]).set_all_values([numbers])
    nowhere = ImageColumn([], [], np.zeros(len(numbers), np.int32), np.zeros(len(numbers), np.int64))
    groups, order = optics_31(block, one_of_each, where, nowhere, True, {})
    return [groups[i] for i in order], np.array(numbers, dtype=np.int64)
