# Every target sets up what it needs in .venv; only Python 3.11+, make, git and a package index are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
WORKERS ?= 2
export TOKENIZERS_PARALLELISM = false

.PHONY: help setup dev demo loop-demo test test-slow check evidence screenshots lock clean

help:
	@echo "make setup     install the product into .venv"
	@echo "make demo      train, test, screen, sign and verify an adapter from examples/helpdesk"
	@echo "make loop-demo debates that make nano a better debater, offline"
	@echo "make test      the test suite (offline, CPU)"
	@echo "make test-slow slow tests and comparisons with other libraries"
	@echo "make check     lint, types, import contracts, docs"
	@echo "make evidence  list the claims; NAME=x runs one"
	@echo "make screenshots  the images in docs/images, from RUN=runs/demo/adapter (needs Chromium)"
	@echo "make lock      write requirements*.lock anew from .venv"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and exactly: any looser requirement may resolve to a CUDA build of several gigabytes.
$(CORE): $(VENV)/bin/python requirements.lock pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(CORE) requirements-dev.lock
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.lock
	@touch $@

setup: $(CORE)

dev: $(DEV)

demo: $(CORE)
	@$(BIN)/python examples/helpdesk/demo.py

loop-demo: $(CORE)
	@$(BIN)/python examples/loop/demo.py

test: $(DEV)
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(DEV)
	$(BIN)/python -m pytest -m "slow or peer"

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m tools.check_docs

evidence: $(DEV)
	@$(BIN)/python -m evidence $(NAME)

RUN ?= runs/demo/adapter
screenshots: $(DEV)
	$(BIN)/python -m tools.screenshots $(RUN)

lock: $(DEV)
	$(BIN)/python -m tools.lock

clean:
	rm -rf $(VENV) runs build dist *.egg-info
