"""Optics of a STAR file: RELION 3.1's data_optics, or what RELION 3.0 repeats in every row."""
from __future__ import annotations

import re

import numpy as np
from gemmi import cif

from ..core.errors import InputError
from ..core.particles import OpticsGroup
from .stacks import read_header
from .star_tables import block_tags, number_column, text_column

_MAIN = {"rlnVoltage": "voltage_kv", "rlnSphericalAberration": "cs_mm", "rlnAmplitudeContrast": "amplitude_contrast"}
_TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
_MATRIX = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
_ZERNIKE = {"rlnOddZernike": "odd_zernike", "rlnEvenZernike": "even_zernike"}
_OPTIONS = {"rlnVoltage": "--voltage", "rlnSphericalAberration": "--cs", "rlnAmplitudeContrast": "--amplitude-contrast"}


def optics_31(block, particles, path, images, has_ctf, stated):
    """(groups, optics_id (n,) int32) of a file with data_optics.

    block, particles : the two gemmi blocks; images : ImageColumn, for boxes the file leaves out;
    stated : tag → number for optics that the file leaves out.
    Raises InputError: particles of a group that isn't there, missing or unphysical optics.
    """
    tags = block_tags(block)
    count = len(block.find_values("_" + tags[0])) if tags else 0
    if count == 0:
        raise InputError(f"{path}: data_optics is empty; write the file again, or remove the block to have it read as "
                         "RELION 3.0")
    texts = {tag: text_column(block, tag) for tag in tags}
    numbers = {tag: number_column(block, tag, f"{path} data_optics") for tag in
               (*_MAIN, *_TILT, *_MATRIX, "rlnImagePixelSize", "rlnImageSize", "rlnOpticsGroup") if tag in tags}
    dimension = texts.get("rlnImageDimensionality", np.array([b"2"]))
    if np.any(dimension == b"3"):
        raise InputError(f"{path} holds sub-tomograms (rlnImageDimensionality 3); only 2D particle images can be used")
    group_numbers = numbers.get("rlnOpticsGroup", np.arange(1, count + 1)).astype(np.int64)
    optics_id = _group_of_particles(particles, path, group_numbers, len(images.stack_index))
    understood = {*_MAIN, *_TILT, *_MATRIX, *_ZERNIKE, "rlnImagePixelSize", "rlnImageSize", "rlnOpticsGroup",
                  "rlnOpticsGroupName", "rlnImageDimensionality"}
    groups = []
    for row in range(count):
        name = cif.as_string(_text(texts["rlnOpticsGroupName"][row])) if "rlnOpticsGroupName" in tags else \
            f"opticsGroup{group_numbers[row]}"
        value = {**stated, **{tag: float(column[row]) for tag, column in numbers.items()}}
        box = int(value["rlnImageSize"]) if "rlnImageSize" in value else _box(images, np.flatnonzero(optics_id == row))
        groups.append(_checked_group(
            f"{path}, optics group {name}", name, value, box, has_ctf,
            magnification=_matrix(value), beam_tilt_mrad=_pair(value),
            extra={tag: _text(texts[tag][row]) for tag in tags if tag not in understood},
            **{field: _vector(texts[tag][row], f"{path}, {tag}") for tag, field in _ZERNIKE.items() if tag in tags}))
    return groups, optics_id


def optics_30(block, path, images, has_ctf, stated):
    """(groups, optics_id, tags used) of a file whose rows each repeat their optics.

    stated : tag → number for optics that the file leaves out.
    Raises InputError: several pixel sizes, missing or unphysical optics.
    """
    present = [tag for tag in (*_MAIN, *_TILT) if len(block.find_values("_" + tag))]
    n = len(images.stack_index)
    pixel_size, used = _pixel_size_30(block, path)
    if pixel_size is not None:
        stated = {**stated, "rlnImagePixelSize": pixel_size}
    box = number_column(block, "rlnImageSize", path) if len(block.find_values("_rlnImageSize")) else None
    if box is not None and len(np.unique(box)) > 1:
        raise InputError(f"{path} mixes boxes of {_listed(np.unique(box))} px without optics groups; split it by box "
                         "or convert it to RELION 3.1")
    values = np.stack([number_column(block, tag, path) for tag in present], axis=1) if present else np.zeros((n, 0))
    unique, optics_id = np.unique(values, axis=0, return_inverse=True)
    groups = []
    for row, combination in enumerate(unique):
        value = {**stated, **dict(zip(present, (float(v) for v in combination)))}
        name = f"opticsGroup{row + 1}"
        group_box = int(box[0]) if box is not None else _box(images, np.flatnonzero(optics_id.ravel() == row))
        groups.append(_checked_group(str(path), name, value, group_box, has_ctf, beam_tilt_mrad=_pair(value)))
    return groups, optics_id.ravel().astype(np.int32), {*present, *used, "rlnImageSize", "rlnOpticsGroup"}


def optics_columns(table):
    """tag → column of data_optics for a table, RELION 3.1; what no group knows is left out."""
    groups = table.optics
    columns = {"rlnOpticsGroup": np.arange(1, len(groups) + 1),
               "rlnOpticsGroupName": np.array([group.name.encode() for group in groups])}
    for tag, field in _MAIN.items():
        _add(columns, tag, [getattr(group, field) for group in groups])
    _add(columns, "rlnImagePixelSize", [group.pixel_size for group in groups])
    if all(group.box_size > 0 for group in groups):
        columns["rlnImageSize"] = np.array([group.box_size for group in groups])
    columns["rlnImageDimensionality"] = np.full(len(groups), 2)
    if any(group.beam_tilt_mrad for group in groups):
        for axis, tag in enumerate(_TILT):
            columns[tag] = np.array([(group.beam_tilt_mrad or (0.0, 0.0))[axis] for group in groups])
    for tag, field in _ZERNIKE.items():
        vectors = [getattr(group, field) for group in groups]
        if any(vectors):
            length = max(len(vector) for vector in vectors if vector)
            columns[tag] = np.array([("[" + ",".join(f"{v:.9g}" for v in vector or (0.0,) * length) + "]").encode()
                                     for vector in vectors])
    if any(group.magnification for group in groups):
        matrices = np.array([np.ravel(group.magnification or ((1.0, 0.0), (0.0, 1.0))) for group in groups])
        columns.update({tag: matrices[:, i] for i, tag in enumerate(_MATRIX)})
    for tag in dict.fromkeys(tag for group in groups for tag in group.extra if tag not in columns):
        columns[tag] = np.array([str(group.extra.get(tag, "None")).encode("utf-8") for group in groups])
    return columns


def optics_columns_30(table):
    """(tag → column (n,), sentences about what RELION 3.0 can't hold) for a table.

    Raises InputError where the groups' pixel sizes differ.
    """
    sizes = np.array([group.pixel_size for group in table.optics])
    if np.ptp(sizes) > 1e-4 * sizes[0]:
        raise InputError(f"RELION 3.0 files have one pixel size, these groups have {_listed(np.unique(sizes))} Å/px; "
                         "write RELION 3.1 or split the set")
    columns = {}
    for tag, field in _MAIN.items():
        _add(columns, tag, np.array([getattr(group, field) for group in table.optics])[table.optics_id])
    # RELION 3.0: pixel size in Å = 10000 × detector pixel in µm / magnification
    columns["rlnMagnification"] = np.full(len(table), 10000.0)
    columns["rlnDetectorPixelSize"] = sizes[table.optics_id]
    if any(group.beam_tilt_mrad for group in table.optics):
        for axis, tag in enumerate(_TILT):
            tilts = np.array([(group.beam_tilt_mrad or (0.0, 0.0))[axis] for group in table.optics])
            columns[tag] = tilts[table.optics_id]
    lost = [word for word, field in (("odd Zernike terms", "odd_zernike"), ("even Zernike terms", "even_zernike"),
                                     ("magnification matrices", "magnification"))
            if any(getattr(group, field) for group in table.optics)]
    lost += sorted({tag for group in table.optics for tag in group.extra if tag != "rlnImageDimensionality"})
    return columns, [f"RELION 3.0 files can't hold {', '.join(lost)}: left out"] if lost else []


def _group_of_particles(particles, path, group_numbers, n):
    if len(np.unique(group_numbers)) < len(group_numbers):
        raise InputError(f"{path}: data_optics numbers two groups alike ({_listed(group_numbers)}); give each its own "
                         "rlnOpticsGroup")
    if not len(particles.find_values("_rlnOpticsGroup")):
        if len(group_numbers) == 1:
            return np.zeros(n, np.int32)
        raise InputError(f"{path} has {len(group_numbers)} optics groups but no column rlnOpticsGroup in its "
                         "particles; write the file again")
    wanted = number_column(particles, "rlnOpticsGroup", path).astype(np.int64)
    order = np.argsort(group_numbers)
    place = np.clip(np.searchsorted(group_numbers[order], wanted), 0, len(order) - 1)
    wrong = np.flatnonzero(group_numbers[order][place] != wanted)
    if wrong.size:
        raise InputError(f"{path}: row {wrong[0] + 1} is of optics group {wanted[wrong[0]]}, which data_optics lacks "
                         f"(it has {_listed(group_numbers)}); write the file again")
    return order[place].astype(np.int32)


def _checked_group(where, name, value, box, has_ctf, **higher):
    """An OpticsGroup; without CTF its voltage, Cs and amplitude contrast may be absent (nan)."""
    pixel_size = value.get("rlnImagePixelSize")
    if pixel_size is None:
        raise InputError(f"{where}: no pixel size (rlnImagePixelSize, or rlnDetectorPixelSize with rlnMagnification); "
                         "add it, or give it with --pixel-size")
    missing = [tag for tag in _MAIN if tag not in value]
    if has_ctf and missing:
        options = ", ".join(_OPTIONS[tag] for tag in missing)
        raise InputError(f"{where}: {', '.join(missing)} missing although the particles have defocus values; add it, "
                         f"or give {options}")
    main = {field: value.get(tag, float("nan")) for tag, field in _MAIN.items()}
    if main["voltage_kv"] <= 0:
        raise InputError(f"{where}: rlnVoltage is {main['voltage_kv']:g} kV; correct it, for example to 300")
    if not pixel_size > 0:
        raise InputError(f"{where}: pixel size is {pixel_size:g} Å/px; it must be positive, correct it")
    if not 0 <= main["amplitude_contrast"] <= 1 and has_ctf:
        raise InputError(f"{where}: rlnAmplitudeContrast is {main['amplitude_contrast']:g}; it must lie in [0, 1]")
    return OpticsGroup(name=name, pixel_size=pixel_size, box_size=box, **main, **higher)


def _pixel_size_30(block, path):
    """(Å/px or None, tags used); one value for all rows."""
    for tags in (("rlnImagePixelSize",), ("rlnPixelSize",), ("rlnDetectorPixelSize", "rlnMagnification")):
        if all(len(block.find_values("_" + tag)) for tag in tags):
            values = [number_column(block, tag, path) for tag in tags]
            if len(values) == 2 and np.any(values[1] <= 0):
                raise InputError(f"{path}: rlnMagnification of row {int(np.argmax(values[1] <= 0)) + 1} is not "
                                 "positive; correct it")
            sizes = values[0] if len(values) == 1 else 1e4 * values[0] / values[1]
            if np.ptp(sizes) > 1e-4 * abs(sizes[0]):
                raise InputError(f"{path} mixes pixel sizes ({_listed(np.unique(sizes.round(4)))} Å/px) without optics "
                                 "groups; split it by pixel size, or convert it to RELION 3.1 with optics groups")
            return float(sizes[0]), set(tags)
    return None, set()


def _box(images, rows):
    """Box of the first of these particles' stacks, in px; 0 where the stack isn't there."""
    if not len(rows):
        return 0
    path = images.paths[images.stack_id[rows[0]]]
    try:
        return read_header(path).box_size
    except FileNotFoundError:
        return 0


def _pair(value):
    return tuple(value.get(tag, 0.0) for tag in _TILT) if any(tag in value for tag in _TILT) else None


def _matrix(value):
    if not any(tag in value for tag in _MATRIX):
        return None
    m = [value.get(tag, default) for tag, default in zip(_MATRIX, (1.0, 0.0, 0.0, 1.0))]
    return (m[0], m[1]), (m[2], m[3])


def _vector(token, where):
    parts = re.split(r"[,\s]+", cif.as_string(_text(token)).strip("[] "))
    try:
        return tuple(float(part) for part in parts if part)
    except ValueError as error:
        raise InputError(f"{where} is '{_text(token)}', not a list like [0.1,0.2]; correct it") from error


def _add(columns, tag, values):
    values = np.asarray(values, np.float64)
    if np.isfinite(values).all():
        columns[tag] = values
    elif np.isfinite(values).any():
        raise InputError(f"some optics groups have {tag} and others not; give it to all of them")


def _text(token):
    return bytes(token).decode("utf-8")


def _listed(values):
    return ", ".join(f"{v:g}" for v in values)
