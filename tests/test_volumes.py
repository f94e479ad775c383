"""Maps: round trip, axis order, header, refusals; pictures of them."""
import itertools

import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.io.fsc_star import read_fsc, write_fsc
from cryosgd_plugin.io.pictures import save_fsc_png, save_slices_png
from cryosgd_plugin.io.volumes import read_volume, write_volume

from .io_samples import shared


def test_round_trip_and_header(tmp_path):
    volume = np.random.default_rng(0).normal(size=(13, 13, 13)).astype(np.float32)
    write_volume(tmp_path / "v.mrc", volume, 1.0345)
    read, pixel_size = read_volume(tmp_path / "v.mrc")
    assert np.array_equal(read, volume) and pixel_size == pytest.approx(1.0345, rel=1e-7)
    assert mrcfile.validate(tmp_path / "v.mrc")
    with mrcfile.open(tmp_path / "v.mrc") as file:
        header = file.header
        assert [int(header[n]) for n in ("mapc", "mapr", "maps", "nxstart", "nystart", "nzstart", "ispg", "nlabl")] == \
            [1, 2, 3, 0, 0, 0, 1, 1]
        assert tuple(float(header.origin[axis]) for axis in "xyz") == (0.0, 0.0, 0.0)
        assert bytes(header.label[0]).startswith(b"CryoSGD")
        assert float(header.dmean) == pytest.approx(volume.mean(), abs=1e-6)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_axis_order_is_honoured(order, tmp_path):
    """A voxel at (x, y, z) = (1, 2, 3) is found there however the file stores its axes."""
    position = {1: 1, 2: 2, 3: 3}
    columns, rows, sections = order
    data = np.zeros((6, 6, 6), np.float32)
    data[position[sections], position[rows], position[columns]] = 1
    with mrcfile.new(tmp_path / "v.mrc", data=data) as file:
        file.voxel_size = 2.0
        file.header.mapc, file.header.mapr, file.header.maps = order
    volume, _ = read_volume(tmp_path / "v.mrc")
    assert [int(i) for i in np.unravel_index(volume.argmax(), volume.shape)] == [3, 2, 1]


def test_emdb_map_with_exchanged_axes():
    """EMD-3197 as mrcfile's own tests know it: 20 voxels of 11.4 Å."""
    volume, pixel_size = read_volume(shared("maps_and_models/EMD-3197.map"))
    assert volume.shape == (20, 20, 20) and pixel_size == pytest.approx(11.4, rel=1e-6)
    with pytest.raises(InputError, match="is 73 × 43 × 25 voxels; a cubic map is needed"):
        read_volume(shared("maps_and_models/EMD-3001.map"))


def test_pixel_size_in_double_precision(tmp_path):
    """192 Å over 72 voxels: mrcfile's own voxel_size would give 2.66666675."""
    write_volume(tmp_path / "v.mrc", np.zeros((72, 72, 72)), 192 / 72)
    assert read_volume(tmp_path / "v.mrc")[1] == pytest.approx(192 / 72, rel=1e-12)


def test_bad_machine_stamp_is_tolerated(recwarn):
    volume, pixel_size = read_volume(shared("maps_and_models/gorgon_rotavirus_vp6_96.mrc"))
    assert volume.shape == (96,) * 3 and pixel_size == pytest.approx(1.23, rel=1e-6)
    # mrcfile's own warnings; numpy 2.5 has one about mrcfile
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def bad_volume(path, case):
    data = np.ones((8, 8, 8), np.float32)
    if case == "nan":
        data[1, 2, 3] = np.nan
    if case == "not cubic":
        data = data[:6]
    if case == "complex":
        data = data.astype(np.complex64)
    if case == "text":
        path.write_text("hello " * 400)
        return
    with mrcfile.new(path, data=data) as file:
        if case != "no pixel size":
            file.voxel_size = (2.0, 2.0, 3.0) if case == "oblong voxels" else 2.0
        if case == "axes":
            file.header.maps = 1
    if case == "truncated":
        path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize("case, message", [
    ("nan", "holds 1 NaN or infinite voxels"), ("not cubic", "is 8 × 8 × 6 voxels; a cubic map is needed"),
    ("complex", "holds a transform"), ("text", "is not an MRC file"),
    ("no pixel size", "states no pixel size"), ("oblong voxels", "voxels of 2 × 2 × 3 Å"),
    ("axes", r"states the axis order \[1, 2, 1\], which is none"), ("truncated", "truncated or has no data"),
])
def test_bad_maps_are_refused_with_the_reason(case, message, tmp_path):
    bad_volume(tmp_path / "v.mrc", case)
    with pytest.raises(InputError, match=message):
        read_volume(tmp_path / "v.mrc")


def test_masks_need_no_pixel_size_and_missing_files(tmp_path):
    bad_volume(tmp_path / "v.mrc", "no pixel size")
    assert read_volume(tmp_path / "v.mrc", need_pixel_size=False)[1] == 0.0
    with pytest.raises(InputError, match="can't read .*absent.mrc: it does not exist"):
        read_volume(tmp_path / "absent.mrc")
    with pytest.raises(InputError, match="can't write .*absent/v.mrc: it does not exist"):
        write_volume(tmp_path / "absent" / "v.mrc", np.zeros((4, 4, 4)), 1.0)
    with pytest.raises(ValueError, match="cubic"):
        write_volume(tmp_path / "w.mrc", np.zeros((4, 4, 5)), 1.0)
    with pytest.raises(ValueError, match="not positive"):
        write_volume(tmp_path / "w.mrc", np.zeros((4, 4, 4)), 0.0)


def test_fsc_star(tmp_path):
    curves = {"unmasked": np.linspace(1, 0, 9), "masked": np.linspace(1, 0.1, 9)}
    write_fsc(tmp_path / "fsc.star", curves, box_size=16, pixel_size=2.5, general={"rlnFinalResolution": 8.25})
    frequencies, read = read_fsc(tmp_path / "fsc.star")
    np.testing.assert_allclose(frequencies, np.arange(9) / 40)
    assert list(read) == ["unmasked", "masked"]
    np.testing.assert_allclose(read["masked"], curves["masked"], rtol=1e-8)
    frequencies, read = read_fsc(shared("apoferritin/halfmaps/postprocess.star"))
    assert list(read) == ["unmasked", "masked", "randomised", "corrected", "solvent-free"]
    assert frequencies[1] == 0.005208


def test_pictures_are_drawn_without_pyplot(tmp_path):
    pytest.importorskip("matplotlib")
    import sys
    before = "matplotlib.pyplot" in sys.modules
    volume = np.random.default_rng(0).normal(size=(16, 16, 16))
    save_slices_png(volume, 2.0, tmp_path / "v.png", "a map")
    save_slices_png(np.zeros((16, 16, 16)), 2.0, tmp_path / "empty.png", "an empty map")
    save_fsc_png(tmp_path / "fsc.png", {"unmasked": np.linspace(1, -0.2, 9)}, box_size=16, pixel_size=2.0)
    for name in ("v.png", "empty.png", "fsc.png"):
        content = (tmp_path / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 5000
    assert ("matplotlib.pyplot" in sys.modules) == before
