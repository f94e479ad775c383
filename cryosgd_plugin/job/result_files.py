"""The files that a finished run leaves: maps, curves, posed particles, pictures (io/result_folder.py names them)."""
from __future__ import annotations

from ..core.classes import posterior_tag
from ..io.fsc_star import write_fsc
from ..io.pictures import save_fsc_png, save_slices_png
from ..io.result_folder import FSC, HALF1, HALF2, SURFACE_PNG, VOLUME, result_name
from ..io.surface import can_draw_surfaces
from ..io.undistort import distorted_shifts
from ..io.volume_data import VolumeData
from ..io.volume_pictures import save_volume_picture
from ..io.volumes import write_volume


def write_maps(path, results, config) -> None:
    """Map, half-maps and their FSC of each structure; path : a file's name in the run folder -> its Path."""
    classes = config.classes
    for structure, result in enumerate(results):
        for name, volume in ((VOLUME, result.volume), (HALF1, result.half1), (HALF2, result.half2)):
            write_volume(path(result_name(name, structure, classes)), volume, config.pixel_size)
        write_fsc(path(result_name(FSC, structure, classes)), {"masked": result.fsc}, box_size=config.box_size,
                  pixel_size=config.pixel_size)


def posed(table, assignment, classes: int):
    """The ParticleTable of the run's particles, with the structure, pose and posterior that an Assignment found.

    table : of all particles; its own columns become those of the Assignment
    """
    table.rotations, table.half_set = assignment.rotations, assignment.halves
    table.shifts_a = distorted_shifts(table, assignment.shifts_a)
    table.extra.update(rlnMaxValueProbDistribution=assignment.best_mass,
                       rlnLogLikeliContribution=assignment.log_evidence,
                       cryosgdEffectivePoses=assignment.effective_poses)
    if classes > 1:
        table.class_id = assignment.structures + 1
        table.extra.update({posterior_tag(k + 1): assignment.class_mass[:, k]
                            for k in range(classes)})
    return table.take(assignment.rows)


def save_pictures(pictures, results, config) -> None:
    """Slices and surface of each structure's map and the FSC curves of all, into a folder."""
    names = ["Ab initio map"] if len(results) == 1 else [f"Class {k + 1}" for k in range(len(results))]
    for structure, (name, result) in enumerate(zip(names, results)):
        save_map_pictures(pictures, result.volume, config.pixel_size, name, structure, len(results))
    curves = {"half-maps, same reference" if len(results) == 1 else name: result.fsc
              for name, result in zip(names, results)}
    save_fsc_png(pictures / "fsc.png", curves, box_size=config.box_size, pixel_size=config.pixel_size)


def save_map_pictures(pictures, volume, pixel_size: float, name: str, structure: int = 0, classes: int = 1) -> None:
    """Slices and projections of a map, and its planes with surface and histogram (by scikit-image), into a folder.

    volume : (d, d, d); pixel_size : Å/px; name : for the titles; structure : of so many classes, from 0
    """
    file = result_name(VOLUME, structure, classes).replace(".mrc", ".png")
    save_slices_png(volume, pixel_size, pictures / file, name)
    surface = result_name(SURFACE_PNG, structure, classes)
    if can_draw_surfaces():
        save_volume_picture(VolumeData(volume, pixel_size, name), pictures / surface)
    else:
        print(f"{surface} is not drawn: it needs scikit-image (pip install scikit-image)", flush=True)
