# Each target works on a fresh clone with Python >= 3.11 and make: what is missing in .venv is set up first.
# PYTHON=/path/to/python names the interpreter; otherwise .ci/find-python runs what it finds and takes one that works.

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/complete
DEMO := demo
EXTRAS := all,test

# Two workers: more are slower where two cores carry the numerics, the app and a browser.
# loadgroup keeps tests that share a server (xdist_group) in one worker.
PYTEST_ARGS ?= -n 2 --dist loadgroup

# Real observations, where they are at hand. Without them the tests that need them are skipped and say so.
OPTEXTRACT_DATA ?= $(abspath $(wildcard ../shared/data))
ifneq ($(OPTEXTRACT_DATA),)
export OPTEXTRACT_DATA
endif

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv app test test-bounds test-slow lint type bench acceptance demo docs docs-links clean broken

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1: \2/p' $(firstword $(MAKEFILE_LIST))

# The stamp is written last, so an interrupted set-up has none, and it names the folder, because an environment cannot
# be moved. An environment whose Python is gone or does not run counts as none.
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(PY) -c 'import pip' 2>/dev/null && cat $(STAMP)),$(CURDIR))
$(STAMP): broken
endif
endif

$(STAMP): pyproject.toml
	@python=$$(PYTHON='$(PYTHON)' .ci/find-python) && echo "Setting up $(VENV) with $$python: this takes some minutes" \
	  && rm -f $@ && rm -rf $(VENV) && "$$python" -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --editable '.[$(EXTRAS)]'
	$(PY) -m optextract.warm
	@printf '%s\n' '$(CURDIR)' > $@

venv: $(STAMP)  ## set up .venv, or make it anew where pyproject.toml is younger

app: $(STAMP)  ## open the standalone app with the panel on a simulated sample
	$(BIN)/optextract app

test: lint type  ## run everything: lint, types, all tests
	$(PY) -m pytest $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff: rules and format
	$(PY) -m ruff check
	$(PY) -m ruff format --check

type: $(STAMP)  ## mypy on the package
	$(PY) -m mypy

demo: $(STAMP)  ## extract 79 simulated files, say what came out, how fast and how true, and where the report is
	@mkdir -p $(DEMO)
	$(PY) benchmarks/demo.py $(DEMO)

test-slow: $(STAMP)  ## what takes longer than the suite should: kills, thousands of spectra, a full disk, a browser that sleeps
	OPTEXTRACT_SLOW=1 $(PY) -m pytest tests/batch/slow tests/browser/test_asleep.py -s

# The loops are compiled anew, apart from the others; the panel and the documentation call none that these do not.
test-bounds: export NUMBA_BOUNDSCHECK := 1
test-bounds: export NUMBA_CACHE_DIR := $(CURDIR)/.bounds
test-bounds: $(STAMP)  ## the numerical tests with every index of the compiled loops checked
	$(PY) -m optextract.warm
	$(PY) -m pytest $(PYTEST_ARGS) tests --ignore=tests/browser --ignore=tests/panel --ignore=tests/docs

# One thread: what is compared are methods, not the number of processors that each finds free.
bench: export OPENBLAS_NUM_THREADS := 1
bench: export OMP_NUM_THREADS := 1
bench: export MKL_NUM_THREADS := 1
bench: $(STAMP)  ## every method on scenes of known truth and by the clock, in one run; writes docs/benchmarks.md
	@mkdir -p .benchmarks
	$(PY) -m pytest benchmarks/test_speed.py -o pythonpath=benchmarks -p no:cacheprovider -q \
	  --benchmark-json=.benchmarks/speed.json --benchmark-columns=min,median,rounds --benchmark-sort=fullname
	$(PY) benchmarks/table.py --speed .benchmarks/speed.json --page docs/benchmarks.md

acceptance: $(STAMP)  ## the defaults on every scene of known truth, 20 seeds each, beside the bars they have to clear
	$(PY) benchmarks/acceptance.py

docs: $(STAMP)  ## build the documentation into docs/_build/html: a warning is an error, nothing is fetched
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

docs-links: $(STAMP)  ## check the documentation's links to other sites, which needs the internet
	OPTEXTRACT_DOCS_NOTEBOOKS=off $(PY) -m sphinx -b linkcheck docs docs/_build/links

clean:  ## remove the environment, caches, builds and the demo
	rm -rf $(VENV) $(DEMO) .bounds build dist docs/_build docs/_generated docs/notebooks .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage htmlcov
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
