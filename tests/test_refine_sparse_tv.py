"""A refinement with sparse + total-variation maps: the same run but for the references."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.errors import InputError
from cryosgd_plugin.core.poses import angular_distance_deg
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.tests.abinitio_samples import density, particles
from cryosgd_plugin.tests.test_refine import CONFIG, refined

SPARSE = replace(CONFIG, regularisation="sparse-tv", iterations=2, certificate_share=0)


@pytest.fixture(scope="module")
def run():
    return refined(config=SPARSE)


def test_it_converges_and_says_what_its_maps_are(run):
    engine, records, table = run
    assert np.median(angular_distance_deg(engine.results.rotations, table.rotations)) < 4
    assert np.all(fsc(engine.whole[0] * engine.sphere, density(), mask=engine.sphere)[1:8] > 0.9)
    said = records[-1]["sparse_tv"]
    assert np.shape(said["penalties"]) == (2, 1, 2) and len(said["maps"]) == 2
    assert all(one["variation"] < 0.9 and one["gap"] < 0.1 for one in said["maps"])


def test_resolution_is_that_of_unregularised_halves(run):
    """What the record claims is the FSC of `halves`, which hold noise where the references are empty."""
    engine, records, _ = run
    outside = engine.sphere < 0.01
    assert np.abs(engine.halves[0, 0][outside]).std() > 5 * np.abs(engine.references[0, 0][outside]).std()
    np.testing.assert_allclose(engine.curves[0].unmasked, fsc(*engine.halves[:, 0]), atol=1e-5)


def test_the_mask_is_that_of_wieners_maps_in_either_mode():
    """Two runs that differ in the regularisation see the same mask, as long as they see the same poses."""
    table = particles(60, noise_sd=0.15, seed=3)[1]
    masks, references = [], []
    for method in ("wiener", "sparse-tv"):
        config = replace(SPARSE, regularisation=method, mask="dynamic")
        engine = Refinement(config, replace(table, rotations=None, shifts_a=None),
                            particles(60, noise_sd=0.15, seed=3)[0], [density()])
        next(engine.steps())
        masks.append(engine.mask)
        references.append(engine.references)
    np.testing.assert_array_equal(*masks)
    assert np.abs(references[0] - references[1]).max() > 0


def test_it_goes_on_from_its_state(run):
    engine, _, table = run
    again = Refinement(SPARSE, replace(table, rotations=None, shifts_a=None), engine.source, [density()])
    steps = again.steps()
    next(steps)
    state = {name: np.array(value) for name, value in again.state().items()}
    other = Refinement(SPARSE, replace(table, rotations=None, shifts_a=None), engine.source, [density()])
    other.restore(state)
    next(steps)
    next(other.steps())
    np.testing.assert_array_equal(again.references, other.references)


def test_penalties_that_empty_the_map_end_the_run_at_its_first_map():
    with pytest.raises(InputError, match="leave nothing of the map"):
        refined(config=replace(SPARSE, alpha=300.0, beta=1.0), n=60)


def test_half_of_a_choice_is_refused():
    with pytest.raises(InputError, match="chosen together"):
        replace(SPARSE, alpha=0.5)
    with pytest.raises(InputError, match="is negative"):
        replace(SPARSE, alpha=-0.5, beta=1.0)
