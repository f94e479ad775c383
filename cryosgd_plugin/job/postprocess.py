"""Post-processing from files into a folder: what `cryosgd postprocess` and a protocol start."""
from __future__ import annotations

import numpy as np

from .. import __version__
from ..engines.validation.postprocess import CONVENTION, PostprocessConfig, outcome, postprocess
from ..engines.validation.sharpening import mtf_of_shells
from ..io.files import check_new_folder, make_new_folder
from ..io.fsc_star import write_fsc
from ..io.fsc_xml import write_fsc_xml
from ..io.mtf_star import read_mtf
from ..io.pictures import save_fsc_png
from ..io.result_folder import FSC, FSC_XML, MASK, PICTURES, POSTPROCESS, SUMMARY, VOLUME
from ..io.runfolder import write_json
from ..io.section_state import default_level
from ..io.validation_pictures import save_guinier_png
from ..io.volume_data import VolumeData
from ..io.volumes import write_volume
from .half_map_files import HalfMapFiles
from .result_files import save_map_pictures


def run_postprocess(files: HalfMapFiles, folder, config: PostprocessConfig, *, mtf=None, mtf_pixel_size=None) -> dict:
    """Post-process two half-maps into a new folder; returns its summary.

    mtf : path of the detector's MTF, or None; mtf_pixel_size : Å of a detector pixel, None for the maps' own
    Raises InputError before the folder is made.
    """
    check_new_folder(folder)
    halves = files.read()
    result = postprocess(halves, config, mtf_at(halves, mtf, mtf_pixel_size) if mtf else None)
    return write_postprocess(make_new_folder(folder), files, halves, result, config)


def mtf_at(halves, path, pixel_size=None):
    """(d//2 + 1,) the MTF of a file at the shells of half-maps; pixel_size : as of `run_postprocess`."""
    return mtf_of_shells(*read_mtf(path), mtf_pixel_size=pixel_size or halves.pixel_size, box_size=halves.box_size,
                         pixel_size=halves.pixel_size)


def write_postprocess(folder, files, halves, result, config) -> dict:
    """Maps, tables, pictures and summary of Postprocessed into a folder that exists; returns the summary."""
    box, pixel_size = halves.box_size, halves.pixel_size
    curves, sharpened = result.curves, result.sharpened
    summary = summarise(files, halves, result, config)
    write_volume(folder / MASK, halves.mask, pixel_size)
    columns = {"corrected": result.believed, "solvent-free": result.solvent_free, "unmasked": curves.unmasked,
               "masked": curves.masked, "randomised": curves.randomised}
    general = {"rlnFinalResolution": summary["resolution_shell_a"] or 999.0,
               "rlnBfactorUsedForSharpening": sharpened.bfactor if sharpened else 0.0,
               "rlnUnfilteredMapHalf1": files.first, "rlnUnfilteredMapHalf2": files.second,
               "rlnParticleBoxFractionSolventMask": result.box_excess, "rlnMaskName": files.mask or MASK,
               "rlnRandomiseFrom": summary["randomised_from_a"] or 999.0}
    for name, guinier in ((FSC, None), (POSTPROCESS, sharpened.guinier if sharpened else None)):
        write_fsc(folder / name, columns, box_size=box, pixel_size=pixel_size, general=general, guinier=guinier)
    kind = "unmasked" if result.tight else "corrected for the mask"
    write_fsc_xml(folder / FSC_XML, np.arange(1, len(result.believed)) / (box * pixel_size), result.believed[1:],
                  f"FSC of the half-maps, {kind}")
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    shown = {"unmasked": curves.unmasked, "masked": curves.masked, "phases randomised, masked": curves.randomised}
    if not result.tight:
        shown["corrected (Chen et al. 2013)"] = curves.corrected
    title = ("Half-maps: one and the same map" if not result.independent else
             "Half-maps: the mask is too tight, its curve is not believed" if result.tight else
             f"Half-maps: {result.resolution_a:.2f} Å at FSC 0.143")
    save_fsc_png(pictures / "fsc.png", shown, box_size=box, pixel_size=pixel_size, title=title)
    if sharpened:
        write_volume(folder / VOLUME, sharpened.volume, pixel_size)
        name = (f"Map to {result.resolution_a:.2f} Å, "
                f"{f'sharpened by B = {sharpened.bfactor:.0f} Å²' if sharpened.bfactor else 'not sharpened'}")
        save_map_pictures(pictures, sharpened.volume, pixel_size, name)
        save_guinier_png(pictures / "guinier.png", sharpened, box_size=box, pixel_size=pixel_size)
    write_json(folder / SUMMARY, summary)
    return summary


def summarise(files, halves, result, config) -> dict:
    """The entries of summary.json; infinity (no agreement) becomes null there."""
    extent = halves.box_size * halves.pixel_size
    first, fit = result.curves.first_randomised, result.sharpened.fit if result.sharpened else None
    return dict(
        outcome=outcome(result, halves, config), resolution_a=result.resolution_a, unmasked_a=result.unmasked_a,
        resolution_05_a=halves.crossing(result.believed, 0.5) if result.independent else None,
        # as RELION says it: of the last shell before the curve falls below 0.143
        resolution_shell_a=extent / result.last_shell if result.last_shell and result.independent else None,
        randomised_from_a=extent / first if first < len(result.curves.masked) else None,
        mask_too_tight=result.tight, independent=result.independent,
        random_phases_in_mask=result.curves.mask_share, mask_share=halves.mask.mean(),
        bfactor=result.sharpened.bfactor if result.sharpened else None, guinier_fit=vars(fit) if fit else None,
        convention=CONVENTION[config.half_plane], box_size=halves.box_size, pixel_size=halves.pixel_size,
        deposition=_for_the_emdb(result.sharpened, halves.pixel_size) if result.sharpened else None,
        warnings=[*result.warnings, *result.sharpening_doubts], parameters=config.to_dict(), version=__version__,
        **files.names())


def _for_the_emdb(sharpened, pixel_size):
    """What a deposition in the EMDB asks for: names of the folder's files, and the contour that pictures begin with."""
    contour = default_level(VolumeData(sharpened.volume, pixel_size).survey)
    return dict(primary_map=VOLUME, half_maps="the two that were given, as they are", mask=MASK, fsc=FSC_XML,
                contour_level=contour)
