"""The tests of a GPU where there is none: with the stand-in for CuPy, so that they still hold when one comes."""
import pytest

from cryosgd_plugin.tests import host_cuda
from cryosgd_plugin.tests.test_gpu import (  # noqa: F401
    USABLE,
    simulated,
    test_a_refinement_repeats_to_the_bit,
    test_a_run_agrees_with_the_cpu,
    test_a_run_repeats_to_the_bit,
    test_adjoint,
    test_images_with_higher_order_optics_equal_the_cpu,
    test_insertion_equals_numpy_and_itself,
    test_posterior_equals_the_cpu,
    test_scores_and_sums_equal_the_cpu,
    test_several_gpus_agree_with_one,
    test_slices_equal_numpy,
    test_symmetry_is_imposed_and_a_checkpoint_goes_on_to_the_bit,
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(USABLE, reason="a GPU is here: test_gpu.py runs these on it")]


@pytest.fixture(scope="module")
def xp():
    with pytest.MonkeyPatch.context() as patch:
        yield host_cuda.install(patch)
