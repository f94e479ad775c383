"""The one border with Scipion: sets of particles to the particle table and back.

Conventions (core/CONVENTIONS.md): the table holds A (volume to image) and the shift o to apply in Å; Scipion's
projection alignment holds M = inv([[A, −o], [0, 1]]) with o in px. Nothing else in the project knows M.
"""
from __future__ import annotations

import os
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from pwem.objects import FSC, Acquisition, Coordinate, CTFModel, Particle, Transform
from pyworkflow.object import Boolean, Float, Integer, String

from .constants import UNKNOWN_MAGNIFICATION
from .core.errors import InputError
from .core.particles import OpticsGroup, ParticleTable
from .io.optics_text import optics_from_text, optics_to_text
from .io.stacks import StackReader
from .io.star import read_particles, write_particles

# column of a run's particles.star that leads back to the Scipion particle
ID_TAG = "cryosgdParticleId"
# attributes of a Scipion particle that have a place of their own in the table, or none at all
_UNDERSTOOD = {"_index", "_filename", "_samplingRate", "_micId", "_classId", "_rlnRandomSubset", "_rlnOpticsGroup",
               "_rlnCtfBfactor", "_rlnCtfScalefactor", "_rlnPhaseShift", f"_{ID_TAG}"}
# STAR columns that Scipion keeps in objects of its own: tag → (getter, setter) of the CTF model
_CTF_QUALITY = {"rlnCtfMaxResolution": ("getResolution", "setResolution"),
                "rlnCtfFigureOfMerit": ("getFitQuality", "setFitQuality"),
                "rlnCtfImage": ("getPsdFile", "setPsdFile")}
_COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
# 007 is a name, not the number 7; SQLite's integers end before 20 digits
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
_NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+|0|[1-9]\d*)([eE][+-]?\d+)?")


def table_from_set(particles, *, root=".") -> ParticleTable:
    """The particle table of a Scipion SetOfParticles, in the order of the ids; disabled particles are left out.

    root : folder that the set's file names are relative to (the project). ids are Scipion's; poses are read where the
    set has a projection alignment; every plain attribute that the table has no place for becomes a column of `extra`.
    Raises InputError: empty set, particles without the CTF that the set promises, mixed pixel sizes, unknown optics
    groups, mirrored transforms.
    """
    items = _Columns()
    for item in particles.iterItems(orderBy="id"):
        if item.isEnabled():
            items.add(item)
    if not items.ids:
        raise InputError("the set holds no particles; choose another input")
    pixel_size, box_size = particles.getSamplingRate(), particles.getXDim()
    strange = {size for size in items.pixel_sizes if abs(size - pixel_size) > 1e-4 * pixel_size}
    if strange:
        raise InputError(f"the set mixes pixel sizes ({pixel_size:g} and {min(strange):g} Å/px); split it or scale "
                         "the particles to one size")
    has_ctf = bool(particles.hasCTF())
    if has_ctf and not all(items.ctf):
        raise InputError(f"{sum(c is None for c in items.ctf)} of {len(items.ids)} particles have no CTF although the "
                         "set claims one; assign the CTF again")
    optics, optics_id = _optics_of_set(particles, items, pixel_size, box_size)
    rotations = shifts_a = None
    if particles.hasAlignmentProj():
        rotations, shifts_a = poses_from_transforms(np.array(items.transforms), pixel_size)
    defocus = np.array(items.ctf if has_ctf else [(0.0, 0.0, 0.0, 0.0)] * len(items.ids), dtype=np.float64)
    extra = items.extra()
    half_set = items.column("_rlnRandomSubset")
    if half_set is not None and not np.isin(half_set, (1, 2)).all():
        # anything but two halves is somebody's own numbering
        extra["rlnRandomSubset"], half_set = half_set, None
    class_id = np.array([c if c is not None else 0 for c in items.class_ids], np.int32)
    paths, stack_id = np.unique(np.array(items.files), return_inverse=True)
    return ParticleTable(
        stack_paths=[os.path.normpath(os.path.join(os.path.abspath(root), path)) for path in paths.tolist()],
        stack_id=stack_id.ravel().astype(np.int32), stack_index=np.array(items.indices, np.int64),
        optics=optics, optics_id=optics_id, ids=np.array(items.ids, np.int64), has_ctf=has_ctf,
        defocus_u=defocus[:, 0], defocus_v=defocus[:, 1], defocus_angle_deg=defocus[:, 2],
        phase_shift_deg=defocus[:, 3],
        ctf_bfactor=_numbers(items.column("_rlnCtfBfactor"), 0.0, len(items.ids)),
        ctf_scale=_numbers(items.column("_rlnCtfScalefactor"), 1.0, len(items.ids)),
        rotations=rotations, shifts_a=shifts_a,
        half_set=None if half_set is None else half_set.astype(np.int8),
        class_id=class_id if np.any(class_id) else None, extra=extra)


def set_from_table(table, particles, *, root="."):
    """Fill an empty SetOfParticles from a particle table: what importing a STAR file means.

    root : the project's folder; file names inside it become relative to it. Columns of `extra` become attributes of
    the particles (Integer, Float or String by their content); coordinates, micrograph names and CTF quality get their
    places in Scipion. Defocus follows Scipion's order, U ≥ V, which is the same CTF.
    Raises InputError where the optics groups differ in pixel size or box: a Scipion set has one of each.
    """
    sizes = {(group.pixel_size, group.box_size) for group in table.optics}
    if len(sizes) > 1:
        listed = "; ".join(f"{box} px at {size:g} Å/px" for size, box in sorted(sizes))
        raise InputError(f"the optics groups differ ({listed}), but a Scipion set has one box and one pixel size; "
                         "import each group from a STAR file of its own, or give the file to `cryosgd abinitio`")
    particles.setSamplingRate(table.pixel_size)
    particles.setAcquisition(_acquisition(table))
    particles.setHasCTF(table.has_ctf)
    flipped = [group.extra.get("rlnCtfDataArePhaseFlipped") == "1" for group in table.optics]
    particles.setIsPhaseFlipped(any(flipped))
    transforms = None
    if table.rotations is not None:
        particles.setAlignmentProj()
        transforms = transforms_from_poses(table.rotations, table.shifts_a, table.pixel_size)
    extra = {tag: _values(column) for tag, column in table.extra.items() if tag != ID_TAG}
    fill = _ItemFiller(table, extra, transforms, [os.path.relpath(path, root) if _inside(path, root) else path
                                                  for path in table.stack_paths])
    for row in range(len(table)):
        particles.append(fill(row))
    # Scipion would read it from the first image, relative to the current folder
    particles.setDim((table.box_size, table.box_size, 1))


def copy_particles(particles, output, table, *, carry=()):
    """Copy a set to `output` with the poses, half-sets and classes of a table whose ids are the set's.

    Ids and foreign attributes stay; particles that the table doesn't hold (a run on a part of the set) are left out.
    carry : tags of `table.extra` to store as attributes too.
    Raises InputError where the table has ids that the set lacks.
    """
    rows = {identity: row for row, identity in enumerate(table.ids.tolist())}
    output.copyInfo(particles)
    transforms = None
    if table.rotations is not None:
        output.setAlignmentProj()
        transforms = transforms_from_poses(table.rotations, table.shifts_a, particles.getSamplingRate())
    carried = {tag: _values(table.extra[tag]) for tag in carry}

    def update(item, _):
        row = rows.pop(item.getObjId(), None)
        if row is None:
            item._appendItem = False
            return
        if transforms is not None:
            item.setTransform(Transform(matrix=transforms[row]))
        if table.half_set is not None:
            item._rlnRandomSubset = Integer(int(table.half_set[row]))
        if table.class_id is not None:
            item.setClassId(int(table.class_id[row]))
        for tag, (wrap, values) in carried.items():
            setattr(item, _attribute(tag), wrap(values[row]))

    output.copyItems(particles, updateItemCallback=update)
    if rows:
        raise InputError(f"{len(rows)} particles of the run are not in the input set (the first has id "
                         f"{next(iter(rows))}); the set was changed after the run started: run again")


def some_images(particles, count, *, root="."):
    """The first `count` images of a set, (n, d, d) float32, to be looked at.

    Raises InputError: empty set, unreadable stack.
    """
    locations = [item.getLocation() for item in particles.iterItems(orderBy="id", limit=count)]
    if not locations:
        raise InputError("the set holds no particles; choose another input")
    paths = list(dict.fromkeys(path for _, path in locations))
    where = SimpleNamespace(stack_paths=[os.path.join(os.path.abspath(root), path) for path in paths],
                            stack_id=np.array([paths.index(path) for _, path in locations]),
                            stack_index=np.array([max(index, 1) - 1 for index, _ in locations]))
    with StackReader() as reader:
        return reader.read(where, np.arange(len(locations)))


def transforms_from_poses(rotations, shifts_a, pixel_size):
    """(n, 4, 4) Scipion projection transforms M of rotations A (n, 3, 3) and shifts o (n, 2) in Å (None: zero)."""
    shifts_px = np.zeros((len(rotations), 3))
    if shifts_a is not None:
        shifts_px[:, :2] = np.asarray(shifts_a) / pixel_size
    transforms = np.zeros((len(rotations), 4, 4))
    # the inverse of [[A, −o], [0, 1]] is [[Aᵀ, Aᵀ·o], [0, 1]]
    transforms[:, :3, :3] = np.transpose(rotations, (0, 2, 1))
    transforms[:, :3, 3] = np.einsum("nji,nj->ni", rotations, shifts_px)
    transforms[:, 3, 3] = 1.0
    return transforms


def poses_from_transforms(transforms, pixel_size):
    """(A (n, 3, 3), o (n, 2) in Å) of Scipion projection transforms (n, 4, 4); the inverse of `transforms_from_poses`.

    Raises InputError for transforms that are no rotation (mirrored, scaled or singular).
    """
    rotations = np.transpose(transforms[:, :3, :3], (0, 2, 1))
    wrong = np.flatnonzero(np.abs(np.einsum("nij,nkj->nik", rotations, rotations) - np.eye(3)).max(axis=(1, 2)) > 1e-3)
    if not wrong.size:
        wrong = np.flatnonzero(np.linalg.det(rotations) < 0)
    if wrong.size:
        raise InputError(f"the transform of particle {wrong[0] + 1} is no rotation (mirrored or scaled; {wrong.size} "
                         "such); take the particles from a 3D refinement")
    shifts_px = np.einsum("nij,nj->ni", rotations, transforms[:, :3, 3])[:, :2]
    return np.ascontiguousarray(rotations), shifts_px * pixel_size


def table_to_star(table, path):
    """Write the table for an engine: a STAR file with the ids as a column that the engine carries to its result."""
    return write_particles(path, replace(table, extra={**table.extra, ID_TAG: table.ids}))


def table_from_star(path) -> ParticleTable:
    """The table of a run's particles.star, with the ids that `table_to_star` wrote.

    Raises InputError where the column of the ids is missing.
    """
    table = read_particles(path)
    if ID_TAG not in table.extra:
        raise InputError(f"{path} has no column {ID_TAG}, so its particles can't be found in Scipion; run again")
    extra = dict(table.extra)
    return replace(table, ids=extra.pop(ID_TAG).astype(np.int64), extra=extra)


def fsc_object(label, frequencies, values):
    """A Scipion FSC curve: frequencies in 1/Å (n,), values (n,)."""
    fsc = FSC(objLabel=label)
    fsc.setData([float(f) for f in frequencies], [float(v) for v in values])
    return fsc


class _Columns:
    """Gathers the values of a set's items, one list per quantity."""

    def __init__(self):
        self.ids, self.files, self.indices, self.class_ids = [], [], [], []
        self.ctf, self.transforms, self.optics, self.pixel_sizes = [], [], [], set()
        self._plain, self._nested, self._count = {}, {}, 0

    def add(self, item):
        index, path = item.getLocation()
        self.ids.append(item.getObjId())
        self.files.append(path)
        self.indices.append(max(index, 1) - 1)  # Scipion's 0 is the only image of a file
        self.class_ids.append(item.getClassId())
        self.pixel_sizes.add(item.getSamplingRate())
        ctf = item.getCTF()
        phase_shift = item.getAttributeValue("_rlnPhaseShift", 0.0)
        if ctf is not None and ctf.getDefocusU() is not None:
            own = ctf.getPhaseShift()
            self.ctf.append((*ctf.getDefocus(), phase_shift if own is None else own))
            for tag, (getter, _) in _CTF_QUALITY.items():
                self._put(self._nested, tag, getattr(ctf, getter)())
        else:
            self.ctf.append(None)
        transform = item.getTransform()
        self.transforms.append(np.eye(4) if transform is None else transform.getMatrix())
        acquisition = item.getAcquisition()
        self.optics.append((acquisition.getVoltage(), acquisition.getSphericalAberration(),
                            acquisition.getAmplitudeContrast()))
        if item.hasCoordinate():
            self._add_coordinate(item.getCoordinate())
        for name, attribute in item.getAttributes():
            if isinstance(attribute, (Integer, Float, String, Boolean)):
                self._put(self._plain, name, attribute.get())
        self._count += 1

    def column(self, name):
        """The values of one plain attribute (n,), or None where no item has it."""
        values = self._plain.get(name)
        return None if values is None else _array(self._padded(values))

    def extra(self):
        """tag → (n,) column of everything that the table has no place for."""
        columns = {_tag(name): self.column(name) for name in self._plain if name not in _UNDERSTOOD}
        for tag, values in self._nested.items():
            # an attribute of the same name came from a STAR file as it stood: better than Scipion's own copy
            if tag not in columns and any(value not in (None, "") for value in values):
                columns[tag] = _array(self._padded(values))
        return columns

    def _add_coordinate(self, coordinate):
        for tag, value in zip(_COORDINATES, coordinate.getPosition()):
            exact = coordinate.getAttributeValue(f"_{tag}")
            # Scipion's coordinates are whole numbers; what was read stays exact until somebody moves the particle
            self._put(self._nested, tag, exact if exact is not None and int(exact) == value else value)
        self._put(self._nested, "rlnMicrographName", coordinate.getMicName())

    def _put(self, columns, name, value):
        values = columns.setdefault(name, [])
        values.extend([None] * (self._count - len(values)))
        values.append(value)

    def _padded(self, values):
        return values + [None] * (self._count - len(values))


class _ItemFiller:
    """Makes the Scipion particle of each row."""

    def __init__(self, table, extra, transforms, files):
        self.table, self.extra, self.transforms, self.files = table, extra, transforms, files
        self.ids = _ids(table)
        self.has_phase_shift = bool(np.any(table.phase_shift_deg))
        self.own_scale = bool(np.any(table.ctf_scale != 1.0))
        self.own_bfactor = bool(np.any(table.ctf_bfactor))
        self.micrographs = {}
        self.quality = [tag for tag in _CTF_QUALITY if table.has_ctf and tag in extra]
        self.coordinates = all(tag in extra and extra[tag][0] is not String for tag in _COORDINATES)
        self.fractional = self.coordinates and any(v != int(v) for tag in _COORDINATES for v in extra[tag][1])
        placed = {*self.quality, *(_COORDINATES if self.coordinates else ())}
        self.attributes = [(_attribute(tag), *extra[tag]) for tag in extra if tag not in placed]

    def __call__(self, row):
        table, item = self.table, Particle()
        item.setObjId(int(self.ids[row]))
        item.setLocation(int(table.stack_index[row]) + 1, self.files[table.stack_id[row]])
        if table.has_ctf:
            item.setCTF(self._ctf(row))
        if self.transforms is not None:
            item.setTransform(Transform(matrix=self.transforms[row]))
        if table.half_set is not None:
            item._rlnRandomSubset = Integer(int(table.half_set[row]))
        if table.class_id is not None:
            item.setClassId(int(table.class_id[row]))
        if len(table.optics) > 1:
            item._rlnOpticsGroup = Integer(int(table.optics_id[row]) + 1)
        if self.own_bfactor:
            item._rlnCtfBfactor = Float(float(table.ctf_bfactor[row]))
        if self.own_scale:
            item._rlnCtfScalefactor = Float(float(table.ctf_scale[row]))
        self._set_micrograph(item, row)
        for name, wrap, values in self.attributes:
            setattr(item, name, wrap(values[row]))
        return item

    def _ctf(self, row):
        table, ctf = self.table, CTFModel()
        ctf.setStandardDefocus(float(table.defocus_u[row]), float(table.defocus_v[row]),
                               float(table.defocus_angle_deg[row]))
        if self.has_phase_shift:
            ctf.setPhaseShift(float(table.phase_shift_deg[row]))
        for tag in self.quality:
            getattr(ctf, _CTF_QUALITY[tag][1])(self.extra[tag][1][row])
        return ctf

    def _set_micrograph(self, item, row):
        name = None
        if "rlnMicrographName" in self.extra:
            name = str(self.extra["rlnMicrographName"][1][row])
            item.setMicId(self.micrographs.setdefault(name, len(self.micrographs) + 1))
        if self.coordinates:
            coordinate = Coordinate()
            exact = [self.extra[tag][1][row] for tag in _COORDINATES]
            coordinate.setPosition(*(int(value) for value in exact))
            if self.fractional:
                for tag, value in zip(_COORDINATES, exact):
                    setattr(coordinate, f"_{tag}", Float(float(value)))
            if name is not None:
                # other programs' protocols match micrographs by their bare names
                coordinate.setMicName(os.path.basename(name))
                coordinate.setMicId(item.getMicId())
            item.setCoordinate(coordinate)


def _optics_of_set(particles, items, pixel_size, box_size):
    """(groups, optics_id): from the STAR text that RELION's and our import leave, else from the acquisitions."""
    text = particles.getAcquisition().opticsGroupInfo.get()
    if text:
        groups, numbers = optics_from_text(text, pixel_size=pixel_size, box_size=box_size,
                                           where="the set's acquisition")
        wanted = items.column("_rlnOpticsGroup")
        if wanted is None:
            # with one group there is no column; RELION's converter takes the first group then, and so do we
            wanted = np.full(len(items.ids), numbers[0])
        unknown = set(wanted.tolist()) - set(numbers.tolist())
        if unknown:
            raise InputError(f"particles are of optics group {min(unknown)}, which the set's acquisition lacks (it has "
                             f"{', '.join(map(str, numbers))}); import the particles again")
        place = {number: row for row, number in enumerate(numbers.tolist())}
        return groups, np.array([place[number] for number in wanted.tolist()], np.int32)
    combinations = {values: row for row, values in enumerate(dict.fromkeys(items.optics))}
    if particles.hasCTF() and any(value is None for values in combinations for value in values):
        raise InputError("the particles have a CTF but no voltage, Cs or amplitude contrast; import them again with "
                         "the acquisition of the microscope")
    groups = [OpticsGroup(f"opticsGroup{row + 1}", *(np.nan if v is None else float(v) for v in values),
                          pixel_size=pixel_size, box_size=box_size) for values, row in combinations.items()]
    return groups, np.array([combinations[values] for values in items.optics], np.int32)


def _acquisition(table):
    first = table.optics[0]
    acquisition = Acquisition(magnification=UNKNOWN_MAGNIFICATION)
    if np.isfinite(first.voltage_kv):
        acquisition.setVoltage(first.voltage_kv)
        acquisition.setSphericalAberration(first.cs_mm)
        acquisition.setAmplitudeContrast(first.amplitude_contrast)
        acquisition.opticsGroupInfo.set(optics_to_text(table.optics))
    return acquisition


def _ids(table):
    """rlnImageId where it can serve (Scipion wrote it, so a set comes back under its own ids), else row numbers."""
    if "rlnImageId" in table.extra:
        wrap, values = _values(table.extra["rlnImageId"])
        if wrap is Integer and min(values) > 0 and len(set(values)) == len(values):
            return values
    return table.ids


def _values(column):
    """(Scipion type, list of Python values) of a table column: whole numbers, numbers or text by its content."""
    if column.dtype.kind in "iub":
        return Integer, column.tolist()
    if column.dtype.kind == "f":
        return Float, column.tolist()
    texts = [_unquoted(token) for token in column.tolist()]
    if all(map(_WHOLE.fullmatch, texts)):
        return Integer, [int(text) for text in texts]
    if all(map(_NUMBER.fullmatch, texts)):
        return Float, [float(text) for text in texts]
    return String, texts


def _unquoted(token):
    text = token.decode("utf-8") if isinstance(token, bytes) else str(token)
    return text[1:-1] if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0] else text


def _array(values):
    """(n,) column of Python values; where some are missing, text with None as RELION writes it."""
    if any(value is None for value in values) or isinstance(values[0], str):
        return np.array([str(value).encode("utf-8") for value in values], dtype="S")
    return np.array(values, dtype=np.float64 if isinstance(values[0], float) else np.int64)


def _numbers(column, default, n):
    return np.full(n, default) if column is None else column.astype(np.float64)


def _attribute(tag):
    # Scipion splits attribute names at dots
    return "_" + tag.replace(".", "__dot__")


def _tag(attribute):
    return attribute[1:].replace("__dot__", ".") if attribute.startswith("_") else attribute


def _inside(path, root):
    return os.path.commonpath([os.path.abspath(path), os.path.abspath(root)]) == os.path.abspath(root)
