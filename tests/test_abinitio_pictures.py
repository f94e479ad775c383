"""The picture files of an ab initio run: which ones there are, of a finished run or one that goes on."""
import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.io.abinitio_pictures import save_abinitio_pictures
from cryosgd_plugin.io.star import write_particles
from cryosgd_plugin.tests.io_samples import make_stack, noise_images, table_of
from cryosgd_plugin.tests.picture_checks import check_picture
from cryosgd_plugin.tests.run_samples import new_run, records


@pytest.mark.parametrize("classes, final, names", [
    (1, True, ["convergence.png", "directions.png", "progress.png"]),
    (1, False, ["convergence.png", "directions.png", "progress.png"]),
    (2, False, ["classes.png", "convergence.png", "directions.png", "progress.png"]),
    (10, True, ["classes.png", "convergence.png", "directions.png", "progress.png"])])
def test_pictures_of_a_run(tmp_path, classes, final, names):
    folder = new_run(tmp_path / "run", classes=classes, iterations=[3, 6], final=final)
    save_abinitio_pictures(folder.folder)
    pictures = sorted((folder.folder / "pictures").iterdir())
    assert [path.name for path in pictures] == names
    for path in pictures:
        check_picture(path)


def test_views_are_drawn_once_the_particles_have_poses(tmp_path):
    folder = new_run(tmp_path / "run", iterations=[3], final=True)
    table = table_of([make_stack(tmp_path / "a.mrcs", noise_images(40, 8))], [40])
    table.rotations, table.shifts_a = random_rotations(40, np.random.default_rng(0)), np.zeros((40, 2))
    write_particles(folder.folder / "particles.star", table)
    save_abinitio_pictures(folder.folder)
    check_picture(folder.folder / "pictures" / "views.png")


def test_what_is_not_there_yet_is_left_out(tmp_path):
    folder = new_run(tmp_path / "run")
    save_abinitio_pictures(folder.folder)
    assert list((folder.folder / "pictures").iterdir()) == []
    (folder.folder / "history.json").write_text(json.dumps(records(1)), encoding="utf-8")
    save_abinitio_pictures(folder.folder)
    assert [path.name for path in (folder.folder / "pictures").iterdir()] == ["convergence.png"]
