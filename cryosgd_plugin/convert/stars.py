"""The table on its way to an engine and back: a STAR file whose rows remember their Scipion particle."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.errors import InputError
from ..core.particles import ParticleTable
from ..io.star import read_particles, write_particles

# column of a run's particles.star that leads back to the Scipion particle
ID_TAG = "cryosgdParticleId"


def table_to_star(table, path):
    """Write the table for an engine: a STAR file with the ids as a column that the engine carries to its result."""
    return write_particles(path, replace(table, extra={**table.extra, ID_TAG: table.ids}))


def table_from_star(path) -> ParticleTable:
    """The table of a run's particles.star, with the ids that `table_to_star` wrote.

    Raises InputError where the column of the ids is missing.
    """
    table = read_particles(path)
    if ID_TAG not in table.extra:
        raise InputError(f"{path} has no column {ID_TAG}, so its particles can't be found in Scipion; run again")
    extra = dict(table.extra)
    return replace(table, ids=extra.pop(ID_TAG).astype(np.int64), extra=extra)
