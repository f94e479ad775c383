"""From Scipion: a set of particles as the table that the engines know."""
from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
from pyworkflow.object import Boolean, Float, Integer, String

from ..core.errors import InputError
from ..core.particles import OpticsGroup, ParticleTable
from ..io.optics_text import optics_from_text
from ..io.stacks import StackReader
from .columns import COORDINATES, CTF_QUALITY, column_array, exact_position, tag_of
from .stars import ID_TAG
from .transforms import poses_from_transforms

# attributes of a Scipion particle that have a place of their own in the table, or none at all
_UNDERSTOOD = {"_index", "_filename", "_samplingRate", "_micId", "_classId", "_rlnRandomSubset", "_rlnOpticsGroup",
               "_rlnCtfBfactor", "_rlnCtfScalefactor", "_rlnPhaseShift", f"_{ID_TAG}"}


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


def half_sets_of(particles) -> list:
    """The different half-set numbers of a set's particles, [] where they have none; quick for large sets."""
    first = particles.getFirstItem()
    if first is None or not first.hasAttribute("_rlnRandomSubset"):
        return []
    return sorted(int(value) for value in particles.getUniqueValues("_rlnRandomSubset") if value is not None)


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
            for tag, (getter, _) in CTF_QUALITY.items():
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
        return None if values is None else column_array(self._padded(values))

    def extra(self):
        """tag → (n,) column of everything that the table has no place for."""
        columns = {tag_of(name): self.column(name) for name in self._plain if name not in _UNDERSTOOD}
        for tag, values in self._nested.items():
            # an attribute of the same name came from a STAR file as it stood: better than Scipion's own copy
            if tag not in columns and any(value not in (None, "") for value in values):
                columns[tag] = column_array(self._padded(values))
        return columns

    def _add_coordinate(self, coordinate):
        for tag, value in zip(COORDINATES, exact_position(coordinate)):
            self._put(self._nested, tag, value)
        self._put(self._nested, "rlnMicrographName", coordinate.getMicName())

    def _put(self, columns, name, value):
        values = columns.setdefault(name, [])
        values.extend([None] * (self._count - len(values)))
        values.append(value)

    def _padded(self, values):
        return values + [None] * (self._count - len(values))


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


def _numbers(column, default, n):
    return np.full(n, default) if column is None else column.astype(np.float64)
