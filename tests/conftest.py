"""pytest needs nothing of the user's Scipion: a home of its own, in a temporary folder, before pyworkflow is read."""
import atexit
import importlib.util
import shutil
import tempfile

import pytest

if importlib.util.find_spec("pyworkflow") is not None and importlib.util.find_spec("pwem") is not None:
    from cryosgd_plugin.standalone import prepare_scipion
    HOME = tempfile.mkdtemp(prefix="cryosgd_tests_")
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)
    prepare_scipion(HOME)

# helpers that check: their bare assertions shall say as much as those of a test file
pytest.register_assert_rewrite(*(f"cryosgd_plugin.tests.{name}" for name in (
    "convert_samples", "host_cuda", "picture_checks", "protocol_project", "star_samples")))
# these also run under Scipion's own test runner, where there are no pytest marks to write into them
SLOW_FILES = ("test_protocol_*.py", "test_chaining.py")


def pytest_collection_modifyitems(items):
    for item in items:
        if any(item.path.match(pattern) for pattern in SLOW_FILES):
            item.add_marker(pytest.mark.slow)
