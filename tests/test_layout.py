"""The project's shape: which layer may import which, and that every way to install it leads to a whole plugin."""
import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import cryosgd_plugin

PACKAGE = Path(cryosgd_plugin.__file__).resolve().parent
ROOT = PACKAGE.parent
SCIPION = {"pyworkflow", "pwem", "scipion", "relion"}
WINDOWS = {"tkinter", "PyQt5"}
# who may see whom; the package's own name stands for its __init__ (the version)
SEES = {
    "core": {"core"},
    "ops": {"core", "ops"},
    "engines": {"core", "ops", "engines"},
    "io": {"core", "io"},
    "job": {"core", "engines", "io", "job"},
    "cli": {"core", "ops", "engines", "io", "job", "cli"},
    "convert": {"core", "io", "constants", "convert"},
    "wizards": {"core", "io", "engines", "convert", "plugin", "protocols", "wizards"},
    "protocols": {"core", "io", "engines", "convert", "constants", "plugin", "protocols"},
    "viewers": {"core", "io", "convert", "constants", "plugin", "protocols", "viewers"},
}
WITHOUT_SCIPION = ("core", "ops", "engines", "io", "job", "cli")


def sources(layer):
    """(path, parsed module) of each file of a layer."""
    folder = PACKAGE / layer
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{layer}.py"]
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in files if path.exists()]


def imported(path, tree):
    """Absolute dotted names of all imports of a file, also those inside functions."""
    package = ("cryosgd_plugin", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[:len(package) - node.level + 1]) if node.level else []
            base += (node.module or "").split(".") if node.module else []
            yield from ((".".join([*base, alias.name]), node.lineno) for alias in node.names)


@pytest.mark.parametrize("layer", SEES)
def test_layers_import_one_way(layer):
    wrong = []
    for path, tree in sources(layer):
        for name, line in imported(path, tree):
            parts = name.split(".")
            if parts[0] == "cryosgd_plugin" and len(parts) > 1 and (PACKAGE / parts[1]).exists() | (
                    PACKAGE / f"{parts[1]}.py").exists() and parts[1] not in SEES[layer]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layer", WITHOUT_SCIPION)
def test_engines_need_no_scipion_and_no_window(layer):
    wrong = [f"{path.relative_to(PACKAGE)}:{line} imports {name}" for path, tree in sources(layer)
             for name, line in imported(path, tree) if name.split(".")[0] in SCIPION | WINDOWS]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layer", ["core", "ops", "engines"])
def test_engines_open_no_files_and_print_nothing(layer):
    wrong = [f"{path.relative_to(PACKAGE)}:{node.lineno} calls {node.func.id}" for path, tree in sources(layer)
             for node in ast.walk(tree)
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "print")
             # `python -m cryosgd_plugin.core.installation` is a program: printing is what it is for
             and path != PACKAGE / "core" / "installation.py"]
    assert not wrong, "\n".join(wrong)


def test_the_rule_would_catch_a_wrong_import():
    tree = ast.parse("def f():\n    from ...io.star import read_particles\n    import pwem.objects\n")
    names = [name for name, _ in imported(PACKAGE / "engines" / "abinitio" / "x.py", tree)]
    assert names == ["cryosgd_plugin.io.star.read_particles", "pwem.objects"]


def test_importing_the_package_loads_neither_scipion_nor_numba():
    code = ("import sys, cryosgd_plugin, cryosgd_plugin.cli; "
            "print([m for m in ('pyworkflow', 'pwem', 'numba', 'cupy') if m in sys.modules])")
    assert run([sys.executable, "-c", code], cwd=ROOT).strip() == "[]"


# ---- the arrangements
LOOK = """
import sys, os
from pathlib import Path
import cryosgd_plugin
where = Path(cryosgd_plugin.__file__).resolve().parent
assert where.is_relative_to(Path(sys.argv[1]).resolve()), where
assert (where / "core" / "CONVENTIONS.md").is_file()
if sys.argv[2] == "scipion":
    os.environ.pop("PYTHONPATH", None)
    from cryosgd_plugin.standalone import prepare_scipion
    prepare_scipion(sys.argv[3])
    import pyworkflow
    domain = pyworkflow.Config.getDomain()
    protocols = {n: c for n, c in domain.getProtocols().items() if c.__module__.startswith("cryosgd_plugin")}
    from cryosgd_plugin.tests.protocol_names import PROTOCOLS
    assert {n: c.getClassLabel() for n, c in protocols.items()} == PROTOCOLS, protocols
    for protocol in protocols.values():
        assert os.path.isfile(protocol.getPluginLogoPath())
        assert protocol.validateInstallation() == [], protocol.validateInstallation()
        assert protocol.getDoc()
    viewers = [c for c in domain.getViewers().values() if c.__module__.startswith("cryosgd_plugin.viewers")]
    assert viewers
    import cryosgd_plugin.tests.test_convert
print("whole")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of this checkout with its links, so that building leaves nothing in the real one."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("not run from a checkout, so there is nothing to build from")
    if importlib.util.find_spec("wheel") is None or importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools and wheel are needed to build; install the extra [test]")
    target = tmp_path_factory.mktemp("checkout") / "cryosgd"
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(
        ".git", ".venv", ".demo", ".chaining", "*.egg-info", "__pycache__", ".pytest_cache", "build", "dist"))
    return target


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """(wheel of the checkout, source distribution, wheel built from that)."""
    folder = tmp_path_factory.mktemp("built")

    def build(kind, source, target):
        target.mkdir()
        code = f"from setuptools.build_meta import build_{kind}; build_{kind}({str(target)!r})"
        run([sys.executable, "-c", code], cwd=source)
        return next(target.iterdir())

    wheel, sdist = build("wheel", checkout, folder / "wheel"), build("sdist", checkout, folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked")
    return wheel, sdist, build("wheel", next((folder / "unpacked").iterdir()), folder / "wheel_of_sdist")


def run(command, cwd, **environment):
    """Run a command without this session's PYTHONPATH; its output, or a failure that shows it."""
    inherited = {key: value for key, value in os.environ.items()
                 if key != "PYTHONPATH" and not key.startswith(("SCIPION", "PYTEST"))}
    done = subprocess.run([str(word) for word in command], cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**inherited, **environment}, timeout=300, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


def new_python(folder):
    """A fresh virtual environment that sees this one's libraries, but no CryoSGD that is installed beside them."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    libraries = folder / "libraries"
    libraries.mkdir()
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if "cryosgd" not in entry.name.lower() and entry.suffix != ".pth":
                (libraries / entry.name).symlink_to(entry)
    own = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=folder).strip()
    (Path(own) / "libraries.pth").write_text(f"{libraries}\n")
    return python


def install(python, *words, cwd):
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--ignore-installed", "--disable-pip-version-check", *words], cwd=cwd)


def scipion_here():
    return "scipion" if importlib.util.find_spec("pwem") is not None else "without"


@pytest.mark.slow
def test_wheel_and_source_distribution_hold_real_files(built):
    wheel, sdist, wheel_of_sdist = built
    wanted = {"cryosgd_plugin/protocols/protocol_ab_initio.py", "cryosgd_plugin/viewers/__init__.py",
              "cryosgd_plugin/tests/test_convert.py", "cryosgd_plugin/protocols.conf",
              "cryosgd_plugin/cryosgd_logo.png", "cryosgd_plugin/core/CONVENTIONS.md",
              "cryosgd_plugin/templates/particles_to_validated_map.json.template",
              "cryosgd_plugin/engines/abinitio/config.py", "cryosgd_plugin/ops/_slicing.cu"}
    contents = []
    for path in (wheel, wheel_of_sdist):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            assert wanted <= names, wanted - names
            assert not [name for name in names if name.split("/")[0] in ("protocols", "viewers", "tests")]
            assert archive.getinfo("cryosgd_plugin/protocols/protocol_ab_initio.py").file_size > 1000
            contents.append({name for name in names if name.startswith("cryosgd_plugin/")})
    assert contents[0] == contents[1], contents[0] ^ contents[1]
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "CHANGES.md", "README.md", "Makefile", "protocols/protocol_ab_initio.py"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("which", ["wheel", "wheel of the source distribution"])
def test_an_installed_wheel_is_a_whole_plugin(built, tmp_path, which):
    python = new_python(tmp_path / "venv")
    install(python, built[0] if which == "wheel" else built[2], cwd=tmp_path)
    assert "whole" in run([python, "-c", LOOK, tmp_path / "venv", scipion_here(), tmp_path / "home"], cwd=tmp_path)
    assert cryosgd_plugin.__version__ in run([tmp_path / "venv" / "bin" / "cryosgd", "--version"], cwd=tmp_path)


@pytest.mark.slow
def test_an_editable_install_is_a_whole_plugin(checkout, tmp_path):
    python = new_python(tmp_path / "venv")
    install(python, "-e", checkout, cwd=tmp_path)
    assert "whole" in run([python, "-c", LOOK, checkout, scipion_here(), tmp_path / "home"], cwd=tmp_path)


@pytest.mark.slow
def test_pytest_from_a_checkout_after_a_plain_install(built, checkout, tmp_path):
    python = new_python(tmp_path / "venv")
    install(python, built[0], cwd=tmp_path)
    listed = run([python, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/test_layout.py",
                  "tests/test_convert.py"], cwd=checkout)
    assert "test_layers_import_one_way" in listed and "error" not in listed.lower()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_scipions_own_test_runner_finds_the_tests(built, checkout, tmp_path, how):
    if scipion_here() == "without":
        pytest.skip("Scipion (pyworkflow, pwem) is not installed here")
    python = new_python(tmp_path / "venv")
    install(python, *([built[0]] if how == "wheel" else ["-e", checkout]), cwd=tmp_path)
    listed = run([python, "-m", "pyworkflow.apps.pw_run_tests", "--show", "--grep", "cryosgd", "--mode", "classes"],
                 cwd=tmp_path, SCIPION_DOMAIN="pwem", SCIPION_HOME=str(tmp_path / "home"), SCIPION_PYTHON=str(python),
                 SCIPION_USER_DATA=str(tmp_path / "home"))
    assert "cryosgd_plugin.tests.test_protocol_abinitio" in listed, listed
