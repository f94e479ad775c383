"""Local resolution from files into a folder: what `cryosgd local-resolution` and a protocol start."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..engines.validation.halves import SAME_MAP
from ..engines.validation.local import LocalConfig, local_resolution, outcome
from ..engines.validation.postprocess import PostprocessConfig, postprocess
from ..io.files import check_new_folder, make_new_folder
from ..io.result_folder import LOCAL_MAP, MASK, PICTURES, SUMMARY
from ..io.runfolder import write_json
from ..io.validation_pictures import save_local_histogram_png, save_local_sections_png
from ..io.volumes import write_volume
from .half_map_files import HalfMapFiles


def run_local_resolution(files: HalfMapFiles, folder, config: LocalConfig) -> dict:
    """Local resolution of two half-maps into a new folder; returns the summary.

    Raises InputError before the folder is made, also where the halves agree nowhere or are one map.
    """
    check_new_folder(folder)
    halves = files.read()
    whole = postprocess(halves, PostprocessConfig())
    if not whole.independent:
        raise InputError(SAME_MAP)
    if not np.isfinite(whole.resolution_a):
        raise InputError(f"{files.first} and {files.second} agree at no resolution, so there is no local one; give the "
                         "two halves of one refinement")
    result = local_resolution(halves.first, halves.second, halves.mask, config, pixel_size=halves.pixel_size,
                              resolution_a=whole.resolution_a)
    folder = make_new_folder(folder)
    write_volume(folder / MASK, halves.mask, halves.pixel_size)
    summary = dict(write_local_resolution(folder, halves, result, config, whole),
                   box_size=halves.box_size, pixel_size=halves.pixel_size, warnings=whole.warnings, **files.names())
    summary["outcome"] = " ".join([*whole.warnings, summary["outcome"]])
    write_json(folder / SUMMARY, summary)
    return summary


def write_local_resolution(folder, halves, result, config, whole) -> dict:
    """Map and pictures of a LocalResolution into a folder that exists; returns what a summary says of it.

    whole : Postprocessed of the same halves
    """
    whole_a = halves.crossing(whole.believed, config.threshold)
    write_volume(folder / LOCAL_MAP, result.volume, halves.pixel_size)
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    save_local_sections_png(pictures / "local_resolution.png", halves.mean, result, halves.pixel_size)
    save_local_histogram_png(pictures / "local_histogram.png", result, config.threshold, whole_a)
    percentiles = dict(zip(("p5", "p25", "median", "p75", "p95"), np.percentile(result.values, (5, 25, 50, 75, 95))))
    return dict(outcome=outcome(result, config.threshold, whole_a), resolution_a=whole.resolution_a, whole_a=whole_a,
                local_a=percentiles, window_a=result.window_a, searched_a=[result.coarsest_a, result.finest_a],
                parameters=config.to_dict())
