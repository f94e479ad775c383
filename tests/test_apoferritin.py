"""The main job on real particles: apoferritin from a random start by the command line, judged by the atomic model."""
import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.apoferritin import curve_to_model, least
from cryosgd_plugin.tests.io_samples import shared


@pytest.mark.slow
def test_a_random_start_finds_the_subunits(tmp_path):
    folder = shared("apoferritin")
    status = main(["abinitio", str(folder / "particles_72.star"), "-o", str(tmp_path / "run"), "--symmetry", "O",
                   "--diameter", "140", "--seed", "1", "--threads", "2", "--iterations", "120"])
    assert status == 0
    volume, _ = read_volume(tmp_path / "run" / "volume.mrc")
    curve, _, pixel = curve_to_model(volume, folder / "halfmaps")
    assert least(curve, len(volume), pixel) >= 0.5, np.round(curve[:20], 2)
