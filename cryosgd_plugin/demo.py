"""`make demo`, or `python -m cryosgd_plugin.demo FOLDER`: a Scipion project from nothing to a map, with pictures.

With --particles the project imports your STAR file, without its poses, instead of simulating particles.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from .standalone import prepare_scipion

PROJECT, OWN_PROJECT = "CryoSGD_demo", "CryoSGD_particles"
PARTICLES, BOX, PIXEL_SIZE, SNR = 1000, 64, 4.0, 0.1
# a run of a minute or two on two cores; the form's own final resolution takes longer and reaches further
QUICK = {"particleDiameter": 150.0, "finalResolution": 14.0}


def main(argv=None) -> int:
    """Make the project and run simulate (or import) → ab initio in it; or, with --gui, open it. Returns the exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m cryosgd_plugin.demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="cryosgd_demo", help="where all of it goes (default %(default)s)")
    parser.add_argument("--gui", action="store_true", help="open the project of an earlier demo in Scipion's window")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores, %(default)s)")
    own = parser.add_argument_group("your own particles")
    own.add_argument("--particles", type=Path, metavar="STAR", help="RELION STAR file to import")
    own.add_argument("--diameter", type=float, metavar="A", help="particle diameter, Å")
    own.add_argument("--symmetry", default="C1", metavar="GROUP", help="point group (default %(default)s)")
    own.add_argument("--final-resolution", type=float, default=12.0, metavar="A", help="Å (default %(default)g)")
    arguments = parser.parse_args(argv)
    star = arguments.particles and arguments.particles.resolve()
    if star and not star.is_file():
        parser.error(f"{star} is no file; give the STAR file's full path")
    if star and not arguments.diameter:
        parser.error("--particles needs --diameter, the particle's in Å")
    name = OWN_PROJECT if star else PROJECT
    folder = Path(arguments.folder).resolve()
    prepare_scipion(folder / "scipion")
    import pyworkflow
    from pyworkflow.project import Manager
    manager = Manager()
    if arguments.gui:
        return _open_gui(manager)
    os.environ["MPLBACKEND"] = "Agg"  # pictures go to files; no display is needed
    started = time.monotonic()
    if manager.hasProject(name):
        if star:
            parser.error(f"{manager.getProjectPath(name)} exists; rename or delete it first")
        print(f"Replacing the project {name} of an earlier demo")
        manager.deleteProject(name)
    pyworkflow.Config.getDomain().getProtocols()  # tells the classes which plugin they belong to
    project = manager.createProject(name)
    os.chdir(project.path)
    if star:
        settings = {"particleDiameter": arguments.diameter, "symmetry": arguments.symmetry,
                    "finalResolution": arguments.final_resolution}
        reconstruction = _run_own(project, arguments.threads, str(star), settings)
        pictures = sorted(Path(project.path, reconstruction._getExtraPath("run")).glob("pictures/*.png"))
    else:
        simulation, reconstruction = _run_protocols(project, arguments.threads)
        pictures = _pictures(folder / "pictures", simulation, reconstruction)
    print(f"\nFinished in {(time.monotonic() - started) / 60:.1f} minutes.")
    print(f"Project:  {project.path}")
    print("Pictures: " + "\n          ".join(map(str, pictures)))
    print(f"Open it:  make gui     (or: {sys.executable} -m cryosgd_plugin.demo {folder} --gui)")
    return 0


def _run_protocols(project, threads):
    from .protocols import ProtCryosgdSimulate
    simulation = project.newProtocol(ProtCryosgdSimulate, nParticles=PARTICLES, boxSize=BOX, pixelSize=PIXEL_SIZE,
                                     snr=SNR)
    _launch(project, simulation, "simulate particles")
    return simulation, _run_ab_initio(project, simulation, threads, QUICK)


def _run_own(project, threads, star, settings):
    from .protocols import ProtCryosgdImportParticles
    imported = project.newProtocol(ProtCryosgdImportParticles, starFile=star, readPoses=False)
    _launch(project, imported, "import particles")
    return _run_ab_initio(project, imported, threads, settings)


def _run_ab_initio(project, particles, threads, settings):
    from .protocols import ProtCryosgdAbInitio
    reconstruction = project.newProtocol(ProtCryosgdAbInitio, numberOfThreads=threads, **settings)
    reconstruction.inputParticles.set(particles)
    reconstruction.inputParticles.setExtended("outputParticles")
    _launch(project, reconstruction, "ab initio")
    return reconstruction


def _launch(project, protocol, label):
    """Run one protocol as Scipion's window would, showing the engine's progress. Ends the demo where it fails."""
    protocol.setObjLabel(f"demo: {label}")
    print(f"\n{label} …", flush=True)
    done = threading.Event()
    project.saveProtocol(protocol)
    follower = threading.Thread(target=_follow, args=(protocol.getStdoutLog(), done), daemon=True)
    follower.start()
    try:
        project.launchProtocol(protocol, wait=True)
    finally:
        done.set()
        follower.join()
    if not protocol.isFinished():
        log = Path(protocol.getStderrLog())
        if log.exists():
            print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
        sys.exit(f"{label} did not finish: {protocol.getErrorMessage()}")
    print("\n".join(protocol.summary()), flush=True)


def _follow(log, done):
    """Copy the engine's progress lines (those with a carriage return) from a growing log to the terminal."""
    position = 0
    while True:
        last_look = done.is_set()
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace", newline="") as file:
                file.seek(position)
                text = file.read()
                position = file.tell()
            lines = [line for line in text.split("\n") if "\r" in line]
            if lines:
                print("\r" + lines[-1].replace("\r", "").ljust(100), end="", flush=True)
        if last_look:
            print()
            return
        done.wait(1.0)


def _pictures(folder, simulation, reconstruction):
    """Draw truth and result, aligned, and their FSC; returns the paths."""
    from .core.shells import crossing_resolution, fsc
    from .engines.align import align_volume
    from .io.pictures import save_fsc_png
    from .io.volume_data import open_volume
    from .io.volumes import read_volume, write_volume
    from .viewers.volume_figure import save_volume_picture
    folder.mkdir(parents=True, exist_ok=True)
    truth, pixel_size = read_volume(simulation.outputVolume.getFileName())
    found, _ = read_volume(reconstruction.outputVolume.getFileName())
    alignment = align_volume(found, truth, radius=int(BOX * PIXEL_SIZE / 20))
    aligned = folder / "map_aligned_to_truth.mrc"
    write_volume(aligned, alignment.apply(found).astype("float32"), pixel_size)
    curve = fsc(read_volume(aligned)[0], truth)
    print(f"\nAgainst the simulated truth, aligned{' and mirrored' if alignment.mirrored else ''}: FSC 0.5 at "
          f"{crossing_resolution(curve, 0.5, truth.shape[0], pixel_size):.1f} Å")
    pictures = []
    for name, path in (("truth", simulation.outputVolume.getFileName()), ("map", aligned)):
        pictures.append(folder / f"{name}.png")
        save_volume_picture(open_volume(path), pictures[-1])
    pictures.append(folder / "fsc_to_truth.png")
    save_fsc_png(pictures[-1], {"map against truth": curve}, box_size=truth.shape[0], pixel_size=pixel_size)
    return pictures


def _open_gui(manager):
    """Open the project that was made last in this folder."""
    made = [name for name in (PROJECT, OWN_PROJECT) if manager.hasProject(name)]
    if not made:
        sys.exit("There is no demo project yet: run the demo without --gui first.")
    newest = max(made, key=lambda name: os.path.getmtime(manager.getProjectPath(name)))
    # -O: otherwise pyworkflow starts windows through Scipion's own launcher, which isn't needed here
    return subprocess.call([sys.executable, "-O", "-m", "pyworkflow.apps.pw_project", newest])


if __name__ == "__main__":
    sys.exit(main())
