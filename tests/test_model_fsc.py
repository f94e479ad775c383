"""A map against an atomic model: known places, hands and pixel sizes."""
import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.fourier import fft3_centred
from cryosgd_plugin.core.poses import random_rotations
from cryosgd_plugin.core.shells import radial_average, shell_index_3d
from cryosgd_plugin.engines.align import Alignment
from cryosgd_plugin.engines.simulate.density import density_from_atoms
from cryosgd_plugin.engines.validation.model_fsc import (
    ModelConfig,
    ModelFSC,
    PixelScan,
    PlacedModel,
    matched,
    mean_fsc,
    model_fsc,
    outcome,
)
from cryosgd_plugin.io.models import FIRST, read_model
from cryosgd_plugin.job import model_fsc as job

from .io_samples import shared

BOX, PIXEL = 40, 3.0


@pytest.fixture(scope="module")
def atoms():
    """(positions about their centre, elements): a chiral chain of carbon along a widening helix."""
    t = np.linspace(0, 1, 300)
    positions = np.stack([30 * t * np.cos(12 * t), 18 * np.sin(12 * t), 60 * t - 30], axis=1)
    return positions - positions.mean(axis=0), ["C"] * 300


def placed(atoms, flip=(1, 1, 1), pixel=PIXEL, shift=(4.0, -3.0, 5.0)):
    """The map of the model turned, moved, and mirrored first; noisy."""
    rotation = random_rotations(1, np.random.default_rng(5))[0]
    volume = density_from_atoms((atoms[0] * flip) @ rotation.T + shift, atoms[1], BOX, pixel)
    return volume + 0.05 * volume.std() * np.random.default_rng(6).standard_normal(volume.shape).astype(np.float32)


@pytest.mark.parametrize("flip", [(1, 1, 1), (1, -1, 1)])
def test_the_model_is_found_in_its_hand(atoms, flip):
    volume = placed(atoms, flip)
    moved = (atoms[0] + [100.0, 200.0, -50.0], atoms[1])  # where the file has it does not matter
    found = model_fsc(volume, *moved, ModelConfig(resolution_a=9.0, scan=0), pixel_size=PIXEL)
    assert found.best.alignment.mirrored == (flip[1] == -1)
    assert max(found.scores) > 0.95 and min(found.scores) < 0.7
    assert found.best.curve[1:13].min() > 0.9 and found.scan is None
    assert ("mirror it with `cryosgd flip-hand`" in outcome(found, volume, PIXEL)) == (flip[1] == -1)


@pytest.mark.parametrize("curve, words", [(0.1, "FSC 0.5 is reached nowhere"), (0.9, "6.00 Å at FSC 0.5")])
def test_the_picture_says_where_they_agree(atoms, tmp_path, monkeypatch, curve, words):
    density = density_from_atoms(*atoms, BOX, PIXEL)
    placed_there = PlacedModel(Alignment(np.eye(3), np.zeros(3), False, 1.0), density, np.ones((BOX,) * 3),
                               np.full(BOX // 2 + 1, curve), np.full(BOX // 2 + 1, curve))
    titles = []
    monkeypatch.setattr(job, "save_fsc_png", lambda *_, title, **__: titles.append(title))
    job.write_model_fsc(tmp_path, density, PIXEL, ModelFSC((placed_there,), (curve,), 9.0, None), ModelConfig(), {})
    assert titles == [f"Map and model: {words}"]


def test_the_scan_finds_the_pixel_size(atoms):
    """A map whose header says 3 Å, of a model that was imaged at 3.05 Å."""
    volume = placed(atoms, pixel=1.0167 * PIXEL)
    found = model_fsc(volume, *atoms, ModelConfig(resolution_a=8.0, scan=0.03, scan_step=0.01), pixel_size=PIXEL)
    assert found.scan.best == pytest.approx(1.0167 * PIXEL, rel=0.003) and not found.scan.at_end
    assert "+1.6%" in outcome(found, volume, PIXEL) or "+1.7%" in outcome(found, volume, PIXEL)


def test_the_scan_leaves_out_pixel_sizes_at_which_the_model_does_not_fit(atoms):
    reach = np.linalg.norm(atoms[0], axis=1).max()
    pixel = 2.02 * reach / BOX
    volume = density_from_atoms(*atoms, BOX, pixel)
    found = model_fsc(volume, *atoms, ModelConfig(resolution_a=9.0, scan=0.03, scan_step=0.01), pixel_size=pixel)
    assert 1 <= np.count_nonzero(found.scan.pixel_sizes < 0.995 * pixel) + 1 <= 2
    assert found.scan.pixel_sizes[-1] == pytest.approx(1.03 * pixel)


def test_a_scan_that_ends_at_its_best_says_so():
    scan = PixelScan(np.array([0.9, 1.0, 1.1]), np.array([0.1, 0.2, 0.3]))
    assert scan.at_end and scan.best == 1.1
    assert PixelScan(np.array([0.9, 1.0, 1.1]), np.array([0.1, 0.3, 0.3])).best == pytest.approx(1.05)


def test_a_ball_has_no_shape_in_common_with_the_model(atoms):
    """The spherical average of the map itself agrees with the model in the first shells, and not without averages."""
    from cryosgd_plugin.core.masks import spherical_average
    ball = spherical_average(density_from_atoms(*atoms, BOX, PIXEL))
    ball += 0.02 * ball.std() * np.random.default_rng(7).standard_normal(ball.shape).astype(np.float32)
    found = model_fsc(ball, *atoms, ModelConfig(resolution_a=12.0, scan=0), pixel_size=PIXEL)
    assert found.best.curve[1] > 0.9
    assert np.nanmean(found.best.shape_curve[:11]) < 0.3


def test_the_density_takes_the_maps_amplitudes(atoms):
    density, volume = density_from_atoms(*atoms, BOX, PIXEL), np.random.default_rng(8).standard_normal((BOX,) * 3)
    index = shell_index_3d(BOX)
    powers = [radial_average(np.abs(fft3_centred(one)) ** 2, index, BOX // 2) for one in (
        matched(density, volume), volume)]
    assert powers[0] == pytest.approx(powers[1], rel=2e-3)


def test_the_mean_weighs_coefficients():
    curve = np.array([np.nan, 1.0, 0.0, 0.0])
    counts = [6 + 12, 8 + 6 + 24 + 24]  # of radii that round to 1 and to 2
    assert mean_fsc(curve, 2, 8) == pytest.approx(counts[0] / sum(counts))
    assert mean_fsc(np.array([1.0, np.nan, 0.25]), 2, 8) == 0.25


def test_the_first_assembly_is_applied():
    groel, alone = shared("maps_and_models/1OEL.pdb"), shared("maps_and_models/gorgon_vp6.pdb")
    chains, whole = (len(read_model(groel, assembly)[1]) for assembly in (None, FIRST))
    assert whole == 2 * chains
    assert len(read_model(alone, FIRST)[1]) == len(read_model(alone)[1])


def test_a_model_beyond_the_box_is_refused(atoms):
    with pytest.raises(InputError, match="the model reaches .* beyond the box of 40 px"):
        model_fsc(placed(atoms), 3 * atoms[0], atoms[1], ModelConfig(), pixel_size=PIXEL)


def test_settings_are_checked():
    for wrong, words in ((dict(resolution_a=-1), "a resolution of -1"), (dict(scan=0.5), "±50%"),
                         (dict(b_factor_a2=-1), "a B-factor of -1"), (dict(scan_step=0), "a scan step of 0")):
        with pytest.raises(InputError, match=words):
            ModelConfig(**wrong)
