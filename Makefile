.DEFAULT_GOAL := help
.PHONY: help setup quickstart run-small test test-install docs lint check golden upstream wheel clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= 2.13.0
# Processes of `make test`, with one thread each.
WORKERS ?= 2
CPU_WHEELS := https://download.pytorch.org/whl/cpu
# OpenCompass's own scorer, without the dozens of packages that the wheel asks for.
OPENCOMPASS := opencompass==0.5.4

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.done ## Make .venv: torch (the CPU build where no GPU is), then the package

# torch first: anything else would pull the CUDA build of several gigabytes.
$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@if command -v nvidia-smi >/dev/null 2>&1 || [ "$$(uname -s)" = Darwin ]; then \
		$(BIN)/pip install --quiet torch==$(TORCH); \
	else \
		$(BIN)/pip install --quiet torch==$(TORCH)+cpu \
		|| $(BIN)/pip install --quiet torch==$(TORCH)+cpu --index-url $(CPU_WHEELS); \
	fi
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps $(OPENCOMPASS)
	touch $@

quickstart: ## Evaluate a small real model on the bundled questions and print the table
	runs/quickstart.sh

run-small: setup ## The whole of runs/protein-smollm2.sh in minutes: a tiny model, 30 proteins, 20 questions
	$(BIN)/python -m pytest -v tests/test_protein_smollm2.py

test: setup ## Run the tests, those with a real model and a fresh install included: make test WORKERS=8
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not install or wheel" -n $(WORKERS) --dist loadfile

test-install: setup ## Run the installation tests in all their environments (several minutes)
	$(BIN)/python -m pytest -m install

lint: setup ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint test ## What CI runs: lint and tests

golden: setup ## Rewrite the golden files after a wanted change of a prompt; read the diff
	$(BIN)/python -m pytest -q tests/test_prompts.py --update-golden

docs: setup ## Build the documentation as a site in build/docs; every link is checked
	$(BIN)/mkdocs build --strict --site-dir build/docs

upstream: setup ## Write the folder for a pull request to lm-evaluation-harness: make upstream OUT=DIR
	@test -n "$(OUT)" || { echo "usage: make upstream OUT=DIR" >&2; exit 2; }
	$(BIN)/python -m proteinlm_ext.upstream "$(OUT)"

wheel: setup ## Build the sdist and the wheel into dist/
	$(BIN)/python -m build

clean: ## Remove the environment and what was built
	rm -rf $(VENV) dist .pytest_cache .ruff_cache
