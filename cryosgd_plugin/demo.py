"""`make demo`, or `python -m cryosgd_plugin.demo FOLDER`: a Scipion project from nothing to a validated map.

Runs the workflow template in a new project: import, ab initio, refine, refine (sparse + TV), validate, on simulated
particles whose truth is known, and puts the outcome on one page. With --particles it imports your STAR file instead,
without its poses.
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
from .workflow_template import filled_template, load_workflow

PROJECT, OWN_PROJECT = "CryoSGD_demo", "CryoSGD_particles"
PARTICLES, BOX, PIXEL_SIZE, SNR = 600, 64, 4.0, 0.1
# ab initio takes a minute or two on two cores so; the form's own final resolution takes longer and is for refinement
DIAMETER, QUICK_RESOLUTION = 150.0, 14.0


def main(argv=None) -> int:
    """Make the project, run the template in it and write the page; or, with --gui, open it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cryosgd_plugin.demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="cryosgd_demo", help="where all of it goes (default %(default)s)")
    parser.add_argument("--gui", action="store_true", help="open the project of an earlier demo in Scipion's window")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores, %(default)s)")
    own = parser.add_argument_group("your own particles")
    own.add_argument("--particles", type=Path, metavar="STAR", help="RELION STAR file to import")
    own.add_argument("--diameter", type=float, metavar="A", help="particle diameter, Å")
    own.add_argument("--symmetry", default="C1", metavar="GROUP", help="point group (default %(default)s)")
    own.add_argument("--final-resolution", type=float, default=12.0, metavar="A",
                     help="of ab initio, Å (default %(default)g)")
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
    simulation = None if star else _simulate(project)
    if star:
        values = {"diameter": f"{arguments.diameter:g}", "symmetry": arguments.symmetry}
        resolution = arguments.final_resolution
    else:
        star = Path(simulation._getExtraPath("run", "particles.star")).resolve()
        values, resolution = {"diameter": f"{DIAMETER:g}"}, QUICK_RESOLUTION
    steps = load_workflow(project, filled_template(particles=str(star), **values))
    for protocol in steps:
        if hasattr(protocol, "finalResolution"):
            protocol.finalResolution.set(resolution)
        if protocol.allowThreads:
            protocol.numberOfThreads.set(arguments.threads)
        _launch(project, protocol)
    page = _report(Path(project.path), steps, simulation)
    print(f"\nFinished in {(time.monotonic() - started) / 60:.1f} minutes.")
    print(f"Project:  {project.path}")
    print(f"Report:   {page}")
    print(f"Open it:  make gui     (or: {sys.executable} -m cryosgd_plugin.demo {folder} --gui)")
    return 0


def _simulate(project):
    from .protocols import ProtCryosgdSimulate
    simulation = project.newProtocol(ProtCryosgdSimulate, nParticles=PARTICLES, boxSize=BOX, pixelSize=PIXEL_SIZE,
                                     snr=SNR)
    simulation.setObjLabel("simulate particles")
    _launch(project, simulation)
    return simulation


def _launch(project, protocol):
    """Run one protocol as Scipion's window would, showing the engine's progress. Ends the demo where it fails."""
    label = protocol.getObjLabel()
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


def _report(folder, steps, simulation):
    """Write the page about a project's runs; returns its path."""
    from .io.report import run_section, write_report
    from .io.result_folder import ResultFolder
    sections = [] if simulation is None else [_against_truth(folder / "truth", steps, simulation)]
    for protocol in steps:
        run = protocol._getExtraPath("run")
        if os.path.isdir(run):
            sections.append(run_section(ResultFolder(run), protocol.getObjLabel()))
    page = folder / "report.html"
    write_report(page, f"{folder.name}: from particles to a validated map", sections)
    return page


def _against_truth(folder, steps, simulation):
    """A Section: the maps of the steps against the simulated truth, aligned with it."""
    from .core.shells import crossing_resolution, fsc
    from .engines.align import align_volume
    from .io.pictures import save_fsc_png
    from .io.report import Section
    from .io.volume_data import open_volume
    from .io.volume_pictures import save_volume_picture
    from .io.volumes import read_volume, write_volume
    folder.mkdir()
    truth_file = simulation.outputVolume.getFileName()
    truth, pixel_size = read_volume(truth_file)
    save_volume_picture(open_volume(truth_file), folder / "truth.png")
    curves, figures, pictures = {}, [], [folder / "fsc_to_truth.png", folder / "truth.png"]
    # a validated map is sharpened, the same otherwise
    for protocol in steps[1:-1]:
        label = protocol.getObjLabel()
        found, _ = read_volume(protocol.outputVolume.getFileName())
        alignment = align_volume(found, truth, radius=int(len(truth) * pixel_size / 20))
        aligned = folder / f"{protocol.strId()}_aligned_to_truth.mrc"
        write_volume(aligned, alignment.apply(found).astype("float32"), pixel_size)
        curves[label] = fsc(read_volume(aligned)[0], truth)
        reached = crossing_resolution(curves[label], 0.5, len(truth), pixel_size)
        figures.append((f"{label}, FSC 0.5 to the truth{' (mirrored)' if alignment.mirrored else ''}",
                        f"{reached:.1f} Å"))
        pictures.append(folder / f"{label.replace(', ', '_').replace(' ', '_')}.png")
        save_volume_picture(open_volume(aligned), pictures[-1])
        print(f"{label}: FSC 0.5 to the simulated truth at {reached:.1f} Å")
    save_fsc_png(pictures[0], curves, box_size=len(truth), pixel_size=pixel_size)
    words = (f"{PARTICLES} simulated particles of {BOX} px, {PIXEL_SIZE:g} Å/px, at SNR {SNR:g}: the truth, and each "
             "map aligned with it.")
    return Section("Against the simulated truth", [words], figures=figures, pictures=pictures)


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
