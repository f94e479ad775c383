"""A reference that has not the symmetry to be imposed is named before computing."""
import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.core.symmetry import symmetrise
from cryosgd_plugin.engines.refine.config import RefineConfig
from cryosgd_plugin.engines.refine.symmetry_check import LEAST_CORRELATION, correlation_with_mates
from cryosgd_plugin.io.volumes import write_volume
from cryosgd_plugin.job.refine_summary import outcome
from cryosgd_plugin.tests.abinitio_samples import BOX, PIXEL, density
from cryosgd_plugin.tests.test_refine_job import OPTIONS, data  # noqa: F401  (a fixture)


@pytest.mark.parametrize("group", ["C2", "C4", "D2", "O"])
def test_maps_with_and_without_a_group(group):
    volume = density()
    assert correlation_with_mates(symmetrise(volume, group), group) > 0.9
    assert correlation_with_mates(volume, group) < LEAST_CORRELATION
    assert correlation_with_mates(volume, "C1") == 1


def test_a_group_on_other_axes_is_not_the_maps():
    turned = np.swapaxes(symmetrise(density(), "C4"), 0, 2)
    assert correlation_with_mates(turned, "C4") < LEAST_CORRELATION


def test_a_ball_tells_nothing():
    ball = density(blobs=np.zeros((1, 3)))
    assert correlation_with_mates(ball, "O") > 0.9


def test_the_command_warns(data, tmp_path, capsys):  # noqa: F811
    for name, volume, warned in (("c1", density(), True), ("c4", symmetrise(density(), "C4"), False)):
        write_volume(data / f"{name}.mrc", volume, PIXEL)
        assert main(["refine", str(data / "particles.star"), "--reference", str(data / f"{name}.mrc"), "-o",
                     str(tmp_path / name), *OPTIONS, "--iterations", "1", "--symmetry", "C4"]) == 0
        assert ("does not have C4 on its own axes" in capsys.readouterr().out) == warned


def test_a_resolution_hardly_beyond_the_reference_is_suspicious():
    config = RefineConfig(pixel_size=PIXEL, box_size=BOX, diameter_a=120.0, initial_resolution_a=40.0)
    record = dict(capped=0, broad=0)
    for resolution, said in ((30.0, True), (20.0, False), (np.inf, False)):
        words = outcome(config, [resolution], [100], 100, "they did", record)
        assert ("suspicious" in words) == said
    assert "nothing was found" in words
