"""Writing files so that nobody ever sees half of one, and saying what to do where the disk refuses."""
from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import InputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free space there or choose another folder",
    errno.EDQUOT: "your quota on that disk is used up; free space or choose another folder",
    errno.EACCES: "you have no permission; correct the folder's permissions or choose another one",
    errno.EPERM: "you have no permission; correct the folder's permissions or choose another one",
    errno.EROFS: "that disk is mounted read-only; choose another folder",
    errno.ENOENT: "it does not exist; check the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
    errno.EISDIR: "it is a folder; give the path of a file",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
}


@contextmanager
def explained(action, path):
    """Turn an OSError inside the `with` block into an InputError: "can't <action> <path>: <remedy>"."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno, f"the system says: {error.strerror or error}")
        raise InputError(f"can't {action} {path}: {remedy}") from error


@contextmanager
def atomic_write(path, *, make_folder=False, durable=True):
    """`with atomic_write(path) as partial:` write to `partial`; it becomes `path` in one step when the block ends well.

    path : str or Path. make_folder : create missing parent folders. durable : fsync before the renaming, so
    that a power cut can't leave the new name on an empty file; False for small files written often.
    Yields the Path of a hidden file in the same folder, renamed at the end, removed after an error.
    Raises InputError where the disk is full or the folder is missing or not writable.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with explained("write", path):
            if make_folder:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            if durable:
                with open(partial, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        if partial.exists():
            partial.unlink()


def check_free_space(folder, needed_bytes, what):
    """Raise InputError where `folder`'s disk has less than `needed_bytes` free for `what` (words)."""
    with explained("look at", folder):
        free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(f"{what} needs {needed_bytes / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; "
                         "free space there or choose another folder")


def check_absent(path, overwrite):
    """Raise InputError where `path` exists and `overwrite` is False."""
    if not overwrite and Path(path).exists():
        raise InputError(f"{path} exists already; choose another name or add --overwrite")


def check_new_folder(path):
    """The Path of a folder to be made; raises InputError where it exists."""
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists; give a new folder")
    return path


def make_new_folder(path):
    """Make a folder that isn't there yet, and its parents; returns its Path. Raises InputError where it can't."""
    path = check_new_folder(path)
    with explained("make the folder", path):
        path.mkdir(parents=True)
    return path
