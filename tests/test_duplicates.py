"""Which of several particles at one place stays, and that nobody else goes."""
import time

import numpy as np
import pytest

from cryosgd_plugin.cli import remove_duplicates as command_module
from cryosgd_plugin.core.duplicates import centres_of, repeated_images, score_column, too_close
from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.star import read_particles, write_particles

from .io_samples import make_stack, noise_images, table_of
from .test_cli_tools import command


def plain(micrographs, centres_a, distance_a, score):
    """The rule as it is said: from the best score down, keep whom no kept one is too close to."""
    kept = []
    for row in np.argsort(-score, kind="stable"):
        if not any(micrographs[row] == micrographs[other]
                   and np.linalg.norm(centres_a[row] - centres_a[other]) < distance_a for other in kept):
            kept.append(row)
    return ~np.isin(np.arange(len(score)), kept)


@pytest.mark.parametrize("seed", range(4))
def test_as_the_rule_says_in_crowded_micrographs(seed):
    rng = np.random.default_rng(seed)
    micrographs = rng.integers(3, size=300)
    centres = rng.uniform(-400, 400, (300, 2))
    score = np.round(rng.normal(size=300), 1)  # with ties
    close = too_close(micrographs, centres, 60.0, score)
    assert np.array_equal(close, plain(micrographs, centres, 60.0, score))
    assert 0.2 < close.mean() < 0.8


def test_what_the_result_promises():
    rng = np.random.default_rng(9)
    centres, score = rng.uniform(0, 500, (200, 2)), rng.normal(size=200)
    kept = ~too_close(np.zeros(200), centres, 50.0, score)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2) + 1e9 * np.eye(200)
    assert distance[np.ix_(kept, kept)].min() >= 50.0
    for row in np.flatnonzero(~kept):
        assert np.any((distance[row] < 50.0) & kept & (score > score[row]))


def test_a_removed_particle_removes_nobody():
    """Three in a row: the middle one is too close to both others, which are far enough from each other."""
    centres = np.array([[0.0, 0.0], [30.0, 0.0], [60.0, 0.0]])
    assert too_close(["m"] * 3, centres, 40.0, [3, 2, 1]).tolist() == [False, True, False]
    assert too_close(["m"] * 3, centres, 40.0, [1, 3, 2]).tolist() == [True, False, True]
    assert too_close(["m", "n", "m"], centres, 40.0, [3, 2, 1]).tolist() == [False] * 3
    assert too_close(["m"] * 3, centres, 30.0, [3, 2, 1]).tolist() == [False] * 3, "30 Å are not closer than 30 Å"
    assert too_close(["m"] * 3, centres, 0.0, [3, 2, 1]).tolist() == [False] * 3
    assert too_close(["m"] * 3, centres, 40.0, [3, np.nan, 1], left_out=np.array([True, False, False])).tolist() == [
        False, True, False], "one without a score is the worst, one left out counts for nothing"


def test_the_particle_sits_at_minus_its_shift():
    """Two boxes 40 px of 1.5 Å apart hold one particle, which the alignment found at the left and at the right."""
    boxes, shifts = np.array([[100.0, 50.0], [140.0, 50.0]]), np.array([[-30.0, 4.0], [30.0, 4.0]])
    centres = centres_of(boxes, 1.5, shifts)
    np.testing.assert_allclose(centres, [[180.0, 71.0], [180.0, 71.0]])
    np.testing.assert_allclose(centres_of(boxes, np.array([1.0, 2.0])), [[100.0, 50.0], [280.0, 100.0]])
    assert too_close(["m", "m"], centres, 1.0, [0, 1]).tolist() == [True, False]
    assert too_close(["m", "m"], centres_of(boxes, 1.5), 1.0, [0, 1]).tolist() == [False, False]
    with pytest.raises(InputError, match="pixel size 0 Å/px is not positive"):
        centres_of(boxes, 0.0)
    with pytest.raises(InputError, match="1 particles have coordinates or shifts that are no numbers"):
        too_close(["m", "m"], np.array([[0, 0], [np.nan, 0]]), 1.0, [0, 1])
    with pytest.raises(InputError, match="distance -1 Å is negative"):
        too_close(["m", "m"], centres, -1.0, [0, 1])


def test_of_an_image_the_best_row_stays():
    assert repeated_images(["a", "b", "a", "a"], [1, 0, 3, 3]).tolist() == [True, False, False, True]
    assert repeated_images([1, 2, 3], [0, 0, 0]).tolist() == [False] * 3


def test_scores_are_looked_for_in_order():
    names = ["rlnAutopickFigureOfMerit", "rlnMaxValueProbDistribution", "x"]
    assert score_column(names) == "rlnMaxValueProbDistribution" and score_column(names, "x") == "x"
    assert score_column(["y"]) is None
    with pytest.raises(InputError, match="no column z; they have y"):
        score_column(["y"], "z")


def test_work_grows_with_the_particles_not_with_their_pairs():
    """20,000 on one spot are 200 million pairs: minutes, where the cells take a fraction of a second."""
    started = time.process_time()
    close = too_close(np.zeros(20_000), np.zeros((20_000, 2)), 10.0, np.arange(20_000))
    assert not close[-1] and close.sum() == 19_999
    assert time.process_time() - started < 5.0


# ---- the command
@pytest.fixture
def star(tmp_path):
    """Eight images of two micrographs: 0 and 1 are 15 Å apart once their shifts are applied, 2 and 3 far; 6 is image
    4 again, and 7 is at the place of 5 in the other micrograph."""
    stack = make_stack(tmp_path / "a.mrcs", noise_images(8, 16))
    table = table_of([stack], [8])
    table.stack_index[6] = 4
    table.shifts_a = np.zeros((8, 2))
    table.shifts_a[1] = [25.0, 0.0]
    x = [100, 140, 300, 500, 700, 900, 1100, 900]
    table.extra = {"rlnCoordinateX": np.array(x, float), "rlnCoordinateY": np.full(8, 70.0),
                   "rlnMicrographName": np.array([b"a.mrc"] * 7 + [b"b.mrc"]),
                   "rlnAutopickFigureOfMerit": np.array([1.0, 2.0, 1, 1, 1, 1, 0.5, 1]), "n": np.arange(8)}
    write_particles(tmp_path / "p.star", table)
    return tmp_path / "p.star"


def kept(path):
    return read_particles(path).extra["n"].astype(int).tolist()


def test_command(star, tmp_path, capsys):
    out = tmp_path / "q.star"
    size = ("--micrograph-pixel-size", 1.0)
    assert command(command_module, star, "-o", out, "--distance", 20, *size) == 0
    printed = capsys.readouterr().out
    assert "highest rlnAutopickFigureOfMerit" in printed
    assert "6 of 8 particles; 1 rows showed an image again, 1 were closer than 20 Å" in printed
    assert kept(out) == [1, 2, 3, 4, 5, 7]
    command(command_module, star, "-o", out, "--distance", 14, "--overwrite", *size)
    assert kept(out) == [0, 1, 2, 3, 4, 5, 7]
    # the score asked for decides, also which of two rows of an image stays
    command(command_module, star, "-o", out, "--distance", 20, "--overwrite", *size, "--score", "rlnCoordinateX")
    assert kept(out) == [1, 2, 3, 5, 6, 7]
    command(command_module, star, "-o", out, "--distance", 20, "--overwrite", *size, "--keep-same-image")
    assert kept(out) == [1, 2, 3, 4, 5, 6, 7]
    # 40 px of 2.5 Å less 25 Å of shift: 75 Å
    command(command_module, star, "-o", out, "--distance", 70, "--overwrite", "--micrograph-pixel-size", 2.5)
    assert kept(out) == [0, 1, 2, 3, 4, 5, 7]


def test_pixel_size_as_the_file_states_it(star, tmp_path, capsys):
    out = tmp_path / "q.star"
    table = read_particles(star)
    with pytest.raises(InputError, match="does not state the micrographs' pixel size"):
        command(command_module, star, "-o", out, "--distance", 20)
    assert command(command_module, star, "-o", out, "--distance", 0) == 0, "no distance, no pixel size needed"
    assert kept(out) == [0, 1, 2, 3, 4, 5, 7]
    table.optics[0].extra["rlnMicrographOriginalPixelSize"] = "1.000"
    write_particles(star, table)
    command(command_module, star, "-o", out, "--distance", 20, "--overwrite")
    assert kept(out) == [1, 2, 3, 4, 5, 7] and "those of the movies: if" in capsys.readouterr().out
    table.optics[0].extra["rlnMicrographPixelSize"] = "2.5"
    write_particles(star, table)
    command(command_module, star, "-o", out, "--distance", 20, "--overwrite")
    assert kept(out) == [0, 1, 2, 3, 4, 5, 7] and "movies" not in capsys.readouterr().out


def test_refusals(star, tmp_path):
    out = tmp_path / "q.star"
    with pytest.raises(InputError, match="p.star is the file to read"):
        command(command_module, star, "-o", star, "--distance", 20, "--overwrite")
    with pytest.raises(InputError, match="no column best; they have n, rln"):
        command(command_module, star, "-o", out, "--distance", 20, "--score", "best")
    with pytest.raises(InputError, match="rlnMicrographName holds a value that is no number"):
        command(command_module, star, "-o", out, "--distance", 20, "--score", "rlnMicrographName")
    table = read_particles(star)
    del table.extra["rlnMicrographName"], table.extra["rlnCoordinateY"]
    write_particles(tmp_path / "r.star", table)
    with pytest.raises(InputError, match="no rlnMicrographName, rlnCoordinateY, so .* --distance 0"):
        command(command_module, tmp_path / "r.star", "-o", out, "--distance", 20)
    assert not out.exists()
