"""The files that a finished refinement leaves: maps, halves, mask, curves, posed particles, pictures."""
from __future__ import annotations

import numpy as np

from ..core.classes import posterior_tag
from ..io.certificate_picture import save_certificate_png
from ..io.fsc_star import write_fsc
from ..io.model_pictures import save_model_png
from ..io.model_star import write_model
from ..io.pictures import save_fsc_png
from ..io.result_folder import (
    COMPARISON,
    FSC,
    HALF1,
    HALF2,
    MASK,
    MODEL,
    OVERFITTING,
    PICTURES,
    TRADITIONAL,
    VOLUME,
    result_name,
)
from ..io.sparse_tv_pictures import save_comparison_png
from ..io.undistort import distorted_shifts
from ..io.volumes import write_volume
from .result_files import save_map_pictures

# of the FSC of sparse and smooth halves, in a picture
REGULARISED = "masked, regularised (no measure of resolution)"


def write_maps(path, engine) -> None:
    """Map, unregularised half-maps and their FSC of each class, and the mask of these curves; Wiener's map where the
    map is another.

    path : a file's name -> its Path
    """
    config = engine.config
    for k, volume in enumerate(engine.whole):
        first, second = engine.halves[:, k]
        for name, array in ((VOLUME, volume), (HALF1, first), (HALF2, second)):
            write_volume(path(result_name(name, k, config.classes)), array, config.pixel_size)
        curves = engine.curves[k]
        write_fsc(path(result_name(FSC, k, config.classes)),
                  {name: getattr(curves, name) for name in ("unmasked", "masked", "randomised", "corrected")},
                  box_size=config.box_size, pixel_size=config.pixel_size,
                  general={"rlnFinalResolution": _finite(config.resolved(curves.resolution(config.box_size,
                                                                                         config.pixel_size)))})
    for k, volume in enumerate(() if engine.traditional is None else engine.traditional):
        write_volume(path(result_name(TRADITIONAL, k, config.classes)), volume, config.pixel_size)
    write_volume(path(MASK), engine.curve_mask.astype(np.float32), config.pixel_size)


def write_shells(path, table, engine) -> None:
    """model.star: what the last iteration knew of each shell, of the classes and of the noise of each optics group."""
    config = engine.config
    classes = [dict(vars(spectra), map_noise=spectra.map_noise, fsc=engine.shell_fsc[k][:len(spectra.snr)])
               for k, spectra in enumerate(engine.spectra)]
    # a half that lacks a group knows nothing of its noise
    known = {group.name: engine.noise[:, i][~np.isnan(engine.noise[:, i, 1])] for i, group in enumerate(table.optics)}
    write_model(path(MODEL), classes, {name: noise.mean(axis=0) for name, noise in known.items() if len(noise)},
                box_size=config.box_size, pixel_size=config.pixel_size)


def _finite(resolution):
    """Å; 999, as RELION writes, where there is none."""
    return float(resolution) if np.isfinite(resolution) else 999.0


def posed(table, engine):
    """The ParticleTable of the run's particles with pose, half-set, class and what the run found out about each."""
    table.rotations, table.half_set = engine.results.rotations, engine.half_set
    table.shifts_a = distorted_shifts(table, engine.results.shifts_a)
    table.extra.update(rlnLogLikeliContribution=engine.results.log_gain, cryosgdEntropy=engine.results.entropy,
                       cryosgdPoseWidth=engine.results.width_deg, cryosgdScale=engine.results.scale,
                       cryosgdAngularChange=np.nan_to_num(engine.results.change_deg),
                       cryosgdShiftChange=np.nan_to_num(engine.results.change_a))
    if engine.config.classes > 1:
        table.class_id = engine.results.structures + 1
        table.extra.update({posterior_tag(k + 1): engine.results.class_mass[:, k]
                            for k in range(engine.config.classes)})
    return table.take(np.sort(np.concatenate(engine.rows)))


def write_overfitting(path, config, curves) -> None:
    """Curves of the overfitting test of each class, as a STAR file and a picture. path : a file's name -> its Path"""
    for k, one in enumerate(curves):
        shown = {"masked": one.measured, "randomised": one.random, "corrected": one.true}
        name = result_name(OVERFITTING, k, config.classes)
        write_fsc(path(name), shown, box_size=config.box_size, pixel_size=config.pixel_size,
                  general={"rlnFinalResolution": _finite(config.resolved(one.resolution(config.box_size,
                                                                                      config.pixel_size)))})
        save_fsc_png(path(PICTURES) / name.replace(".star", ".png"),
                     {"particles": one.measured, "phases randomised in the particles": one.random,
                      "true (Chen et al. 2013)": one.true},
                     box_size=config.box_size, pixel_size=config.pixel_size, title="Overfitting test, masked FSC")


def save_pictures(pictures, engine, history) -> None:
    """Slices and surface of each class's map, its curves, and the certificate, into a folder; history : the run's
    records."""
    config = engine.config
    if any(record.get("certificate") for record in history):
        save_certificate_png(history, pictures / "certificate.png")
    for k, volume in enumerate(() if engine.traditional is None else engine.traditional):
        save_comparison_png(pictures / result_name(COMPARISON, k, config.classes), volume, engine.whole[k],
                            config.pixel_size)
    for k, volume in enumerate(engine.whole):
        title = "Refined map" if config.classes == 1 else f"Class {k + 1}"
        save_map_pictures(pictures, volume, config.pixel_size, title, k, config.classes)
        curves, regularised = engine.curves[k], history[-1].get("sparse_tv", {}).get("fsc_regularised")
        save_fsc_png(pictures / result_name(FSC, k, config.classes).replace(".star", ".png"),
                     {"unmasked": curves.unmasked, "masked": curves.masked,
                      "masked, phases randomised": curves.randomised, "corrected": curves.corrected,
                      **({REGULARISED: regularised[k]} if regularised else {})},
                     box_size=config.box_size, pixel_size=config.pixel_size)
        save_model_png(pictures / result_name(MODEL, k, config.classes).replace(".star", ".png"),
                       vars(engine.spectra[k]), config.extent_a, title)
