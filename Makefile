# `make demo` and `make test` set up a fresh machine (Python 3.11 or newer and make) and then do the job.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
export OMP_NUM_THREADS ?= 1

.PHONY: help install demo test test-slow lint bench clean
help:
	@echo "make demo | test | test-slow | lint | bench | install | clean"

install: $(STAMP)
$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/unitlens demo

# One thread a process: torch on several threads of a busy machine is slower, not faster.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(STAMP)
	$(BIN)/pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/dissect.py
	$(BIN)/python benchmarks/replay.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
