"""Validation against known numbers: RELION's post-process, a conical FSC's tables, a model FSC.

    python benchmarks/validation.py -o DIR [--data DATA] [--no-model]

DATA (default: CRYOSGD_TEST_DATA) holds apoferritin/halfmaps, with half-maps, two masks, RELION 3.1.3's tables and map,
and the model 7A4M; and fsc_reference, with tables of RELION 3.0.8 and of 3DFSC. Shells are counted as RELION does.
Random phases differ from run to run: of that column the scatter over SEEDS of ours is the measure.
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import DATA, Report, figure, parsed, plot_fsc

from cryosgd_plugin.core.shells import crossing_resolution
from cryosgd_plugin.engines.validation.half_maps import (
    KEPT_SHELLS,
    THRESHOLD,
    half_map_curves,
    without_noise,
)
from cryosgd_plugin.engines.validation.model_fsc import ModelConfig, crossing, model_fsc
from cryosgd_plugin.engines.validation.postprocess import PostprocessConfig, postprocess
from cryosgd_plugin.engines.validation.sharpening import sharpen
from cryosgd_plugin.io.fsc_star import GUINIER, NOTHING, read_fsc
from cryosgd_plugin.io.models import FIRST, read_model
from cryosgd_plugin.io.star_tables import read_table
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.job.half_map_files import HalfMapFiles, read_mask

SEEDS = 8
# how far a deterministic column may be from RELION's in any shell
LIMIT = 0.015
# Å/px that RELION was told, to its printed digits
PIXEL = 2.6667
# FSC 0.5 of the halves' mean to 7A4M, with and without spherical averages, and by how much the nominal pixel size is
# too small (apoferritin/SOURCE.txt)
MODEL_A, MODEL_WITHIN, PIXEL_CHANGE = 11.5, 0.2, (0.01, 0.02)
# 3DFSC's example: HA trimer, EMPIAR-10097, tilted by 40°
T40_BOX, T40_PIXEL = 144, 1.31


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="results")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="test data (%(default)s)")
    parser.add_argument("--no-model", action="store_true", help="leave the model FSC out (half a minute)")
    arguments = parsed(parser, words)
    folder = arguments.data / "apoferritin" / "halfmaps"
    report = Report("validation", arguments.output, "validation: ours against RELION 3.1.3, RELION 3.0.8 and 3DFSC")
    halves = HalfMapFiles(*(str(folder / f"half{i}_class001_unfil.mrc") for i in (1, 2)), str(folder / "mask.mrc"),
                          PIXEL).read()
    theirs = read_fsc(folder / "postprocess.star")[1]
    ours = postprocess(halves, PostprocessConfig(bfactor=-300.0, half_plane=True))
    columns(report, halves, ours, theirs)
    resolutions(report, halves, ours, folder)
    sharpened(report, halves, theirs, folder)
    relion_308(report, arguments.data / "fsc_reference" / "starfile_postprocess.star")
    three_d_fsc(report, arguments.data / "fsc_reference")
    if not arguments.no_model:
        model(report, halves, folder)
    plot(arguments.output / "validation.png", ours, theirs)
    return report.finish()


def columns(report, halves, ours, theirs):
    """Each FSC column shell by shell."""
    curves = ours.curves
    own = {"unmasked": curves.unmasked, "masked": curves.masked, "solvent-free": ours.solvent_free}
    for name, curve in own.items():
        compare(report, f"{name} FSC, all shells", curve, theirs[name], LIMIT)
    first = curves.first_randomised
    changed = first + KEPT_SHELLS
    compare(report, f"corrected FSC, shells 0 to {changed - 1}", curves.corrected[:changed],
            theirs["corrected"][:changed], LIMIT)
    compare(report, "corrected FSC from RELION's own columns", np.concatenate(
        [theirs["masked"][:changed], without_noise(theirs["masked"], theirs["randomised"])[changed:]]),
        theirs["corrected"], 1e-4)
    again = np.array([half_map_curves(halves.first, halves.second, halves.mask, np.random.default_rng(seed),
                                      kept_shells=KEPT_SHELLS, half_plane=True).randomised for seed in range(SEEDS)])
    compare(report, f"randomised FSC, shells 0 to {first - 1}", again.mean(axis=0)[:first],
            theirs["randomised"][:first], LIMIT)
    apart = np.abs(again.mean(axis=0) - theirs["randomised"])[first:] / again.std(axis=0, ddof=1)[first:]
    report.add(what=f"randomised FSC, shells {first} on: rms difference in standard deviations of {SEEDS} of ours",
               difference=np.sqrt(np.mean(apart**2)))
    report.bar(np.sqrt(np.mean(apart**2)) < 1.5 and apart.max() < 4,
               f"RELION's random phases lie within the scatter of ours: rms {np.sqrt(np.mean(apart**2)):.2f} standard "
               f"deviations, largest {apart.max():.2f}; limits 1.5 and 4")


def resolutions(report, halves, ours, folder):
    """The final resolution, and the mask that is too tight."""
    given = read_table(folder / "postprocess.star", "general")["rlnFinalResolution"]
    shell = halves.box_size * halves.pixel_size / ours.last_shell
    report.add(what="final resolution, Å: last shell at 0.143 or more", known=given, ours=shell)
    report.add(what="final resolution, Å: interpolated", ours=ours.resolution_a)
    report.bar(abs(shell - given) < 0.01, f"final resolution {shell:.3f} Å, RELION {given:.3f} Å; interpolated "
                                          f"{ours.resolution_a:.2f} Å")
    mask = read_mask(folder / "tight_mask.mrc", halves.box_size, halves.pixel_size)
    tight = postprocess(replace(halves, mask=mask), PostprocessConfig(half_plane=True))
    report.add(what="random phases within the tight mask, FSC", ours=tight.curves.mask_share)
    given = read_table(folder / "postprocess_tight.star", "general")["rlnFinalResolution"]
    shell = halves.box_size * halves.pixel_size / tight.last_shell
    report.bar(tight.tight and not ours.tight and abs(shell - given) < 0.01,
               f"of two masks only the tight one is called too tight, and {shell:.2f} Å without it (RELION "
               f"{given:.2f} Å)")


def sharpened(report, halves, theirs, folder):
    """The Guinier plots and the map, by the curve that RELION had."""
    general = read_table(folder / "postprocess.star", "general")
    ours = sharpen(halves.mean, theirs["corrected"], pixel_size=halves.pixel_size,
                   resolution_a=general["rlnFinalResolution"], bfactor=general["rlnBfactorUsedForSharpening"])
    guinier = read_table(folder / "postprocess.star", "guinier")
    for name, values in ours.guinier.items():
        known = np.asarray(guinier[GUINIER[name]]) > NOTHING
        compare(report, f"Guinier plot, {name}", values[known], guinier[GUINIER[name]][known], 1e-4)
    correlation = float(np.corrcoef(ours.volume.ravel(), read_volume(folder / "postprocess.mrc")[0].ravel())[0, 1])
    report.add(what="sharpened map and RELION's, correlation", ours=correlation)
    report.bar(correlation > 0.9999, f"the sharpened map correlates with RELION's by {correlation:.6f}, limit 0.9999")


def relion_308(report, path):
    """The corrected column and the resolution of RELION 3.0.8 from its masked and randomised ones."""
    frequency, curves = read_fsc(path)
    general = read_table(path, "general")
    first = int(np.argmin(np.abs(frequency - 1 / general["rlnRandomiseFrom"])))
    derived = curves["masked"].copy()
    changed = slice(first + KEPT_SHELLS, None)
    derived[changed] = without_noise(curves["masked"], curves["randomised"])[changed]
    compare(report, "RELION 3.0.8: corrected FSC from its own columns", derived, curves["corrected"], 1e-4)
    last = np.flatnonzero(derived[1:] < THRESHOLD)[0]
    found = 1 / frequency[last]
    report.bar(abs(found - general["rlnFinalResolution"]) < 0.01,
               f"RELION 3.0.8: {found:.2f} Å from its columns, {general['rlnFinalResolution']:.2f} Å stated")


def three_d_fsc(report, folder):
    """Axis, global curve and anisotropy of 3DFSC's tables: three directions, their mean, the whole shells."""
    steps, frequency, whole = np.loadtxt(folder / "T40_globalFSC.csv", delimiter=",").T
    x, y, z, mean, last = np.loadtxt(folder / "T40_Plots.csv").T
    shells = np.arange(len(steps))
    axis = max(np.abs(steps - shells / T40_BOX).max(), np.abs(frequency - shells / (T40_BOX * T40_PIXEL)).max())
    report.add(what="3DFSC: frequencies are shells of 144 px at 1.31 Å", difference=axis)
    report.bar(axis < 1e-9 and np.array_equal(last, whole[:len(last)]),
               "3DFSC: both tables hold one global curve, on the axis of our shells")
    found = {name: crossing_resolution(curve, THRESHOLD, T40_BOX, T40_PIXEL)
             for name, curve in dict(x=x, y=y, z=z, mean=mean, whole=whole).items()}
    for name, resolution in found.items():
        report.add(what=f"3DFSC: Å at FSC 0.143, {name}", ours=resolution)
    areas = [np.where(np.logical_or.accumulate(curve[1:] < THRESHOLD), 0, curve[1:]).sum() for curve in (x, y, z)]
    report.add(what="3DFSC: area under z by that under the best of x, y, z", ours=areas[2] / max(areas))
    side = max(found["x"], found["y"])
    report.bar(found["mean"] < found["z"] and found["z"] > 1.3 * side and areas[2] / max(areas) < 0.7,
               f"3DFSC: z, along which views are missing, ends at {found['z']:.1f} Å, x and y at {found['x']:.1f} and "
               f"{found['y']:.1f} Å")


def model(report, halves, folder):
    """The halves' mean against 7A4M."""
    atoms = read_model(folder / "7a4m.cif", FIRST)
    found = model_fsc(halves.mean, *atoms, ModelConfig(half_plane=True), pixel_size=halves.pixel_size,
                      mask=halves.mask)
    plain, shape = (crossing(curve, 0.5, halves.box_size, halves.pixel_size)
                    for curve in (found.best.curve, found.best.shape_curve))
    change = found.scan.best / halves.pixel_size - 1
    report.add(what="model FSC 0.5, Å", known=MODEL_A, ours=plain)
    report.add(what="model FSC 0.5 without spherical averages, Å", known=MODEL_A, ours=shape)
    report.add(what="model: mean FSC of its hand", ours=max(found.scores))
    report.add(what="model: mean FSC of the other hand", ours=min(found.scores))
    report.add(what="model: best pixel size over the nominal", known=str(PIXEL_CHANGE), ours=change)
    report.bar(max(abs(plain - MODEL_A), abs(shape - MODEL_A)) < MODEL_WITHIN,
               f"model FSC 0.5 at {plain:.2f} Å, without spherical averages {shape:.2f} Å; known {MODEL_A} ± "
               f"{MODEL_WITHIN} Å")
    report.bar(not found.best.alignment.mirrored and max(found.scores) > 2 * min(found.scores),
               f"the model's hand is found: mean FSC {max(found.scores):.2f} against {min(found.scores):.2f}")
    report.bar(PIXEL_CHANGE[0] <= change <= PIXEL_CHANGE[1],
               f"the nominal pixel size is {change:.2%} too small, known {PIXEL_CHANGE[0]:.0%} to "
               f"{PIXEL_CHANGE[1]:.0%}")


def compare(report, what, ours, theirs, limit):
    """A row and a bar for the largest difference of two columns."""
    difference = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    report.add(what=what, difference=difference)
    report.bar(difference <= limit, f"{what}: largest difference {difference:.2g}, limit {limit:g}")


def plot(path, ours, theirs):
    made = figure(7, 4.5)
    axes = made.add_subplot()
    own = {"unmasked": ours.curves.unmasked, "masked": ours.curves.masked, "randomised": ours.curves.randomised,
           "corrected": ours.curves.corrected}
    plot_fsc(axes, own, 72, PIXEL)
    axes.set_prop_cycle(None)
    for name in own:
        axes.plot(np.arange(1, 37) / (72 * PIXEL), theirs[name][1:], "o", markersize=3.5, markerfacecolor="none")
    axes.axhline(THRESHOLD, color="0.6", linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.3, 1.05)
    axes.set_title("apoferritin's half-maps: ours (lines) and RELION 3.1.3 (rings)", fontsize=9)
    made.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
