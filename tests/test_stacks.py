"""MRC stacks: every mode and byte order, lazy reading, what is checked before computing."""
import os

import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.particles import OpticsGroup
from cryosgd_plugin.io.stack_writer import write_stack
from cryosgd_plugin.io.stacks import StackReader, check_stacks, read_header
from cryosgd_plugin.io.star import read_particles

from .io_samples import make_stack, noise_images, shared, table_of

MODES = [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")]


def raw_stack(path, images, mode, order="<", extended=b"", promised=None, stamp=None):
    """A stack written byte by byte, so that no library's reading of the format tests itself."""
    header = bytearray(1024)
    n, d = images.shape[:2]
    header[0:16] = np.array([d, d, promised or n, mode], order + "i4").tobytes()
    header[28:40] = np.array([d, d, 1], order + "i4").tobytes()
    header[40:52] = np.array([2.0 * d, 2.0 * d, 2.0], order + "f4").tobytes()
    header[64:76] = np.array([1, 2, 3], order + "i4").tobytes()
    header[76:88] = np.array([images.min(), images.max(), images.mean()], order + "f4").tobytes()
    header[92:96] = np.array([len(extended)], order + "i4").tobytes()
    header[208:212] = b"MAP "
    header[212:216] = stamp if stamp is not None else b"\x44\x44\x00\x00" if order == "<" else b"\x11\x11\x00\x00"
    path.write_bytes(bytes(header) + extended + images.astype(images.dtype.newbyteorder(order)).tobytes())
    return str(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode, kind", MODES)
@pytest.mark.parametrize("extended", [b"", b"x" * 1337])
def test_modes_byte_orders_and_extended_headers(mode, kind, order, extended, tmp_path):
    rng = np.random.default_rng(mode)
    images = rng.integers(-100, 100, (5, 12, 12)) if kind[0] != "u" else rng.integers(0, 60000, (5, 12, 12))
    images = images.astype(kind)
    path = raw_stack(tmp_path / "s.mrcs", images, mode, order, extended)
    header = read_header(path)
    assert (header.box_size, header.count, header.held, header.pixel_size) == (12, 5, 5, 2.0)
    with StackReader() as reader:
        read = reader.read(table_of([path], [5], box=12), [4, 0, 2, 2])
    assert read.dtype == np.float32
    assert np.array_equal(read, images[[4, 0, 2, 2]].astype(np.float32))


def test_int8_read_as_unsigned_where_the_header_says_so(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    path = raw_stack(tmp_path / "s.mrcs", images, 0)
    table = table_of([path], [2], box=8)
    assert np.array_equal(StackReader().read(table, [0, 1]), images.astype(np.float32))
    assert "read as unsigned" in check_stacks(table)[0]
    # IMOD's flag rules, whatever the greatest value is: bit 0 set means signed
    content = bytearray((tmp_path / "s.mrcs").read_bytes())
    content[152:160] = np.array([1146047817, 1], "<i4").tobytes()
    (tmp_path / "s.mrcs").write_bytes(content)
    assert np.array_equal(StackReader().read(table, [0, 1]), images.view(np.int8).astype(np.float32))
    assert "read as signed" in check_stacks(table)[0]


def test_any_order_of_rows_over_more_stacks_than_open_files(tmp_path):
    stacks, images = [], []
    for number in range(7):
        images.append(noise_images(4, 10, seed=number))
        stacks.append(make_stack(tmp_path / f"{number}.mrcs", images[-1]))
    table, images = table_of(stacks, [4] * 7, box=10), np.concatenate(images)
    rows = np.random.default_rng(0).integers(0, 28, 200)
    with StackReader(open_files=2) as reader:
        for part in np.split(rows, 10):
            assert np.array_equal(reader.read(table, part), images[part])
            assert len(reader._open) <= 2
        assert reader.bytes_read == 200 * 400
    with StackReader() as reader:
        assert np.array_equal(reader.read(table, rows), images[rows])
    assert reader._open == {}


def test_odd_machine_stamp_is_a_warning(tmp_path):
    images = noise_images(2, 8)
    path = raw_stack(tmp_path / "s.mrcs", images, 2, stamp=b"\x00\x00\x00\x00")
    table = table_of([path], [2], box=8)
    warnings = check_stacks(table)
    assert len(warnings) == 1 and "s.mrcs: Unrecognised machine stamp" in warnings[0]
    both = check_stacks(table_of([path, raw_stack(tmp_path / "t.mrcs", images, 2, stamp=b"\0" * 4)], [2, 2], box=8))
    assert len(both) == 1 and "s.mrcs (and 1 more stacks): Unrecognised" in both[0]
    assert np.array_equal(StackReader().read(table, [1])[0], images[1])


def test_good_stacks_pass_in_silence(tmp_path, recwarn):
    stacks = [make_stack(tmp_path / f"{i}.mrcs", noise_images(3, 16)) for i in range(3)]
    assert check_stacks(table_of(stacks, [3] * 3)) == [] and not len(recwarn)


def test_truncated_stack_is_named_with_its_counts(tmp_path):
    stacks = [make_stack(tmp_path / f"{i}.mrcs", noise_images(10, 16)) for i in range(2)]
    table = table_of(stacks, [10, 10])
    os.truncate(stacks[1], 1024 + 7 * 1024 + 100)
    message = "1.mrcs is truncated: its header promises 10 images, the file holds 7, and image 10 is asked for"
    with pytest.raises(InputError, match=message):
        check_stacks(table)
    with pytest.raises(InputError, match="1.mrcs is truncated: image 8 is asked for, the file holds 7"):
        StackReader().read(table, np.arange(20))
    assert check_stacks(table.take(np.arange(17))) == []


def test_a_file_that_shrinks_after_it_was_opened_is_noticed(tmp_path):
    stack = make_stack(tmp_path / "a.mrcs", noise_images(4, 16))
    table = table_of([stack], [4])
    with StackReader() as reader:
        reader.read(table, [0])
        os.truncate(stack, 1024 + 1024)
        with pytest.raises(InputError, match="truncated"):
            reader.read(table, [3])


def bad_stack(tmp_path, case):
    path = tmp_path / "bad.mrcs"
    if case == "not MRC":
        path.write_bytes(b"hello" * 500)
    elif case == "short":
        path.write_bytes(b"hello")
    elif case == "packed":
        path.write_bytes(b"\x1f\x8b" + b"x" * 2000)
    elif case == "complex":
        with mrcfile.new(path, data=np.zeros((2, 16, 16), np.complex64)):
            pass
    elif case == "oblong":
        make_stack(path, np.zeros((2, 16, 12), np.float32))
    elif case == "other box":
        make_stack(path, noise_images(2, 24))
    elif case == "too few":
        make_stack(path, noise_images(1, 16))
    elif case == "folder":
        path.mkdir()
    return str(path)


@pytest.mark.parametrize("case, message", [
    ("missing", r"stack .*bad.mrcs does not exist \(2 particles are in it\)"),
    ("not MRC", r"bad.mrcs is not an MRC file \(its header makes no sense\)"),
    ("short", "5 bytes, less than the 1024 of an MRC header"),
    ("packed", "compressed; unpack it first"),
    ("complex", "has MRC mode 4; the modes that can be read are 0"),
    ("oblong", "holds 2 images of 12 × 16 px; particle images must be square"),
    ("other box", "boxes of 24 px where its optics group says 16 px"),
    ("too few", "holds 1 images, but image 2 is asked for; the particle file does not belong to this stack"),
    ("folder", "can't read .*bad.mrcs: it is a folder"),
])
def test_bad_stacks_are_refused_with_the_reason(case, message, tmp_path):
    good = make_stack(tmp_path / "good.mrcs", noise_images(2, 16))
    with pytest.raises(InputError, match=message):
        check_stacks(table_of([good, bad_stack(tmp_path, case)], [2, 2]))


def test_mixed_boxes(tmp_path):
    stacks = [make_stack(tmp_path / f"{name}.mrcs", noise_images(2, box)) for name, box in (("a", 16), ("b", 24))]
    with pytest.raises(InputError, match="b.mrcs has boxes of 24 px where its optics group says 16 px; give"):
        check_stacks(table_of(stacks, [2, 2]))
    with pytest.raises(InputError, match="boxes of 24 px, others of 16 px"):
        StackReader().read(table_of(stacks, [2, 2]), [0, 3])
    groups = [OpticsGroup("a", 300, 2.7, 0.1, 2.0, 16), OpticsGroup("b", 300, 2.7, 0.1, 1.5, 24)]
    assert check_stacks(table_of(stacks, [2, 2], optics=groups, optics_of_stack=[0, 1])) == []


@pytest.mark.parametrize("name, box", [("cryodrgn_small_real/empiar_10076_7.star", 320),
                                       ("aspire_reference/sample_particles_relion31.star", 200)])
def test_real_stacks_as_mrcfile_reads_them(name, box):
    table = read_particles(shared(name))
    assert table.box_size == box and check_stacks(table) == []
    with mrcfile.open(table.stack_paths[0], permissive=True) as file:
        expected = file.data[table.stack_index].astype(np.float32)
    assert np.array_equal(StackReader().read(table, np.arange(len(table))), expected)


@pytest.mark.parametrize("kind, mode", [("float32", 2), ("float16", 12)])
def test_write_stack(kind, mode, tmp_path):
    images = noise_images(9, 14)
    write_stack(tmp_path / "s.mrcs", iter([images[:4], images[4:]]), 9, 14, 1.5, kind)
    assert mrcfile.validate(tmp_path / "s.mrcs")
    with mrcfile.open(tmp_path / "s.mrcs") as file:
        assert file.header.mode == mode and file.is_image_stack() and float(file.voxel_size.x) == 1.5
        assert np.array_equal(file.data, images.astype(file.data.dtype))
        stored = file.data.astype(np.float64)
        assert float(file.header.dmean) == pytest.approx(stored.mean(), abs=1e-7)
        assert float(file.header.rms) == pytest.approx(stored.std(), abs=1e-6)
    with pytest.raises(ValueError, match="4 images came for a stack of 9"):
        write_stack(tmp_path / "t.mrcs", [images[:4]], 9, 14, 1.5)
    with pytest.raises(ValueError, match="came for a stack of 16 px"):
        write_stack(tmp_path / "t.mrcs", [images], 9, 16, 1.5)
    with pytest.raises(InputError, match="the stack needs .* GB in"):
        write_stack(tmp_path / "t.mrcs", [], 10 ** 12, 14, 1.5)
    assert [path.name for path in tmp_path.iterdir()] == ["s.mrcs"]
