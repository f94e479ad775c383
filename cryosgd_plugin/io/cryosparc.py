"""Particles from cryoSPARC's .cs files: numpy structured arrays."""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..core.errors import InputError
from ..core.particles import OpticsGroup, ParticleTable
from .files import explained
from .star_images import find_image_file

_OPTICS = ("ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "blob/psize_A")
_UNCONVERTED = ("ctf/shift_A", "ctf/tilt_A", "ctf/trefoil_A", "ctf/tetra_A", "ctf/anisomag", "ctf/bfactor")


def read_cs(path, *, passthrough=None, pixel_size=None, voltage_kv=None, cs_mm=None, amplitude_contrast=None,
            images_must_exist=True):
    """(ParticleTable, notes) of a cryoSPARC particle file.

    path : .cs. passthrough : the .cs file that holds the fields which this one lacks, joined by uid.
    pixel_size (Å/px), voltage_kv, cs_mm, amplitude_contrast : used only where the files state none.
    images_must_exist : as `star.read_particles`; paths start from the cryoSPARC project folder.
    notes : sentences about what has no place in the table (higher-order terms) or needs care (dark particles).

    alignments3D/pose is a rotation vector from the volume to the image frame turned the other way round: A is the
    transpose of its matrix. alignments3D/shift is in px of alignments3D/psize_A, with RELION's sign.
    Raises InputError: no .cs file, no image paths, missing optics, missing stack.
    """
    path = Path(path)
    fields = _read_fields(path, passthrough)
    if "blob/path" not in fields or "blob/idx" not in fields:
        raise InputError(f"{path} names no images (blob/path, blob/idx); give the .cs file that does, with this one as "
                         "--passthrough")
    n = len(fields["blob/idx"])
    if n == 0:
        raise InputError(f"{path} holds no particles; give a .cs file with at least one")
    texts, stack_id = np.unique(fields["blob/path"], return_inverse=True)
    # cryoSPARC marks links with a leading '>'
    texts = [text.decode("utf-8").lstrip(">") for text in texts]
    optics, optics_id = _optics(path, fields, {"blob/psize_A": pixel_size, "ctf/accel_kv": voltage_kv,
                                               "ctf/cs_mm": cs_mm, "ctf/amp_contrast": amplitude_contrast})
    has_ctf = "ctf/df1_A" in fields

    def numbers(name, default=0.0, factor=1.0):
        return fields[name].astype(np.float64) * factor if name in fields else np.full(n, default)

    columns = {}
    if "alignments3D/pose" in fields:
        columns["rotations"] = Rotation.from_rotvec(fields["alignments3D/pose"].astype(np.float64)).as_matrix() \
            .transpose(0, 2, 1)
    if "alignments3D/shift" in fields:
        psize = fields.get("alignments3D/psize_A", fields.get("blob/psize_A"))
        psize = np.array([group.pixel_size for group in optics])[optics_id] if psize is None else psize
        columns["shifts_a"] = fields["alignments3D/shift"].astype(np.float64) * psize[:, None]
    if "alignments3D/split" in fields and np.isin(fields["alignments3D/split"], (0, 1)).all():
        columns["half_set"] = fields["alignments3D/split"].astype(np.int8) + np.int8(1)
    if "alignments3D/class" in fields:
        columns["class_id"] = fields["alignments3D/class"].astype(np.int32) + np.int32(1)
    table = ParticleTable(
        stack_paths=[find_image_file(text, path, images_must_exist) for text in texts],
        stack_id=stack_id.ravel().astype(np.int32), stack_index=fields["blob/idx"].astype(np.int64),
        optics=optics, optics_id=optics_id, ids=np.arange(1, n + 1), has_ctf=has_ctf,
        defocus_u=numbers("ctf/df1_A"), defocus_v=numbers("ctf/df2_A"),
        defocus_angle_deg=numbers("ctf/df_angle_rad", factor=180 / math.pi),
        phase_shift_deg=numbers("ctf/phase_shift_rad", factor=180 / math.pi),
        ctf_bfactor=np.zeros(n), ctf_scale=numbers("ctf/scale", 1.0),
        extra={"cryosparcUid": fields["uid"].astype("S")} if "uid" in fields else {},
        carried={"image_texts": texts}, **columns)
    return table, _notes(fields)


def _read_fields(path, passthrough):
    main = _load(path)
    fields = {name: main[name] for name in main.dtype.names}
    if passthrough is not None:
        more = _load(passthrough)
        order = np.argsort(more["uid"])
        place = np.clip(np.searchsorted(more["uid"][order], main["uid"]), 0, max(0, len(order) - 1))
        if not len(order) or np.any(more["uid"][order][place] != main["uid"]):
            raise InputError(f"{passthrough} lacks particles of {path} (by uid); give the passthrough file of that job")
        fields.update({name: more[name][order[place]] for name in more.dtype.names if name not in fields})
    return fields


def _load(path):
    with explained("read", path):
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{path} is not a cryoSPARC .cs file ({error})") from error
    if not isinstance(array, np.ndarray) or not array.dtype.names or array.ndim != 1 or "uid" not in array.dtype.names:
        raise InputError(f"{path} is not a cryoSPARC particle file (a table with a uid for each particle)")
    return array


def _optics(path, fields, stated):
    n = len(fields["blob/idx"])
    columns = []
    for name in _OPTICS:
        if name in fields:
            # float32 in the file: 2.7 shall not become 2.700000047683716
            columns.append(np.array([float(str(value)) for value in fields[name]]))
        elif stated[name] is not None:
            columns.append(np.full(n, float(stated[name])))
        elif name == "blob/psize_A" or "ctf/df1_A" in fields:
            raise InputError(f"{path} states no {name}; give the .cs file that does as --passthrough, or the value")
        else:
            columns.append(np.full(n, np.nan))
    columns.append(fields["blob/shape"][:, 0].astype(np.float64) if "blob/shape" in fields else np.zeros(n))
    columns.append(fields["ctf/exp_group_id"].astype(np.float64) if "ctf/exp_group_id" in fields else np.zeros(n))
    values = np.stack(columns, axis=1)
    unique, optics_id = np.unique(np.nan_to_num(values, nan=-1.0), axis=0, return_inverse=True)
    groups = []
    for number, row in enumerate(unique, start=1):
        voltage, cs, contrast, pixel, box, _ = (float("nan") if v == -1.0 else float(v) for v in row)
        if voltage <= 0 or not pixel > 0:
            raise InputError(f"{path}: voltage {voltage:g} kV and pixel size {pixel:g} Å/px must be positive")
        groups.append(OpticsGroup(f"opticsGroup{number}", voltage, cs, contrast, pixel, int(box)))
    return groups, optics_id.ravel().astype(np.int32)


def _notes(fields):
    notes = []
    present = [name for name in _UNCONVERTED if name in fields and np.any(fields[name] != 0)]
    if present:
        notes.append(f"not converted, though not zero: {', '.join(present)}; estimate them again in RELION")
    if "blob/sign" in fields and np.any(fields["blob/sign"] < 0):
        notes.append("the images are dark on a brighter background (blob/sign -1), RELION expects white particles: "
                     "invert them (cryosgd convert --stack … --invert)")
    return notes
