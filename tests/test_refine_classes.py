"""Several classes of one reference: how random parts of the particles become structures."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.fourier import fft3_centred
from cryosgd_plugin.core.shells import fsc
from cryosgd_plugin.engines.refine.engine import Refinement
from cryosgd_plugin.engines.refine.schedule import Convergence
from cryosgd_plugin.tests.abinitio_samples import BLOBS, Source, density, joined, particles
from cryosgd_plugin.tests.test_refine import CONFIG

# a second structure, with two blobs elsewhere
OTHER = np.concatenate([BLOBS[:4], [[-35.0, -10, -20], [10, -35, -15.0]]])


@pytest.fixture(scope="module")
def mixture():
    """(Source, ParticleTable, structure 0 or 1 of each particle) of two structures that differ in two of six blobs."""
    parts = [particles(200, noise_sd=0.15, seed=seed, blobs=blobs) for seed, blobs in ((3, BLOBS), (4, OTHER))]
    table = replace(joined(*(table for _, table in parts)), rotations=None, shifts_a=None)
    return Source(np.concatenate([source.stack for source, _ in parts])), table, np.repeat([0, 1], 200)


def test_classes_of_one_reference_part_alike_in_both_halves(mixture):
    source, table, truth = mixture
    config = replace(CONFIG, classes=2, seed=3, iterations=5, certificate_share=0)
    engine = Refinement(config, table, source, [density()])
    steps = engine.steps()
    record = next(steps)
    # each has a random half of the particles, and so a map of its own
    assert record["class_shares"] == [0.5, 0.5] and set(np.bincount(engine.results.structures)) == {200}
    maps = fft3_centred(engine.references[0, 0]), fft3_centred(engine.references[0, 1])
    assert np.abs(maps[0] - maps[1]).max() > 0.01 * np.abs(maps[0]).max()
    # as a reference, what they begin with is the same in both halves, and nothing beyond its resolution is
    curve = fsc(engine.references[0, 1], engine.references[1, 1])
    start = engine.first_radius + 1
    assert np.all(curve[:start] > 0.9999) and np.all(curve[start:] < 0.9999), curve
    last = list(steps)[-1]
    right = [np.mean(engine.results.structures[rows] == truth[rows]) for rows in engine.rows]
    assert min(right) > 0.75 or max(right) < 0.25, right
    assert last["change_class"] < 0.2 and record["change_class"] is None


def test_classes_that_still_part_go_on_at_the_same_resolution():
    record = dict(change_deg=0.1, width_deg=1.0, edge_deg=9.0, resolutions_a=[15.0, 15.0])
    watch = Convergence(20, 240.0, classes=2)
    for change in (None, 0.1, 0.05, 0.03):
        watch.note(dict(record, change_class=change))
        assert not watch.last
    watch.note(dict(record, change_class=0.01))
    assert watch.last
