# make demo    set up and run the main job on the bundled model
# make test    set up and run the tests
# make lint    formatting, lint rules, types
# make bench   measure again what the README and benchmarks/RESULTS.md say (long)
#
# Every target makes .venv with plain pip and installs only what it needs; the second time that costs nothing.
# PYTHON picks the interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
PACKAGES := -e '.[local]' -e mcp_server -e integrations/langchain -e integrations/llama_index
MANIFESTS := constraints.txt pyproject.toml $(wildcard mcp_server/pyproject.toml integrations/*/pyproject.toml)

.PHONY: demo test lint bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.user
	$(BIN)/python -m tarsier_tools.demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: $(MANIFESTS) | $(BIN)/python
	$(PIP) -e '.[local]'
	@touch $@

$(VENV)/.dev: $(MANIFESTS) requirements-dev.txt | $(BIN)/python
	$(PIP) $(PACKAGES) -r requirements-dev.txt
	@touch $@ $(VENV)/.user

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/parity.py --checkpoint tests/golden/tiny-tarsier2 \
		--cases tests/golden/given --videos tests/golden/videos
	$(BIN)/python benchmarks/decoding.py --write
	$(BIN)/python benchmarks/backend.py --write
	$(BIN)/python training/evaluate.py --clips 300

clean:
	rm -rf $(VENV) demo build dist
