# make mine        mine: without arguments the embedded chain (ARGS="--blocks 3")
# make test        the tests that need nothing but pip packages
# make test-real   the same program against real nodes and tools, fetched into a cache folder
# make lint        ruff and mypy
# make bench       the benchmarks (ARGS="cpu --seconds 5")
# make soak        an hour on pools that misbehave at random (ARGS="--minutes 60 --seed 1")
# make fuzz        every parser of untrusted bytes under a fuzzer (ARGS="--seconds 60")
# make mutate      the glue changed a line at a time: a test must fail each time (ARGS="--only keeper")
# make proof       what takes long and stays out of CI: soak and mutations
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP_FLAGS := --quiet --disable-pip-version-check

# The tests start a hundred processes: each would compile the miner again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: mine test test-real lint bench soak fuzz mutate proof clean
.DELETE_ON_ERROR:

mine: $(VENV)/.mine
	$(BIN)/miner $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --ignore=tests/real $(ARGS)

test-real: $(VENV)/.fuzz
	$(BIN)/python -m pytest tests/real $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak $(ARGS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

mutate: $(VENV)/.dev
	$(BIN)/python -m tests.mutation $(ARGS)

proof: soak mutate

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing. On Debian: sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A stamp per kind of installation, renewed when the requirements change.
$(VENV)/.mine: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[test,lint]"
	@touch $@ $(VENV)/.mine

$(VENV)/.fuzz: $(VENV)/.dev
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[fuzz]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
