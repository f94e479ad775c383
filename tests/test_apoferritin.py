"""The main job on real particles: apoferritin from a random start, judged by the atomic model."""
import numpy as np
import pytest

from cryosgd_plugin.cli import main
from cryosgd_plugin.core.masks import spherical_average
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.align import align_volume
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.tests.io_samples import shared


@pytest.mark.slow
def test_a_random_start_finds_the_subunits(tmp_path):
    """FSC ≥ 0.5 from shell 5 to 15 Å without the spherical averages, of which a hollow ball has nothing."""
    folder = shared("apoferritin")
    status = main(["abinitio", str(folder / "particles_72.star"), "-o", str(tmp_path / "run"), "--symmetry", "O",
                   "--diameter", "140", "--seed", "1", "--threads", "2", "--iterations", "120"])
    assert status == 0
    volume, pixel = read_volume(tmp_path / "run" / "volume.mrc")
    model, mask = (read_volume(folder / "halfmaps" / name)[0] for name in ("model_7a4m_2.5A.mrc", "mask.mrc"))
    aligned = align_volume(volume, model, radius=16).apply(volume)
    curve = fsc(aligned - spherical_average(aligned), model - spherical_average(model), mask=mask)
    assert curve[5:int(len(volume) * pixel / 15) + 1].min() >= 0.5, np.round(curve[:20], 2)
