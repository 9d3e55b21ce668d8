# Targets of recprune; each sets up what it needs. Needs Python 3.11 or 3.12, git and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo airflow check lint types unit test clean

help: ## Show the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing recprune into .venv (about two minutes) ..."
	$(PIP) --editable '.[demo]'
	@touch $@

.venv/.all: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing recprune with Airflow and the development tools into .venv (about three minutes) ..."
	$(PIP) --editable '.[demo,airflow,dev]'
	@touch $@ .venv/.demo

demo: .venv/.demo ## Run 10 real days end to end in demo/ and say where the report is.
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh demo

airflow: .venv/.all ## Start Airflow on the demo's workspace; Ctrl-C stops it.
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/airflow.sh demo

check: lint types unit ## Lint, types, architecture, doctests, unit and property tests.

lint: .venv/.all
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.all
	$(BIN)/mypy

unit: .venv/.all
	$(BIN)/python -m pytest --doctest-modules recprune tests -m "not e2e" -q

test: .venv/.all ## Run every test, the end-to-end ones too (real Airflow, DVC, ONNX Runtime).
	$(BIN)/python -m pytest --doctest-modules recprune tests

clean: ## Remove the environment and the demo.
	rm -rf .venv demo .airflow
