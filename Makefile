# make demo: train a small model on emoji and look at it. make test: the test suite. Both set everything up first.
# make install TORCH_INDEX=https://download.pytorch.org/whl/cpu: torch for CPUs only, about 1.8 GB instead of 6.6 GB.
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test slow mutants fuzz check clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 10

install: $(STAMP)  ## create .venv with the project and its tools

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) torch torchvision)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## train mdm-nano on emoji for three minutes, sample it, log it
	$(BIN)/zoo demo

test: $(STAMP)  ## run the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist worksteal

slow: $(STAMP)  ## run the tests that take longer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

mutants: $(STAMP)  ## change the maths and see which changes no test notices
	$(BIN)/python -m tests.mutants

fuzz: $(STAMP)  ## read made-up files for ten minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --minutes 10 --workers 2

check: $(STAMP)  ## lint and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove the environment, caches and builds; runs and mlflow.db stay
	rm -rf .venv build dist mutants fuzz-failures .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
