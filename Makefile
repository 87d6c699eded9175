# `make demo` and `make test` each work alone in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test long fuzz calibration chaos soak cluster-slurm check install clean

demo: install  ## install, run the main job, print where its report lies
	$(BIN)/harness run suites/colorization_losses.yaml --profile laptop

test: install check  ## install, check style and types, run the tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

long: install  ## tests of minutes each, whose shorter forms `make test` has
	$(BIN)/python -m pytest -m long --numprocesses 2 --dist load --timeout 900 tests/integration

fuzz: install  ## ten times as many mutated suites as the tests take, from a seed of the day
	HARNESS_FUZZ=20000 HARNESS_FUZZ_SEED=`date +%Y%m%d` $(BIN)/python -m pytest tests/fuzz

calibration: install  ## error rates of all verdicts over thousands of simulated studies, some minutes
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 tests/calibration

chaos: install  ## about 100 faults in three worlds, an hour or so; as root, for full disks
	$(BIN)/python -m tests.chaos ray:folder=44 ray:bucket=20 local:folder=20

soak: install  ## 2,000 trials of about a second with each executor; memory, handles and times stay flat
	$(BIN)/python -m tests.chaos.soak local
	$(BIN)/python -m tests.chaos.soak ray

cluster-slurm: install  ## a Slurm of two nodes on this machine, some minutes; as root, with slurm-wlm, slurmd and munge
	$(BIN)/python -m pytest --timeout 900 tests/cluster

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, $(PYTHON) is `$(PYTHON) -V`; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

clean:  ## remove what was installed and built, never results
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
