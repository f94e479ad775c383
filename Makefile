# make demo    own environment (.demo), then a Scipion project: simulated particles, ab initio, refine, sparse + TV,
#              validate, and one page about it
#              with OPTIONS="--particles /path/to/FILE.star --diameter A --symmetry O" it imports your particles instead
# make test    own environment (.venv), every test: two files at a time, those with windows one by one
# make quick   lint and the fast tests, about a minute
# make test-chaining   own environment (.chaining) with the plugins of RELION, ChimeraX and cryoSPARC: ours beside them,
#              and, where RELION is on the path or in RELION_HOME (Debian's 3.1.3 will do), a project through both
# make gui     open the demo's project in Scipion's window
SHELL := /bin/bash
PYTHON_FOUND = $(shell PYTHON="$(PYTHON)" .ci/find_python)
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-chaining quick lint gui clean

demo: .demo/venv/ready
	cd .demo && venv/bin/python -m cryosgd_plugin.demo . $(OPTIONS)

gui: .demo/venv/ready
	cd .demo && venv/bin/python -m cryosgd_plugin.demo . --gui

test: .venv/ready
	OPENBLAS_NUM_THREADS=1 .venv/bin/python -m pytest tests -m "not gui" -n 2 --dist loadfile
	.venv/bin/python -m pytest tests -m gui

test-chaining: .chaining/ready
	.chaining/bin/python -m pytest -rs tests/test_chaining.py tests/test_convert_relion.py
	.chaining/bin/python -m pytest -rs tests/test_gui.py -k tree

quick: .venv/ready lint
	.venv/bin/python -m pytest tests -q -m "not slow"

lint: .venv/ready
	.venv/bin/python -m ruff check .

.venv/ready: setup.py pyproject.toml
	@test -n "$(PYTHON_FOUND)"
	"$(PYTHON_FOUND)" -m venv --clear .venv
	.venv/bin/python $(PIP_INSTALL) --upgrade pip
	rm -rf build
	.venv/bin/python $(PIP_INSTALL) -e ".[scipion,test,lint]"
	touch $@

.chaining/ready: setup.py pyproject.toml
	@test -n "$(PYTHON_FOUND)"
	"$(PYTHON_FOUND)" -m venv --clear .chaining
	.chaining/bin/python $(PIP_INSTALL) --upgrade pip
	rm -rf build
	.chaining/bin/python $(PIP_INSTALL) -e ".[scipion,test,chaining]"
	touch $@

.demo/venv/ready: setup.py pyproject.toml $(shell find cryosgd_plugin protocols viewers -name '*.py' 2>/dev/null)
	@test -n "$(PYTHON_FOUND)"
	@test -x .demo/venv/bin/python || "$(PYTHON_FOUND)" -m venv .demo/venv
	@echo "Installing into .demo/venv (some minutes the first time) …"
	.demo/venv/bin/python $(PIP_INSTALL) --upgrade pip
	rm -rf build  # leftovers of another version would go into the wheel
	.demo/venv/bin/python $(PIP_INSTALL) ".[scipion]"
	.demo/venv/bin/python $(PIP_INSTALL) --force-reinstall --no-deps .
	touch $@

clean:
	rm -rf .venv .demo .chaining screenshots build dist *.egg-info
