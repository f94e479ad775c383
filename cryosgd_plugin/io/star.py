"""Particles from and to RELION STAR files, 3.0 and 3.1 or later."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.particles import ParticleTable
from ..core.poses import euler_to_matrix, matrix_to_euler
from .files import atomic_write
from .star_images import image_column, image_texts
from .star_optics import optics_30, optics_31, optics_columns, optics_columns_30
from .star_tables import (
    block_tags,
    number_column,
    read_document,
    read_table,
    text_column,
    write_header,
    write_loop,
    write_rows,
    write_table,
)

__all__ = ["read_particles", "write_particles", "write_particle_blocks", "read_table", "write_table"]

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
SHIFTS_A = ("rlnOriginXAngst", "rlnOriginYAngst")
SHIFTS_PX = ("rlnOriginX", "rlnOriginY")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
# columns that belong to the particle, with the value that stands for an absent one
_CTF_DEFAULTS = {"rlnPhaseShift": 0.0, "rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0}


def read_particles(path, *, pixel_size=None, voltage_kv=None, cs_mm=None, amplitude_contrast=None,
                   images_must_exist=True) -> ParticleTable:
    """A particle table from a RELION STAR file (3.0: one block; 3.1+: data_optics and data_particles).

    path : the STAR file. pixel_size (Å/px), voltage_kv, cs_mm, amplitude_contrast : used only where the file itself
        states none.
    images_must_exist : look for every stack (beside the STAR file, in its parent folders, in the current folder);
        False takes paths as they stand, for metadata whose images are elsewhere.
    Columns that are not understood go into `extra` as text, those of the optics into each group's `extra`, other
    blocks into `carried`; `write_particles` writes all of them back. `ids` are row numbers from 1.
    Raises InputError: no STAR file, no particles, no image names, a value that is no number, missing stack, missing
    or unphysical optics, several pixel sizes without optics groups.
    """
    path = Path(path)
    document = read_document(path)
    block = _particle_block(document, path)
    tags = block_tags(block)
    if "rlnImageName" not in tags:
        raise InputError(f"{path} has no column rlnImageName in data_{block.name.strip()}, so there are no images to "
                         "read; give the STAR file of extracted particles")
    n = len(block.find_values("_rlnImageName"))
    if n == 0:
        raise InputError(f"{path} holds no particles; give a STAR file with at least one row")

    def numbers(tag, default=None):
        return number_column(block, tag, path) if tag in tags else np.full(n, default, np.float64)

    images = image_column(block, path, images_must_exist)
    has_ctf = "rlnDefocusU" in tags
    stated = {tag: float(value) for tag, value in
              (("rlnImagePixelSize", pixel_size), ("rlnVoltage", voltage_kv), ("rlnSphericalAberration", cs_mm),
               ("rlnAmplitudeContrast", amplitude_contrast)) if value is not None}
    used = {"rlnImageName", "rlnOpticsGroup"}
    optics_block = document.find_block("optics")
    if optics_block is not None:
        optics, optics_id = optics_31(optics_block, block, path, images, has_ctf, stated)
    else:
        optics, optics_id, optics_tags = optics_30(block, path, images, has_ctf, stated)
        used |= optics_tags

    columns = {}
    if has_ctf:
        columns["defocus_u"] = numbers("rlnDefocusU")
        columns["defocus_v"] = numbers("rlnDefocusV") if "rlnDefocusV" in tags else columns["defocus_u"].copy()
        columns["defocus_angle_deg"] = numbers("rlnDefocusAngle", 0.0)
    else:
        columns.update({name: np.zeros(n) for name in ("defocus_u", "defocus_v", "defocus_angle_deg")})
    names = ("phase_shift_deg", "ctf_bfactor", "ctf_scale")
    columns.update({name: numbers(tag, default) for name, (tag, default) in zip(names, _CTF_DEFAULTS.items())})
    used |= {*DEFOCUS, *_CTF_DEFAULTS}
    if all(tag in tags for tag in ANGLES):
        columns["rotations"] = euler_to_matrix(*(numbers(tag) for tag in ANGLES))
        used |= set(ANGLES)
    shifts = _shifts(tags, numbers, optics, optics_id)
    if shifts is not None:
        columns["shifts_a"] = shifts
        used |= {*SHIFTS_A, *SHIFTS_PX}
    if "rlnRandomSubset" in tags:
        subset = numbers("rlnRandomSubset")
        # anything but two halves is somebody's own numbering and is carried as text
        if np.isin(subset, (1, 2)).all():
            columns["half_set"] = subset.astype(np.int8)
            used.add("rlnRandomSubset")
    if "rlnClassNumber" in tags:
        columns["class_id"] = numbers("rlnClassNumber").astype(np.int32)
        used.add("rlnClassNumber")

    return ParticleTable(
        stack_paths=images.paths, stack_id=images.stack_id, stack_index=images.stack_index,
        optics=optics, optics_id=optics_id, ids=np.arange(1, n + 1), has_ctf=has_ctf,
        extra={tag: text_column(block, tag) for tag in tags if tag not in used},
        carried={"columns": tags, "image_texts": images.texts,
                 "optics_columns": block_tags(optics_block) if optics_block is not None else [],
                 "blocks": [part.as_string() for part in document if part.name not in ("optics", block.name)]},
        **columns)


def write_particles(path, table: ParticleTable, *, relion_30=False):
    """Write a STAR file, atomically: RELION 3.1 format, or 3.0 with `relion_30`.

    Stacks are named relative to the STAR file where both lie under one top folder, else by their absolute path; a
    name that the table was read with is kept where it leads to the same file from the new place.
    Columns stand in the order in which they were read; new ones come last.
    Returns a list of sentences: what the format can't hold (3.0 has no Zernike terms, no magnification matrix).
    Raises InputError where it can't be written; with `relion_30` where the groups' pixel sizes differ.
    """
    return write_particle_blocks(path, [table], relion_30=relion_30)


def write_particle_blocks(path, tables, *, relion_30=False):
    """Write the rows of several tables into one STAR file, as `write_particles` does of one.

    tables : iterable of at least one, of the same columns, optics groups and stacks; only the first is kept while the
    others are asked for, so that the file may be larger than the memory.
    """
    path, tables = Path(path), iter(tables)
    first = next(tables)
    columns, notes = _all_columns(path, first, relion_30)
    with atomic_write(path) as partial, open(partial, "wb") as file:
        if relion_30:
            file.write(b"\ndata_images\n\n")
        else:
            write_header(file, "optics")
            write_loop(file, _ordered(optics_columns(first), first.carried.get("optics_columns", ())))
            file.write(b"\n")
            write_header(file, "particles")
        write_loop(file, columns)
        for table in tables:
            write_rows(file, _all_columns(path, table, relion_30)[0])
        for text in first.carried.get("blocks", ()):
            file.write(b"\n" + text.encode("utf-8") + b"\n")
    return notes


def _particle_block(document, path):
    for name in ("particles", "images", ""):
        for block in document:
            if block.name.strip() == name:
                return block
    with_images = [block for block in document if len(block.find_values("_rlnImageName"))]
    if len(with_images) == 1:
        return with_images[0]
    raise InputError(f"{path} has no block data_particles, data_images or data_; it has "
                     f"{', '.join('data_' + block.name.strip() for block in document)}: give a STAR file of particles")


def _shifts(tags, numbers, optics, optics_id):
    """(n, 2) Å, or None where there are none; the Å columns win over px ones left from an older format."""
    if all(tag in tags for tag in SHIFTS_A):
        return np.stack([numbers(tag) for tag in SHIFTS_A], axis=1)
    if all(tag in tags for tag in SHIFTS_PX):
        pixel_sizes = np.array([group.pixel_size for group in optics])[optics_id]
        return np.stack([numbers(tag) for tag in SHIFTS_PX], axis=1) * pixel_sizes[:, None]
    return None


def _all_columns(path, table, relion_30):
    """tag → column of the block of particles, in the order in which it was read; and what the format can't hold."""
    notes = []
    columns = _particle_columns(path, table)
    if relion_30:
        per_particle, notes = optics_columns_30(table)
        if table.shifts_a is not None:
            shifts_px = table.shifts_a / table.pixel_size
            columns.update({tag: shifts_px[:, axis] for axis, tag in enumerate(SHIFTS_PX)})
            columns = {tag: v for tag, v in columns.items() if tag not in SHIFTS_A}
        columns.update(per_particle)
    else:
        columns["rlnOpticsGroup"] = table.optics_id + 1
    return _ordered(columns, table.carried.get("columns", ())), notes


def _particle_columns(path, table):
    """tag → column of all that belongs to the particle in either format, understood columns over carried ones."""
    columns = dict(table.extra)
    columns["rlnImageName"] = image_texts(path, table)
    if table.has_ctf:
        columns.update(rlnDefocusU=table.defocus_u, rlnDefocusV=table.defocus_v,
                       rlnDefocusAngle=table.defocus_angle_deg, rlnPhaseShift=table.phase_shift_deg,
                       rlnCtfBfactor=table.ctf_bfactor, rlnCtfScalefactor=table.ctf_scale)
    if table.rotations is not None:
        columns.update(zip(ANGLES, matrix_to_euler(table.rotations)))
    if table.shifts_a is not None:
        columns.update({tag: table.shifts_a[:, axis] for axis, tag in enumerate(SHIFTS_A)})
    if table.half_set is not None:
        columns["rlnRandomSubset"] = table.half_set
    if table.class_id is not None:
        columns["rlnClassNumber"] = table.class_id
    return columns


def _ordered(columns, order):
    """Columns in the order in which the file was read; a shift column in px gives its place to that in Å."""
    renamed = dict(zip(SHIFTS_PX + SHIFTS_A, SHIFTS_A + SHIFTS_PX))
    first = []
    for tag in order:
        tag = tag if tag in columns else renamed.get(tag)
        if tag in columns and tag not in first:
            first.append(tag)
    return {tag: columns[tag] for tag in first + [tag for tag in columns if tag not in first]}
