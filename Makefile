# What a user and a developer do, one word each; `make help` lists the words.

PYTHON ?= python3
BIN := .venv/bin
CLUSTER ?= /tmp/detrun-cluster-$(shell id -u)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench cluster cluster-stop clean setup system

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## train a digit detector on this machine (about 3 minutes) and show its AP/AR table
	$(BIN)/detrun submit digits --on local --watch
	$(BIN)/detrun report digits

test: setup system ## run every test, the private Slurm included; ARGS="-k resume" passes options to pytest
	$(BIN)/pytest --numprocesses=2 --dist=loadgroup --no-loadscope-reorder --durations=15 $(ARGS)

check: setup ## lint, format, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## measure the budgets; ONLY=name runs one benchmark
	$(BIN)/python tests/benchmarks/run.py $(ONLY)

cluster: setup system ## start the tests' two-node Slurm for use by hand, and print the line to export
	@$(BIN)/python tests/slurm_cluster.py start $(CLUSTER)

cluster-stop: setup ## end that Slurm and every job on it
	@$(BIN)/python tests/slurm_cluster.py stop $(CLUSTER)

clean: ## remove the virtual environment and every cache; runs stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/setup-system python3-venv
	@echo 'Installing into .venv; the first time takes a few minutes and 6 GB.' >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

system:
	@.ci/setup-system slurm-wlm munge slurmdbd mariadb-server chromium || { echo 'hint: without them: $(BIN)/pytest skips the tests that need them' >&2; exit 1; }
