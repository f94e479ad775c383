"""Small particle sets and files for the tests of input and output."""
import os
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryosgd_plugin.core.particles import OpticsGroup, ParticleTable

SHARED = Path(os.environ.get("CRYOSGD_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def shared(name):
    """A file of the shared test data; skips the test where it isn't there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no {name} in {SHARED}; set CRYOSGD_TEST_DATA to the folder of test data")
    return path


def make_stack(path, images, pixel_size=2.0):
    """A particle stack whose MRC mode follows the dtype of `images`."""
    with mrcfile.new(path, data=np.asarray(images), overwrite=True) as file:
        file.set_image_stack()
        file.voxel_size = pixel_size
    return str(path)


def noise_images(n, box, seed=0):
    return np.random.default_rng(seed).standard_normal((n, box, box)).astype(np.float32)


def table_of(stacks, counts, *, optics=None, optics_of_stack=None, box=16):
    """A table of all images of some stacks, one optics group unless told otherwise."""
    optics = optics or [OpticsGroup("opticsGroup1", 300.0, 2.7, 0.1, 2.0, box)]
    n = sum(counts)
    stack_id = np.repeat(np.arange(len(stacks), dtype=np.int32), counts)
    groups = np.zeros(len(stacks), np.int32) if optics_of_stack is None else np.asarray(optics_of_stack, np.int32)
    rng = np.random.default_rng(1)
    return ParticleTable(
        stack_paths=[str(path) for path in stacks], stack_id=stack_id,
        stack_index=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
        optics=optics, optics_id=groups[stack_id], ids=np.arange(1, n + 1),
        defocus_u=rng.uniform(1e4, 2e4, n), defocus_v=rng.uniform(1e4, 2e4, n),
        defocus_angle_deg=rng.uniform(-90, 90, n), phase_shift_deg=np.zeros(n), ctf_bfactor=np.zeros(n),
        ctf_scale=np.ones(n))
