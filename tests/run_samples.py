"""Run folders as an ab initio run leaves them, finished or not, for the tests of its pictures."""
import numpy as np
from matplotlib.figure import Figure

from cryosgd_plugin.core.poses import healpix_directions
from cryosgd_plugin.io.result_folder import ResultFolder, result_name
from cryosgd_plugin.io.runfolder import RunFolder
from cryosgd_plugin.io.volumes import write_volume

BOX, PIXEL_SIZE = 12, 5.0


def new_run(path, classes=1, iterations=(), final=False, history=None):
    """A run folder with maps on the way, history and, where it is finished, what the end of a run leaves."""
    with RunFolder(path, needed_bytes=0) as folder:
        folder.write_job({"parameters": {"classes": classes}})
        for record in history if history is not None else records(max(iterations, default=0), classes):
            folder.append_history(record)
        for structure in range(classes):
            for iteration in iterations:
                write_volume(folder.progress_path(iteration, structure, classes), map_of(structure, iteration),
                             PIXEL_SIZE)
            if final:
                write_volume(folder.path(result_name("volume.mrc", structure, classes)), map_of(structure, 999),
                             PIXEL_SIZE)
        if iterations:
            directions = healpix_directions(8)
            folder.write_importance(directions, np.full((classes, len(directions)), 1 / classes / len(directions)))
        if final:
            folder.write_summary({"resolution_a": 12.34, "class_sizes": [100 * (k + 1) for k in range(classes)]})
    return ResultFolder(path)


def records(n=60, classes=1):
    """A history as the engine writes it: held-out errors every fifth iteration, divergences from the middle on."""
    found = []
    for i in range(n):
        shares = np.arange(classes, 0, -1) ** (i / n)
        record = dict(iteration=i + 1, progress=i / n, resolution_a=40 - 0.4 * i, n_images=100 + i, seconds=0.5,
                      step_size=0.5 * 0.98 ** i, significant_share=0.9 * 0.9 ** i, evaluated_share=0.95 ** i,
                      noise_inflation=max(1.0, 30 * 0.85 ** i), log_likelihood=-8 + 0.05 * i,
                      kl_directions=None if i < max(1, n // 2) else 2.0 * 0.97 ** i, step_norm=0.1 * 0.97 ** i,
                      gradient_norm=5 * 0.95 ** i, class_shares=(shares / shares.sum()).tolist(),
                      symmetry="C1" if i < 20 else "O")
        if i % 5 == 4:
            record["held_out_error"] = 9 - 0.05 * i
        found.append(record)
    return found


def map_of(structure, iteration):
    return np.random.default_rng([structure, iteration]).normal(size=(BOX,) * 3).astype(np.float32)


def new_figure():
    return Figure(figsize=(13, 7), dpi=50)


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]
