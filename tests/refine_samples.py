"""Run folders as a refinement leaves them, finished or not, for the tests of its pictures and its viewer."""
from dataclasses import replace

import numpy as np

from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.io.fsc_star import write_fsc
from cryosgd_plugin.io.result_folder import result_name
from cryosgd_plugin.io.runfolder import RunFolder
from cryosgd_plugin.io.star_tables import write_table
from cryosgd_plugin.io.volumes import write_volume

BOX, PIXEL, N, USED = 16, 5.0, 120, 80
CONFIG = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=60.0, initial_resolution_a=25.0, symmetry="D2")
SPECTRA = {name: np.linspace(1, 0.2, BOX // 2 + 1).tolist() for name in (
    "noise", "signal", "snr", "data_share", "completeness")}
CERTIFICATE = dict(images=4, same=3, lost_nats=[0, 0, 0, 2.0], covered=[1, 1, 0.9, 0.2], above_bound=1, bounds=8,
                   pruned=[0.9, 0.98], cut=[0.0, 0.01], scored_share=0.02, seconds=0.5)
CURVES = ("unmasked", "masked", "randomised", "corrected")


def parameters(classes=1):
    """The settings as job.json holds them."""
    return replace(CONFIG, classes=classes).to_dict()


def records(iterations, classes=1):
    """A history as the engine writes it."""
    found = []
    for i in range(iterations):
        found.append(dict(
            iteration=i + 1, last=False, n_images=USED, radius=4 + i, resolution_in_use_a=BOX * PIXEL / (4 + i),
            resolution_a=20.0 - 2 * i, resolutions_a=[20.0 - 2 * i + k for k in range(classes)],
            resolved_a=[20.0 - 2 * i + k for k in range(classes)],
            fsc=[np.linspace(1, 0.1 * k, BOX // 2 + 1).tolist() for k in range(classes)],
            pruned=[0.9, 1 - 0.01 / (i + 1)][:i + 1],
            cut=[0.0, 0.0][:i + 1], capped=0.0, broad=0.1 / (i + 1), scored=1e5,
            log_gain=60.0 + i, entropy=1.5 - 0.1 * i, width_deg=4.0 - i, edge_deg=8.0,
            change_deg=None if i == 0 else 3.0 / i,
            change_a=None if i == 0 else 1.0 / i, class_shares=[1 / classes] * classes, seconds_posing=9.0,
            seconds_phases={"scoring, level 1": 8.0, "maps": 1.0}, seconds=10.0, spectra=[SPECTRA] * classes,
            certificate=None if i < 2 else CERTIFICATE))
    return found


def new_refinement(path, iterations, classes=1):
    """The RunFolder of a run that goes on; USED of its N particles have a pose, of two classes 40 each."""
    folder = RunFolder(path, needed_bytes=0)
    folder.write_job(dict(program="refine", table="0a1b2c", parameters=parameters(classes)))
    rng = np.random.default_rng(0)
    for record in records(iterations, classes):
        folder.append_history(record)
        for k in range(classes):
            write_volume(folder.progress_path(record["iteration"], k, classes), rng.normal(size=(BOX,) * 3), PIXEL)
    structures = np.arange(N) % classes
    mass = np.zeros((N, classes))
    mass[np.arange(USED), structures[:USED]] = 1
    folder.save_checkpoint({
        "results/rotations": random_rotations(N, rng), "results/structures": structures, "results/class_mass": mass,
        **{f"results/{name}": rng.random(N) for name in ("log_gain", "entropy", "width_deg", "scale")},
        "results/change_deg": np.full(N, np.nan), "results/change_a": np.full(N, np.nan)})
    return folder


def finish(folder, classes=1):
    """What the end of a run leaves; two thirds of the particles are of the first class."""
    rng = np.random.default_rng(1)
    for k in range(classes):
        for name in ("volume.mrc", "half1.mrc", "half2.mrc"):
            write_volume(folder.path(result_name(name, k, classes)), rng.normal(size=(BOX,) * 3), PIXEL)
        write_fsc(folder.path(result_name("fsc.star", k, classes)),
                  {word: np.linspace(1, 0, BOX // 2 + 1) for word in CURVES}, box_size=BOX, pixel_size=PIXEL)
    write_volume(folder.path("mask.mrc"), np.ones((BOX,) * 3), PIXEL)
    columns = {"rlnAngleRot": rng.uniform(-180, 180, N), "rlnAngleTilt": rng.uniform(0, 180, N),
               "rlnLogLikeliContribution": rng.random(N), "cryosgdEntropy": np.full(N, 0.5),
               "cryosgdPoseWidth": np.full(N, 1.5), "cryosgdScale": rng.random(N),
               "cryosgdAngularChange": rng.random(N), "cryosgdShiftChange": rng.random(N)}
    if classes > 1:
        columns["rlnClassNumber"] = np.repeat([1, 2], (2 * N // 3, N // 3))
    write_table(folder.path("particles.star"), {"optics": {"rlnOpticsGroup": [1]}, "particles": columns})
    sizes = [N] if classes == 1 else [2 * N // 3, N // 3]
    folder.write_summary(dict(outcome="all well", resolution_a=9.0 if classes == 1 else [9.0, 11.5],
                              class_sizes=sizes, parameters=parameters(classes)))
