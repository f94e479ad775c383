"""`cryosgd simulate`: particle images with known truth, from the built-in phantom, maps or atomic models."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..core.errors import InputError
from ..engines.simulate.config import CONTRASTS, NOISE_KINDS, POSE_DISTRIBUTIONS, SimulateConfig
from ..io.files import atomic_write, check_absent, explained
from ..io.models import read_model
from ..io.stack_writer import write_stack
from ..io.star import write_particles
from ..io.volumes import read_volume, write_volume

STACK, PARTICLES, TRUTH, SUMMARY = "particles.mrcs", "particles.star", "truth.star", "summary.json"
_PROGRESS_SECONDS = 1.0


def add_parser(subparsers):
    """Add the command to the parser of `cryosgd`."""
    parser = subparsers.add_parser(
        "simulate", help="simulate particle images with known truth",
        description="Simulate particle images (CTF, shifts, noise) of the built-in phantom, of maps or of models. "
                    "Writes particles.mrcs, particles.star (no poses unless --star-poses), truth.star (true poses and "
                    "structures), truth_volume.mrc (one a structure) and summary.json into DIR.")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="DIR", help="folder for the results")
    add("--overwrite", action="store_true", help="replace results in that folder (default: refuse)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    _add_structure_options(parser)
    _add_image_options(parser)
    poses = parser.add_mutually_exclusive_group()
    poses.add_argument("--star-poses", action="store_true", help="write the true poses into particles.star as well")
    poses.add_argument("--without-poses", dest="star_poses", action="store_false",
                       help="keep the true poses in truth.star alone (the default)")


def run(arguments) -> int:
    """Simulate and write; raises InputError before anything is written where it can."""
    # imported here so that `cryosgd --help` doesn't wait for numba
    from ..engines.simulate.draw import without_truth
    from ..engines.simulate.engine import simulate
    started = time.monotonic()
    folder = Path(os.path.abspath(arguments.output))
    names = arguments.map or arguments.model or ["built-in phantom"]
    config = _config(arguments, len(names))
    results = [folder / name for name in (STACK, PARTICLES, TRUTH, SUMMARY, *_volume_names(len(names)))]
    for path in results:
        check_absent(path, arguments.overwrite)
    with explained("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    _use_threads(arguments.threads)
    simulation = simulate(_projectors(arguments, config), config, folder / STACK)
    # an interrupted run leaves no mixture of old and new results
    for path in results:
        with explained("replace", path):
            path.unlink(missing_ok=True)
    write_stack(folder / STACK, _shown(simulation), config.n_particles, config.box_size, config.pixel_size)
    for name, volume in zip(_volume_names(len(names)), simulation.volumes):
        write_volume(folder / name, volume, config.pixel_size)
    write_particles(folder / TRUTH, simulation.table)
    write_particles(folder / PARTICLES, simulation.table if arguments.star_poses else without_truth(simulation.table))
    summary = _summary(simulation, names, time.monotonic() - started)
    with atomic_write(folder / SUMMARY) as partial:
        partial.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(summary["outcome"], flush=True)
    return 0


def _add_structure_options(parser):
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--map", nargs="+", metavar="MRC", help="density maps, one for each structure")
    source.add_argument("--model", nargs="+", metavar="FILE",
                        help="atomic models (PDB or mmCIF), one for each structure (default: the built-in phantom)")
    add = parser.add_argument
    add("--map-pixel-size", type=float, metavar="A", help="Å/px of the maps (default: as their headers say)")
    add("--assembly", metavar="NAME", help="biological assembly of the models (default: the chains as they are)")
    add("--fractions", type=float, nargs="+", metavar="F", help="share of each structure (default: equal shares)")


def _add_image_options(parser):
    """Options of SimulateConfig: each has its field as destination and the field's default."""
    default = SimulateConfig(n_particles=1, box_size=64, pixel_size=4.0)

    def add(name, field, words, many=None, **kwargs):
        value = getattr(default, field)
        if many:
            shown = " ".join(f"{number:g}" for number in value)
            parser.add_argument(name, dest=field, type=float, nargs=len(many), default=value, metavar=many,
                                help=f"{words} (default {shown})")
        else:
            kwargs.setdefault("type", type(value))
            parser.add_argument(name, dest=field, default=value, help=f"{words} (default %(default)s)", **kwargs)

    parser.add_argument("--particles", dest="n_particles", type=int, required=True, metavar="N",
                        help="number of images")
    add("--box", "box_size", "box size, px", metavar="PX")
    add("--pixel-size", "pixel_size", "Å/px of the images", metavar="A")
    add("--snr", "snr", "variance of the clean images over the whole box / variance of the noise", metavar="F")
    parser.add_argument("--no-noise", action="store_true", help="clean images")
    add("--noise", "noise", "noise spectrum", choices=NOISE_KINDS)
    add("--voltage", "voltage_kv", "acceleration voltage, kV", metavar="KV")
    add("--cs", "cs_mm", "spherical aberration, mm", metavar="MM")
    add("--amplitude-contrast", "amplitude_contrast", "fraction, 0.07 to 0.1 for protein", metavar="F")
    add("--optics-groups", "optics_groups", "optics groups that the micrographs are dealt to", metavar="N")
    add("--particles-per-micrograph", "particles_per_micrograph", "particles that share a CTF", metavar="N")
    add("--defocus", "defocus_range_a", "range of the micrographs' defocus, Å", many=("LOW", "HIGH"))
    add("--astigmatism", "astigmatism_a", "largest difference of the two defocus values, Å", metavar="A")
    add("--phase-shift", "phase_shift_range_deg", "range of a phase plate's shift, degrees", many=("LOW", "HIGH"))
    add("--ctf-bfactor", "ctf_bfactor_a2", "envelope of the images, Å²", metavar="A2")
    add("--model-bfactor", "model_bfactor_a2", "displacement of the atoms of models and phantom, Å²", metavar="A2")
    add("--shift-sd", "shift_sd_a", "standard deviation of each in-plane shift, Å", metavar="A")
    add("--poses", "poses", "view directions", choices=POSE_DISTRIBUTIONS)
    add("--concentration", "concentration", "of preferred views: 0 is uniform, 5 broad, 50 sharp", metavar="K")
    add("--preferred-axis", "preferred_axis", "preferred view direction in the volume", many=("X", "Y", "Z"))
    add("--coat", "coat_a", "thickness of a disordered coat around the structure, another in each image, Å; 0: none",
        metavar="A")
    add("--coat-density", "coat_density", "mean density of the coat, over the structure's", metavar="F")
    add("--contrast", "contrast", "of the protein", choices=CONTRASTS)
    add("--seed", "seed", "of all randomness", metavar="N")


def _config(arguments, structures):
    values = {name: getattr(arguments, name) for name in SimulateConfig.__dataclass_fields__}
    values["fractions"] = arguments.fractions or [1 / structures] * structures
    if len(values["fractions"]) != structures:
        raise InputError(f"{len(values['fractions'])} fractions came with {structures} structure(s); give one for "
                         "each, or none")
    if arguments.no_noise:
        values["snr"] = None
    return SimulateConfig.from_dict(values)


def _use_threads(threads):
    import numba
    if threads is None:
        return
    if not 1 <= threads <= numba.config.NUMBA_NUM_THREADS:
        raise InputError(f"{threads} threads were asked for; give 1 to {numba.config.NUMBA_NUM_THREADS}")
    numba.set_num_threads(threads)


def _projectors(arguments, config):
    from ..engines.simulate.density import centre_of_mass
    from ..engines.simulate.phantom import phantom_atoms
    from ..engines.simulate.project import atom_projector, map_projector
    if arguments.map:
        return [map_projector(*_read_map(path, arguments.map_pixel_size), config.box_size, config.pixel_size)
                for path in arguments.map]
    models = ([read_model(path, arguments.assembly) for path in arguments.model] if arguments.model
              else [phantom_atoms()])
    # all models move alike, so that structures that share a frame keep it
    centre = np.mean([centre_of_mass(positions, elements) for positions, elements in models], axis=0)
    return [atom_projector(positions - centre, elements, config.box_size, config.pixel_size, config.model_bfactor_a2)
            for positions, elements in models]


def _read_map(path, pixel_size):
    volume, stated = read_volume(path, need_pixel_size=pixel_size is None)
    return volume, pixel_size or stated


def _volume_names(count):
    return ["truth_volume.mrc"] if count == 1 else [f"truth_volume_class{i + 1:03d}.mrc" for i in range(count)]


def _shown(simulation):
    """The images block by block, with a line of progress for the terminal and Scipion's log window."""
    total = simulation.config.n_particles
    started = shown = time.monotonic()
    for first, images in simulation.blocks():
        yield images
        done, now = first + len(images), time.monotonic()
        if done == total or now - shown >= _PROGRESS_SECONDS:
            shown = now
            line = tqdm.format_meter(done, total, now - started, ncols=80, prefix="simulate", unit=" images")
            print(f"\r{line}", flush=True)


def _summary(simulation, names, seconds):
    from .. import __version__
    from ..engines.simulate.density import particle_diameter
    config = simulation.config
    noise = "without noise" if config.snr is None else (
        f"at SNR {simulation.snr:.4g} ({config.noise} noise; mean p² = {simulation.snr_energy:.4g})")
    return {
        "outcome": f"Simulated {config.n_particles} images of {config.box_size} px at {config.pixel_size:g} Å/px of "
                   f"{', '.join(names)} {noise}, {seconds:.0f} s",
        "parameters": config.to_dict(), "structures": list(names),
        "snr": simulation.snr, "snr_energy_p2": simulation.snr_energy, "snr_sample": simulation.sample_size,
        "diameter_a": max(particle_diameter(volume, config.pixel_size) for volume in simulation.volumes),
        "signal_scale": simulation.signal_scale,
        "scale": "image = ± signal_scale · C · projection(truth volume) + noise of standard deviation 1",
        "seconds": seconds, "version": __version__,
    }
