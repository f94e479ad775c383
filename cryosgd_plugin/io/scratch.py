"""A float16 copy of the downsampled particles on a fast disk, so that later passes needn't read and crop again."""
from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from .files import atomic_write, check_free_space, explained
from .runfolder import take_lock

_FORMAT = 1
_FLUSH_SECONDS = 30.0


def fingerprint(table, **settings):
    """A text that changes when the images of a table, or the settings they were prepared with, change.

    Counts paths, sizes and times of the stacks, which slices are used, the optics' pixels and `settings`.
    Raises InputError where a stack can't be looked at.
    """
    sha = hashlib.sha256(f"format {_FORMAT} {sorted(settings.items())}".encode())
    for path in table.stack_paths:
        with explained("look at", path):
            status = os.stat(path)
        sha.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode("utf-8"))
    sha.update(str([(group.pixel_size, group.box_size) for group in table.optics]).encode())
    for column in (table.stack_id, table.stack_index, table.optics_id):
        sha.update(np.ascontiguousarray(column, dtype=np.int64))
    return sha.hexdigest()


class ScratchCache:
    """count images of box × box px in one file, filled row by row, kept for a later run with the same key.

    Each image is stored as float16 times its own scale (its rms), so that no range of grey values overflows.
    One process at a time. Raises InputError: folder not writable, disk too full, another process writes it.
    """

    def __init__(self, folder, key, count, box):
        self.box, self.count = int(box), int(count)
        folder = Path(folder)
        with explained("make the scratch folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"cryosgd_{key[:24]}"
        self.data_path, self._scale_path = stem.with_suffix(".f16"), stem.with_suffix(".npy")
        self._lock_path = stem.with_suffix(".lock")
        self._lock = take_lock(self._lock_path, f"the particle cache {self.data_path}",
                               "wait for that run, or give another --scratch folder")
        self._file = None
        try:
            with explained("write into the scratch folder", folder):
                self._file = os.open(self.data_path, os.O_RDWR | os.O_CREAT, 0o644)
                present = os.fstat(self._file).st_blocks * 512
            check_free_space(folder, self.count * self._image_bytes - present, "the particle cache")
            with explained("write", self.data_path):
                os.ftruncate(self._file, self.count * self._image_bytes)
            self._scales = self._read_scales()
        except BaseException:
            self._release()
            raise
        self._unsaved = False
        self._flushed = time.monotonic()
        self.bytes_read = self.bytes_written = 0

    @property
    def _image_bytes(self):
        return self.box * self.box * 2

    def has(self, rows):
        """(n,) bool: which of these rows are in the cache."""
        return self._scales[rows] > 0

    def read(self, rows):
        """Rows that are in the cache, as (n, box, box) float32."""
        rows = np.asarray(rows, dtype=np.int64)
        images = np.empty((len(rows), self.box, self.box), np.float16)
        for where, first, count in _runs(rows):
            part = np.empty((count, self.box, self.box), np.float16)
            view, got = memoryview(part).cast("B"), 0
            while got < part.nbytes:
                with explained("read", self.data_path):
                    read = os.preadv(self._file, [view[got:]], first * self._image_bytes + got)
                if read == 0:
                    raise RuntimeError(f"{self.data_path} was cut short while in use")
                got += read
            images[where] = part
        self.bytes_read += images.nbytes
        return images.astype(np.float32) * self._scales[rows][:, None, None]

    def write(self, rows, images):
        """Store (n, box, box) float32 images; returns them as `read` will give them, rounded to float16.

        Raises InputError where the disk is full.
        """
        rows = np.asarray(rows, dtype=np.int64)
        scales = np.sqrt(np.mean(np.square(images), axis=(1, 2), dtype=np.float64)).astype(np.float32)
        scales[scales == 0] = 1.0
        rounded = (images / scales[:, None, None]).astype(np.float16)
        for where, first, _ in _runs(rows):
            view, done = memoryview(np.ascontiguousarray(rounded[where])).cast("B"), 0
            while done < len(view):
                with explained("write", self.data_path):
                    done += os.pwrite(self._file, view[done:], first * self._image_bytes + done)
        self._scales[rows] = scales
        self.bytes_written += rounded.nbytes
        self._unsaved = True
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()
        return rounded.astype(np.float32) * scales[:, None, None]

    def flush(self):
        """Bring images, then the list of rows that are there, to the disk: a crash loses rows but never lies."""
        if self._unsaved:
            with explained("write", self.data_path):
                os.fdatasync(self._file)
            with atomic_write(self._scale_path) as partial, open(partial, "wb") as file:
                np.save(file, self._scales)
            self._unsaved = False
        self._flushed = time.monotonic()

    def close(self, remove=False):
        """Flush and close; `remove` deletes the cache instead."""
        if self._file is None:
            return
        try:
            if remove:
                for path in (self._scale_path, self.data_path, self._lock_path):
                    with explained("remove", path):
                        path.unlink(missing_ok=True)
            else:
                self.flush()
        finally:
            self._release()

    def _read_scales(self):
        if self._scale_path.exists():
            with explained("read", self._scale_path):
                try:
                    scales = np.load(self._scale_path, allow_pickle=False)
                except (ValueError, EOFError):
                    scales = None  # damaged: begin again, as with an empty cache
            if scales is not None and scales.shape == (self.count,) and scales.dtype == np.float32:
                return scales
        return np.zeros(self.count, np.float32)

    def _release(self):
        for handle in (self._file, self._lock):
            if handle is not None:
                os.close(handle)
        self._file = self._lock = None


def _runs(rows):
    """(positions in rows, first row, count) of stretches of neighbouring rows, so that each is one read or write."""
    order = np.argsort(rows, kind="stable")
    for where in np.split(order, np.flatnonzero(np.diff(rows[order]) != 1) + 1):
        if len(where):
            yield where, int(rows[where[0]]), len(where)
