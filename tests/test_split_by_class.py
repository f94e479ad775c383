"""Particles of classes: which are of which, in files and in Scipion's sets."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.cli import split_by_class as command_module
from cryosgd_plugin.core.classes import class_numbers, class_rows, posterior_tag
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.star import read_particles, write_particles

from .io_samples import make_stack, noise_images, table_of
from .test_cli_tools import command

CLASSES = np.array([3, 1, 3, 1, 5, 3], np.int32)
SURE = np.array([0.9, 0.6, 0.5, 0.95, 1.0, 0.7])


def classified(stack="nowhere.mrcs"):
    table = table_of([stack], [6])
    table.class_id = CLASSES.copy()
    for number in (1, 3, 5):
        # of another class than its own a particle's posterior says nothing here, and must not count
        table.extra[posterior_tag(number)] = np.where(CLASSES == number, SURE, 0.0 if number != 3 else 1.0 - SURE)
    return table


def test_rows_of_classes():
    table = classified()
    rows = {number: found.tolist() for number, found in class_rows(table).items()}
    assert rows == {1: [1, 3], 3: [0, 2, 5], 5: [4]}
    assert list(class_rows(table, [5, 3, 5])) == [3, 5]
    assert {n: found.tolist() for n, found in class_rows(table, [1, 3], 0.7).items()} == {1: [3], 3: [0, 5]}
    with pytest.raises(InputError, match="class 2, 4 has no particles; those with particles are 1, 3, 5"):
        class_rows(table, [4, 3, 2])
    with pytest.raises(InputError, match="least posterior 1.5 is no probability"):
        class_rows(table, None, 1.5)
    del table.extra[posterior_tag(3)]
    assert list(class_rows(table)) == [1, 3, 5]
    with pytest.raises(InputError, match="no column cryosgdClass003Posterior"):
        class_rows(table, None, 0.5)
    with pytest.raises(InputError, match="no classes"):
        class_rows(replace(table, class_id=None))


def test_numbers_and_ranges():
    assert class_numbers("1, 3-5 9") == [1, 3, 4, 5, 9] and class_numbers("") is class_numbers(None) is None
    for text, sentence in (("a", "'a' is no class number"), ("3-", "'3-' is no"), ("-3", "'-3' is no"),
                           ("5-3", "range 5-3 of classes is empty"), ("0", "range 0 of classes is empty")):
        with pytest.raises(InputError, match=sentence):
            class_numbers(text)


# ---- the command
@pytest.fixture
def star(tmp_path):
    write_particles(tmp_path / "p.star", classified(make_stack(tmp_path / "a.mrcs", noise_images(6, 16))))
    return tmp_path / "p.star"


def test_command(star, tmp_path, capsys):
    assert command(command_module, star, "-o", tmp_path / "q.star") == 0
    assert "q_class003.star: 3 of 6 particles" in capsys.readouterr().out
    parts = {n: read_particles(tmp_path / f"q_class{n:03d}.star") for n in (1, 3, 5)}
    whole = read_particles(star)
    for number, part in parts.items():
        rows = np.flatnonzero(CLASSES == number)
        assert set(part.class_id) == {number} and part.stack_index.tolist() == rows.tolist()
        np.testing.assert_array_equal(part.defocus_u, whole.defocus_u[rows])
        assert set(part.extra) == set(whole.extra)
    assert len(list(tmp_path.glob("q*.star"))) == 3
    command(command_module, star, "-o", tmp_path / "t.star", "--classes", 5, 3, "--together", "--min-posterior", 0.7)
    assert read_particles(tmp_path / "t.star").stack_index.tolist() == [0, 4, 5]


def test_refusals(star, tmp_path):
    with pytest.raises(InputError, match="p.star is the file to read"):
        command(command_module, star, "-o", star, "--together", "--overwrite")
    with pytest.raises(InputError, match="no particle is left for q_class003.star"):
        command(command_module, star, "-o", tmp_path / "q.star", "--min-posterior", 0.95)
    (tmp_path / "q_class005.star").write_text("precious")
    with pytest.raises(InputError, match="q_class005.star exists already"):
        command(command_module, star, "-o", tmp_path / "q.star")
    assert len(list(tmp_path.glob("q*.star"))) == 1


# ---- Scipion
def test_sets_and_classes(tmp_path):
    pytest.importorskip("pwem", reason="Scipion (pyworkflow, pwem) is not installed here")
    from pwem.objects import SetOfClasses3D, SetOfParticles
    from pyworkflow.object import Pointer

    from cryosgd_plugin.convert import fill_classes, table_from_set, volume_object
    from cryosgd_plugin.convert.class_tools import split_set
    from cryosgd_plugin.core.poses import random_rotations
    from cryosgd_plugin.io.volumes import write_volume
    from cryosgd_plugin.tests.convert_samples import reopened, to_scipion

    table = classified(make_stack(tmp_path / "a.mrcs", noise_images(6, 16)))
    table.ids = np.array([3, 4, 7, 8, 9, 20])
    table.rotations, table.shifts_a = random_rotations(6, np.random.default_rng(0)), np.ones((6, 2))
    particles = to_scipion(table, tmp_path)
    write_volume(tmp_path / "map.mrc", np.ones((16, 16, 16)), 2.0)
    classes = SetOfClasses3D(filename=str(tmp_path / "classes.sqlite"))
    classes.setImages(Pointer(particles))
    fill_classes(classes, dict.fromkeys((1, 3, 5), volume_object(tmp_path / "map.mrc", 2.0)))
    classes.write()

    for name, source in (("set", particles), ("classes", classes)):
        outputs = {}

        def output_of(number, outputs=outputs, name=name):
            return outputs.setdefault(number, SetOfParticles(filename=str(tmp_path / f"{name}{number}.sqlite")))

        assert split_set(source, output_of) == {1: 2, 3: 3, 5: 1}
        for number, output in outputs.items():
            rows = np.flatnonzero(CLASSES == number)
            got, wanted = table_from_set(reopened(output), root=tmp_path), table.take(rows)
            assert output.hasAlignmentProj() and output.hasCTF()
            np.testing.assert_array_equal(got.ids, wanted.ids)
            np.testing.assert_allclose(got.rotations, wanted.rotations, atol=1e-6)
            np.testing.assert_allclose(got.extra[posterior_tag(3)], wanted.extra[posterior_tag(3)])
        joined = SetOfParticles(filename=str(tmp_path / f"{name}_joined.sqlite"))
        assert split_set(source, lambda number, joined=joined: joined, [3, 5], 0.7) == {3: 2, 5: 1}
        assert table_from_set(reopened(joined), root=tmp_path).ids.tolist() == [3, 9, 20]
        with pytest.raises(InputError, match="class 2 has no particles; those with particles are 1, 3, 5"):
            split_set(source, output_of, [2])
    bare = to_scipion(replace(table, class_id=None), tmp_path, "bare.sqlite")
    with pytest.raises(InputError, match="the particles have no classes"):
        split_set(bare, output_of)
