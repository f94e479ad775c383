"""Everything that can be asked of two half-maps, into one folder: what `cryosgd validate` and a protocol start."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .. import __version__
from ..core.errors import InputError
from ..core.poses import matrix_to_euler, view_directions
from ..core.symmetry import point_group
from ..engines.validation import directional, sampling
from ..engines.validation.local import LocalConfig, local_resolution, no_room, usual_window
from ..engines.validation.model_fsc import ModelConfig, model_fsc
from ..engines.validation.postprocess import PostprocessConfig, postprocess
from ..io.anisotropy_pictures import save_cones_png, save_sampling_png, save_views_png
from ..io.direction_tables import ConesTable, SamplingTable, write_cones, write_sampling
from ..io.files import check_new_folder, make_new_folder
from ..io.models import FIRST, read_model
from ..io.result_folder import CONES, MODEL_FOLDER, PICTURES, SAMPLING, SUMMARY
from ..io.runfolder import write_json
from ..io.star import read_particles
from .half_map_files import HalfMapFiles
from .local_resolution import write_local_resolution
from .model_fsc import write_model_fsc
from .postprocess import mtf_at, write_postprocess

# Fourier px at which the sampling is counted, where the resolution lies beyond
MOST_RADIUS = 50


@dataclass(frozen=True)
class Validation:
    """What is to be validated, and how.

    files : HalfMapFiles; particles, model : paths or None; symmetry : point group that was imposed on the maps
    postprocess, local, model_config : settings of each part; assembly : as `io.models.read_model` takes it
    mtf : path of the detector's MTF, or None; mtf_pixel_size : Å of a detector pixel, None for the maps' own
    """

    files: HalfMapFiles
    particles: str | None = None
    model: str | None = None
    symmetry: str = "C1"
    assembly: str | None = FIRST
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    model_config: ModelConfig = field(default_factory=ModelConfig)
    mtf: str | None = None
    mtf_pixel_size: float | None = None


def run_validation(asked: Validation, folder) -> dict:
    """Run all parts into a new folder; returns the summary. Raises InputError before the folder is made.

    Of halves that agree nowhere, or are one map, only the curves and the sampling are told; of a box without room for a
    window no local resolution, unless a window is asked for.
    """
    check_new_folder(folder)
    operators = point_group(asked.symmetry)
    halves = asked.files.read()
    rotations = _rotations(asked.particles) if asked.particles else None
    atoms = read_model(asked.model, asked.assembly) if asked.model else None
    mtf = mtf_at(halves, asked.mtf, asked.mtf_pixel_size) if asked.mtf else None
    whole = postprocess(halves, asked.postprocess, mtf)
    cones = local = compared = sampled = None
    left_out = []
    if np.isfinite(whole.resolution_a):
        cones = directional.conical_fsc(halves.first, halves.second, halves.mask, pixel_size=halves.pixel_size)
        grid = halves.box_size, halves.pixel_size, whole.resolution_a
        if asked.local.window_a is None and usual_window(*grid) is None:
            left_out.append(no_room(*grid))
        else:
            local = local_resolution(halves.first, halves.second, halves.mask, asked.local,
                                     pixel_size=halves.pixel_size, resolution_a=whole.resolution_a)
        if atoms is not None:
            compared = model_fsc(halves.mean, *atoms, asked.model_config, pixel_size=halves.pixel_size,
                                 mask=halves.mask if halves.mask_given else None)
    if rotations is not None:
        shell = whole.last_shell if np.isfinite(whole.resolution_a) else halves.box_size // 4
        sampled = sampling.fourier_sampling(view_directions(rotations), operators, radius=min(shell, MOST_RADIUS),
                                            rng=np.random.default_rng(asked.postprocess.seed))

    folder = make_new_folder(folder)
    parts = dict(postprocess=write_postprocess(folder, asked.files, halves, whole, asked.postprocess))
    pictures = folder / PICTURES
    if local is not None:
        parts["local_resolution"] = write_local_resolution(folder, halves, local, asked.local, whole)
    if cones is not None:
        parts["directional"] = _of_cones(cones, whole.tight)
        table = _table_of(cones, whole.curves.masked)
        write_cones(folder / CONES, table)
        save_cones_png(pictures / "cones.png", table)
    if sampled is not None:
        parts["sampling"] = dict(outcome=sampling.outcome(sampled), scf=sampled.scf, scf_star=sampled.scf_star,
                                 efficiency=sampling.efficiency(sampled),
                                 unsampled=sampled.unsampled, views=sampled.views, shell=sampled.radius,
                                 least_over_mean=sampled.counts.min() / sampled.counts.mean())
        table = SamplingTable(sampled.counts, sampled.views, sampled.radius, sampled.scf_star)
        write_sampling(folder / SAMPLING, table)
        save_sampling_png(pictures / "sampling.png", table)
        rot, tilt, _ = matrix_to_euler(rotations)
        save_views_png(pictures / "views.png", rot, tilt, asked.symmetry)
    if compared is not None:
        (folder / MODEL_FOLDER).mkdir()
        parts["model"] = write_model_fsc(folder / MODEL_FOLDER, halves.mean, halves.pixel_size, compared,
                                         asked.model_config, dict(model=asked.model, assembly=asked.assembly,
                                                                  atoms=len(atoms[1])))
    summary = dict(outcome=[*(part["outcome"] for part in parts.values()), *left_out],
                   resolution_a=whole.resolution_a, symmetry=asked.symmetry, particles=asked.particles,
                   version=__version__, **parts)
    write_json(folder / SUMMARY, summary)
    return summary


def _rotations(path):
    table = read_particles(path, images_must_exist=False)
    if table.rotations is None:
        raise InputError(f"{path} has no poses, so its views can't be counted; give particles with rlnAngleRot, "
                         "rlnAngleTilt and rlnAnglePsi")
    return table.rotations


def _table_of(cones, whole):
    """The ConesTable of a ConicalFSC; whole : (shells,) FSC of the same masked maps over all directions."""
    return ConesTable(np.arange(len(whole)) / (cones.box_size * cones.pixel_size), whole,
                      np.percentile(cones.curves, (0, 25, 75, 100), axis=0), cones.resolutions(), cones.area_ratio,
                      cones.sphericity, directional.HALF_ANGLE_DEG)


def _of_cones(cones, tight):
    flattered = " The mask is too tight, which flatters the cones as it does the whole curve." if tight else ""
    found = cones.resolutions()
    known = found[np.isfinite(found)]
    return dict(outcome=directional.outcome(cones) + flattered, area_ratio=cones.area_ratio,
                sphericity=cones.sphericity, half_angle_deg=directional.HALF_ANGLE_DEG, directions=len(found),
                finest_a=known.min() if len(known) else None, coarsest_a=known.max() if len(known) else None,
                median_a=np.median(known) if len(known) else None, without_agreement=1 - len(known) / len(found))
