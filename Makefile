# make demo        the main job on embedded defaults
# make test        the tests, but for the slowest ones
# make test-slow   the slowest ones
# Each does its whole set-up in .venv, from nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Many tests wait for processes: a third one at a time uses what two leave of two cores.
# Threads of OpenMP and BLAS beside them would wait for each other, and spin (measured: 26 s of a processor become 15).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-slow check bench format clean

demo: $(VENV)/demo.stamp
	$(BIN)/xrayq demo

test: $(VENV)/dev.stamp
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/dev.stamp
	$(PYTEST) -m slow

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

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
