"""STAR files that are refused, each by its message, and what they may do without."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.star import read_particles, write_particles
from cryosgd_plugin.tests.star_samples import OPTICS, PARTICLES, write

BAD = [
    ("no image names", lambda t: t.replace("_rlnImageName", "_rlnImageFile"), "has no column rlnImageName"),
    ("no particles", lambda t: t.split("mics/a.mrc")[0], "holds no particles"),
    ("zero voltage", lambda t: t.replace("micA 300", "micA 0"), "optics group micA: rlnVoltage is 0 kV"),
    ("negative voltage", lambda t: t.replace("micA 300", "micA -300"), "rlnVoltage is -300 kV"),
    ("zero pixel", lambda t: t.replace("0.1 2.0 16 2\n3", "0.1 0.0 16 2\n3"), "pixel size is 0 Å/px"),
    ("not a number", lambda t: t.replace("11000.5", "11k"), "rlnDefocusU of row 1 is '11k', not a finite number"),
    ("nan", lambda t: t.replace("12000", "nan"), "rlnDefocusU of row 2 is 'nan', not a finite number"),
    ("bad image name", lambda t: t.replace("000002@", "x@"), "rlnImageName of row 1 is 'x@stacks/a.mrcs'"),
    ("image zero", lambda t: t.replace("000002@", "0@"), "numbers from 1"),
    ("unknown group", lambda t: t.replace("b.mrcs 3", "b.mrcs 5"), "row 2 is of optics group 5, which"),
    ("twice the same group", lambda t: t.replace("3 micB", "7 micB"), "numbers two groups alike"),
    ("no voltage", lambda t: t.replace("_rlnVoltage", "_rlnVolts"), "rlnVoltage missing although the particles have"),
    ("no pixel size", lambda t: t.replace("_rlnImagePixelSize", "_rlnFoo"), "no pixel size .*--pixel-size"),
    ("sub-tomograms", lambda t: t.replace("16 2\n", "16 3\n"), "sub-tomograms"),
    ("short row", lambda t: t + "mics/a.mrc 3@stacks/a.mrcs\n", "not a readable STAR file: line .*Wrong number"),
    ("no blocks", lambda t: "# nothing\n", "no data_ block"),
    ("other blocks", lambda t: t.replace("data_particles", "data_micrographs").replace("_rlnImageName", "_rlnFoo"),
     "has no block data_particles, data_images or data_; it has data_optics, data_micrographs"),
]


@pytest.mark.parametrize("change, message", [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_files_are_refused_with_the_reason(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_particles(write(tmp_path, change(OPTICS + PARTICLES)))


def test_mixed_pixel_sizes_and_boxes_without_optics_groups(tmp_path):
    head = "data_\nloop_\n_rlnImageName\n_rlnMagnification\n_rlnDetectorPixelSize\n"
    with pytest.raises(InputError, match=r"mixes pixel sizes \(2, 2.5 Å/px\) without optics groups"):
        read_particles(write(tmp_path, head + "1@stacks/a.mrcs 50000 10\n2@stacks/a.mrcs 40000 10\n"))
    with pytest.raises(InputError, match="rlnMagnification of row 2 is not positive"):
        read_particles(write(tmp_path, head + "1@stacks/a.mrcs 50000 10\n2@stacks/a.mrcs 0 10\n"))
    with pytest.raises(InputError, match="mixes boxes of 16, 32 px without optics groups"):
        read_particles(write(tmp_path, "data_\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n"
                                       "1@stacks/a.mrcs 2 16\n2@stacks/a.mrcs 2 32\n"))
    # a tiny spread is rounding of the magnification, not another microscope
    table = read_particles(write(tmp_path, head + "1@stacks/a.mrcs 50000 10\n2@stacks/a.mrcs 50000.1 10\n"))
    assert len(table.optics) == 1 and table.pixel_size == 2.0


def test_missing_file_and_no_ctf(tmp_path):
    with pytest.raises(InputError, match="can't read .*absent.star: it does not exist"):
        read_particles(tmp_path / "absent.star")
    text = "data_\nloop_\n_rlnImageName\n_rlnImagePixelSize\n1@stacks/a.mrcs 2\n"
    table = read_particles(write(tmp_path, text))
    assert not table.has_ctf and np.isnan(table.optics[0].voltage_kv)
    write_particles(tmp_path / "out.star", table)
    assert "Defocus" not in (tmp_path / "out.star").read_text() and "Voltage" not in (tmp_path / "out.star").read_text()
