"""Write an MRC stack of particle images block by block, with the header's statistics, in constant memory."""
from __future__ import annotations

import os

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from .. import __version__
from .files import atomic_write, check_free_space, explained

_TYPES = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


def write_stack(path, blocks, count, box_size, pixel_size, kind="float32"):
    """Write `count` images as MRC2014, atomically.

    blocks : iterable of (n, d, d) arrays, in order; pixel_size : Å/px; kind : "float32" (mode 2) or "float16" (12).
    Plain writes, no memory map, so that a full disk is an error message and not a bus error.
    Raises InputError where it can't be written, ValueError where the blocks don't hold `count` images of that box.
    """
    path = os.fspath(path)
    dtype = _TYPES[kind]
    check_free_space(os.path.dirname(os.path.abspath(path)), dtype.itemsize * count * box_size ** 2 + 1024, "the stack")
    written, total, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    with atomic_write(path) as partial, explained("write", path):
        _start(partial, box_size, pixel_size, dtype)
        with open(partial, "rb+") as file:
            header = np.frombuffer(file.read(1024), HEADER_DTYPE).copy()
            for images in blocks:
                images = np.ascontiguousarray(images, dtype=dtype)  # the statistics are of what is stored
                if images.shape[1:] != (box_size, box_size):
                    raise ValueError(f"images of {images.shape[1:]} px came for a stack of {box_size} px")
                file.write(images)
                written += len(images)
                total += images.sum(dtype=np.float64)
                squares += np.square(images, dtype=np.float64).sum()
                low, high = min(low, float(images.min())), max(high, float(images.max()))
            if written != count:
                raise ValueError(f"{written} images came for a stack of {count}")
            mean = total / (count * box_size ** 2)
            header["nz"], header["mz"] = count, 1          # mz 1: an image stack (MRC2014)
            header["cella"]["z"] = pixel_size
            header["dmin"], header["dmax"], header["dmean"] = low, high, mean
            header["rms"] = np.sqrt(max(squares / (count * box_size ** 2) - mean ** 2, 0.0))
            file.seek(0)
            file.write(header.tobytes())


def _start(path, box_size, pixel_size, dtype):
    """A stack of one empty image by mrcfile, cut back to its header, which is then completed."""
    with mrcfile.new(os.fspath(path), overwrite=True) as stack:
        stack.set_data(np.zeros((1, box_size, box_size), dtype))
        stack.set_image_stack()
        stack.voxel_size = pixel_size
        stack.header.label[0] = f"CryoSGD {__version__}".encode()
        stack.header.nlabl = 1
    os.truncate(path, 1024)
