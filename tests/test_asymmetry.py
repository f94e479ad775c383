"""Whether particles have the symmetry that was imposed on their map, as engines/refine/asymmetry tells."""
from dataclasses import replace

import numpy as np
import pytest

from cryosgd_plugin.core.symmetry import point_group
from cryosgd_plugin.engines.refine.asymmetry import asymmetry
from cryosgd_plugin.tests.abinitio_samples import density
from cryosgd_plugin.tests.test_refine import CONFIG, refined

SUBUNIT = np.array([[30, 0, -40], [42, 12, -8], [20, 30, 34.0]])
RING = np.concatenate([SUBUNIT @ turn.T for turn in point_group("C4")])
# one subunit in two carries a domain more
TWOFOLD = np.concatenate([RING, [[40, 0, 20], [-40, 0, 20]]])


def run_with(blobs, symmetry, **options):
    return refined(config=replace(CONFIG, symmetry=symmetry, iterations=3, certificate_share=0), blobs=blobs,
                   reference=density(RING), **options)[0]


def test_particles_with_the_symmetry_are_not_suspected():
    found = asymmetry(run_with(RING, "C4"))
    assert not found.found and found.gain < 0


@pytest.mark.parametrize("blobs", [TWOFOLD, np.concatenate([RING, [[40, 0, 20.0]]])])
def test_a_group_beyond_the_particles_own_is_seen(blobs):
    engine = run_with(blobs, "C4")
    found = asymmetry(engine)
    assert found.found and found.gain > 1, found
    assert asymmetry(engine) == found


def test_noise_tells_nothing():
    engine = run_with(RING[:0], "C4", noise_sd=1.0)
    assert asymmetry(engine) is None
    # nor where its halves are taken to agree
    engine.shell_fsc = np.full_like(engine.shell_fsc, 0.9)
    found = asymmetry(engine)
    assert found.gain < 0 and not found.found


def test_without_symmetry_there_is_nothing_to_tell():
    assert asymmetry(run_with(RING, "C1")) is None
