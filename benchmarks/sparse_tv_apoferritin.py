"""Sparse + total-variation maps of real apoferritin (EMPIAR-10146) beside Wiener's, judged by the atomic model.

    python benchmarks/sparse_tv_apoferritin.py -o DIR [--threads 2] [--refine --reference MAP] [-- options of refine]

The given half-maps (72 px of 2.67 Å/px, O) regularised as `cryosgd sparse-tv` does: FSC to 7A4M of the traditional and
the sparse + TV map, both with the traditional one's alignment. --refine (about 20 CPU minutes a method) refines the
particles from MAP by either method: unregularised FSC 0.143 of the half-maps, and FSC to the model. SNR and p² of these
images are unknown.

Bar: from shell 5 to where the half-maps' FSC falls below 0.143, the mean FSC to the model is not lower than the
traditional map's.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from _common import Report, command_line, engine_run, figure, parsed, plot_fsc

from cryosgd_plugin.core.masks import spherical_average
from cryosgd_plugin.core.shells import crossing_resolution, fsc
from cryosgd_plugin.engines.sparse_tv.config import SparseTVConfig
from cryosgd_plugin.engines.sparse_tv.of_halves import regularise_halves
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.apoferritin import FIRST_SHELL, curve_to_model

DIAMETER_A, SYMMETRY = 140, "O"
METHODS = {"traditional": "wiener", "sparse + TV": "sparse-tv"}


def main(words=None):
    parser = command_line(__doc__, seeds=1)
    parser.add_argument("--refine", action="store_true")
    parser.add_argument("--reference", type=Path, metavar="MAP", help="that a refinement starts from")
    arguments = parsed(parser, words)
    folder = arguments.data / "apoferritin" / "halfmaps"
    report = Report("sparse_tv_apoferritin", arguments.output, "Apoferritin, 72 px, 2.67 Å/px, O: FSC to the model")
    halves = [read_volume(folder / f"half{number}_class001_unfil.mrc") for number in (1, 2)]
    found = regularise_halves(*(one[0] for one in halves), SparseTVConfig(gamma=0), pixel_size=halves[0][1],
                              diameter_a=DIAMETER_A, chosen=True, symmetry=SYMMETRY, threads=arguments.threads)
    report.facts["chosen"] = [(one.config.alpha, one.config.beta) for one in found.choices]
    curves = {"half-maps": compare(report, "given half-maps", found.measured, folder, found.traditional,
                                   found.both.volume)}
    if arguments.refine:
        runs = [engine_run("refine", arguments.data / "apoferritin" / "particles_72.star", arguments.output / method,
                           "--reference", arguments.reference, "--diameter", DIAMETER_A, "--symmetry", SYMMETRY,
                           "--regularisation", method, "--threads", arguments.threads, *arguments.options,
                           reuse=arguments.reuse) for method in METHODS.values()]
        report.facts["unregularised_a"] = {name: run.results.summary()["resolution_a"]
                                           for name, run in zip(METHODS, runs)}
        print(f"unregularised halves agree to: {report.facts['unregularised_a']} Å")
        last = np.array(runs[0].results.history()[-1]["fsc"][0])
        curves["refined"] = compare(report, "refined", last, folder, *(run.volume() for run in runs))
    made = figure(6 * len(curves), 4)
    for number, (name, lines) in enumerate(curves.items(), 1):
        axes = made.add_subplot(1, len(curves), number)
        plot_fsc(axes, lines, len(model_of(folder)[0]), model_of(folder)[1])
        axes.set_title(f"{name}: FSC to the model", fontsize=10)
    made.savefig(arguments.output / "sparse_tv_apoferritin.png")
    return report.finish()


def compare(report, what, measured, folder, traditional, sparse):
    """{method: FSC to the model}; rows and a bar of the report. measured : FSC of the half-maps."""
    curve, alignment, pixel = curve_to_model(traditional, folder)
    model, mask = model_of(folder)[0], read_volume(folder / "mask.mrc")[0]
    aligned = alignment.apply(sparse)
    curves = {"traditional": curve, "sparse + TV": fsc(aligned - spherical_average(aligned),
                                                       model - spherical_average(model), mask=mask)}
    last = int(np.argmax(np.append(measured[1:] < 0.143, True))) + 1
    shells = slice(FIRST_SHELL, last)
    for name, one in curves.items():
        report.add(maps=what, method=name, mean_fsc=float(one[shells].mean()),
                   least_gain=float((one - curve)[shells].min()),
                   fsc05_a=crossing_resolution(after(one), 0.5, len(model), pixel))
    gain = float((curves["sparse + TV"] - curve)[shells].mean())
    report.bar(gain >= 0, f"{what}: mean FSC to the model over shells {FIRST_SHELL} to {last - 1} higher by {gain:.4f}")
    return curves


def after(curve):
    """The curve with the shells before the first that counts taken as 1: a hollow ball has next to nothing there."""
    return np.where(np.arange(len(curve)) < FIRST_SHELL, 1.0, curve)


def model_of(folder):
    return read_volume(folder / "model_7a4m_2.5A.mrc")


if __name__ == "__main__":
    sys.exit(main())
