"""The picture files of an ab initio run: which ones there are, of a finished run or one that goes on."""
import json

import pytest

pytest.importorskip("matplotlib")

from cryosgd_plugin.io.abinitio_pictures import save_abinitio_pictures
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


def test_what_is_not_there_yet_is_left_out(tmp_path):
    folder = new_run(tmp_path / "run")
    save_abinitio_pictures(folder.folder)
    assert list((folder.folder / "pictures").iterdir()) == []
    (folder.folder / "history.json").write_text(json.dumps(records(1)), encoding="utf-8")
    save_abinitio_pictures(folder.folder)
    assert [path.name for path in (folder.folder / "pictures").iterdir()] == ["convergence.png"]
