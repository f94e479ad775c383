"""`cryosgd sparse-tv`: a sparse and smooth map from two half-maps."""
from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.shells import crossing_resolution
from ..core.symmetry import point_group
from ..engines.sparse_tv.config import METHODS, SparseTVConfig
from ..engines.sparse_tv.of_halves import regularise_halves
from ..io.files import atomic_write, explained
from ..io.pictures import save_fsc_png
from ..io.sparse_tv_pictures import save_choice_png, save_comparison_png
from ..io.volumes import read_volume, write_volume
from .fsc import common_pixel_size

# where the diameter isn't given: this share of the box
DIAMETER_SHARE = 0.9
MEASURED, REGULARISED = "half-maps as given", "regularised (no measure of resolution)"


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "sparse-tv", help="a sparse and smooth map from two half-maps",
        description="Regularises the two unregularised half-maps of a refinement, and their mean, by log-norm sparsity "
                    "and log total variation (paper 3), each half by itself with penalties that it chooses by data "
                    "that it holds back. The resolution stays that of the half-maps as they were given: "
                    "regularised halves also agree on noise.")
    parser.set_defaults(run=run)
    default = SparseTVConfig()
    add = parser.add_argument
    add("maps", nargs=2, metavar="MRC", help="the two half-maps, unregularised, unmasked: cubes of one box")
    add("-o", "--output", required=True, metavar="DIR", help="new folder for the results")
    add("--pixel-size", type=float, metavar="A", help="Å/px of both maps (default: as their headers say)")
    add("--diameter", type=float, metavar="A", help=f"particle diameter, Å (default: {DIAMETER_SHARE:.0%} of the box)")
    add("--symmetry", default="C1", metavar="GROUP",
        help="point group that was imposed on the maps, whose mates hold the same noise (default %(default)s)")
    add("--alpha", type=_penalty, default=None, metavar="F", help="sparsity, in rms(AᴴDy) · ε; auto chooses (default)")
    add("--beta", type=_penalty, default=None, metavar="F",
        help="total variation, in rms(AᴴDy) · ε'; auto chooses (default)")
    add("--scan", action="store_true",
        help="choose from paper 3's whole grid, α 0.4 and 0.5, β 1 to 2.6; choice.png shows it as its Fig. 1-3 do (γ "
             "is of a refinement's iterations: `cryosgd refine --gamma`)")
    add("--epsilon", type=float, metavar="F",
        help="density at which the molecule begins, in the maps' units (default: proposed from a mask of the map)")
    add("--epsilon-ratio", type=float, default=default.epsilon_ratio, metavar="F",
        help="ε' / ε, 1/3 to 1 (default %(default).2g)")
    add("--reweightings", type=int, default=default.reweightings, metavar="N", help="(default %(default)s)")
    add("--convex", action="store_true", help="plain ℓ1 and total variation, not their logarithms")
    add("--method", choices=METHODS, default=default.method, help="(default %(default)s)")
    add("--iterations", type=int, default=default.iterations, metavar="N",
        help="of each reweighting, at most (default %(default)s)")
    add("--tolerance", type=float, default=default.tolerance, metavar="F",
        help="relative fixed-point gap at which it ends (default %(default)g)")
    add("--seed", type=int, default=0, metavar="N", help="of the noise that parts the data (default %(default)s)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="CPU threads (default: all, %(default)s)")


def run(arguments) -> int:
    """Read, regularise, write; raises InputError before there is a folder."""
    folder = Path(arguments.output)
    if folder.exists():
        raise InputError(f"{folder} exists; give a new folder")
    if arguments.threads < 1:
        raise InputError(f"{arguments.threads} threads were asked for; give 1 or more")
    if arguments.seed < 0:
        raise InputError(f"seed {arguments.seed} is negative; give 0 or more")
    if arguments.diameter is not None and not arguments.diameter > 0:
        raise InputError(f"a diameter of {arguments.diameter:g} Å is not positive; measure it on the map")
    point_group(arguments.symmetry)
    if (arguments.alpha is None) != (arguments.beta is None):
        raise InputError("--alpha and --beta are chosen together; give both or neither")
    if arguments.scan and arguments.alpha is not None:
        raise InputError("--scan tries α and β; leave out --alpha and --beta")
    default = SparseTVConfig()
    chosen = arguments.alpha is None
    config = SparseTVConfig(
        alpha=default.alpha if chosen else arguments.alpha, beta=default.beta if chosen else arguments.beta,
        epsilon=arguments.epsilon, epsilon_ratio=arguments.epsilon_ratio, reweightings=arguments.reweightings,
        convex=arguments.convex, method=arguments.method, iterations=arguments.iterations,
        tolerance=arguments.tolerance)
    (first, pixel_a), (second, pixel_b) = (read_volume(path, need_pixel_size=arguments.pixel_size is None)
                                           for path in arguments.maps)
    pixel_size = common_pixel_size(arguments, pixel_a, pixel_b)
    diameter_a = DIAMETER_SHARE * len(first) * pixel_size if arguments.diameter is None else arguments.diameter
    found = regularise_halves(first, second, config, pixel_size=pixel_size, diameter_a=diameter_a, chosen=chosen,
                              symmetry=arguments.symmetry, seed=arguments.seed, threads=arguments.threads,
                              scan=arguments.scan)
    with explained("make the folder", folder):
        folder.mkdir(parents=True)
    write(folder, found, pixel_size)
    print(outcome(found, pixel_size), flush=True)
    return 0


def write(folder, found, pixel_size: float) -> None:
    """Maps, curves, pictures and summary.json of RegularisedHalves."""
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
    with atomic_write(folder / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


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


def _penalty(text):
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor auto") from None
