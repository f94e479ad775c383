"""A refinement by its GPU path, without a GPU: iterations agree with the CPU's, the command runs and refuses."""
import json
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import distance_to_mates_deg
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.images import ImagePreparer
from cryosgd_plugin.engines.refine.maps import shell_means
from cryosgd_plugin.engines.refine.memory import check_gpu_memory, gpu_memory_needed_gb
from cryosgd_plugin.io.result_folder import ResultFolder
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.ops.slicing import half_volume_shape
from cryosgd_plugin.tests import host_cuda
from cryosgd_plugin.tests.abinitio_samples import BLOBS, BOX, PIXEL, density, particles
from cryosgd_plugin.tests.test_asymmetry import RING
from cryosgd_plugin.tests.test_refine import CONFIG
from cryosgd_plugin.tests.test_refine_job import command, data  # noqa: F401  (a fixture)

PHASES = {"reading", "preparation", "scoring, level 1", "polish", "back-projection", "residuals", "maps"}


@pytest.fixture
def xp(monkeypatch):
    return host_cuda.install(monkeypatch)


def on_both(xp, config, n=40, noise_sd=0.1, blobs=BLOBS, iterations=1):
    """[(engine, its records)] of the CPU and of the GPU."""
    found = []
    for module in (np, xp):
        source, table = particles(n, noise_sd=noise_sd, seed=3, blobs=blobs)
        known = table if config.search == "local" else replace(table, rotations=None, shifts_a=None)
        references = [density(blobs), density(0.8 * blobs[:, ::-1])][:config.classes]
        engine = Refinement(config, known, source, references, xp=module)
        found.append((engine, [engine._step() for _ in range(iterations)]))
    return found


def agree(found, operators):
    """The same poses, scores, noise and maps, but for what the last steps of a climb leave open."""
    (cpu, records), (gpu, gpu_records) = found
    assert apart(found, operators).max() < 0.1
    np.testing.assert_allclose(gpu.results.shifts_a, cpu.results.shifts_a, atol=0.01 * PIXEL)
    np.testing.assert_allclose(gpu.results.log_gain, cpu.results.log_gain, atol=1e-3)
    np.testing.assert_allclose(gpu.results.entropy, cpu.results.entropy, atol=5e-3)
    np.testing.assert_allclose(gpu.noise, cpu.noise, rtol=1e-3)
    np.testing.assert_allclose(gpu.results.scale, cpu.results.scale, atol=1e-3)
    assert np.linalg.norm(gpu.whole - cpu.whole) < 1e-3 * np.linalg.norm(cpu.whole)
    # where a voxel's weight is next to none an unregularised map shows every rounding
    for one, other in zip(gpu.halves.reshape(-1, *(BOX,) * 3), cpu.halves.reshape(-1, *(BOX,) * 3)):
        # a class that won no particle has no map
        assert one.any() == other.any()
        assert not one.any() or fsc(one, other)[1:records[-1]["radius"]].min() > 0.9999
    for ours, theirs in zip(gpu_records, records):
        assert ours["scored"] == pytest.approx(theirs["scored"], rel=0.01)
        assert ours["pruned"] == pytest.approx(theirs["pruned"], abs=5e-3)
        assert ours["resolution_a"] == pytest.approx(theirs["resolution_a"], rel=0.01)
        assert PHASES <= set(ours["seconds_phases"]) == set(theirs["seconds_phases"])


def apart(found, operators):
    """(n,) degrees between the particles' poses."""
    (cpu, _), (gpu, _) = found
    return np.array([distance_to_mates_deg(one[None], other, operators)[0]
                     for one, other in zip(gpu.results.rotations, cpu.results.rotations)])


def test_iterations_agree_with_the_cpus(xp):
    found = on_both(xp, CONFIG, iterations=2)
    agree(found, point_group("C1"))
    assert all(type(array) is np.ndarray for array in found[1][0].state().values() if hasattr(array, "dtype"))


@pytest.mark.parametrize("change", [dict(kernel="gaussian"), dict(marginal="best"), dict(search="exhaustive"),
                                    dict(search="local", local_angle_deg=20.0, local_shift_a=6.0), dict(classes=2),
                                    dict(regularisation="sparse-tv", alpha=0.1, beta=0.3)])
def test_other_settings_agree_too(xp, change):
    agree(on_both(xp, replace(CONFIG, **change)), point_group("C1"))


def test_bounds_symmetry_and_a_certificate(xp):
    """Two levels, of which the bound leaves part; every third iteration is certified."""
    config = replace(CONFIG, symmetry="C4", initial_resolution_a=27.0, shift_range_a=20.0, certificate_share=5.0)
    found = on_both(xp, config, noise_sd=0.3, blobs=RING)
    agree(found, point_group("C4"))
    for engine, records in found:
        records += [engine._step() for _ in range(2)]
    # poses of the grid lie where the interpolation has kinks: rounding decides which way a climb begins, and a few of
    # these weak images end it elsewhere
    assert np.median(apart(found, point_group("C4"))) < 0.1 and apart(found, point_group("C4")).max() < 5
    assert found[1][1][-1]["log_gain"] == pytest.approx(found[0][1][-1]["log_gain"], rel=2e-3)
    (_, records), (_, gpu_records) = found
    assert 0 < records[-1]["pruned"][0] < 1
    ours, theirs = gpu_records[-1]["certificate"], records[-1]["certificate"]
    assert ours["images"] == theirs["images"] > 0 and ours["same"] == theirs["same"]
    assert ours["covered"] == pytest.approx(theirs["covered"], abs=0.01)


def test_weak_images_agree_on_average(xp):
    """What stands for their broad posteriors is drawn, and the draws are not the same."""
    (cpu, records), (gpu, gpu_records) = on_both(xp, CONFIG, n=100, noise_sd=1.0)
    assert records[0]["broad"] > 0.3 and gpu_records[0]["broad"] == pytest.approx(records[0]["broad"], abs=0.02)
    np.testing.assert_allclose(gpu.results.entropy, cpu.results.entropy, atol=0.3)
    # as far as a hundred of them tell anything, each at fifty poses
    assert fsc(gpu.whole[0], cpu.whole[0])[1:5].min() > 0.9
    np.testing.assert_allclose(gpu.noise[:, :, 1:], cpu.noise[:, :, 1:], rtol=0.02)


def test_images_are_prepared_as_on_the_cpu(xp):
    """Two optics groups, one with beam tilt and Zernike terms."""
    source, table = particles(6, noise_sd=0.5, seed=1)
    bent = replace(table.optics[0], beam_tilt_mrad=(0.4, -0.3), odd_zernike=(0.0, 0.0, 30.0, -20.0))
    groups = np.array([0, 1, 0, 1, 1, 0], np.int32)
    table = replace(table, optics=[table.optics[0], bent], optics_id=groups)
    prepared = []
    for module in (np, xp):
        preparer = ImagePreparer(10, 7, box_size=BOX, pixel_size=PIXEL, mask_radius_a=60.0, xp=module)
        images = source.images(np.arange(6), BOX)
        prepared.append(preparer.prepare(images, preparer.low_passed(images), table, np.arange(6),
                                         np.linspace(900.0, 500.0, BOX // 2 + 1)))
    cpu, gpu = prepared
    for name in ("masked", "whole", "ctf_power"):
        one, other = getattr(gpu, name).get(), getattr(cpu, name)
        assert one.dtype == other.dtype and np.abs(one - other).max() < 1e-5 * np.abs(other).max()
    np.testing.assert_allclose(gpu.power, cpu.power, rtol=1e-5)


def test_shells_of_maps_are_summed_as_on_the_cpu(xp, monkeypatch):
    rng = np.random.default_rng(0)
    weight = rng.random(half_volume_shape(9)).astype(np.float32) * 10 ** rng.uniform(-3, 3, half_volume_shape(9))
    weight = weight.astype(np.float32)
    found = []
    for seed in (None, 1):
        monkeypatch.setattr(host_cuda.RawKernel, "shuffle", seed)
        found.append(shell_means(xp.asarray(weight), 9))
    assert np.array_equal(*found)
    np.testing.assert_allclose(found[0], shell_means(weight, 9), rtol=1e-6)
    np.testing.assert_allclose(shell_means(xp.asarray(weight > 1), 9), shell_means(weight > 1, 9), rtol=1e-12)
    weight[9 * 2 + 1, 9 * 2 + 1, 0] = np.inf
    assert np.isfinite(shell_means(xp.asarray(weight), 9)).all()


# ---- the command
def test_a_run_on_a_gpu(xp, data, tmp_path, capsys):  # noqa: F811
    words = "--max-particles", "60", "--iterations", "1"
    assert command(data, tmp_path / "gpu", "--device", "cuda:0", *words) == 0
    assert "Time by phase" in capsys.readouterr().out
    assert command(data, tmp_path / "cpu", *words) == 0
    results = ResultFolder(tmp_path / "gpu")
    summary = results.summary()
    assert summary["device"] == "cuda:0" and summary["versions"]["cupy"] == "stand-in"
    assert PHASES <= set(summary["phases"]) and summary["phases"]["maps"]["images_per_second"] > 0
    maps = [read_volume(ResultFolder(tmp_path / one).volume())[0] for one in ("gpu", "cpu")]
    assert fsc(*maps)[1:6].min() > 0.999
    assert json.loads((tmp_path / "gpu" / "job.json").read_text(encoding="utf-8"))["device"] == "cuda:0"


def test_a_gpu_run_goes_on_on_the_cpu(xp, data, tmp_path, monkeypatch):  # noqa: F811
    step = Refinement._step

    def interrupted(engine):
        if engine.iteration == 1:
            raise KeyboardInterrupt
        return step(engine)

    words = "--max-particles", "40", "--iterations", "1"
    monkeypatch.setattr(Refinement, "_step", interrupted)
    assert command(data, tmp_path / "out", "--device", "cuda", *words) == 130
    monkeypatch.setattr(Refinement, "_step", step)
    assert command(data, tmp_path / "out", "--continue", *words) == 0


def test_several_gpus_are_refused(data, tmp_path, capsys, monkeypatch):  # noqa: F811
    host_cuda.install(monkeypatch, gpus=2)
    assert command(data, tmp_path / "out", "--device", "cuda:0,1") == 1
    assert "a refinement runs on one GPU" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_small_gpu_is_refused_beforehand(data, tmp_path, capsys, monkeypatch):  # noqa: F811
    host_cuda.install(monkeypatch, memory_gb=1e-3)
    assert command(data, tmp_path / "out", "--device", "cuda") == 1
    said = capsys.readouterr().err
    assert "of the GPU's memory" in said and "--device cpu" in said and not (tmp_path / "out").exists()


def test_the_gpu_memory_grows_with_box_and_classes():
    config = RefineConfig(pixel_size=1.4, box_size=256, diameter_a=180.0)
    usual = gpu_memory_needed_gb(config)
    assert 8 < usual < 24
    assert gpu_memory_needed_gb(replace(config, classes=3)) > usual + 1
    assert gpu_memory_needed_gb(replace(config, pixel_size=2.8, box_size=128)) < 0.3 * usual
    check_gpu_memory(config, 1.01e9 * usual)
    with pytest.raises(InputError, match="downsample the particles"):
        check_gpu_memory(config, 0.99e9 * usual)
