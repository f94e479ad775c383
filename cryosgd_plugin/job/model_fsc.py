"""A map against an atomic model, from files into a folder: what `cryosgd model-fsc` and a protocol start."""
from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..core.masks import has_hard_edge
from ..core.poses import matrix_to_euler
from ..engines.validation.model_fsc import AGREE, THRESHOLD, ModelConfig, crossing, model_fsc, outcome
from ..engines.validation.postprocess import CONVENTION
from ..io.files import check_new_folder, make_new_folder
from ..io.fsc_star import write_fsc
from ..io.models import FIRST, read_model
from ..io.pictures import save_fsc_png
from ..io.result_folder import FSC, MASK, MODEL_MAP, PICTURES, SUMMARY
from ..io.runfolder import write_json
from ..io.validation_pictures import save_model_sections_png, save_pixel_scan_png
from ..io.volumes import read_volume, write_volume
from .half_map_files import read_mask


def run_model_fsc(path, model, folder, config: ModelConfig, *, mask=None, pixel_size=None, assembly=FIRST) -> dict:
    """Compare the map of a file with a model's into a new folder; returns the summary.

    mask : path, None makes one of the model; pixel_size : Å/px, None takes the header's; assembly : as
    `io.models.read_model` takes it. Raises InputError before the folder is made.
    """
    check_new_folder(folder)
    volume, header = read_volume(path, need_pixel_size=pixel_size is None)
    if pixel_size is not None and not pixel_size > 0:
        raise InputError(f"--pixel-size {pixel_size:g} Å/px is not positive")
    pixel_size = pixel_size or header
    mask = read_mask(mask, len(volume), pixel_size) if mask else None
    atoms = read_model(model, assembly)
    result = model_fsc(volume, *atoms, config, pixel_size=pixel_size, mask=mask)
    names = dict(map=path, model=model, assembly=assembly, atoms=len(atoms[1]))
    return write_model_fsc(make_new_folder(folder), volume, pixel_size, result, config, names)


def write_model_fsc(folder, volume, pixel_size, result, config, names) -> dict:
    """Density, mask, curves, pictures and summary of a ModelFSC into a folder that exists; returns the summary."""
    box, best = len(volume), result.best
    other = next((one for one in result.hands if one is not best), None)
    write_volume(folder / MODEL_MAP, best.density, pixel_size)
    write_volume(folder / MASK, best.mask, pixel_size)
    curves = {"model": best.curve, "model without spherical averages": np.nan_to_num(best.shape_curve, nan=1.0)}
    if other is not None:
        curves["other hand"] = other.curve
    write_fsc(folder / FSC, curves, box_size=box, pixel_size=pixel_size)
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    shown = {"map and model": best.curve, "without spherical averages": best.shape_curve}
    if other is not None:
        shown["without spherical averages, other hand"] = other.shape_curve
    at = crossing(best.curve, THRESHOLD, box, pixel_size)
    title = f"Map and model: {at:.2f} Å at FSC {THRESHOLD}" if np.isfinite(at) else (
        f"Map and model: FSC {THRESHOLD} is reached nowhere")
    save_fsc_png(pictures / "model_fsc.png", shown, box_size=box, pixel_size=pixel_size, title=title,
                 thresholds=(THRESHOLD,))
    save_model_sections_png(pictures / "model.png", volume, best.density, best.mask, pixel_size)
    if result.scan:
        save_pixel_scan_png(pictures / "pixel_size.png", result.scan, pixel_size)
    summary = summarise(volume, pixel_size, result, config, names)
    write_json(folder / SUMMARY, summary)
    return summary


def summarise(volume, pixel_size, result, config, names) -> dict:
    """The entries of summary.json; infinity (no agreement) becomes null there."""
    box, best, scan = len(volume), result.best, result.scan
    warnings = ["The mask has a hard edge, which correlates by itself; give it a soft one."] if has_hard_edge(
        best.mask) else []
    return dict(
        outcome=" ".join([outcome(result, volume, pixel_size), *warnings]),
        **{f"fsc_{threshold}_a": crossing(best.curve, threshold, box, pixel_size) for threshold in (THRESHOLD, AGREE)},
        shape_fsc_05_a=crossing(best.shape_curve, THRESHOLD, box, pixel_size), mirrored=best.alignment.mirrored,
        mean_fsc=dict(zip(("as_is", "mirrored"), result.scores)), mean_to_a=result.resolution_a,
        pixel_scan=dict(pixel_sizes=scan.pixel_sizes, mean_fsc=scan.scores, best=scan.best) if scan else None,
        alignment=dict(rotation=best.alignment.rotation, shift_a=best.alignment.shift_px * pixel_size,
                       euler_deg=[float(angle) for angle in matrix_to_euler(best.alignment.rotation)],
                       correlation=best.alignment.correlation),
        mask_share=best.mask.mean(), convention=CONVENTION[config.half_plane], box_size=box, pixel_size=pixel_size,
        warnings=warnings, parameters=config.to_dict(), **names)
