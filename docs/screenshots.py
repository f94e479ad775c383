"""The pictures of the README, from the real windows of a project that `make demo` made.

    xvfb-run -s "-screen 0 1600x1200x24" .venv/bin/python docs/screenshots.py .demo

Opens the newest project of that folder and writes PNGs beside this file; look at each one before it is committed.
apoferritin.png is another's: `save_volume_picture` of a map of `benchmarks/apoferritin.py -- --final-resolution 8.6`.
"""
import os
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from cryosgd_plugin.demo import OWN_PROJECT, PROJECT
from cryosgd_plugin.standalone import prepare_scipion

HERE = Path(__file__).resolve().parent
WIDEST_PX, LARGEST_KB = 1000, 190
RUNS = ("ab initio", "refine", "validate")


def main(folder):
    project = newest_project(folder)
    from cryosgd_plugin.tests.gui_session import GuiSession
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as rough:
        session = GuiSession(project, rough, patch)
        try:
            take(session)
        finally:
            session.close()


def newest_project(folder):
    """Point Scipion to a demo's folder; the path of the project that was made last in it."""
    prepare_scipion(Path(folder).resolve() / "scipion")
    from pyworkflow.project import Manager
    manager = Manager()
    made = [name for name in (PROJECT, OWN_PROJECT) if manager.hasProject(name)]
    if not made:
        sys.exit(f"{folder} holds no project of a demo; run `make demo` first")
    return max(map(manager.getProjectPath, made), key=os.path.getmtime)


def take(session):
    from pyworkflow.gui.form import FormWindow
    from pyworkflow.gui.project.constants import ACTION_EDIT, ACTION_RESULTS
    runs = runs_of(session)
    session.root.geometry("1400x860+0+0")
    select(session, runs["validate"])
    session.pump(1.0)
    keep(session, session.window, "project")

    session.press(ACTION_EDIT, runs["ab initio"])
    form = session.newest(FormWindow)
    session.place(form, "960x700+60+40")
    keep(session, form, "form")
    form.close()

    for name, eyes in (("refine", {"showVolume": "1120x880+40+20", "showHistory": None}),
                       ("validate", {"showFsc": None, "showLocal": None})):
        session.press(ACTION_RESULTS, runs[name])
        viewer = session.newest(FormWindow)
        for eye, geometry in eyes.items():
            before = len(session.windows)
            viewer.widgetDict[eye]._visualizeVar()
            session.wait(lambda before=before: len(session.windows) > before, 60, f"the window of {eye}")
            window = session.windows[-1]
            session.pump(3.0)
            if geometry:
                session.place(window, geometry)
            window.root.lift()
            session.pump(2.0)
            keep(session, window, f"{name}_{eye[4:].lower()}")
            window.close()
        viewer.close()


def runs_of(session):
    """{label: run} of the project; ends where the demo's are not all there."""
    runs = {run.getObjLabel(): run for run in session.window.project.getRuns()}
    if not set(RUNS) <= set(runs):
        sys.exit(f"the project holds {', '.join(runs)}, not all of {', '.join(RUNS)}; run `make demo` to its end")
    return runs


def select(session, run):
    """Select a run in the graph, as a click does."""
    session.view._selection.clear()
    session.view._selection.append(run.getObjId())
    session.view._updateSelection()


def keep(session, window, name):
    """The screen within a window as NAME.png, no wider than the README shows it, of 256 colours where it is large."""
    shot = Image.open(session.shot(name))
    root = window.root
    left, top = root.winfo_rootx(), root.winfo_rooty()
    picture = shot.convert("RGB").crop((left, top, left + root.winfo_width(), top + root.winfo_height()))
    if picture.width > WIDEST_PX:
        picture = picture.resize((WIDEST_PX, round(picture.height * WIDEST_PX / picture.width)), Image.LANCZOS)
    path = HERE / f"{name}.png"
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST_KB * 1024:
        picture.quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
