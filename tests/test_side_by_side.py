"""Parts of a calculation at the same time: order, shares of the threads, errors."""
import subprocess
import sys
import threading

import numba
import pytest
import scipy.fft

from cryosgd_plugin.core import side_by_side as module
from cryosgd_plugin.core.side_by_side import side_by_side


@pytest.fixture(autouse=True)
def safe(monkeypatch):
    monkeypatch.setattr(module, "_kernels_are_safe", lambda: True)


def test_results_come_in_the_order_of_the_parts_whichever_ends_first():
    second_done = threading.Event()

    def one(part, threads):
        # ends only if the other part runs at the same time
        assert part == 1 or second_done.wait(30)
        if part == 1:
            second_done.set()
        return part

    assert side_by_side(one, range(2), 2) == [0, 1]


def test_each_part_has_its_share_of_the_threads_in_numba_and_scipy_too():
    def seen(part, threads):
        return threads, numba.get_num_threads(), scipy.fft.get_workers()

    limit = numba.config.NUMBA_NUM_THREADS
    assert side_by_side(seen, "ab", 4) == [(2, min(2, limit), 2)] * 2
    before = numba.get_num_threads(), scipy.fft.get_workers()
    assert side_by_side(seen, "ab", 1) == [(1,) + before] * 2
    assert (numba.get_num_threads(), scipy.fft.get_workers()) == before


def test_without_a_layer_that_bears_it_one_follows_the_other(monkeypatch):
    monkeypatch.setattr(module, "_kernels_are_safe", lambda: False)
    main = threading.get_ident()
    assert side_by_side(lambda part, threads: (threading.get_ident(), threads), range(2), 4) == [(main, 4)] * 2


def test_an_error_of_a_part_is_raised():
    def one(part, threads):
        if part:
            raise ValueError("the second part")
        return part

    with pytest.raises(ValueError, match="second part"):
        side_by_side(one, range(2), 2)


def test_the_layer_is_known_before_any_kernel_has_run():
    """numba itself has no answer then, but an error."""
    code = ("import numba\n"
            "try:\n    numba.threading_layer()\nexcept ValueError:\n    print('unknown')\n"
            "from cryosgd_plugin.core.side_by_side import _kernels_are_safe\n"
            "print(_kernels_are_safe(), numba.threading_layer())")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "unknown" and said[1] == str(said[2] in ("omp", "tbb"))
