"""The particle source: normalisation, resampling, several optics groups, bad images, the cache, memory."""
import os
import subprocess
import sys

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import resample_images
from cryosgd_plugin.core.particles import OpticsGroup
from cryosgd_plugin.io.source import ParticleSource
from cryosgd_plugin.io.star import read_particles

from .io_samples import make_stack, noise_images, shared, table_of

BOX, DIAMETER = 32, 44.0  # px, Å at 2 Å/px


def outside(box=BOX, pixel=2.0, diameter=DIAMETER):
    y, x = np.indices((box, box)) - box // 2
    return np.hypot(x, y) * pixel > diameter / 2


def noisy_set(folder, n=40, box=BOX, seed=0):
    """Images with their own offset and scale, and the same ones brought to background mean 0 and sd 1."""
    rng = np.random.default_rng(seed)
    images = noise_images(n, box, seed) * rng.uniform(3, 9, (n, 1, 1)) + rng.uniform(-500, 500, (n, 1, 1))
    images = images.astype(np.float32)
    background = images[:, outside(box)].astype(np.float64)
    normalised = (images - background.mean(1)[:, None, None]) / background.std(1)[:, None, None]
    return table_of([make_stack(folder / "a.mrcs", images)], [n], box=box), normalised.astype(np.float32)


def gaussian(box, pixel, position_a, sigma_a):
    """Samples of a Gaussian blob at (x, y) Å from the centre pixel."""
    x = (np.arange(box) - box // 2) * pixel
    return np.exp(-((x[None, :] - position_a[0]) ** 2 + (x[:, None] - position_a[1]) ** 2) / (2 * sigma_a ** 2))


def test_background_becomes_zero_mean_unit_sd(tmp_path):
    table, normalised = noisy_set(tmp_path)
    with ParticleSource(table, box_size=BOX, diameter_a=DIAMETER) as source:
        images = source.images([7, 3, 3, 39])
    np.testing.assert_allclose(images, normalised[[7, 3, 3, 39]], atol=2e-4)
    np.testing.assert_allclose(images[:, outside()].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(images[:, outside()].std(1), 1, atol=1e-5)


@pytest.mark.parametrize("box", [BOX, 24, 17, 8])
def test_downsampling_keeps_the_sum_and_the_low_frequencies(box, tmp_path):
    table, normalised = noisy_set(tmp_path)
    with ParticleSource(table, box_size=BOX, diameter_a=DIAMETER) as source:
        images = source.images(np.arange(40), box)
        assert source.extent_a == 64.0 and source.pixel_size == 2.0
    np.testing.assert_allclose(images.sum((1, 2)), normalised.sum((1, 2)), atol=0.05)
    np.testing.assert_allclose(images, resample_images(normalised, box), atol=5e-3)


def test_grey_values_stay_without_normalisation_and_inversion_is_a_sign(tmp_path):
    table, _ = noisy_set(tmp_path)
    source = ParticleSource(table, box_size=BOX, diameter_a=DIAMETER, normalise=False)
    images = source.images(np.arange(5))
    assert abs(images.mean((1, 2))).max() > 10
    source.invert = True
    assert np.array_equal(source.images(np.arange(5)), -images)


@pytest.mark.parametrize("old_box, old_pixel", [(48, 4 / 3), (40, 2.0), (24, 2.0), (50, 1.7), (33, 2.5)])
def test_groups_of_other_pixels_and_boxes_show_the_same_density(old_box, old_pixel, tmp_path):
    """A blob sampled on two grids gives the same image, in place and height, on the first group's frequency grid."""
    place, sigma = (5.0, -3.0), 4.5
    first = gaussian(32, 2.0, place, sigma)
    other = gaussian(old_box, old_pixel, place, sigma)
    stacks = [make_stack(tmp_path / "a.mrcs", first[None].astype(np.float32)),
              make_stack(tmp_path / "b.mrcs", other[None].astype(np.float32))]
    groups = [OpticsGroup("a", 300, 2.7, 0.1, 2.0, 32), OpticsGroup("b", 300, 2.7, 0.1, old_pixel, old_box)]
    table = table_of(stacks, [1, 1], optics=groups, optics_of_stack=[0, 1])
    source = ParticleSource(table, box_size=32, diameter_a=DIAMETER, normalise=False)
    assert source.notes[0].startswith(f"Optics group b ({old_box} px, {old_pixel:g} Å/px) is resampled to the field")
    for box in (32, 20, 15):
        images = source.images([0, 1], box)
        # what is left: tails cut off at the smaller field's edge and beyond the coarser Nyquist
        np.testing.assert_allclose(images[1], images[0], atol=1e-3 * images[0].max())


def test_a_grey_scale_of_its_own_in_an_optics_group_makes_no_difference(tmp_path):
    """Each image is normalised by its own background, so that neither signal nor noise of a group weighs more."""
    images = noise_images(12, BOX, 3)
    groups = [OpticsGroup(name, 300, 2.7, 0.1, 2.0, BOX) for name in ("a", "b")]
    found = []
    for scale, offset in ((1.0, 0.0), (70.0, -300.0)):
        stacks = [make_stack(tmp_path / f"a{scale:g}.mrcs", images[:6]),
                  make_stack(tmp_path / f"b{scale:g}.mrcs", (scale * images[6:] + offset).astype(np.float32))]
        table = table_of(stacks, [6, 6], optics=groups, optics_of_stack=[0, 1], box=BOX)
        with ParticleSource(table, box_size=24, diameter_a=DIAMETER) as source:
            found.append(source.images(np.arange(12)))
    np.testing.assert_array_equal(found[1][:6], found[0][:6])
    np.testing.assert_allclose(found[1][6:], found[0][6:], atol=1e-4)


def test_groups_of_other_pixels_normalised_to_the_same_signal(tmp_path):
    """White noise of one spectral density has sd 1/pixel: normalised by it, signals must agree after resampling."""
    rng = np.random.default_rng(0)
    blob, n = 0.6, 60

    def images(box, pixel):
        signal = blob * gaussian(box, pixel, (4.0, 2.0), 5.0)
        return (signal + rng.standard_normal((n, box, box)) / pixel).astype(np.float32)

    stacks = [make_stack(tmp_path / "a.mrcs", images(32, 2.0)), make_stack(tmp_path / "b.mrcs", images(48, 4 / 3))]
    groups = [OpticsGroup("a", 300, 2.7, 0.1, 2.0, 32), OpticsGroup("b", 300, 2.7, 0.1, 4 / 3, 48)]
    table = table_of(stacks, [n, n], optics=groups, optics_of_stack=[0, 1])
    found = ParticleSource(table, box_size=15, diameter_a=DIAMETER).images(np.arange(2 * n))
    first, second = found[:n], found[n:]
    scale = [np.sum(part.mean(0) * gaussian(15, 64 / 15, (4.0, 2.0), 5.0)) for part in (first, second)]
    assert scale[1] / scale[0] == pytest.approx(1.0, abs=0.06)
    # and the noise per coefficient is box² of the first group for both: 32² / 15² per pixel of the small box
    corners = outside(15, 64 / 15)
    for part in (first, second):
        assert (part - part.mean(0))[:, corners].var() == pytest.approx((32 / 15) ** 2, rel=0.06)


@pytest.mark.parametrize("value, message", [
    (np.nan, "holds NaN or infinite pixels"), (np.inf, "holds NaN or infinite pixels"), (None, "is constant")])
@pytest.mark.parametrize("normalise", [True, False])
def test_bad_images_are_named(value, message, normalise, tmp_path):
    images = noise_images(30, BOX)
    for row in (12, 14):
        if value is None:
            images[row] = 7.0
        else:
            images[row, 3, 4] = value
    stacks = [make_stack(tmp_path / "a.mrcs", images[:10]), make_stack(tmp_path / "b.mrcs", images[10:])]
    source = ParticleSource(table_of(stacks, [10, 20], box=BOX), box_size=16, diameter_a=DIAMETER, normalise=normalise)
    source.images(np.arange(12))
    expected = rf"particle 13 of the set, 000003@.*b.mrcs, {message} \(as do 1 more read with it\); remove it"
    with pytest.raises(InputError, match=expected):
        source.images(np.arange(30))
    with pytest.raises(InputError, match=expected):
        source.check_sample()


def test_masked_images_cannot_be_normalised(tmp_path):
    images = noise_images(3, BOX)
    images[:, outside()] = 0
    table = table_of([make_stack(tmp_path / "a.mrcs", images)], [3], box=BOX)
    with pytest.raises(InputError, match=r"has no noise outside the circle of 44 Å \(masked\?\)"):
        ParticleSource(table, box_size=16, diameter_a=DIAMETER).images([0])
    assert ParticleSource(table, box_size=16, diameter_a=DIAMETER, normalise=False).images([0]).shape == (1, 16, 16)


@pytest.mark.parametrize("sign, inverted, words", [
    (1, False, "The particles are white"),
    (-1, True, "their contrast has to be inverted"), (0, False, "can't be told")])
def test_contrast_is_detected(sign, inverted, words, tmp_path):
    images = noise_images(200, BOX) + sign * 0.3 * gaussian(BOX, 2.0, (0, 0), 12.0).astype(np.float32) + 100
    table = table_of([make_stack(tmp_path / "a.mrcs", images)], [200], box=BOX)
    sentence, found = ParticleSource(table, box_size=16, diameter_a=DIAMETER).check_sample()
    assert found is inverted and words in sentence and "200 images" in sentence


def test_contrast_of_real_particles():
    table = read_particles(shared("apoferritin/particles_72.star"))
    sentence, inverted = ParticleSource(table, box_size=48, diameter_a=135.0).check_sample()
    assert not inverted and "white on a darker background" in sentence


def test_blocks_cover_the_set_once(tmp_path):
    table, normalised = noisy_set(tmp_path)
    source = ParticleSource(table, box_size=BOX, diameter_a=DIAMETER)
    rows, images = zip(*source.blocks(size=7))
    assert [len(part) for part in rows] == [7] * 5 + [5]
    assert sorted(np.concatenate(rows).tolist()) == list(range(40))
    np.testing.assert_allclose(np.concatenate(images), normalised[np.concatenate(rows)], atol=2e-4)
    backwards = list(source.blocks(np.arange(40)[::-1], box=16, size=40))
    assert np.array_equal(backwards[0][1], source.images(np.arange(40)[::-1], 16))
    statistics = source.statistics()
    assert statistics["images"] == 120 and statistics["images_per_second"] > 0
    assert statistics["bytes_read"] == 120 * BOX * BOX * 4


def test_images_do_not_depend_on_the_block_they_are_read_in(tmp_path):
    table, _ = noisy_set(tmp_path)
    source = ParticleSource(table, box_size=24, diameter_a=DIAMETER)
    together = source.images(np.arange(40))
    source.block = 3
    assert np.array_equal(source.images(np.arange(40)), together)
    assert np.array_equal(source.images([17])[0], together[17])


def test_cache_gives_the_same_images_filled_at_once_or_on_the_way(tmp_path):
    table, _ = noisy_set(tmp_path)
    plain = ParticleSource(table, box_size=24, diameter_a=DIAMETER).images(np.arange(40))
    calls = []
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=tmp_path / "one") as source:
        source.block = 16
        assert source.fill(progress=lambda done, total: calls.append((done, total))) == 40
        filled = source.images(np.arange(40))
        read = source.statistics()["bytes_read"]
        small = source.images(np.arange(40), 12)
        assert source.statistics()["bytes_read"] == read == 40 * BOX * BOX * 4
        assert source.fill() == 0
    assert calls == [(16, 40), (32, 40), (40, 40)]
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=tmp_path / "two") as source:
        source.images([5, 30, 8], 12)
        lazily = source.images(np.arange(40))
        assert np.array_equal(source.images(np.arange(40), 12), small)
    assert np.array_equal(filled, lazily)
    # float16 keeps 11 bits
    assert 0 < abs(filled - plain).max() < 1e-3 * abs(plain).max()


def test_cache_is_used_again_by_a_continued_run_and_not_by_another_one(tmp_path):
    table, _ = noisy_set(tmp_path)
    scratch = tmp_path / "scratch"
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=scratch) as source:
        first = source.images(np.arange(20))
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=scratch) as source:
        assert np.array_equal(source.images(np.arange(20)), first)
        assert source.statistics()["bytes_read"] == 0
        source.images(np.arange(40))
        assert source.statistics()["bytes_read"] == 20 * BOX * BOX * 4
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER + 4, scratch_dir=scratch) as source:
        source.images(np.arange(20))
        assert source.statistics()["bytes_read"] == 20 * BOX * BOX * 4
        source.close(remove=True)
    os.utime(table.stack_paths[0], ns=(1, 1))  # other images under the same name
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=scratch) as source:
        source.images(np.arange(20))
        assert source.statistics()["bytes_read"] == 20 * BOX * BOX * 4
        source.close(remove=True)
    assert sorted(path.suffix for path in scratch.iterdir()) == [".f16", ".lock", ".npy"]


def test_rows_not_flushed_before_a_crash_are_read_again(tmp_path):
    table, _ = noisy_set(tmp_path)
    source = ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=tmp_path / "s")
    source.images(np.arange(10))
    source._cache.flush()
    source.images(np.arange(20))
    source._cache._release()  # as a kill does: nothing more is written
    with ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=tmp_path / "s") as again:
        again.images(np.arange(20))
        assert again.statistics()["bytes_read"] == 10 * BOX * BOX * 4


def test_scratch_refusals(tmp_path, monkeypatch):
    table, _ = noisy_set(tmp_path)

    def source(folder="s"):
        return ParticleSource(table, box_size=24, diameter_a=DIAMETER, scratch_dir=tmp_path / folder)

    with source():
        with pytest.raises(InputError, match=rf"the particle cache .* is being written by process {os.getpid()}; wait"):
            source()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't make the scratch folder .*file"):
        source("file/s")
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("cryosgd_plugin.io.files.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match="the particle cache needs 0.00 GB in .*other, where 0.00 GB are free"):
        source("other")
    monkeypatch.undo()
    with source("full") as full:
        def refuse(*_):
            raise OSError(28, "No space left on device")
        monkeypatch.setattr("cryosgd_plugin.io.scratch.os.pwrite", refuse)
        with pytest.raises(InputError, match="can't write .*f16: the disk is full; free space there or choose another"):
            full.images([0])
    with pytest.raises(InputError, match="there is no scratch folder to fill; give one with --scratch"):
        ParticleSource(table, box_size=24, diameter_a=DIAMETER).fill()


def test_refusals(tmp_path):
    table, _ = noisy_set(tmp_path)
    for arguments, message in (
            ({"box_size": 33}, "working box 33 px must lie between 2 and the particles' 32 px"),
            ({"diameter_a": 0}, "particle diameter 0 Å is not positive"),
            ({"memory_gb": 1e-6}, "a memory budget of 1e-06 GB is too small for images of 32 px"),
            ({"pixel_size": 2.0}, r"pixel size 2 Å/px does not belong to a box of 24 px: the field of 64 Å")):
        with pytest.raises(InputError, match=message):
            ParticleSource(table, **{"box_size": 24, "diameter_a": DIAMETER, **arguments})
    source = ParticleSource(table, box_size=24, diameter_a=DIAMETER, memory_gb=1e-4)
    with pytest.raises(InputError, match="40 images of 24 px take 0.00 GB, more than half of the memory budget"):
        source.images(np.arange(40))


MEMORY_CHECK = """
import resource, sys
import numpy as np
from cryosgd_plugin.core.particles import OpticsGroup, ParticleTable
from cryosgd_plugin.io.source import ParticleSource
n, d = 3000, 128
zeros = np.zeros(n)
table = ParticleTable([sys.argv[1]], zeros.astype(np.int32), np.arange(n), [OpticsGroup("g", 300, 2.7, .1, 1.5, d)],
                      zeros.astype(np.int32), zeros, zeros, zeros, zeros, zeros, zeros + 1, np.arange(n))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
source = ParticleSource(table, box_size=96, diameter_a=120, memory_gb=0.1, scratch_dir=sys.argv[2])
source.images([0])
before = peak()
source.check_sample()
source.fill()
total = sum(len(rows) for rows, images in source.blocks())
plain = ParticleSource(table, box_size=96, diameter_a=120, memory_gb=0.1)
total += sum(len(rows) for rows, images in plain.blocks())
assert total == 2 * n
print(peak() - before)
"""


def test_memory_stays_within_the_budget(tmp_path):
    """3,000 × 128 px (197 MB as float32) under a budget of 100 MB, with and without the cache."""
    images = np.random.default_rng(0).integers(-99, 99, (3000, 128, 128), dtype=np.int8)
    stack = make_stack(tmp_path / "a.mrcs", images)
    done = subprocess.run([sys.executable, "-c", MEMORY_CHECK, stack, str(tmp_path / "scratch")], capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100e6
