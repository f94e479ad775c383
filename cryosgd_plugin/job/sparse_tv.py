"""A sparse and smooth map of two half-maps from files into a folder: what `cryosgd sparse-tv` starts."""
from __future__ import annotations

import numpy as np

from ..core.shells import crossing_resolution
from ..core.symmetry import point_group
from ..engines.sparse_tv.of_halves import regularise_halves
from ..io.files import check_new_folder, make_new_folder
from ..io.pictures import save_fsc_png
from ..io.result_folder import SUMMARY
from ..io.runfolder import write_json
from ..io.sparse_tv_pictures import save_choice_png, save_comparison_png
from ..io.volumes import read_pair, write_volume

# where the diameter isn't given: this share of the box
DIAMETER_SHARE = 0.9
MEASURED, REGULARISED = "half-maps as given", "regularised (no measure of resolution)"


def run_sparse_tv(paths, folder, config, *, chosen: bool, scan: bool = False, pixel_size: float = None,
                  diameter_a: float = None, symmetry: str = "C1", seed: int = 0, threads: int = 1) -> dict:
    """Regularise the two half-maps at `paths` into a new folder; returns its summary.

    config : SparseTVConfig; chosen, scan, symmetry, seed : as of `regularise_halves`; pixel_size : Å/px, None takes the
    headers'; diameter_a : Å, None takes DIAMETER_SHARE of the box
    Raises InputError before the folder is made.
    """
    check_new_folder(folder)
    point_group(symmetry)
    first, second, pixel_size = read_pair(*paths, pixel_size)
    found = regularise_halves(
        first, second, config, pixel_size=pixel_size, chosen=chosen, scan=scan, symmetry=symmetry, seed=seed,
        diameter_a=DIAMETER_SHARE * len(first) * pixel_size if diameter_a is None else diameter_a, threads=threads)
    return _write(make_new_folder(folder), found, pixel_size)


def _write(folder, found, pixel_size: float) -> dict:
    """Maps, curves, pictures and summary of RegularisedHalves; returns the summary."""
    box = len(found.traditional)
    for name, volume in (("volume", found.both.volume), ("half1_regularised", found.halves[0].volume),
                         ("half2_regularised", found.halves[1].volume), ("traditional", found.traditional)):
        write_volume(folder / f"{name}.mrc", volume, pixel_size)
    save_fsc_png(folder / "fsc.png", {MEASURED: found.measured, REGULARISED: found.regularised}, box_size=box,
                 pixel_size=pixel_size)
    save_comparison_png(folder / "comparison.png", found.traditional, found.both.volume, pixel_size,
                        level=found.both.strengths.epsilon)
    if found.choices:
        save_choice_png(folder / "choice.png", found.choices)
    summary = dict(outcome=outcome(found, pixel_size), fsc=found.measured.tolist(),
                   fsc_regularised=found.regularised.tolist(),
                   choices=[dict(alpha=one.config.alpha, beta=one.config.beta,
                                tried=[[a, b, None if np.isnan(value) else value] for a, b, value in one.tried])
                            for one in found.choices],
                   maps={name: dict(gap=one.gap, zeros=one.zeros, variation=one.variation, **vars(one.strengths))
                         for name, one in zip(("both", "half1", "half2"), (found.both, *found.halves))})
    write_json(folder / SUMMARY, summary)
    return summary


def outcome(found, pixel_size: float) -> str:
    """What came out, in sentences."""
    resolution = crossing_resolution(found.measured, 0.143, len(found.traditional), pixel_size)
    words = (f"The half-maps agree to {resolution:.1f} Å (FSC 0.143, no mask); regularisation does not change that. "
             if np.isfinite(resolution) else "The half-maps do not agree at any resolution: there is nothing to "
                                             "regularise. ")
    if found.choices:
        words += "Penalties chosen by held-back data: " + "; ".join(
            f"half {n}: α {one.config.alpha:g}, β {one.config.beta:g}" for n, one in enumerate(found.choices, 1)) + ". "
    return words + (f"Of the map's voxels {found.both.zeros:.0%} are empty, and its total variation is "
                    f"{found.both.variation:.0%} of the unregularised map's (gap {found.both.gap:.1g}).")
