# make demo        the main job on embedded defaults
# make test        the tests, but for the slowest ones
# make test-slow   the slowest ones
# make fuzz        bytes that nobody sent yet to whatever reads bytes of a stranger, for 15 minutes at most
# Each does its whole set-up in .venv, from nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Many tests wait for processes: a third one at a time uses what two leave of two cores.
# Threads of OpenMP and BLAS beside them would wait for each other, and spin (measured: 26 s of a processor become 15).
# What Python compiled is kept, whatever the machine says: tests start hundreds of processes of ours.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-slow fuzz check audit sbom bench format clean

demo: $(VENV)/demo.stamp
	$(BIN)/xrayq demo

test: $(VENV)/dev.stamp
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/dev.stamp
	$(PYTEST) -m slow

fuzz: $(VENV)/dev.stamp
	$(PIP) --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What a user's installation consists of, without the tools of this repository.
USER_VENV := build/installed
TOOLS := build/tools

audit: $(USER_VENV)/stamp $(TOOLS)/stamp
	$(TOOLS)/bin/pip-audit --path $$(echo $(USER_VENV)/lib/python*/site-packages)

sbom: $(USER_VENV)/stamp $(TOOLS)/stamp
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment $(USER_VENV) --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file dist/xrayq.cdx.json

$(USER_VENV)/stamp: pyproject.toml
	$(PYTHON) -m venv --clear $(USER_VENV)
	$(USER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check .
	@touch $@

$(TOOLS)/stamp:
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7' 'cyclonedx-bom>=5'
	@touch $@

bench: $(VENV)/dev.stamp
	$(BIN)/python -m tests.benchmarks

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[demo]'
	@touch $@

# Training is tested too, so the tests need torch.
$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[dev,train]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
