"""MRC stacks, read slice by slice with plain file reads."""
from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass

import mrcfile
import numpy as np

from ..core.errors import InputError
from .files import explained

# MRC2014 modes that hold real images; 0 is signed unless the header tells otherwise
_MODES = {0: np.dtype("i1"), 1: np.dtype("i2"), 2: np.dtype("f4"), 6: np.dtype("u2"), 12: np.dtype("f2")}
_MODE_WORDS = "0 (int8), 1 (int16), 2 (float32), 6 (uint16), 12 (float16)"
_IMOD_STAMP = 1146047817
_OPEN_FILES = 32


@dataclass(frozen=True)
class StackHeader:
    """What is needed to read slices: box (px), images promised by the header, dtype with its byte order, bytes
    before the first slice, images that the file's size holds, Å/px (0 where not stated), sentences of warning."""

    path: str
    box_size: int
    count: int
    dtype: np.dtype
    offset: int
    held: int
    pixel_size: float
    warnings: tuple = ()

    @property
    def slice_bytes(self) -> int:
        return self.box_size * self.box_size * self.dtype.itemsize


def read_header(path) -> StackHeader:
    """The header of an MRC stack (.mrc, .mrcs), by mrcfile; odd machine stamps are tolerated with a warning.

    Raises FileNotFoundError where there is no such file; InputError where it can't be opened, is no MRC file, has
    another mode than 0, 1, 2, 6, 12 or images that aren't square.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    with explained("read", path):
        size = os.stat(path).st_size
    check_mrc_start(path)
    with warnings.catch_warnings(record=True) as caught:
        # what mrcfile says of the file; not what numpy says of mrcfile
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", RuntimeWarning)
        try:
            with mrcfile.open(path, permissive=True, header_only=True) as file:
                header = file.header
                order = header.nx.dtype.byteorder
                nx, ny, nz, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
                offset = 1024 + int(header.nsymbt)
                width = float(header.cella.x)
                columns = int(header.mx)
                unsigned = mode == 0 and _is_unsigned(header)
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is not a readable MRC file ({error}); give an MRC stack") from error
    notes = [str(warning.message) for warning in caught]
    if mode not in _MODES:
        raise InputError(f"{path} has MRC mode {mode}; the modes that can be read are {_MODE_WORDS}: convert it, for "
                         "example with relion_image_handler")
    if nx != ny or nx < 1 or nz < 1 or offset < 1024:
        raise InputError(f"{path} holds {nz} images of {nx} × {ny} px; particle images must be square")
    dtype = np.dtype("u1") if unsigned else _MODES[mode].newbyteorder(order)
    if mode == 0:
        notes.append(f"8-bit images, read as {'unsigned' if unsigned else 'signed'} by the header")
    held = max(0, size - offset) // (nx * nx * dtype.itemsize)
    return StackHeader(path, nx, nz, dtype, offset, held, width / columns if columns > 0 else 0.0, tuple(notes))


def check_mrc_start(path):
    """Refuse what mrcfile would read wholly or choke on: no MRC header, a compressed file, an absurd extended header.

    Raises InputError.
    """
    with explained("read", path), open(path, "rb") as file:
        start, size = file.read(1024), os.fstat(file.fileno()).st_size
    if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh":
        raise InputError(f"{path} is compressed; unpack it first")
    if size < 1024:
        raise InputError(f"{path} has {size} bytes, less than the 1024 of an MRC header; copy it again")
    extended = [int(np.frombuffer(start[92:96], order + "i4")[0]) for order in "<>"]
    if not any(0 <= length <= size - 1024 for length in extended):
        raise InputError(f"{path} is not an MRC file (its header makes no sense), or it is truncated; give an MRC file")


def check_stacks(table):
    """Check every stack of a particle table before computing; returns warnings, a list of sentences.

    Raises InputError that names the stack: missing or unreadable, another box than its optics group's, fewer images
    than the table asks of it (not so many in the header, or a truncated file: with both counts).
    """
    notes, noted = [], {}
    stacks = len(table.stack_paths)
    highest = np.full(stacks, -1, np.int64)
    np.maximum.at(highest, table.stack_id, table.stack_index)
    boxes = np.array([group.box_size for group in table.optics])[table.optics_id]
    least, most = np.full(stacks, np.iinfo(np.int64).max), np.zeros(stacks, np.int64)
    np.minimum.at(least, table.stack_id, boxes)
    np.maximum.at(most, table.stack_id, boxes)
    for number in np.flatnonzero(highest >= 0):
        path = table.stack_paths[number]
        try:
            header = read_header(path)
        except FileNotFoundError as error:
            raise InputError(f"stack {path} does not exist ({np.sum(table.stack_id == number)} particles are in it); "
                             "put it back or correct the paths in the particle file") from error
        for words in header.warnings:
            noted.setdefault(words, []).append(path)
        if least[number] != header.box_size or most[number] != header.box_size:
            stated = least[number] if least[number] != header.box_size else most[number]
            raise InputError(f"stack {path} has boxes of {header.box_size} px where its optics group says {stated} px; "
                             "give particles of one box per optics group, or correct rlnImageSize")
        needed = int(highest[number]) + 1
        if header.held < min(needed, header.count):
            raise InputError(f"stack {path} is truncated: its header promises {header.count} images, the file holds "
                             f"{header.held}, and image {needed} is asked for; copy it again")
        if header.count < needed and header.held < needed:
            raise InputError(f"stack {path} holds {header.count} images, but image {needed} is asked for; the particle "
                             "file does not belong to this stack")
        if header.count < needed:
            notes.append(f"{path}: the header promises {header.count} images but the file holds {header.held}; "
                         f"reading up to image {needed}")
    for words, paths in noted.items():
        more = f" (and {len(paths) - 1} more stacks)" if len(paths) > 1 else ""
        notes.append(f"{paths[0]}{more}: {words}")
    return notes


class StackReader:
    """Reads slices of MRC stacks; keeps a bounded number of files open. Safe to share between threads.

    Plain reads, no memory maps: the pages of a map count as this process's memory, those of the page cache don't.
    `bytes_read` counts what came from files.
    """

    def __init__(self, open_files=_OPEN_FILES):
        self._limit = open_files
        self._open = OrderedDict()
        self._headers = {}
        self._lock = threading.Lock()
        self.bytes_read = 0

    def read(self, table, rows):
        """Images of the given rows of a ParticleTable: (n, d, d) float32, in the order of `rows`.

        Raises InputError: unreadable or truncated stack, or rows of different boxes.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            raise ValueError("no rows were asked for")
        stacks, indices = table.stack_id[rows], table.stack_index[rows]
        # neighbours in a file are read in one go
        order = np.lexsort((indices, stacks))
        breaks = np.flatnonzero((np.diff(stacks[order]) != 0) | (np.diff(indices[order]) != 1)) + 1
        images = None
        with self._lock:
            for run in np.split(order, breaks):
                path = table.stack_paths[stacks[run[0]]]
                header, handle = self._acquire(path)
                if images is None:
                    images = np.empty((len(rows), header.box_size, header.box_size), np.float32)
                elif header.box_size != images.shape[1]:
                    raise InputError(f"stack {path} has boxes of {header.box_size} px, others of {images.shape[1]} px; "
                                     "give particles of one box per optics group")
                images[run] = self._slices(header, handle, int(indices[run[0]]), len(run))
        return images

    def close(self):
        """Close all files; reading opens them again."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _acquire(self, path):
        if path not in self._headers:
            try:
                self._headers[path] = read_header(path)
            except FileNotFoundError as error:
                raise InputError(f"stack {path} does not exist; put it back or correct the paths in the particle "
                                 "file") from error
        if path in self._open:
            self._open.move_to_end(path)
        else:
            with explained("read", path):
                self._open[path] = os.open(path, os.O_RDONLY)
            if len(self._open) > self._limit:
                os.close(self._open.popitem(last=False)[1])
        return self._headers[path], self._open[path]

    def _slices(self, header, handle, first, count):
        wanted = count * header.slice_bytes
        data = bytearray(wanted)
        view, got = memoryview(data), 0
        position = header.offset + first * header.slice_bytes
        while got < wanted:
            with explained("read", header.path):
                part = os.preadv(handle, [view[got:]], position + got)
            if part == 0:
                raise InputError(f"stack {header.path} is truncated: image {first + got // header.slice_bytes + 1} is "
                                 f"asked for, the file holds {header.held}; copy it again")
            got += part
        self.bytes_read += wanted
        return np.frombuffer(data, header.dtype).reshape(count, header.box_size, header.box_size)


def _is_unsigned(header):
    """Whether 8-bit data are unsigned: IMOD says so in a flag, other writers by a maximum beyond 127."""
    raw = header.tobytes()
    integer = np.dtype("i4").newbyteorder(header.nx.dtype.byteorder)
    stamp, flags = np.frombuffer(raw[152:160], integer)
    if stamp == _IMOD_STAMP:
        return not flags & 1
    return bool(header.dmin >= 0 and header.dmax > 127)
