# make demo    set up and run the main job on the bundled model
# make test    set up and run the tests
# make quick   the tests without the slow ones, which tests/slow.txt names
# make test-newest   install the wheels as pip does today, on the newest Python here, and use them (some GB)
# make test-floor    the same with each dependency at the oldest version allowed, on the oldest Python (some GB);
#                    PART=quick for either: without the extras
# make test-matrix   test the framework packages at the oldest versions they allow
# make test-clients  use the MCP server with real clients, each in an environment of its own (needs npm);
#                    CLIENTS="inspector claude-code" for some of them
# make lint    formatting, lint rules, types
# make test-vllm  the tests against a real vLLM server, on the CPU (the first time installs 2.5 GB)
# make test-scale  the tests of libraries in LanceDB and of work spread with Ray (the first time installs 1 GB)
# make bench   measure again what the README and benchmarks/RESULTS.md say (long)
# make bench-scale  libraries of up to 5 million segments (about an hour, 20 GB of disk)
#
# Every target makes .venv with plain pip and installs only what it needs; the second time that costs nothing.
# PYTHON picks the interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
# The oldest and the newest Python of this machine, where PYTHON does not say which one to take.
OLDEST = $(if $(filter file,$(origin PYTHON)),$(shell .ci/python oldest),$(PYTHON))
NEWEST = $(if $(filter file,$(origin PYTHON)),$(shell .ci/python newest),$(PYTHON))
VENV := .venv
VLLM := .venv-vllm
SCALE := .venv-scale
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
PACKAGES := -e '.[local]' -e mcp_server -e integrations/langchain -e integrations/llama_index
MANIFESTS := constraints.txt pyproject.toml $(wildcard mcp_server/pyproject.toml integrations/*/pyproject.toml)

.PHONY: demo test quick test-newest test-floor test-matrix test-vllm test-scale test-clients lint bench bench-scale clean
.DELETE_ON_ERROR:

demo: $(VENV)/.user
	$(BIN)/python -m tarsier_tools.demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

quick: $(VENV)/.dev
	$(BIN)/python -m pytest -p tests.quick

test-newest: $(VENV)/.dev
	$(BIN)/python tests/wheels/run.py newest $(NEWEST) $(PART:%=--%)

test-floor: $(VENV)/.dev
	$(BIN)/python tests/wheels/run.py floor $(OLDEST) $(PART:%=--%)

# The frameworks' own tests at the oldest versions that the packages allow, laid over the newest ones that `test`
# uses. More than the few calls of test-floor, which also holds everything else at its floor.
test-matrix: $(VENV)/.dev
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --upgrade \
		--target build/floor/langchain -r integrations/langchain/floor.txt
	PYTHONPATH=build/floor/langchain $(BIN)/python -m pytest -p no:cacheprovider \
		tests/test_langchain_tools.py tests/test_langchain_documents.py tests/test_langchain_readme.py \
		tests/test_langchain_library.py
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --upgrade \
		--target build/floor/llama_index -r integrations/llama_index/floor.txt
	PYTHONPATH=build/floor/llama_index $(BIN)/python -m pytest -p no:cacheprovider \
		-o filterwarnings=default tests/test_llama_index.py tests/test_llama_index_library.py

test-vllm: $(VENV)/.dev $(VLLM)/.ready
	TARSIER_REQUIRE_ALL=1 TARSIER_TEST_VLLM=$(abspath $(VLLM))/bin/vllm $(BIN)/python -m pytest -m vllm

test-scale: $(SCALE)/.ready
	TARSIER_REQUIRE_ALL=1 $(SCALE)/bin/python -m pytest -m scale tests/test_library_lance.py tests/test_library_ray.py

test-clients: $(VENV)/.dev
	$(BIN)/python tests/clients/run.py $(CLIENTS)

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

# torchaudio, torchcodec and triton are linked to CUDA or of no use without it.
$(VLLM)/.ready: tests/vllm/requirements.txt tests/vllm/cpu_build.py
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip --disable-pip-version-check install --quiet -r tests/vllm/requirements.txt
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec triton
	$(VLLM)/bin/python tests/vllm/cpu_build.py
	@touch $@

# moto, the S3 server of the tests, wants an older python-dateutil than constraints.txt has.
$(SCALE)/.ready: $(MANIFESTS) tests/scale/requirements.txt
	$(PYTHON) -m venv $(SCALE)
	$(SCALE)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt \
		-e '.[local,shots,embed,parquet,lance,ray]' -r tests/scale/requirements.txt
	$(SCALE)/bin/python -m pip --disable-pip-version-check install --quiet 'moto[server,s3]==5.2.5'
	@touch $@

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/parity.py --checkpoint tests/golden/tiny-tarsier2 \
		--cases tests/golden/given --videos tests/golden/videos
	$(BIN)/python benchmarks/decoding.py --write
	$(BIN)/python benchmarks/backend.py --write
	$(BIN)/python benchmarks/mcp_start.py --write
	$(BIN)/python benchmarks/locate.py --write
	$(BIN)/python benchmarks/verify.py --write
	$(BIN)/python benchmarks/timeline.py --write
	$(BIN)/python benchmarks/convert.py --write
	$(BIN)/python benchmarks/library_search.py --write
	for part in overhead quality references lookalikes kills; do $(BIN)/python benchmarks/library.py $$part --write; done
	$(BIN)/python training/evaluate.py --clips 300

bench-scale: $(SCALE)/.ready
	$(SCALE)/bin/python benchmarks/library_scale.py --segments 360 36000 50000 500000
	$(SCALE)/bin/python benchmarks/library_scale.py --stores lance --segments 5000000
	$(SCALE)/bin/python benchmarks/library_scale.py --table --write

clean:
	rm -rf $(VENV) demo build dist
