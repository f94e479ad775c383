"""Reading a run folder, finished or still being written: for viewers and the Scipion protocols."""
from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path

from ..core.errors import InputError
from .files import explained
from .star_tables import read_table

JOB, LOCK, CHECKPOINT, HISTORY, SUMMARY = "job.json", "lock", "checkpoint.npz", "history.json", "summary.json"
VOLUME, HALF1, HALF2, PARTICLES, FSC = "volume.mrc", "half1.mrc", "half2.mrc", "particles.star", "fsc.star"
PROGRESS, PICTURES = "progress", "pictures"


class ResultFolder:
    """A read-only view of a run folder; every call looks at the disk anew, and what isn't there yet is None or [].

    path : the folder. Raises InputError where it is missing.
    """

    def __init__(self, path):
        self.folder = Path(os.path.abspath(path))
        if not self.folder.is_dir():
            raise InputError(f"there is no run folder {self.folder}; check the path")

    def path(self, name):
        """The path of a file of the folder, or None where it doesn't exist (yet)."""
        path = self.folder / name
        return path if path.exists() else None

    def job(self):
        """The dict of job.json, or None."""
        return self._json(JOB)

    def summary(self):
        """The dict of summary.json, or None before the run's end."""
        return self._json(SUMMARY)

    def history(self) -> list:
        """The records of history.json so far."""
        return self._json(HISTORY) or []

    def fsc(self):
        """tag → values of the data_fsc block of fsc.star, or None."""
        path = self.path(FSC)
        return None if path is None else read_table(path, "fsc")

    def progress_volumes(self) -> list:
        """[(iteration, path)] of the maps written on the way, in order."""
        folder = self.folder / PROGRESS
        found = []
        for name in os.listdir(folder) if folder.is_dir() else ():
            match = re.fullmatch(r"volume_it(\d+)\.mrc", name)
            if match:
                found.append((int(match.group(1)), folder / name))
        return sorted(found)

    def newest_volume(self):
        """The path of the final map where there is one, else of the newest on the way, else None."""
        final = self.path(VOLUME)
        if final is not None:
            return final
        progress = self.progress_volumes()
        return progress[-1][1] if progress else None

    def half_maps(self):
        """(path, path) of the two half-maps, or None."""
        halves = self.path(HALF1), self.path(HALF2)
        return None if None in halves else halves

    def writer(self):
        """The process id of the run that is going on here (0 where it can't be told), or None."""
        path = self.path(LOCK)
        if path is None:
            return None
        with explained("read", path):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(handle, 32).decode(errors="replace").strip()
                return int(holder) if holder.isdigit() else 0
            finally:
                os.close(handle)  # gives the shared lock back too
        return None

    def _json(self, name):
        path = self.path(name)
        return None if path is None else read_json(path)


def progress_name(iteration) -> str:
    """volume_it0012.mrc, the name of a map within progress/."""
    return f"volume_it{int(iteration):04d}.mrc"


def read_json(path):
    """The contents of a JSON file; InputError where it is missing or damaged."""
    with explained("read", path), open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}); start the run again in another folder") from error
