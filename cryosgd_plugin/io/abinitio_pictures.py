"""The pictures of how an ab initio run went, from what its run folder holds."""
from __future__ import annotations

from functools import partial

from .convergence_pictures import draw_convergence
from .direction_pictures import draw_importance, sheet_shape
from .map_pictures import COLUMNS, draw_classes, draw_progress, sheet_size
from .pictures import _figure, _save
from .refine_particles import particle_values
from .result_folder import PARTICLES, PICTURES, ResultFolder
from .view_pictures import draw_view_directions

PROGRESS_PNG, DIRECTIONS_PNG, CONVERGENCE_PNG, CLASSES_PNG, VIEWS_PNG = (
    "progress.png", "directions.png", "convergence.png", "classes.png", "views.png")
CONVERGENCE_SIZE, VIEWS_SIZE, DPI = (13.0, 6.8), (10.0, 5.8), 110


def save_abinitio_pictures(folder):
    """Draw progress.png, directions.png (where it looked), views.png (where its particles were seen from),
    convergence.png and, of several structures, classes.png into pictures/.

    folder : path of a run folder, whose run may still go on: what it doesn't hold yet is left out.
    Raises InputError where a file of it is damaged or can't be written, or matplotlib is missing.
    """
    folder = ResultFolder(folder)
    save_figures(folder, abinitio_figures(folder))


def save_figures(folder, figures):
    """Save figures as PNG files into pictures/ of a ResultFolder; figures : as `abinitio_figures` gives them."""
    for name, (draw, size) in figures.items():
        # of the same kind without its layout engine: what is drawn here sets its own margins, for windows too
        figure = type(_figure(*size))(figsize=size, dpi=DPI)
        draw(figure)
        _save(figure, folder.folder / PICTURES / name)


def abinitio_figures(folder):
    """File name → (draw(figure), (width, height) in inches) of the pictures for which a ResultFolder has the data."""
    classes, history, importance = folder.classes(), folder.history(), folder.importance()
    maps = [folder.newest_volume(k) for k in range(classes)]
    figures = {}
    if None not in maps:
        figures[PROGRESS_PNG] = partial(draw_progress, folder=folder), sheet_size(classes, COLUMNS + 1)
        if classes > 1:
            figures[CLASSES_PNG] = partial(draw_classes, folder=folder), sheet_size(3, classes)
    if importance is not None:
        figures[DIRECTIONS_PNG] = (partial(draw_importance, importance=importance, symmetry=symmetry_in_use(history)),
                                   directions_size(classes))
    if folder.path(PARTICLES) is not None:
        values = particle_values(folder, scores=())
        figures[VIEWS_PNG] = (partial(draw_view_directions, rot_deg=values["rot"], tilt_deg=values["tilt"],
                                      symmetry=symmetry_in_use(history)), VIEWS_SIZE)
    if history:
        figures[CONVERGENCE_PNG] = partial(draw_convergence, history=history), CONVERGENCE_SIZE
    return figures


def directions_size(classes):
    """(width, height) in inches of the maps of view directions."""
    rows, columns = sheet_shape(classes)
    return (10.0, 5.6) if classes == 1 else (4.4 * columns + 1.0, 2.5 * rows + 0.6)


def symmetry_in_use(history):
    """The point group imposed at the end of a history; C1 where it says nothing."""
    return (history[-1].get("symmetry") if history else None) or "C1"
