# Targets of recprune; each sets up what it needs. Needs Python 3.11 or 3.12, git and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
BENCH ?= --page docs/results/performance.md
PEERS := $(if $(findstring --small,$(BENCH)),,.venv/.peers)
INSTALLED := pyproject.toml scripts/install.py requirements/torch.txt requirements/build.txt

.PHONY: help demo airflow check lint types unit test fuzz chaos bench docs audit audit-online lock clean

help: ## Show the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.demo: $(BIN)/python $(INSTALLED) requirements/demo.txt
	@echo "Installing recprune into .venv (about two minutes) ..."
	@$(BIN)/python -m scripts.install demo
	@touch $@

.venv/.all: $(BIN)/python $(INSTALLED) requirements/all.txt
	@echo "Installing recprune with Airflow and the development tools into .venv (about three minutes) ..."
	@$(BIN)/python -m scripts.install all
	@touch $@ .venv/.demo

demo: .venv/.demo ## Run 10 real days end to end in demo/ and say where the report is.
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh demo

airflow: .venv/.all ## Start Airflow on the demo's workspace; Ctrl-C stops it.
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/airflow.sh demo

check: lint types unit ## Lint, types, architecture, doctests, unit and property tests.

lint: .venv/.all
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/yamllint --strict docker mkdocs.yml

types: .venv/.all
	$(BIN)/mypy

unit: .venv/.all
	$(BIN)/python -m pytest --doctest-modules recprune tests -m "not e2e" -q

test: .venv/.all ## Run every test, the end-to-end ones too (real Airflow, DVC, ONNX Runtime).
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test.sh

CASES ?= 1000000
SEED ?= 1
fuzz: .venv/.all ## Damage all that is read, a million cases (CASES=, SEED=): a sentence or the right answer.
	$(BIN)/python -m tests.fuzz --cases $(CASES) --seed $(SEED)

chaos: .venv/.all ## Kill a day 200 times at random instants and compare every digest with an undisturbed run.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.e2e.chaos

.venv/.peers: .venv/.all benchmarks/peers.txt
	@echo "Installing the libraries that training is measured beside into .venv/peers ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/peers \
		--requirement benchmarks/peers.txt
	@touch $@

bench: .venv/.all $(PEERS) ## Measure every step beside its peers and write docs/results/performance.md (20 minutes on 2 free cores).
	PYTHONPATH="$(CURDIR)/.venv/peers" $(BIN)/python -m benchmarks.ladder $(BENCH)

docs: .venv/.all ## Build the documentation in site/, which loads nothing from elsewhere.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "The documentation is at $(CURDIR)/site/index.html"

audit: .venv/.all ## Compare what is installed with its lock, list licences, write sbom.json; offline.
	$(BIN)/python -m scripts.dependencies sbom
	$(BIN)/python -m scripts.dependencies audit

audit-online: # Asks a public service about known holes: needs the network, and pip-audit, which is locked nowhere.
	$(PYTHON) -m venv .venv/online
	.venv/online/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv/online/bin/python -m pip_audit --requirement requirements/all.txt --no-deps --disable-pip
	.venv/online/bin/python -m pip_audit --requirement requirements/torch.txt --no-deps --disable-pip

lock: ## Rewrite requirements/ from pyproject.toml, by the network (UPGRADE="numpy polars": their newest; UPGRADE=all).
	$(PYTHON) -m scripts.lock $(if $(UPGRADE),--upgrade $(UPGRADE))

clean: ## Remove the environment, the demo and the site.
	rm -rf .venv demo .airflow site
