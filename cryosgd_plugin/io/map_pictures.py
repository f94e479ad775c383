"""Central slices of a run's maps: on their way through the iterations, and all classes side by side."""
from __future__ import annotations

import warnings

import mrcfile
import numpy as np

from ..core.errors import InputError
from .pictures import _PLANES, _grey_range

COLUMNS = 6


def draw_progress(figure, folder, columns=COLUMNS):
    """A row of slices z = 0 for each class: about `columns` maps on the way, evenly over the run, then the final one.

    figure : matplotlib Figure; folder : ResultFolder. Each column tells its iteration and the resolution in use, or of
    a refinement to where the halves agree.
    Raises InputError where there is no map yet.
    """
    classes = folder.classes()
    on_the_way = [dict(folder.progress_volumes(k)) for k in range(classes)]
    # while the run writes, the last classes of the newest iteration may be missing
    iterations = sorted(set.intersection(*(set(paths) for paths in on_the_way)))
    iterations = [iterations[i] for i in np.unique(np.linspace(0, len(iterations) - 1, columns).round().astype(int))
                  ] if iterations else []
    resolutions = {record.get("iteration"): record.get("resolved_a", record.get("resolution_a"))
                   for record in folder.history()}
    shown = [(f"iteration {number}{_in_angstroms(resolutions.get(number))}", [paths[number] for paths in on_the_way])
             for number in iterations]
    final = [folder.volume(k) for k in range(classes)]
    if None not in final:
        shown.append((f"final map{_in_angstroms((folder.summary() or {}).get('resolution_a'))}", final))
    if not shown:
        raise InputError("the run has written no map yet; the first one comes after a few iterations")
    names = [""] * classes if classes == 1 else [name for name, _ in class_sizes(folder)]
    figure.clear()
    grid = _sheet(figure, classes, len(shown), f"the map through the run, slices z = 0 of {classes} classes"
                  if classes > 1 else "the map through the run, slices z = 0")
    for column, (title, paths) in enumerate(shown):
        for row, path in enumerate(paths):
            axes = figure.add_subplot(grid[row, column])
            _draw_sections([axes], *_sections(path, [0]))
            if row == 0:
                axes.set_title(title, fontsize=9)
            _label(axes, names[row], "x", "y", left=column == 0, bottom=row == classes - 1)


def draw_classes(figure, folder):
    """The newest map of each class in a column of its three central slices, with the class's size above.

    figure : matplotlib Figure; folder : ResultFolder. Raises InputError where there is no map yet.
    """
    classes = folder.classes()
    paths = [folder.newest_volume(k) for k in range(classes)]
    if not any(paths):
        raise InputError("the run has written no map yet; the first one comes after a few iterations")
    state = "final maps" if folder.volume() is not None else "newest maps on the way"
    draw_class_columns(
        figure, f"{state} of {classes} classes, central slices" if classes > 1 else f"{state[:-1]}, central slices",
        [(f"{name}\n{size}", _sections(path, range(3))) if path is not None else (f"{name}\nnot yet", None)
         for path, (name, size) in zip(paths, class_sizes(folder))])


def draw_class_columns(figure, title, classes):
    """A column for each class: its words above its three central sections; returns [[axes] of a column].

    classes : [(words, ([(n, m) sections across z, y, x], Å/px))], or None in place of the sections where there are none
    """
    figure.clear()
    grid, columns = _sheet(figure, 3, len(classes), title, labelled_rows=True), []
    for column, (words, found) in enumerate(classes):
        panels = [figure.add_subplot(grid[row, column]) for row in range(3)]
        if found is not None:
            _draw_sections(panels, *found)
        panels[0].set_title(words, fontsize=9)
        for axes, (across, up) in zip(panels, _PLANES):
            _label(axes, "", across, up, left=column == 0, bottom=True)
        columns.append(panels)
    return columns


def class_sizes(folder):
    """[(name, size in words)] of a run's classes: number and share of particles, or the share so far."""
    summary, history, classes = folder.summary() or {}, folder.history(), folder.classes()
    names = ["map"] if classes == 1 else [f"class {k + 1}" for k in range(classes)]
    sizes = summary.get("class_sizes")
    if sizes and sum(sizes):
        return [(name, f"{size:,} particles, {100 * size / sum(sizes):.1f} %") for name, size in zip(names, sizes)]
    shares = (history[-1].get("class_shares") if history else None) or [None] * classes
    return [(name, "" if share is None else f"{100 * share:.1f} % so far") for name, share in zip(names, shares)]


def sheet_size(rows, columns):
    """(width, height) in inches of a sheet of so many slices."""
    return 0.9 + max(1.85 * columns, 3.6), 1.35 + 2.0 * rows


def _sheet(figure, rows, columns, title, labelled_rows=False):
    """A grid of slices below a title; labelled_rows : leaves room for an axis label below each."""
    width, height = figure.get_size_inches()
    figure.suptitle(title, fontsize=11, y=1 - 0.14 / height)
    return figure.add_gridspec(rows, columns, left=0.72 / width, right=1 - 0.12 / width, bottom=0.45 / height,
                               top=1 - 0.85 / height, wspace=0.08, hspace=0.28 if labelled_rows else 0.06)


def _draw_sections(panels, sections, pixel_size):
    """Draw central sections of a map, in its own greys, Å from the centre."""
    low, high = _grey_range(sections)
    for panel, section in zip(panels, sections):
        edges = [(-(n // 2) - 0.5) * pixel_size for n in section.shape]
        (bottom, top), (left, right) = [(edge, edge + n * pixel_size) for edge, n in zip(edges, section.shape)]
        panel.imshow(section, cmap="gray", origin="lower", extent=(left, right, bottom, top), vmin=low, vmax=high)


def _sections(path, axes_across):
    """([(d, d) central sections across some axes (0, 1, 2 = z, y, x)], Å/px) of a map that CryoSGD wrote; its other
    sections are not read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with mrcfile.mmap(path, mode="r", permissive=True) as file:
                if file.data is None or file.data.ndim != 3:
                    raise InputError(f"{path} is no whole map; start the run again")
                return [np.array(np.take(file.data, len(file.data) // 2, axis=axis), np.float32)
                        for axis in axes_across], float(file.voxel_size.x)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as a map ({error}); start the run again") from error


def _label(axes, name, across, up, left, bottom):
    axes.tick_params(labelsize=7, labelleft=left, labelbottom=bottom)
    axes.locator_params(nbins=4)
    if left:
        axes.set_ylabel(f"{name}\n{up} (Å)" if name else f"{up} (Å)", fontsize=8, labelpad=1)
    if bottom:
        axes.set_xlabel(f"{across} (Å)", fontsize=8, labelpad=1)


def _in_angstroms(resolution_a):
    """Of one structure, or the range of several; nothing where none is known."""
    known = [one for one in (resolution_a if isinstance(resolution_a, list) else [resolution_a]) if one is not None]
    ends = sorted({f"{one:.3g}" for one in known}, key=float)
    return f"\n{ends[0]} to {ends[-1]} Å" if len(ends) > 1 else f"\n{ends[0]} Å" if ends else ""
