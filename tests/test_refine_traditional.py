"""Wiener's map of the same poses, which a refinement with sparse + total-variation maps keeps beside its own."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.io.volumes import read_volume
from cryosgd_plugin.job.refine_results import save_pictures, write_maps
from cryosgd_plugin.tests.abinitio_samples import density, particles
from cryosgd_plugin.tests.test_refine import CONFIG, refined

SPARSE = replace(CONFIG, regularisation="sparse-tv", iterations=2, certificate_share=0)


@pytest.fixture(scope="module")
def run():
    return refined(config=SPARSE)


def test_it_is_the_same_map_with_the_solvent_not_emptied(run):
    engine, _, _ = run
    assert engine.traditional.shape == engine.whole.shape
    assert np.all(fsc(engine.traditional[0], engine.whole[0], mask=engine.sphere)[1:6] > 0.9)
    outside = engine.sphere < 0.01
    assert np.abs(engine.traditional[0][outside]).std() > 2 * np.abs(engine.whole[0][outside]).std()


def test_the_run_leaves_it_and_the_picture_of_both(run, tmp_path):
    engine, records, _ = run
    write_maps(tmp_path.joinpath, engine)
    np.testing.assert_array_equal(read_volume(tmp_path / "traditional.mrc")[0], engine.traditional[0])
    save_pictures(tmp_path, engine, records)
    assert (tmp_path / "comparison.png").stat().st_size > 20_000


def test_a_run_with_wieners_maps_leaves_none(tmp_path):
    engine, records, _ = refined(n=40, config=replace(CONFIG, iterations=1, certificate_share=0))
    assert engine.traditional is None
    write_maps(tmp_path.joinpath, engine)
    save_pictures(tmp_path, engine, records)
    assert not list(tmp_path.glob("*traditional*")) and not list(tmp_path.glob("comparison*"))


def test_it_is_there_again_after_a_stop():
    table = particles(40, noise_sd=0.15, seed=3)[1]
    engines = [Refinement(SPARSE, replace(table, rotations=None, shifts_a=None),
                          particles(40, noise_sd=0.15, seed=3)[0], [density()]) for _ in range(2)]
    next(engines[0].steps())
    engines[1].restore({name: np.array(value) for name, value in engines[0].state().items()})
    np.testing.assert_array_equal(engines[1].traditional, engines[0].traditional)
