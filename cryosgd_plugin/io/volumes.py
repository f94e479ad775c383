"""Maps: cubic MRC volumes as [z, y, x] arrays."""
from __future__ import annotations

import os
import warnings
from pathlib import Path

import mrcfile
import numpy as np

from .. import __version__
from ..core.errors import InputError
from .files import atomic_write
from .stacks import check_mrc_start


def read_volume(path, *, need_pixel_size=True):
    """A cubic map: ((d, d, d) float32 [z, y, x], pixel size in Å/px).

    The header's axis order (mapc, mapr, maps) is honoured, so that the last axis is always x.
    need_pixel_size : False (masks) returns 0.0 where the header states none.
    Raises InputError: missing or unreadable file, not cubic, voxels not cubic, no pixel size, NaN or inf.
    """
    path = Path(path)
    check_mrc_start(path)
    with warnings.catch_warnings():
        # odd machine stamps and map ids are common and harmless; what matters is checked below
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            with mrcfile.open(path, permissive=True, header_only=True) as file:
                header = file.header
            size = [int(header[name]) for name in ("nx", "ny", "nz")]
            # before the data are read: a particle stack given by mistake may be larger than the memory
            if len(set(size)) != 1:
                raise InputError(f"{path} is {' × '.join(map(str, size))} voxels; a cubic map is needed: pad or crop "
                                 "it to a cube")
            with mrcfile.open(path, permissive=True) as file:
                data = file.data
        except InputError:
            raise
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is not a readable MRC map ({error}); give an MRC or CCP4 map") from error
    if data is None or data.shape != tuple(size):
        raise InputError(f"{path} is truncated or has no data; copy it again")
    if np.iscomplexobj(data):
        raise InputError(f"{path} holds a transform (MRC mode 4), not a map; give the map itself")
    axes = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(axes) == [1, 2, 3]:
        # data[section, row, column] → [z, y, x]: axis numbers 3, 2, 1 stand for z, y, x
        data = np.transpose(data, [axes.index(number) for number in (3, 2, 1)])
    elif axes != [0, 0, 0]:
        raise InputError(f"{path} states the axis order {axes[::-1]}, which is none; correct its header")
    volume = np.ascontiguousarray(data, dtype=np.float32)
    if not np.isfinite(volume).all():
        raise InputError(f"{path} holds {np.count_nonzero(~np.isfinite(volume))} NaN or infinite voxels; make it again")
    return volume, _pixel_size(path, header, need_pixel_size)


def read_pair(first, second, pixel_size=None):
    """Two maps on one grid: (a, b, Å/px), each (d, d, d) float32.

    pixel_size : Å/px of both, or None to take it of their headers.
    Raises InputError for maps of different boxes or pixel sizes, and as `read_volume` does.
    """
    (a, pixel_a), (b, pixel_b) = (read_volume(path, need_pixel_size=pixel_size is None) for path in (first, second))
    pixel_size = common_pixel_size((first, second), (pixel_a, pixel_b), pixel_size)
    if a.shape != b.shape:
        raise InputError(f"{first} has a box of {len(a)} px, {second} one of {len(b)} px; resample one of them")
    return a, b, pixel_size


def common_pixel_size(paths, pixel_sizes, stated=None):
    """Å/px of two maps, as stated or as both headers say; raises InputError where these differ."""
    if stated is not None:
        if not stated > 0:
            raise InputError(f"--pixel-size {stated:g} Å/px is not positive")
        return stated
    if abs(pixel_sizes[1] - pixel_sizes[0]) > 0.01 * pixel_sizes[0]:
        raise InputError(f"{paths[0]} has {pixel_sizes[0]:.4g} Å/px, {paths[1]} {pixel_sizes[1]:.4g} Å/px; "
                         "resample one of them, or give the true value with --pixel-size if a header is wrong")
    return pixel_sizes[0]


def write_volume(path, volume, pixel_size):
    """Write a map, atomically, as MRC2014 float32.

    volume : (d, d, d) [z, y, x], numpy; pixel_size in Å/px. Origin and start are 0, axes in the standard order.
    Raises InputError where it can't be written, ValueError for another shape or a pixel size that isn't positive.
    """
    volume = np.asarray(volume, dtype=np.float32)
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ValueError(f"a cubic volume is needed, not {volume.shape}")
    if not pixel_size > 0:
        raise ValueError(f"pixel size {pixel_size} Å/px is not positive")
    with atomic_write(path) as partial, mrcfile.new(os.fspath(partial), overwrite=True) as file:
        file.set_data(volume)
        file.set_volume()
        file.voxel_size = float(pixel_size)
        file.header.label[0] = f"CryoSGD {__version__}".encode()
        file.header.nlabl = 1


def _pixel_size(path, header, needed):
    # in double precision: mrcfile's voxel_size rounds 192 / 72 to float32
    x, y, z = (float(header.cella[axis]) / max(1, int(header[count])) for axis, count in zip("xyz", ("mx", "my", "mz")))
    if not (x > 0 and np.isfinite(x)):
        if needed:
            raise InputError(f"{path} states no pixel size in its header; set it, for example with "
                             "relion_image_handler --rescale_angpix, or give --pixel-size")
        return 0.0
    if max(abs(y - x), abs(z - x)) > 1e-3 * x:
        raise InputError(f"{path} has voxels of {x:g} × {y:g} × {z:g} Å; cubic voxels are needed")
    return x
