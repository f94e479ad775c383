"""How long the angular plot of a large particle set takes, from Scipion's database to the finished picture.

    python benchmarks/angular_plot.py -o DIR [--particles 1000000] [--reuse]

DIR gets particles.sqlite, a SetOfParticles with CTF, coordinates and projection alignments of random views: Scipion
writes its first rows, the others are copies of them with transforms of their own (Scipion's own mapper would take many
minutes for a million). The plot is made in a process of its own, by the viewer that Scipion calls: in a window where
there is a display, else on a canvas without one. Told are wall and CPU seconds from the call to the drawn picture,
without the start of Python and the imports, which a project that is open has behind it.
"""
from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import ROOT, Report, parsed, timed

from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.standalone import prepare_scipion

ALLOWED_S = 5.0
FIRST_ROWS = 100
BLOCK = 50_000
PIXEL = 1.2


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the set, results and picture")
    parser.add_argument("--particles", type=int, default=1_000_000, metavar="N", help="in the set (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="openings (%(default)s)")
    parser.add_argument("--reuse", action="store_true", help="take the set in DIR as it is")
    arguments = parsed(parser, words)
    with tempfile.TemporaryDirectory() as home:
        prepare_scipion(home)
        path = arguments.output / f"particles{arguments.particles}.sqlite"
        if not (arguments.reuse and path.exists()):
            write_set(path, arguments.particles)
        size_gb = path.stat().st_size / 2**30
        report = Report("angular_plot", arguments.output,
                        f"angular plot of {arguments.particles:,} particles ({size_gb:.2f} GB sqlite)")
        for number in range(arguments.repeats):
            found = arguments.output / "opened.json"
            _, _, memory_gb = timed([sys.executable, __file__, "--open", path, found], arguments.output / "open.log")
            report.add(opening=number, **json.loads(found.read_text()), memory_gb=memory_gb)
    report.bar(min(row["cpu_s"] for row in report.rows) < ALLOWED_S,
               f"from the call to the picture in {ALLOWED_S:g} CPU-s")
    return report.finish()


def write_set(path, count):
    """A SetOfParticles of `count` particles with random poses, at `path`."""
    import pwem.objects as emobj
    path.unlink(missing_ok=True)
    particles = emobj.SetOfParticles(filename=str(path))
    particles.setSamplingRate(PIXEL)
    particles.setAlignmentProj()
    particles.setHasCTF(True)
    particles.setAcquisition(emobj.Acquisition(voltage=300, sphericalAberration=2.7, amplitudeContrast=0.1))
    for number in range(min(FIRST_ROWS, count)):
        particle = emobj.Particle()
        particle.setLocation(number + 1, "Runs/000002_ProtImport/extra/particles.mrcs")
        particle.setSamplingRate(PIXEL)
        particle.setCTF(emobj.CTFModel(defocusU=15000.0 + number, defocusV=14000.0, defocusAngle=45.0))
        particle.setCoordinate(emobj.Coordinate(x=100, y=200))
        particle.setTransform(emobj.Transform(np.eye(4)))
        particle.setMicId(1)
        particles.append(particle)
    particles._size.set(count)
    particles.write()
    particles.close()
    fill(path, count)


def fill(path, count):
    """Rows up to `count`, copies of the first with transforms of their own, in Scipion's text."""
    rng = np.random.default_rng(0)
    connection = sqlite3.connect(path)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(Objects)")]
    label = connection.execute("SELECT column_name FROM Classes WHERE label_property = '_transform._matrix'"
                               ).fetchone()[0]
    first = connection.execute("SELECT * FROM Objects ORDER BY id").fetchall()
    matrix_at = columns.index(label)
    insert = f"INSERT OR REPLACE INTO Objects VALUES ({', '.join('?' * len(columns))})"
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        matrices = np.zeros((size, 4, 4))
        matrices[:, :3, :3] = random_rotations(size, rng).transpose(0, 2, 1)
        matrices[:, :3, 3] = rng.normal(0, 3, (size, 3))
        matrices[:, 3, 3] = 1
        rows = []
        for number, matrix in enumerate(matrices.tolist(), start=start):
            row = list(first[number % len(first)])
            row[0], row[matrix_at] = number + 1, json.dumps(matrix)
            rows.append(row)
        connection.executemany(insert, rows)
        connection.commit()
    connection.close()


def open_plot(path, found):
    """Open the viewer on the set as Scipion does, and write how long it took into `found`."""
    import pwem.objects as emobj
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from pyworkflow.project import Manager

    from cryosgd_plugin.viewers.viewer_directions import CryosgdDirectionsViewer
    path, found = os.path.abspath(path), os.path.abspath(found)
    project = Manager().createProject("angular_plot")       # which becomes the working folder
    particles = emobj.SetOfParticles(filename=path)
    particles.loadAllProperties()
    window = None
    if os.environ.get("DISPLAY"):
        import tkinter as tk

        from cryosgd_plugin.viewers import tk_figure  # noqa: F401  imported before the clock starts
        tk.Misc.mainloop = lambda widget, n=0: None
    start, cpu = time.perf_counter(), time.process_time()
    view, = CryosgdDirectionsViewer(project=project)._visualize(particles)
    if os.environ.get("DISPLAY"):
        view.show()
        window = view.window
        window.root.update()
        figure = window.figure
    else:
        figure = Figure(figsize=view.size)
        FigureCanvasAgg(figure)
        view.draw(figure)
        figure.canvas.draw()
    record = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu,
              "where": "window" if window is not None else "no display"}
    Path(found).write_text(json.dumps(record), encoding="utf-8")
    figure.savefig(Path(found).with_name("angular_plot.png"), dpi=70)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        sys.path.insert(0, str(ROOT))
        open_plot(*sys.argv[2:])
    else:
        sys.exit(main())
