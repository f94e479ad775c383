"""Whether a folder's run is the one that is asked for now: what job.json says of its input, and what may not differ."""
from __future__ import annotations

import hashlib

import numpy as np

from ..core.errors import InputError


def refuse_other_job(folder, job: dict, names) -> None:
    """Raise InputError unless the RunFolder's job.json has the same entries of those names."""
    known = folder.read_job()
    for name in names:
        if known.get(name) == _json_like(job[name]):
            continue
        hint = {"version": f"it was begun by version {known.get('version')}", "table": "the particles differ",
                "start_map": "the starting map differs", "references": "the references differ",
                "mask": "the mask differs", "poses": "the particles' poses differ", "half_sets": "the half-sets differ",
                "restarts": f"{known.get('restarts')} restarts were asked for then, {job.get('restarts')} now",
                "parameters": _difference(known.get("parameters"), job["parameters"])
                }.get(name, f"it is a run of {known.get(name)}")
        raise InputError(f"{folder.folder} holds a run that can't be continued: {hint}; give the same input, or "
                         "another folder")


def fingerprint(table) -> str:
    """SHA-256 of what a ParticleTable tells the engine, but for poses and half-sets."""
    digest = hashlib.sha256()
    for column in (table.stack_id, table.stack_index, table.defocus_u, table.defocus_v, table.defocus_angle_deg,
                   table.phase_shift_deg, table.optics_id):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def fingerprint_halves(table) -> str:
    """SHA-256 of the half-sets given, or "none"."""
    if table.half_set is None:
        return "none"
    return hashlib.sha256(np.ascontiguousarray(table.half_set, np.int8).tobytes()).hexdigest()


def fingerprint_poses(table) -> str:
    """SHA-256 of the poses that a local search begins at, or "none"."""
    if table.rotations is None:
        return "none"
    digest = hashlib.sha256()
    for column in (table.rotations, table.shifts_a):
        digest.update(np.ascontiguousarray(column, np.float32).tobytes())
    return digest.hexdigest()


def fingerprint_map(volume, pixel_size) -> str:
    """SHA-256 of a starting map and its Å/px."""
    digest = hashlib.sha256(np.ascontiguousarray(volume).tobytes())
    digest.update(repr(float(pixel_size)).encode())
    return digest.hexdigest()


def _difference(known, new):
    changed = [name for name in new if _json_like(new[name]) != (known or {}).get(name)]
    return "; ".join(f"{name} was {(known or {}).get(name)} and is now {new[name]}" for name in changed)


def _json_like(value):
    if isinstance(value, dict):
        return {key: _json_like(entry) for key, entry in value.items()}
    return [_json_like(entry) for entry in value] if isinstance(value, (list, tuple)) else value
