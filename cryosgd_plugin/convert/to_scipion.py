"""Into Scipion: sets of particles and curves from tables and results."""
from __future__ import annotations

import os

import numpy as np
from pwem.objects import FSC, Acquisition, Coordinate, CTFModel, Particle, Transform
from pyworkflow.object import Float, Integer, String

from ..constants import UNKNOWN_MAGNIFICATION
from ..core.errors import InputError
from ..io.optics_text import optics_to_text
from .columns import COORDINATES, CTF_QUALITY, attribute_name, column_values
from .stars import ID_TAG
from .transforms import transforms_from_poses


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
    extra = {tag: column_values(column) for tag, column in table.extra.items() if tag != ID_TAG}
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
    carried = {tag: column_values(table.extra[tag]) for tag in carry}

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
            setattr(item, attribute_name(tag), wrap(values[row]))

    output.copyItems(particles, updateItemCallback=update)
    if rows:
        raise InputError(f"{len(rows)} particles of the run are not in the input set (the first has id "
                         f"{next(iter(rows))}); the set was changed after the run started: run again")


def fsc_object(label, frequencies, values):
    """A Scipion FSC curve: frequencies in 1/Å (n,), values (n,)."""
    fsc = FSC(objLabel=label)
    fsc.setData([float(f) for f in frequencies], [float(v) for v in values])
    return fsc


class _ItemFiller:
    """Makes the Scipion particle of each row."""

    def __init__(self, table, extra, transforms, files):
        self.table, self.extra, self.transforms, self.files = table, extra, transforms, files
        self.ids = _ids(table)
        self.has_phase_shift = bool(np.any(table.phase_shift_deg))
        self.own_scale = bool(np.any(table.ctf_scale != 1.0))
        self.own_bfactor = bool(np.any(table.ctf_bfactor))
        self.micrographs = {}
        self.quality = [tag for tag in CTF_QUALITY if table.has_ctf and tag in extra]
        self.coordinates = all(tag in extra and extra[tag][0] is not String for tag in COORDINATES)
        self.fractional = self.coordinates and any(v != int(v) for tag in COORDINATES for v in extra[tag][1])
        placed = {*self.quality, *(COORDINATES if self.coordinates else ())}
        self.attributes = [(attribute_name(tag), *extra[tag]) for tag in extra if tag not in placed]

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
            getattr(ctf, CTF_QUALITY[tag][1])(self.extra[tag][1][row])
        return ctf

    def _set_micrograph(self, item, row):
        name = None
        if "rlnMicrographName" in self.extra:
            name = str(self.extra["rlnMicrographName"][1][row])
            item.setMicId(self.micrographs.setdefault(name, len(self.micrographs) + 1))
        if self.coordinates:
            coordinate = Coordinate()
            exact = [self.extra[tag][1][row] for tag in COORDINATES]
            coordinate.setPosition(*(int(value) for value in exact))
            if self.fractional:
                for tag, value in zip(COORDINATES, exact):
                    setattr(coordinate, f"_{tag}", Float(float(value)))
            if name is not None:
                # other programs' protocols match micrographs by their bare names
                coordinate.setMicName(os.path.basename(name))
                coordinate.setMicId(item.getMicId())
            item.setCoordinate(coordinate)


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
        wrap, values = column_values(table.extra["rlnImageId"])
        if wrap is Integer and min(values) > 0 and len(set(values)) == len(values):
            return values
    return table.ids


def _inside(path, root):
    return os.path.commonpath([os.path.abspath(path), os.path.abspath(root)]) == os.path.abspath(root)
