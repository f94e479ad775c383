"""Maps between Scipion and run folders, and the classes that particles form around them."""
from __future__ import annotations

import os

from pwem.objects import SetOfClasses3D, SetOfVolumes, Volume, VolumeMask

from ..core.errors import InputError
from ..io.volumes import read_volume, write_volume


def volume_object(path, pixel_size, half_maps=None, *, label="", root=".", kind=Volume):
    """A Scipion Volume of a map file; pixel_size in Å/px.

    half_maps : two paths, or None; root : the project's folder, to which file names become relative; kind : class.
    """
    volume = kind(location=os.path.relpath(path, root), objLabel=label)
    volume.setSamplingRate(pixel_size)
    if half_maps is not None:
        volume.setHalfMaps([os.path.relpath(half, root) for half in half_maps])
    return volume


def mask_object(path, pixel_size, *, root="."):
    """A Scipion VolumeMask of a mask file; pixel_size in Å/px, root : as of `volume_object`."""
    mask = VolumeMask(location=os.path.relpath(path, root))
    mask.setSamplingRate(pixel_size)
    return mask


def volumes_in(obj, *, disabled=True) -> list:
    """[(label, Volume)] of a Volume, of the items of a SetOfVolumes, or of the maps of a SetOfClasses3D.

    disabled : whether items that were switched off in Scipion's tables are there too.
    """
    if isinstance(obj, SetOfClasses3D):
        items = ((f"class {item.getObjId()} ({item.getSize():,} particles)", item.isEnabled(),
                  item.getRepresentative().clone()) for item in obj.iterItems())
    elif isinstance(obj, SetOfVolumes):
        items = ((volume.getObjLabel() or f"volume {volume.getObjId()}", volume.isEnabled(), volume.clone())
                 for volume in obj.iterItems())
    else:
        items = [(obj.getObjLabel() or os.path.basename(str(obj.getFileName())), True, obj)]
    return [(label, volume) for label, enabled, volume in items if enabled or disabled]


def map_of(volume):
    """The density of a Scipion Volume, (d, d, d) float32; its pixel size is what Scipion says, not the file's header.

    Raises InputError where it is none of a file of its own that can be read as an MRC map.
    """
    index, name = volume.getLocation()
    if index > 1:
        raise InputError(f"the map is number {index} of the stack {name}; export it into a file of its own")
    return _density(name)


def map_shape(volume):
    """(z, y, x) in px of a Scipion Volume, from its header; InputError where the file isn't there."""
    sides = volume.getDim()
    if sides is None:
        raise InputError(f"the file {volume.getFileName()} is not there; make or import it again")
    return sides[::-1]


def box_of(volume) -> int:
    """The side of a Scipion Volume in px, from its header; InputError where the file isn't there or is no cube."""
    shape = map_shape(volume)
    if len(set(shape)) != 1:
        raise InputError(f"the map {volume.getFileName()} of {' × '.join(map(str, shape))} px is not a cube; pad it "
                         "to equal sides")
    return shape[0]


def half_map_paths(volume) -> list:
    """Paths of a Scipion Volume's half-maps, without the ":mrc" that some programs append; [] where it has none."""
    return [_path(name) for name in volume.getHalfMaps(asList=True)] if volume.hasHalfMaps() else []


def half_maps_of(volume):
    """The densities of a Scipion Volume's half-maps, one after the other; none where it has none."""
    return map(_density, half_map_paths(volume))


def volume_to_mrc(volume, path):
    """Write a Scipion Volume as an MRC file that states Scipion's pixel size, whatever its own header says.

    Raises InputError as `map_of`.
    """
    write_volume(path, map_of(volume), volume.getSamplingRate())


def fill_classes(classes, maps):
    """Fill an empty SetOfClasses3D, whose images have class ids and poses, with one class for each id that occurs.

    maps : class id → Volume. A class that won no particle gets no item, as in Scipion's own classifications.
    """
    def describe(item):
        item.setRepresentative(maps[item.getObjId()].clone())

    classes.classifyItems(updateClassCallback=describe)


def _density(name):
    return read_volume(_path(name), need_pixel_size=False)[0]


def _path(name):
    return name[:-len(":mrc")] if name.endswith(":mrc") else name
