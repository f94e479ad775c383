"""What a refinement knows of each particle: of its end from particles.star, while it goes on from the checkpoint."""
from __future__ import annotations

import zipfile

import numpy as np

from ..core.errors import InputError
from ..core.poses import matrix_to_euler
from .result_folder import CHECKPOINT, PARTICLES
from .star_tables import block_tags, number_column, read_document

# name here and in the engine's state -> column of particles.star
SCORES = {"log_gain": "rlnLogLikeliContribution", "entropy": "cryosgdEntropy", "width_deg": "cryosgdPoseWidth",
          "scale": "cryosgdScale", "change_deg": "cryosgdAngularChange", "change_a": "cryosgdShiftChange"}


def particle_values(folder, structures=None, scores=tuple(SCORES)) -> dict:
    """name -> (n,) of the particles that have a pose: rot, tilt (degrees), class (from 1) and these of `SCORES`.

    folder : ResultFolder of a refinement; structures : numbers of the classes wanted, from 0, or None for all; scores :
    names of the others that are wanted: a column of a million particles takes half a second to read.
    A column that the file lacks is missing; what is not known yet of a particle is NaN. Raises InputError where no
    particle has a pose yet.
    """
    path = folder.path(PARTICLES)
    values = _of_checkpoint(folder, scores) if path is None else _of_star(path, folder.classes(), scores)
    if structures is None:
        return values
    mine = np.isin(values["class"], [k + 1 for k in structures])
    return {name: column[mine] for name, column in values.items()}


def _of_star(path, classes, scores):
    for block in read_document(path):
        tags = block_tags(block)
        if "rlnAngleRot" not in tags:
            continue
        wanted = {"rot": "rlnAngleRot", "tilt": "rlnAngleTilt", **{name: SCORES[name] for name in scores}}
        values = {name: number_column(block, tag, path) for name, tag in wanted.items() if tag in tags}
        values["class"] = (np.ones(len(values["rot"]), int) if classes == 1 else
                           number_column(block, "rlnClassNumber", path).astype(int))
        return values
    raise InputError(f"{path} holds no angles; start the run again")


def _of_checkpoint(folder, scores):
    path = folder.path(CHECKPOINT)
    if path is None:
        raise InputError("no particle has a pose yet; they get one in the first iteration")
    try:
        with np.load(path, allow_pickle=False) as file:
            def part(name):
                return file[f"results/{name}"]

            # particles that the run leaves out belong to no class
            used = part("class_mass").sum(axis=1) > 0
            rot, tilt, _ = matrix_to_euler(part("rotations")[used])
            return {"rot": rot, "tilt": tilt, "class": part("structures")[used] + 1,
                    **{name: part(name)[used] for name in scores}}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read ({error}); look again after the next iteration") from error
