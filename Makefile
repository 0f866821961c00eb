# `make demo` and `make test` set up a fresh machine (Python 3.11 or newer and make) and then do the job.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
OLDEST := .venv-oldest
export OMP_NUM_THREADS ?= 1
# What is compiled is kept, for the next of the many processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-slow test-oldest lint docs bench paper clean
help:
	@echo "make demo | test | test-slow | test-oldest | lint | docs | bench | paper | install | clean"

install: $(STAMP)
$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/unitlens demo

# One thread a process: torch on several threads of a busy machine is slower, not faster.
test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

# On two cores about 20 minutes, and 3 more to install the oldest versions the first time.
test-slow: $(STAMP) test-oldest
	$(BIN)/pytest -n 2 --dist worksteal -m slow
	$(BIN)/pytest -n 2 --dist worksteal -m "hypothesis and not slow" --hypothesis-profile thorough

# The lowest versions that pyproject.toml allows, in an environment of their own: what reads and writes files and what
# talks to other packages is run with them.
$(OLDEST)/.installed: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --constraint tests/oldest.txt --editable . pytest pytest-xdist hypothesis
	@touch $@

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/pytest -n 2 --dist loadfile -p no:cacheprovider -m "not slow" \
		tests/dissection tests/comparison tests/cli tests/data tests/models/hooks/test_hooks.py tests/models/test_load.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, into build/docs: open build/docs/index.html, or `python -m http.server --directory build/docs` for its search.
docs: $(STAMP)
	$(BIN)/pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: $(STAMP)
	$(BIN)/python -m benchmarks.speed.dissect
	$(BIN)/python -m benchmarks.speed.replay

# Every figure of the paper on the bundled networks, into docs/paper.md; some minutes on one core.
paper: $(STAMP)
	$(BIN)/python -m benchmarks.paper --write

clean:
	rm -rf .venv $(OLDEST) build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
