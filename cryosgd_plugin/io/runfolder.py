"""The run folder: what an engine's run reads at its start and leaves behind, safe against crashes and second writers.

    job.json  lock  checkpoint.npz  history.json  summary.json
    volume.mrc  half1.mrc  half2.mrc  particles.star  fsc.star  progress/volume_it0000.mrc  pictures/
    importance.json; of several classes class001.mrc, class001_half1.mrc, class001_fsc.star … instead
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import time
import zipfile
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from .files import atomic_write, check_free_space, explained
from .result_folder import (
    CHECKPOINT,
    FSC,
    HALF1,
    HALF2,
    HISTORY,
    IMPORTANCE,
    JOB,
    LOCK,
    PARTICLES,
    PICTURES,
    PROGRESS,
    SUMMARY,
    VOLUME,
    ResultFolder,
    progress_name,
    read_json,
    result_name,
)

__all__ = ["RunFolder", "ResultFolder", "take_lock", "write_json"]

_RESULTS = (JOB, CHECKPOINT, HISTORY, SUMMARY, VOLUME, HALF1, HALF2, PARTICLES, FSC, IMPORTANCE,
            result_name(VOLUME, 0, 2), PROGRESS, PICTURES)
_DIGEST = "checksum_sha256"
_LOCK_ATTEMPTS = 5


class RunFolder:
    """The one writer of a run folder; use it as a context manager, or `close` it.

    path : the folder, created where missing. resume : go on in a folder that holds a run.
    needed_bytes : free disk space that the run will want there.
    Raises InputError: the folder holds another run (without `resume`) or none (with it), it is being written by
    another process (which is named), it can't be written, the disk is too full.
    """

    def __init__(self, path, *, resume=False, needed_bytes=50_000_000):
        self.folder = Path(os.path.abspath(path))
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"run folder {self.folder} is a file; give the name of a folder")
        if resume and not (self.folder / JOB).exists():
            raise InputError(f"{self.folder} holds no run to continue ({JOB} is missing); start it without --continue")
        with explained("make the run folder", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path(LOCK).exists():
            self._refuse_results(resume)  # before a lock file is left in a folder that isn't ours
        self._lock = take_lock(self.path(LOCK), f"run folder {self.folder}",
                               "wait for it or stop it, or give another folder")
        try:
            self._refuse_results(resume)
            check_free_space(self.folder, needed_bytes, "the run")
            with explained("write into the run folder", self.folder):
                for name in (PROGRESS, PICTURES):
                    (self.folder / name).mkdir(exist_ok=True)
            self._history = read_json(self.path(HISTORY)) if self.path(HISTORY).exists() else []
        except BaseException:
            self.close()
            raise

    def path(self, name) -> Path:
        """The path of a file of the folder."""
        return self.folder / name

    def progress_path(self, iteration, structure: int = 0, classes: int = 1) -> Path:
        """The path of a structure's map of an iteration, progress/volume_it0012.mrc or class001_it0012.mrc."""
        return self.folder / PROGRESS / progress_name(iteration, structure, classes)

    def write_importance(self, directions_deg, mass):
        """Write importance.json: (n, 2) view directions [rot, tilt] and (K, n) mean mass of the particles on them."""
        write_json(self.path(IMPORTANCE), dict(directions_deg=directions_deg.tolist(), mass=mass.tolist()))

    def write_job(self, job: dict):
        """Write job.json: all that is needed to run this job again."""
        write_json(self.path(JOB), job)

    def read_job(self) -> dict:
        """The dict of job.json; InputError where it is missing or damaged."""
        return read_json(self.path(JOB))

    def write_summary(self, summary: dict):
        """Write summary.json (plain numbers, text, lists and dicts; numpy's are converted)."""
        write_json(self.path(SUMMARY), summary)

    def append_history(self, record: dict):
        """Add one record to history.json, a list, which is valid JSON at every moment."""
        self._history.append(record)
        write_json(self.path(HISTORY), self._history, durable=False)

    @property
    def history(self) -> list:
        """The records so far, those of the continued run too."""
        return list(self._history)

    def truncate_history(self, keep: int):
        """Keep the first `keep` records: those that a checkpoint knows of, when a run goes on from it."""
        self._history = self._history[:keep]
        write_json(self.path(HISTORY), self._history)

    def save_checkpoint(self, arrays: dict):
        """Save name → numpy array (or number, or str) as checkpoint.npz, atomically, with a checksum.

        The former checkpoint stays until the new one is complete on disk.
        """
        arrays = {name: np.asarray(value) for name, value in arrays.items()}
        for name, value in arrays.items():
            if value.dtype.hasobject:
                raise ValueError(f"checkpoint entry '{name}' is a Python object; store arrays, numbers or text")
        with atomic_write(self.path(CHECKPOINT)) as partial, open(partial, "wb") as file:
            np.savez(file, **arrays, **{_DIGEST: _digest(arrays)})

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was saved."""
        return self.path(CHECKPOINT).exists()

    def load_checkpoint(self) -> dict:
        """The dict saved last (arrays; numbers and text as 0-dimensional arrays).

        Raises InputError: there is none, or it is damaged.
        """
        path = self.path(CHECKPOINT)
        if not self.has_checkpoint:
            raise InputError(f"{self.folder} holds no checkpoint; the run stopped before its first one, start it again")
        advice = "start the run again in another folder"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"checkpoint {path} is damaged ({error}); {advice}") from error
        stored = arrays.pop(_DIGEST, None)
        if stored is None or str(stored) != _digest(arrays):
            raise InputError(f"checkpoint {path} is damaged (its checksum differs); {advice}")
        return arrays

    def close(self):
        """Give the folder free for another writer."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _refuse_results(self, resume):
        found = [name for name in _RESULTS if self.path(name).exists()]
        if found and not resume:
            raise InputError(f"{self.folder} holds the results of another run ({', '.join(found[:4])}); give another "
                             "folder, or go on with that run by --continue")


def take_lock(path, what, remedy):
    """An open descriptor that holds an exclusive flock on `path`, with this process's id in it; close it to unlock.

    The system drops the lock when the process ends, however it ends. Raises InputError naming the holder.
    """
    with explained("write", path):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
                    raise InputError(f"{what} is being written by process {holder}; {remedy}") from None
                time.sleep(0.05)  # a viewer holds it for a moment when it asks whether the run goes on
    except InputError:
        os.close(lock)
        raise
    except OSError as error:
        os.close(lock)
        raise InputError(f"can't lock {path} ({error.strerror}); some network disks allow no locks, choose a folder on "
                         "another disk") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def write_json(path, values, durable=True):
    """Write plain values and numpy's as JSON, atomically; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_plain(values), indent=1, allow_nan=False)
    with atomic_write(path, durable=durable) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _plain(value):
    """JSON's own types; NaN and infinity, which JSON lacks, become null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _digest(arrays):
    sha = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {value.dtype.str} {np.shape(arrays[name])}".encode())
        sha.update(value.tobytes() if value.dtype.kind == "U" else value.reshape(-1).view(np.uint8))
    return sha.hexdigest()
