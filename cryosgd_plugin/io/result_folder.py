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
PROGRESS, PICTURES, IMPORTANCE, MASK = "progress", "pictures", "importance.json", "mask.mrc"
# of a refinement's overfitting test: the run of particles with random phases, and its curves
RANDOMISED, OVERFITTING = "randomised", "overfitting.star"
MODEL = "model.star"
# of pictures/: the map's planes, surface and histogram, as the volume window shows them
SURFACE_PNG = "surface.png"
# Wiener's map of the same poses and data, beside one that is sparse and smooth; both in one picture
TRADITIONAL, COMPARISON = "traditional.mrc", "comparison.png"
# of a validation: RELION's table of curves and Guinier plots, the EMDB's curve, Å at each voxel, what depends on
# direction; and in a folder of its own the comparison with a model, whose density in the map's frame is MODEL_MAP
POSTPROCESS, FSC_XML, LOCAL_MAP = "postprocess.star", "fsc.xml", "local_resolution.mrc"
CONES, SAMPLING = "cones.star", "sampling.star"
MODEL_FOLDER, MODEL_MAP = "model", "model.mrc"


class ResultFolder:
    """A read-only view of a run folder; every call looks at the disk anew, and what isn't there yet is None or [].

    path : the folder. Raises InputError where it is missing.
    """

    def __init__(self, path):
        self.folder = Path(os.path.abspath(path))
        if not self.folder.is_dir():
            raise InputError(f"there is no run folder {self.folder}; check the path")

    def in_progress(self) -> "ResultFolder":
        """The folder to look at while a run goes on: of restarts that are not compared yet the newest one's."""
        if self.summary() is None:
            restarts = sorted(path for path in self.folder.glob("restart_*") if (path / JOB).exists())
            if restarts:
                return ResultFolder(restarts[-1])
        return self

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

    def importance(self):
        """The dict of importance.json (view directions and their mass per class), or None."""
        return self._json(IMPORTANCE)

    def classes(self) -> int:
        """How many structures the run estimates; 1 before it has said so."""
        job = self.job()
        return int(job.get("parameters", {}).get("classes", 1)) if job else 1

    def shell_frequencies(self):
        """[1/Å] of the Fourier shells 0 to box // 2 of the particles, or None before the run has said so."""
        parameters = (self.job() or {}).get("parameters") or {}
        if not parameters.get("box_size"):
            return None
        extent = parameters["box_size"] * parameters["pixel_size"]
        return [shell / extent for shell in range(parameters["box_size"] // 2 + 1)]

    def fsc(self, structure: int = 0):
        """tag → values of the data_fsc block of a structure's FSC file, or None."""
        path = self.path(result_name(FSC, structure, self.classes()))
        return None if path is None else read_table(path, "fsc")

    def progress_volumes(self, structure: int = 0) -> list:
        """[(iteration, path)] of a structure's maps written on the way, in order."""
        folder = self.folder / PROGRESS
        pattern = re.escape(progress_name(0, structure, self.classes())).replace("0000", r"(\d+)")
        found = []
        for name in os.listdir(folder) if folder.is_dir() else ():
            match = re.fullmatch(pattern, name)
            if match:
                found.append((int(match.group(1)), folder / name))
        return sorted(found)

    def volume(self, structure: int = 0):
        """The path of a structure's final map, or None."""
        return self.path(result_name(VOLUME, structure, self.classes()))

    def newest_volume(self, structure: int = 0):
        """The path of the final map where there is one, else of the newest on the way, else None."""
        final = self.volume(structure)
        if final is not None:
            return final
        progress = self.progress_volumes(structure)
        return progress[-1][1] if progress else None

    def half_maps(self, structure: int = 0):
        """(path, path) of a structure's two half-maps, or None."""
        halves = tuple(self.path(result_name(name, structure, self.classes())) for name in (HALF1, HALF2))
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


def result_name(name: str, structure: int, classes: int) -> str:
    """The file of one structure (counted from 0): volume.mrc, half1.mrc, fsc.star of a single one, else
    class001.mrc, class001_half1.mrc, class001_fsc.star."""
    if classes == 1:
        return name
    prefix = f"class{structure + 1:03d}"
    return f"{prefix}.mrc" if name == VOLUME else f"{prefix}_{name}"


def progress_name(iteration, structure: int = 0, classes: int = 1) -> str:
    """volume_it0012.mrc, or class001_it0012.mrc of several: the name of a map within progress/."""
    prefix = "volume" if classes == 1 else f"class{structure + 1:03d}"
    return f"{prefix}_it{int(iteration):04d}.mrc"


def read_json(path):
    """The contents of a JSON file; InputError where it is missing or damaged."""
    with explained("read", path), open(path, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}); start the run again in another folder") from error
